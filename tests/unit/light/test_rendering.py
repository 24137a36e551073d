from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from decode_engine.analysis.coloring import (
    DEFAULT_Z_MAP,
    brightness,
    colorize,
    white_level,
    z_range,
)
from decode_engine.analysis.drawing import Palette
from decode_engine.analysis.filtering import FilterSpec
from decode_engine.analysis.hues import color_table, hue_scale
from decode_engine.analysis.point_store import PointStore
from decode_engine.analysis.rendering import (
    DensityImage,
    ImageGrid,
    draw_gaussians,
    draw_histogram,
    render,
)
from decode_engine.contract.configs import RenderConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError


def _localizations(x: Any, y: Any, z: Any = 0.0, sigma: Any = 10.0) -> Localizations:
    x, y, z, sigma = (np.asarray(a, float) for a in np.broadcast_arrays(x, y, z, sigma))
    ones = np.ones(x.size)
    return Localizations(
        frame=np.zeros(x.size, int),
        x_nm=x,
        y_nm=y,
        z_nm=z,
        photons=ones,
        background=ones,
        sigma_x_nm=sigma,
        sigma_y_nm=sigma,
    )


def _exact_sum(
    x: np.ndarray, y: np.ndarray, sigma_x: np.ndarray, sigma_y: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Gaussians integrated over every pixel of the image, one by one, without cut-off."""
    image = np.zeros(shape)
    for px, py, sx, sy in zip(x, y, sigma_x, sigma_y, strict=True):
        along_x = np.diff(ndtr((np.arange(shape[1] + 1) - 0.5 - px) / sx))
        along_y = np.diff(ndtr((np.arange(shape[0] + 1) - 0.5 - py) / sy))
        image += np.outer(along_y, along_x)
    return image


def _drawn(
    x: np.ndarray, y: np.ndarray, sigma_x: np.ndarray, sigma_y: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    """Draw at 1 nm a pixel; positions count from the centre of the first pixel."""
    table = _localizations(x, y).replace(sigma_x_nm=sigma_x, sigma_y_nm=sigma_y)
    grid = ImageGrid(
        left_nm=-0.5, top_nm=-0.5, pixel_size_nm=1.0, width_px=shape[1], height_px=shape[0]
    )
    store = PointStore.build(table, tile_nm=16.0)
    sums = store.gaussians(grid, Palette.plain(), (0.0, np.inf), dtype=np.float64)
    return np.asarray(sums[..., 0])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    x=st.floats(-20, 80, width=32),
    y=st.floats(-20, 60, width=32),
    sigma_x=st.floats(0.03125, 25, width=32),
    sigma_y=st.floats(0.03125, 25, width=32),
)
def test_a_gaussian_is_exact_to_a_fraction_of_its_peak(
    x: float, y: float, sigma_x: float, sigma_y: float
) -> None:
    arrays = [np.array([v]) for v in (x, y, sigma_x, sigma_y)]
    image = _drawn(*arrays, (40, 60))
    peak = np.prod([np.diff(ndtr(np.array([-0.5, 0.5]) / s)) for s in (sigma_x, sigma_y)])
    np.testing.assert_allclose(image, _exact_sum(*arrays, (40, 60)), rtol=0, atol=5e-4 * peak)


def test_many_gaussians_are_their_sum() -> None:
    rng = np.random.default_rng(0)
    n, shape = 2000, (130, 170)
    x, y = rng.uniform(-10, 180, n), rng.uniform(-10, 140, n)
    sigma_x, sigma_y = np.exp(rng.uniform(np.log(0.1), np.log(12), (2, n)))
    columns = tuple(v.astype(np.float32).astype(float) for v in (x, y, sigma_x, sigma_y))
    drawn, exact = _drawn(*columns, shape), _exact_sum(*columns, shape)
    # Errors of single Gaussians (5e-4 of a peak at most) have both signs.
    assert np.abs(drawn - exact).max() < 5e-4 * exact.max()
    assert drawn.sum() == pytest.approx(exact.sum(), rel=1e-4)


@pytest.mark.parametrize("sigma_px", [0.0, 0.3, 1.0, 2.8, 2.9, 6.0, 11.0])
def test_a_gaussian_adds_exactly_one(sigma_px: float) -> None:
    position, sigma = np.array([100.3]), np.array([sigma_px])
    image = _drawn(position, position, sigma, sigma, (200, 200))
    assert image.sum() == pytest.approx(1, abs=1e-9)
    assert image.min() >= 0


def test_missing_values_draw_nothing() -> None:
    nan = np.array([np.nan, 10.0, 10.0])
    table = _localizations(nan, 10.0).replace(sigma_x_nm=np.full(3, 10.0), sigma_y_nm=nan[::-1])
    grid = ImageGrid.covering((0, 0, 30, 30), 1)
    alone = draw_gaussians(_localizations([10.0], [10.0]), grid)
    np.testing.assert_array_equal(draw_gaussians(table, grid).density, alone.density)


def test_drawing_can_be_stopped() -> None:
    def check() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        draw_gaussians(
            _localizations([1.0], [1.0]), ImageGrid.covering((0, 0, 5, 5), 1), check=check
        )


def test_filters_choose_what_is_drawn() -> None:
    table = _localizations([5, 15, 25], 5, z=[-100, 0, 100])
    config = RenderConfig(mode="histogram", field_nm=(0, 0, 30, 10))
    filters = FilterSpec().with_range("z_nm", low=-50, high=50)
    np.testing.assert_array_equal(render(table, config, filters=filters).density, [[0, 1, 0]])
    with pytest.raises(LocalizationsError, match="track"):
        render(table, config, filters=FilterSpec().with_range("track", low=1))


def test_histogram_counts_like_numpy() -> None:
    rng = np.random.default_rng(1)
    table = _localizations(rng.uniform(-100, 1100, 5000), rng.uniform(-100, 900, 5000))
    grid = ImageGrid.covering((0, 0, 1000, 800), 10)
    image = draw_histogram(table, grid)
    expected, _, _ = np.histogram2d(
        table.y_nm.astype(float),
        table.x_nm.astype(float),
        bins=(np.arange(0, 801, 10), np.arange(0, 1001, 10)),
    )
    np.testing.assert_array_equal(image.density, expected)
    assert image.density.shape == (80, 100)


@pytest.mark.parametrize("mode", ["histogram", "gaussian"])
def test_x_runs_right_and_y_runs_down(mode: str) -> None:
    table = _localizations([255.0], [105.0], 50.0)
    config = RenderConfig(mode=mode, pixel_size_nm=10, field_nm=(0, 0, 400, 300), color="z")
    image = render(table, config)
    assert image.density.shape == (30, 40)
    assert np.unravel_index(image.density.argmax(), image.density.shape) == (10, 25)
    assert image.mean_z_nm is not None
    assert image.mean_z_nm[10, 25] == pytest.approx(50)


def test_pixel_centres_lie_half_a_pixel_inside_the_edges() -> None:
    """A Gaussian at the centre of an image pixel is symmetric around it."""
    table = _localizations([105.0], [55.0], sigma=8.0)
    image = draw_gaussians(table, ImageGrid.covering((0, 0, 210, 110), 10)).density
    np.testing.assert_allclose(image, image[::-1, ::-1], atol=1e-7)
    assert image[5, 10] == image.max()


def test_field_around_the_data_starts_on_whole_pixels_and_loses_nothing() -> None:
    rng = np.random.default_rng(2)
    table = _localizations(rng.uniform(-333, 777, 900), rng.uniform(13, 500, 900))
    grid = ImageGrid.around(table, 7.5)
    assert grid.left_nm % 7.5 == pytest.approx(0)
    image = draw_histogram(table, grid)
    assert image.density.sum() == 900
    assert image.density[:, 0].any()
    assert image.density[-1].any()


def test_gaussian_image_holds_every_localization_once() -> None:
    rng = np.random.default_rng(3)
    table = _localizations(
        rng.uniform(500, 1500, 3000), rng.uniform(500, 1500, 3000), sigma=rng.uniform(1, 60, 3000)
    )
    image = draw_gaussians(table, ImageGrid.covering((0, 0, 2000, 2000), 10))
    assert image.density.sum(dtype=float) == pytest.approx(3000, rel=1e-6)


def test_mean_z_is_weighted_like_the_density() -> None:
    table = _localizations([5, 5, 5, 25], 5, [-100, 0, 400, 70], sigma=[0.1, 0.1, 0.1, 0.1])
    for draw in (draw_histogram, draw_gaussians):
        kwargs = {"sigma_min_nm": 0.0} if draw is draw_gaussians else {}
        image = draw(table, ImageGrid.covering((0, 0, 40, 10), 10), with_z=True, **kwargs)
        np.testing.assert_allclose(image.mean_z_nm, [[100, np.nan, 70, np.nan]], atol=1e-4)


def test_narrow_gaussians_are_drawn_at_least_as_wide_as_asked() -> None:
    table = _localizations([100], [100], sigma=0.5)
    grid = ImageGrid.covering((0, 0, 200, 200), 5)
    drawn = draw_gaussians(table, grid, sigma_min_nm=12).density
    wide = draw_gaussians(table.replace(sigma_x_nm=[12.0], sigma_y_nm=[12.0]), grid).density
    np.testing.assert_array_equal(drawn, wide)


def test_selection_leaves_out_uncertain_improbable_and_missing() -> None:
    table = _localizations([1, 2, 3, 4, np.nan], 1.0, sigma=[10, 200, 10, np.nan, 10]).replace(
        probability=np.array([0.9, 0.9, 0.2, 0.9, 0.9])
    )
    config = RenderConfig(probability_min=0.5, mode="histogram")
    assert render(table, config).n_drawn == 1
    no_sigma = Localizations(
        **{k: v for k, v in table.columns().items() if not k.startswith("sigma")}
    )
    assert render(no_sigma, config).n_drawn == 3
    with pytest.raises(LocalizationsError, match="histogram"):
        render(no_sigma, RenderConfig())


def test_impossible_fields_are_refused() -> None:
    table = _localizations([0, 1e9], [0, 1e9])
    with pytest.raises(ConfigError, match="too large"):
        render(table, RenderConfig())
    with pytest.raises(ConfigError, match="empty"):
        render(table, RenderConfig(field_nm=(5, 0, 5, 10)))
    with pytest.raises(LocalizationsError, match="no z"):
        render(_localizations([1], [1], np.nan), RenderConfig(color="z"))


@pytest.mark.parametrize("mode", ["histogram", "gaussian"])
@pytest.mark.parametrize("color", ["none", "z"])
def test_no_localizations_give_a_black_image(mode: str, color: str) -> None:
    table = _localizations([], [])
    config = RenderConfig(mode=mode, color=color, field_nm=(0, 0, 100, 50))
    image = render(table, config)
    pixels = colorize(image, config).pixels
    assert pixels.shape == (5, 10, 3)
    assert pixels.max() <= 4  # the darkest colour of inferno is (0, 0, 4)
    assert render(table, config.model_copy(update={"field_nm": None})).density.shape == (1, 1)


def test_contrast_ignores_empty_pixels() -> None:
    density = np.zeros((100, 100), np.float32)
    density[40, :50] = np.arange(1, 51)
    assert white_level(density, 0.5) == np.quantile(np.arange(3, 51), 0.5)  # 1, 2 are faint
    bordered = np.pad(density, 1000)
    assert white_level(bordered, 0.5) == white_level(density, 0.5)


def test_brightness_saturates_and_follows_gamma() -> None:
    density = np.array([[0, 1, 4, 16]], np.float32)
    np.testing.assert_allclose(brightness(density, quantile=1.0, gamma=0.5), [[0, 0.25, 0.5, 1.0]])
    assert brightness(density, quantile=0.5, gamma=1.0).max() == 1


def test_z_colour_is_hue_times_brightness() -> None:
    density = np.array([[0.0, 1.0, 1.0, 1.0, 0.5]], np.float32)
    mean_z = np.array([[np.nan, -100, 100, 900, -100]], np.float32)
    grid = ImageGrid.covering((0, 0, 5, 1), 1)
    image = DensityImage(grid=grid, density=density, mean_z_nm=mean_z, n_drawn=4)
    config = RenderConfig(color="z", z_min_nm=-100, z_max_nm=100, gamma=1.0)
    colored = colorize(image, config)
    assert colored.z_colors is not None
    empty, low, high, beyond, half = colored.pixels[0].astype(int)
    np.testing.assert_array_equal(empty, 0)
    np.testing.assert_array_equal(low, colored.z_colors[0])
    np.testing.assert_array_equal(high, colored.z_colors[-1])
    np.testing.assert_array_equal(beyond, high)
    assert np.abs(half - low / 2).max() <= 1


def test_z_range_is_configured_or_taken_from_the_filled_pixels() -> None:
    table = _localizations(np.arange(1000.0), 1.0, np.linspace(-333, 555, 1000))
    config = RenderConfig(color="z", mode="histogram", pixel_size_nm=1)
    image = render(table, config)
    assert z_range(image, config) == (-330, 550)
    one = config.model_copy(update={"z_min_nm": -50.0})
    assert z_range(image, one) == (-50, 550)
    with pytest.raises(ConfigError, match="empty"):
        z_range(image, config.model_copy(update={"z_min_nm": 5.0, "z_max_nm": 5.0}))
    flat = render(_localizations([1, 2], 1.0, 20.0), config)
    low, high = z_range(flat, config)
    assert low < high


def test_unknown_colour_map_is_explained() -> None:
    with pytest.raises(ConfigError, match="'jetset'"):
        hue_scale("jetset")


# Machado, Oliveira & Fernandes 2009 (doi:10.1109/TVCG.2009.113), severity 1: linear sRGB as seen
# without the M cones (deuteranopia) or the L cones (protanopia); not the model of the code.
_EYES = {
    "normal": np.eye(3),
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
}


@pytest.mark.parametrize("vision", sorted(_EYES))
def test_default_z_colours_stay_apart_for_colour_blind_eyes(vision: str) -> None:
    colors = hue_scale(DEFAULT_Z_MAP)
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.transpose(_EYES[vision]), 0, 1)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = seen @ to_xyz.T / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    lightness = 116 * f[:, 1] - 16
    chroma = np.stack([500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
    assert lightness.min() > 30  # nothing drowns in the black
    # Brightness means something else, so the chroma alone must tell eighths of the scale apart:
    # not only neighbours, and clearly (2.3 is just noticeable).
    eighths = chroma[np.linspace(0, 255, 9).astype(int)]
    apart = np.linalg.norm(eighths[:, None] - eighths[None], axis=2)
    assert apart[~np.eye(9, dtype=bool)].min() > 7


def test_brightness_maps_are_left_as_they_are() -> None:
    grey = color_table("gray")
    np.testing.assert_allclose(grey, np.linspace(0, 1, 256)[:, None].repeat(3, axis=1), atol=0.01)
