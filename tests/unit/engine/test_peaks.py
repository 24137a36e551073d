"""Joining pixels to peaks: synthetic network outputs whose right answer is known."""

from __future__ import annotations

import math

import pytest
import torch

from decode_engine.inference.peaks import PeakTable, extract_peaks
from decode_engine.network.output import NetworkOutput
from decode_engine.network.scaling import NetworkScaling

SCALING = NetworkScaling(
    input_offset=0.0,
    input_scale=1.0,
    photon_max=10_000.0,
    z_center_nm=50.0,
    z_half_range_nm=800.0,
    background_max=100.0,
)
FLAT = NetworkScaling(**{**SCALING.to_dict(), "z_half_range_nm": 0.0})


def blank(n: int = 1, height: int = 12, width: int = 14) -> dict[str, torch.Tensor]:
    """Return maps without any emitter: probability 1e-4."""
    maps = {name: torch.zeros(n, height, width) for name in NetworkOutput._fields}
    maps["logit"] -= math.log(1e4 - 1)
    for name in ("sigma_x", "sigma_y", "sigma_z", "sigma_photons"):
        maps[name] += 0.1
    maps["background"] += 0.2
    return maps


def claim(
    maps: dict[str, torch.Tensor],
    pixel: tuple[int, int, int],
    position: tuple[float, float],
    p: float,
    **features: float,
) -> None:
    """Let a pixel (image, row, column) claim an emitter at (x, y) with probability p."""
    n, row, column = pixel
    maps["logit"][n, row, column] = math.log(p / (1 - p)) if p < 1 else 30.0
    maps["x"][n, row, column] = position[0] - column
    maps["y"][n, row, column] = position[1] - row
    maps["photons"][n, row, column] = 0.3
    for name, value in features.items():
        maps[name][n, row, column] = value


def peaks(maps: dict[str, torch.Tensor], threshold: float = 0.5, **options: object) -> PeakTable:
    return extract_peaks(NetworkOutput(**maps), SCALING, threshold, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["collapse", "integration"])
def test_empty_output_gives_no_peaks(method: str) -> None:
    table = peaks(blank(3), method=method)
    assert len(table) == 0
    assert all(column.shape == (0,) for column in table)


@pytest.mark.parametrize("method", ["collapse", "integration"])
def test_single_pixel_gives_its_own_features_in_physical_units(method: str) -> None:
    maps = blank(2)
    claim(maps, (1, 5, 7), (7.3, 4.8), 0.9, z=-0.5, sigma_x=0.11, sigma_y=0.12, sigma_z=0.05)
    table = peaks(maps, method=method)
    values = {name: column.item() for name, column in table._asdict().items()}
    assert (values["image"], values["row"], values["column"]) == (1, 5, 7)
    expected = {
        "x_px": 7.3,
        "y_px": 4.8,
        "z_nm": 50 - 400,
        "photons": 3000,
        "background": 20,
        "probability": 0.9,
        "sigma_x_px": 0.11,
        "sigma_y_px": 0.12,
        "sigma_z_nm": 40,
        "sigma_photons": 1000,
    }
    for name, value in expected.items():
        # integration adds four neighbours of probability 1e-4 only if they are candidates
        assert values[name] == pytest.approx(value, rel=1e-4), name


@pytest.mark.parametrize(
    ("position", "pixels"),
    [
        ((6.0, 5.0), [(5, 6)]),
        ((6.5, 5.0), [(5, 6), (5, 7)]),
        ((6.4, 5.45), [(5, 6), (5, 7), (6, 6)]),
        ((6.5, 5.5), [(5, 6), (5, 7), (6, 6), (6, 7)]),
        ((0.5, 0.5), [(0, 0), (0, 1), (1, 0), (1, 1)]),
        ((13.4, 11.4), [(10, 13), (11, 12), (11, 13)]),
    ],
)
def test_split_emitter_becomes_one_peak_at_the_right_place(
    position: tuple[float, float], pixels: list[tuple[int, int]]
) -> None:
    maps = blank()
    for row, column in pixels:
        claim(maps, (0, row, column), position, 0.99 / len(pixels))
    table = peaks(maps)
    assert len(table) == 1
    assert table.probability.item() == pytest.approx(0.99, abs=0.002)
    assert table.x_px.item() == pytest.approx(position[0], abs=1e-4)
    assert table.y_px.item() == pytest.approx(position[1], abs=1e-4)
    # all parts say the same, so the mixture is as narrow as each of them
    assert table.sigma_x_px.item() == pytest.approx(0.1, rel=1e-4)


