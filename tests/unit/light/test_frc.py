from __future__ import annotations

import math

import numpy as np
import pytest

from decode_engine.analysis.frc import frc_resolution, split_halves
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError


def _localizations(x: np.ndarray, y: np.ndarray, frame: np.ndarray) -> Localizations:
    ones = np.ones(x.size)
    return Localizations(frame=frame, x_nm=x, y_nm=y, z_nm=0 * ones, photons=ones, background=ones)


def _random_emitters(
    seed: int, *, width_nm: float, per_half: float, sigma_nm: float
) -> Localizations:
    """Emitters anywhere, each localized a Poisson number of times with a Gaussian error.

    With m = ``per_half`` the expected curve is ``m g / (m g + 1)`` with
    ``g = exp(-4 π² σ² q²)``: in ``E[F1 F2*]`` only pairs of one emitter remain (n m² g), and
    ``E|F1|²`` has the same and its shot noise (n m² g + n m).
    """
    rng = np.random.default_rng(seed)
    n = round(120 * (width_nm / 1000) ** 2)
    owner = np.repeat(np.arange(n), rng.poisson(2 * per_half, n))
    x, y = rng.uniform(0, width_nm, (2, n))[:, owner]
    x, y = (v + rng.normal(0, sigma_nm, owner.size) for v in (x, y))
    return _localizations(x, y, rng.integers(0, 10_000, owner.size))


@pytest.mark.parametrize("halves", ["blocks", "random"])
@pytest.mark.parametrize(
    ("sigma_nm", "per_half", "width_nm"), [(10, 5, 5000), (20, 3, 5000), (8, 20, 10000)]
)
def test_curve_and_resolution_match_the_closed_form(
    sigma_nm: float, per_half: float, width_nm: float, halves: str
) -> None:
    pixel_nm = 5.0
    localizations = _random_emitters(0, width_nm=width_nm, per_half=per_half, sigma_nm=sigma_nm)
    rng = np.random.default_rng(1)
    result = frc_resolution(localizations, pixel_nm, halves=halves, rng=rng)  # type: ignore[arg-type]  # parametrised
    q = result.frequency_per_nm
    # The pixels blur the signal, and not the shot noise, by sinc(q p) along one axis or the
    # other; the mean over directions is close to that of a Gaussian with variance p²/12.
    blur = sigma_nm**2 + pixel_nm**2 / 12
    g = per_half * np.exp(-4 * np.pi**2 * blur * q**2)
    expected = g / (g + 1)
    # A ring of radius r has about π r independent values; (1 - FRC²) / sqrt(2 N) is the scatter
    # of a correlation of N. The window makes neighbours dependent (factor 3 in number).
    ring = np.arange(q.size)
    scatter = (1 - expected**2) * np.sqrt(3 / (2 * np.pi * np.maximum(ring, 1)))
    z = ((result.correlation - expected) / scatter)[5:]
    assert np.abs(z).max() < 5
    assert abs(z.mean()) < 5 / math.sqrt(z.size / 3)
    resolution = 2 * np.pi * math.sqrt(blur / math.log(6 * per_half))
    assert result.resolution_nm == pytest.approx(resolution, rel=0.03)
    assert result.reason == ""


def test_worse_precision_gives_worse_resolution() -> None:
    values = [
        frc_resolution(_random_emitters(3, width_nm=5000, per_half=4, sigma_nm=s)).resolution_nm
        for s in (6, 12, 24)
    ]
    assert values == sorted(values)


@pytest.mark.parametrize("seed", range(20))
def test_unrelated_halves_have_no_resolution(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(0, 5000, (2, 20_000))
    result = frc_resolution(_localizations(x, y, rng.integers(0, 1000, x.size)))
    assert math.isnan(result.resolution_nm)
    assert "correlate" in result.reason


def test_curve_that_never_falls_has_no_resolution() -> None:
    localizations = _random_emitters(5, width_nm=5000, per_half=20, sigma_nm=2)
    result = frc_resolution(localizations, pixel_size_nm=20)
    assert math.isnan(result.resolution_nm)
    assert "smaller" in result.reason


def test_too_little_data_is_said() -> None:
    none = frc_resolution(Localizations.empty())
    assert (math.isnan(none.resolution_nm), none.reason) == (
        True,
        "0 localizations are too few",
    )
    rng = np.random.default_rng(6)
    x, y = rng.uniform(0, 5000, (2, 500))
    one_frame = frc_resolution(_localizations(x, y, np.zeros(500, int)))
    assert "one frame" in one_frame.reason
    tiny = frc_resolution(_localizations(x / 100, y / 100, rng.integers(0, 100, 500)))
    assert "wide" in tiny.reason


def test_rows_without_position_are_ignored() -> None:
    table = _random_emitters(7, width_nm=4000, per_half=4, sigma_nm=10)
    x = np.concatenate([table.x_nm, [np.nan, np.inf]])
    y, frame = np.concatenate([table.y_nm, [0, 0]]), np.concatenate([table.frame, [0, 1]])
    with_gaps = frc_resolution(_localizations(x, y, frame))
    assert with_gaps.resolution_nm == frc_resolution(table).resolution_nm


def test_blocks_keep_consecutive_frames_together() -> None:
    second = split_halves(np.arange(100, 200), n_blocks=10)
    np.testing.assert_array_equal(second, np.repeat([False, True] * 5, 10))
    np.testing.assert_array_equal(split_halves(np.arange(3)), [False, True, False])


def test_random_halves_need_a_generator() -> None:
    with pytest.raises(ConfigError, match="generator"):
        split_halves(np.arange(10), halves="random")
    with pytest.raises(ConfigError, match="1 blocks"):
        split_halves(np.arange(10), n_blocks=1)