def test_noisy_corner_emitter_is_one_peak_whatever_the_noise() -> None:
    generator = torch.Generator().manual_seed(3)
    n = 200
    maps = blank(n)
    for image in range(n):
        noise = 0.15 * torch.randn(4, 2, generator=generator)
        for (row, column), (ex, ey) in zip(
            [(5, 6), (5, 7), (6, 6), (6, 7)], noise.tolist(), strict=True
        ):
            claim(maps, (image, row, column), (6.5 + ex, 5.5 + ey), 0.24)
    table = peaks(maps)
    assert table.image.tolist() == list(range(n))
    torch.testing.assert_close(table.probability, torch.full((n,), 0.96), atol=1e-4, rtol=0)


@pytest.mark.parametrize("angle", [0.0, 0.3, math.pi / 4, 1.2, math.pi / 2])
@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.4, 0.4), (-0.5, 0.2), (0.49, -0.49)])
def test_two_emitters_are_two_peaks_wherever_the_pixels_are(
    angle: float, phase: tuple[float, float]
) -> None:
    """2.5 px apart, each split over the four nearest pixels, at any angle and pixel phase."""
    maps = blank()
    first = (4.0 + phase[0], 4.0 + phase[1])
    second = (first[0] + 2.5 * math.cos(angle), first[1] + 2.5 * math.sin(angle))
    for x, y in (first, second):
        for row in (math.floor(y), math.floor(y) + 1):
            for column in (math.floor(x), math.floor(x) + 1):
                share = (1 - abs(x - column)) * (1 - abs(y - row))
                if share > 0:
                    claim(maps, (0, row, column), (x, y), 0.95 * share)
    table = peaks(maps)
    assert len(table) == 2
    found = sorted(zip(table.x_px.tolist(), table.y_px.tolist(), strict=True))
    for (x, y), truth in zip(found, sorted([first, second]), strict=True):
        assert (x, y) == pytest.approx(truth, abs=1e-3)
    torch.testing.assert_close(table.probability, torch.full((2,), 0.95), atol=0.03, rtol=0)


def test_probability_is_never_counted_twice() -> None:
    """The mass of all peaks never exceeds the mass of all pixels, in a crowded random output."""
    generator = torch.Generator().manual_seed(1)
    maps = blank(4, 40, 40)
    maps["logit"] = torch.randn(4, 40, 40, generator=generator) * 2 - 3
    maps["x"] = torch.rand(4, 40, 40, generator=generator) * 2 - 1
    maps["y"] = torch.rand(4, 40, 40, generator=generator) * 2 - 1
    table = peaks(maps, threshold=0.01)
    assert len(table) > 100
    for image in range(4):
        mass = table.probability[table.image == image].sum().item()
        assert mass <= maps["logit"][image].sigmoid().sum().item() * (1 + 1e-5)


def test_probability_is_clipped_to_one() -> None:
    maps = blank()
    claim(maps, (0, 5, 6), (6.4, 5.0), 0.9)
    claim(maps, (0, 5, 7), (6.4, 5.0), 0.8)
    assert peaks(maps).probability.tolist() == [1.0]


@pytest.mark.parametrize("method", ["collapse", "integration"])
def test_plateau_gives_one_peak_the_first_in_raster_order(method: str) -> None:
    maps = blank()
    for column in (5, 6, 7):
        claim(maps, (0, 4, column), (6.0, 4.0), 0.32)
    table = peaks(maps, method=method)
    if method == "collapse":
        assert (table.row.tolist(), table.column.tolist()) == ([4], [5])
        assert table.probability.item() == pytest.approx(0.96, abs=1e-3)
    else:
        assert (table.row.tolist(), table.column.tolist()) == ([4], [5])
        assert table.probability.item() == pytest.approx(0.64, abs=1e-3)


def test_threshold_applies_to_the_joined_probability() -> None:
    maps = blank()
    claim(maps, (0, 5, 6), (6.5, 5.0), 0.3)
    claim(maps, (0, 5, 7), (6.5, 5.0), 0.3)
    assert len(peaks(maps, threshold=0.59)) == 1
    assert len(peaks(maps, threshold=0.61)) == 0


def test_isolated_faint_emitter_is_found_at_a_low_threshold_only() -> None:
    maps = blank()
    claim(maps, (0, 5, 6), (6.2, 5.1), 0.15)
    assert len(peaks(maps, threshold=0.1)) == 1
    assert len(peaks(maps, threshold=0.5)) == 0


def test_emitter_at_the_border_keeps_its_predicted_position() -> None:
    maps = blank()
    claim(maps, (0, 0, 13), (13.45, -0.6), 0.9)
    claim(maps, (0, 11, 0), (-0.3, 11.2), 0.8)
    table = peaks(maps)
    assert table.x_px.tolist() == pytest.approx([13.45, -0.3], abs=1e-5)
    assert table.y_px.tolist() == pytest.approx([-0.6, 11.2], abs=1e-5)


def test_sigma_is_that_of_the_mixture() -> None:
    """Two components of equal weight: variance = mean variance + half the gap squared."""
    maps = blank()
    claim(maps, (0, 5, 6), (6.3, 5.0), 0.45, sigma_x=0.2)
    claim(maps, (0, 5, 7), (6.7, 5.0), 0.45, sigma_x=0.2)
    table = peaks(maps)
    assert table.x_px.item() == pytest.approx(6.5, abs=1e-5)
    assert table.sigma_x_px.item() == pytest.approx(math.sqrt(0.2**2 + 0.2**2), rel=1e-4)
    assert table.sigma_y_px.item() == pytest.approx(0.1, rel=1e-4)


def test_confident_pixels_weigh_more() -> None:
    """Weights are p / (sigma_x sigma_y sigma_z): three times the sigma, a third of the weight."""
    maps = blank()
    claim(maps, (0, 5, 6), (6.2, 5.0), 0.45, sigma_x=0.1)
    claim(maps, (0, 5, 7), (6.6, 5.0), 0.45, sigma_x=0.3)
    assert peaks(maps).x_px.item() == pytest.approx((3 * 6.2 + 6.6) / 4, abs=1e-5)


def test_two_dimensional_model_gives_nan_in_z_only() -> None:
    maps = blank()
    claim(maps, (0, 5, 6), (6.5, 5.0), 0.45)
    claim(maps, (0, 5, 7), (6.5, 5.0), 0.45)
    table = extract_peaks(NetworkOutput(**maps), FLAT, 0.5)
    assert len(table) == 1
    for name, column in table._asdict().items():
        assert bool(column.isnan().any()) == (name in ("z_nm", "sigma_z_nm")), name


def test_integration_of_the_paper() -> None:
    """Cross sum (no corners), and a high neighbour that is no maximum counts by itself."""
    maps = blank()
    claim(maps, (0, 5, 6), (6.0, 5.0), 0.4)
    claim(maps, (0, 5, 7), (7.0, 5.0), 0.3)
    claim(maps, (0, 6, 7), (7.0, 6.0), 0.2)
    claim(maps, (0, 8, 2), (2.0, 8.0), 0.8)
    claim(maps, (0, 8, 3), (3.0, 8.0), 0.7)
    table = peaks(maps, method="integration")
    assert list(zip(table.row.tolist(), table.column.tolist(), strict=True)) == [
        (5, 6),
        (8, 2),
        (8, 3),
    ]
    assert table.probability.tolist() == pytest.approx([0.7, 1.0, 1.0], abs=1e-3)


@pytest.mark.parametrize("method", ["collapse", "integration"])
def test_batch_and_shift_do_not_change_a_frame(method: str) -> None:
    """The same content elsewhere in a larger frame and batch gives bitwise the same features."""
    generator = torch.Generator().manual_seed(5)
    small = blank(3, 32, 32)
    for name in small:
        small[name] = torch.rand(3, 32, 32, generator=generator)
    small["logit"] = small["logit"] * 10 - 9
    large = blank(7, 60, 70)
    for name, values in small.items():
        large[name][2:5, 20:52, 31:63] = values
    a, b = peaks(small, method=method), peaks(large, method=method)
    assert len(a) > 50
    torch.testing.assert_close(b.image, a.image + 2)
    torch.testing.assert_close(b.column, a.column + 31)
    for name in [n for n in PeakTable._fields[3:] if n not in ("x_px", "y_px")]:
        assert torch.equal(getattr(a, name), getattr(b, name)), name


def test_large_batches_are_cut_between_images(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(9)
    maps = blank(9, 20, 20)
    maps["logit"] = torch.randn(9, 20, 20, generator=generator) * 3 - 4
    maps["logit"][4] = -20.0
    whole = peaks(maps, threshold=0.2)
    monkeypatch.setattr("decode_engine.inference.peaks.BLOCK_CANDIDATES", 150)
    cut = peaks(maps, threshold=0.2)
    assert len(whole) > 50
    for name in PeakTable._fields:
        assert torch.equal(getattr(whole, name), getattr(cut, name)), name
