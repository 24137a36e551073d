"""Any view of many localizations, against sums made independently of the renderer."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr

from decode_engine.analysis.drawing import Palette
from decode_engine.analysis.hues import hue_scale
from decode_engine.analysis.point_store import (
    PointStore,
    Rendered,
    Style,
    View,
    color_bar,
    suggest_gain,
    tone,
    warm_up,
)
from decode_engine.analysis.pyramid import base_grid
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError

_COUNTS = Style(color="none", mode="histogram")
_EXACT = Style(color="none", sigma_min_nm=0.0)


def _table(n: int = 20_000, seed: int = 0, **columns: Any) -> Localizations:
    """Points in 6 x 4.5 µm with an origin far from zero."""
    rng = np.random.default_rng(seed)
    chosen: dict[str, Any] = {
        "frame": rng.integers(0, 1000, n),
        "x_nm": 31_000 + 6000 * rng.random(n) ** 2,
        "y_nm": -2500 + 4500 * rng.random(n),
        "z_nm": rng.uniform(-600, 600, n),
        "photons": rng.uniform(100, 5000, n),
        "background": np.zeros(n),
        "sigma_x_nm": np.exp(rng.normal(np.log(10), 0.4, n)),
        "sigma_y_nm": np.exp(rng.normal(np.log(14), 0.4, n)),
    }
    chosen.update(columns)
    return Localizations(**{k: v for k, v in chosen.items() if v is not None})


def _view(pixel_size_nm: float, width_px: int = 90, height_px: int = 70) -> View:
    return View(
        left_nm=31_123.4,
        top_nm=-1234.5,
        pixel_size_nm=pixel_size_nm,
        width_px=width_px,
        height_px=height_px,
    )


def _edges(view: View) -> tuple[np.ndarray, np.ndarray]:
    x = view.left_nm + view.pixel_size_nm * np.arange(view.width_px + 1)
    y = view.top_nm + view.pixel_size_nm * np.arange(view.height_px + 1)
    return x, y


def _brute_counts(table: Localizations, view: View, weights: Any = None) -> np.ndarray:
    x, y = _edges(view)
    inside_x = (table.x_nm >= x[0]) & (table.x_nm < x[-1])
    inside = inside_x & (table.y_nm >= y[0]) & (table.y_nm < y[-1])
    chosen = table.take(inside)
    counts, _, _ = np.histogram2d(
        chosen.y_nm.astype(float),
        chosen.x_nm.astype(float),
        bins=(y, x),
        weights=None if weights is None else weights[inside],
    )
    return counts


def _brute_gaussians(table: Localizations, view: View, sigma_min_nm: float = 0.0) -> np.ndarray:
    """Sum products of one-dimensional pixel integrals over the pixels within four sigma."""
    sums = np.zeros(view.shape)
    axes = []
    for edge, position, sigma in (
        (_edges(view)[1], table.y_nm, table.sigma_y_nm),
        (_edges(view)[0], table.x_nm, table.sigma_x_nm),
    ):
        assert sigma is not None
        place = position.astype(float)[:, None]
        width = np.maximum(sigma.astype(float), sigma_min_nm)[:, None]
        pixel = edge[1] - edge[0]
        low = np.floor((place - 4 * width - edge[0]) / pixel)
        high = np.floor((place + 4 * width - edge[0]) / pixel) + 1
        number = np.arange(edge.size - 1)
        total = np.diff(ndtr((np.hstack([low, high]) * pixel + edge[0] - place) / width))
        weight = np.diff(ndtr((edge - place) / width), axis=1) / total
        axes.append(np.where((number >= low) & (number < high), weight, 0.0))
    sums += np.einsum("ni,nj->ij", axes[0], axes[1], optimize=True)
    return sums


@pytest.mark.parametrize("pixel_size_nm", [2.0, 7.3, 20.0, 26.9])
@pytest.mark.parametrize("tile_nm", [170.0, 1000.0, 1e6])
def test_counts_equal_numpys_histogram(pixel_size_nm: float, tile_nm: float) -> None:
    table, view = _table(), _view(pixel_size_nm)
    rendered = PointStore.build(table, tile_nm=tile_nm).render(view, _COUNTS, exact=False)
    np.testing.assert_array_equal(rendered.weight, _brute_counts(table, view))
    assert rendered.n_drawn == rendered.weight.sum()
    assert rendered.exact


@pytest.mark.parametrize("pixel_size_nm", [14.0, 20.0, 26.9])
def test_gaussians_equal_products_of_pixel_integrals(pixel_size_nm: float) -> None:
    rng = np.random.default_rng(1)
    n = 3000
    sigma = rng.uniform(0.5, 2.8 * pixel_size_nm, (2, n))  # stamped directly
    table, view = _table(n, sigma_x_nm=sigma[0], sigma_y_nm=sigma[1]), _view(pixel_size_nm)
    store = PointStore.build(table)
    expected = _brute_gaussians(table, view)
    single = store.render(view, _EXACT, exact=True)
    assert np.abs(single.weight - expected).max() < 1e-6 * expected.max()
    double = store.gaussians(view, Palette.plain(), (0.0, np.inf), dtype=np.float64)
    assert np.abs(double[..., 0] - expected).max() < 1e-8 * expected.max()


@pytest.mark.parametrize("pixel_size_nm", [0.5, 2.0])
def test_wide_gaussians_are_close_to_the_exact_sum(pixel_size_nm: float) -> None:
    table, view = _table(60_000), _view(pixel_size_nm, 200, 150)
    rendered = PointStore.build(table).render(view, _EXACT, exact=True)
    near = (np.abs(table.x_nm - view.left_nm) < 900) & (np.abs(table.y_nm - view.top_nm) < 900)
    expected = _brute_gaussians(table.take(near), view)
    assert np.abs(rendered.weight - expected).max() < 5e-4 * expected.max()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**16),
    pixel_size_nm=st.floats(0.3, 400),
    tile_nm=st.floats(50, 5000),
    exact=st.booleans(),
    color=st.sampled_from(["z", "none", "photons"]),
)
def test_no_weight_is_lost_or_made(
    seed: int, pixel_size_nm: float, tile_nm: float, exact: bool, color: str
) -> None:
    rng = np.random.default_rng(seed)
    n = 40
    middle = rng.uniform(-1e4, 1e4, 2)
    table = _table(
        n,
        x_nm=middle[0] + rng.normal(0, 4 * pixel_size_nm, n),
        y_nm=middle[1] + rng.normal(0, 4 * pixel_size_nm, n),
        sigma_x_nm=rng.uniform(0, 30, n),
        sigma_y_nm=rng.uniform(0, 30, n),
    )
    margin = 30 * pixel_size_nm + 300
    size = int(2 * margin / pixel_size_nm)
    view = View(
        left_nm=middle[0] - margin,
        top_nm=middle[1] - margin,
        pixel_size_nm=pixel_size_nm,
        width_px=size,
        height_px=size,
    )
    rendered = PointStore.build(table, tile_nm=tile_nm).render(
        view, Style(color=color), exact=exact
    )
    # The fast pass cuts the blur at 3.5 sigma on each axis.
    assert rendered.weight.sum(dtype=float) == pytest.approx(n, rel=1e-5 if exact else 2e-3)
    assert rendered.weight.min() >= -1e-6


@pytest.mark.parametrize("level", [0, 1, 3])
def test_pyramid_equals_counts_on_the_same_pixels(level: int) -> None:
    table = _table()
    store = PointStore.build(table)
    base = base_grid(store.bounds_nm)
    pitch = base.pixel_size_nm * 2**level
    view = View(
        left_nm=base.left_nm,
        top_nm=base.top_nm,
        pixel_size_nm=pitch,
        width_px=-(-base.width_px // 2**level),
        height_px=-(-base.height_px // 2**level),
    )
    counts = store.counts(view, Palette.plain())[..., 0]
    assert counts.sum() == len(table)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("decode_engine.analysis.point_store._PYRAMID_FROM", 0.99)
        rendered = store.render(view, _COUNTS, exact=False)
    np.testing.assert_array_equal(rendered.weight, counts)
    np.testing.assert_array_equal(counts, _brute_counts(table, view))


def test_a_flat_field_stays_flat_at_every_zoom() -> None:
    """No moiré between the cells of the pyramid and the pixels of the view."""
    x, y = (v.ravel() for v in np.meshgrid(np.arange(0, 8000, 10.0), np.arange(0, 8000, 10.0)))
    n = x.size
    table = _table(n, x_nm=x, y_nm=y, z_nm=np.zeros(n), sigma_x_nm=None, sigma_y_nm=None)
    store = PointStore.build(table)
    for pixel_size_nm in (27.3, 31.0, 53.7, 77.7):
        view = View(
            left_nm=1003.0, top_nm=1017.0, pixel_size_nm=pixel_size_nm, width_px=60, height_px=60
        )
        weight = store.render(view, _COUNTS, exact=False).weight
        np.testing.assert_allclose(weight, (pixel_size_nm / 10) ** 2, rtol=1e-5)


def test_the_fast_pass_looks_like_the_exact_one() -> None:
    """With equal sigma both are the same picture, but for the width of the counting cells."""
    table = _table(100_000, sigma_x_nm=np.full(100_000, 12.0), sigma_y_nm=np.full(100_000, 12.0))
    store = PointStore.build(table)
    for pixel_size_nm in (12.0, 6.0, 3.0, 1.0):
        view = _view(pixel_size_nm, 120, 90)
        fast, exact = (store.render(view, _EXACT, exact=e) for e in (False, True))
        assert exact.exact
        assert not fast.exact
        scale = float(exact.weight.max())
        assert np.abs(fast.weight - exact.weight).mean() < 0.03 * scale
        assert fast.weight.sum() == pytest.approx(exact.weight.sum(), rel=0.01)


@pytest.mark.parametrize(
    ("pixel_size_nm", "exact"), [(100, False), (20, False), (5, False), (5, True)]
)
@pytest.mark.parametrize("color", ["z", "frame", "none"])
def test_a_mask_equals_building_from_the_subset(
    pixel_size_nm: float, exact: bool, color: str
) -> None:
    table, view = _table(), _view(pixel_size_nm)
    store = PointStore.build(table)
    style = Style(color=color, z_min_nm=-500, z_max_nm=500)
    before = store.render(view, style, exact=exact)
    kept = table.photons > 2000
    store.set_mask(kept)
    assert store.n_kept == kept.sum()
    masked = store.render(view, style, exact=exact)
    subset = PointStore.build(table.take(kept))
    # The fast pass is as wide as the median sigma of all, so that a filter does not change it.
    subset._sigma_nm = store._sigma_nm
    alone = subset.render(view, style, exact=exact)
    np.testing.assert_allclose(masked.sums, alone.sums, rtol=1e-4, atol=1e-5)
    assert masked.n_drawn == alone.n_drawn < before.n_drawn
    store.set_mask(None)
    np.testing.assert_array_equal(store.render(view, style, exact=exact).sums, before.sums)


def test_a_mask_of_another_table_is_refused() -> None:
    with pytest.raises(ConfigError, match="mask"):
        PointStore.build(_table(100)).set_mask(np.ones(99, bool))


def test_order_leads_back_to_the_table_and_is_random_inside_a_tile() -> None:
    table = _table(50_000, frame=np.arange(50_000))
    store = PointStore.build(table, tile_nm=1e6)
    np.testing.assert_array_equal(np.sort(store.order), np.arange(50_000))
    first = store.order[:5000].astype(float)
    assert abs(first.mean() - 25_000) < 4 * 50_000 / np.sqrt(12 * 5000)
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.06


def test_colours_add_up_and_missing_values_are_grey() -> None:
    table = _table(3, x_nm=[105.0] * 3, y_nm=[55.0] * 3, z_nm=[-100.0, 100.0, np.nan])
    view = View(left_nm=100, top_nm=50, pixel_size_nm=10, width_px=1, height_px=1)
    style = Style(mode="histogram", z_min_nm=-100, z_max_nm=100)
    rendered = PointStore.build(table).render(view, style, exact=True)
    scale = hue_scale("viridis")
    assert rendered.weight[0, 0] == 3
    np.testing.assert_allclose(rendered.rgb[0, 0], scale[0] + scale[-1] + 0.6, rtol=1e-5)
    np.testing.assert_array_equal(color_bar(style)[-1], np.rint(255 * scale[-1]))


def test_colour_by_a_missing_column_is_explained() -> None:
    store = PointStore.build(_table(10))
    with pytest.raises(LocalizationsError, match="track_id"):
        store.render(_view(10), Style(color="track_id"), exact=False)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("pixel_size_nm", [1.0, 20.0, 300.0])
def test_odd_tables_draw_what_they_have(pixel_size_nm: float, exact: bool) -> None:
    view = View(
        left_nm=-50 * pixel_size_nm,
        top_nm=-50 * pixel_size_nm,
        pixel_size_nm=pixel_size_nm,
        width_px=100,
        height_px=100,
    )
    same = {"x_nm": np.zeros(700), "y_nm": np.zeros(700)}
    nan = np.full(700, np.nan)
    tables = {
        "empty": (_table(0), 0),
        "one": (_table(1, x_nm=[0.0], y_nm=[0.0], sigma_x_nm=[5.0], sigma_y_nm=[5.0]), 1),
        "one place, no sigma": (_table(700, **same, sigma_x_nm=None, sigma_y_nm=None), 700),
        "2D": (_table(700, **same, z_nm=nan, sigma_x_nm=nan, sigma_y_nm=nan), 700),
        "no positions": (_table(700, x_nm=nan, y_nm=nan), 0),
        "zero sigma": (
            _table(700, **same, sigma_x_nm=np.zeros(700), sigma_y_nm=np.zeros(700)),
            700,
        ),
    }
    for name, (table, n) in tables.items():
        store = PointStore.build(table)
        assert store.n == n, name
        store.set_mask(np.ones(len(table), bool))
        rendered = store.render(view, Style(), exact=exact)
        assert rendered.weight.sum(dtype=float) == pytest.approx(n, rel=2e-3), name
        pixels = tone(rendered, suggest_gain(rendered))
        assert (pixels.max() > 0) == (n > 0), name
        assert View.fitting(store.bounds_nm, 80, 60).pixel_size_nm > 0


def test_strays_far_away_cost_neither_memory_nor_the_overview() -> None:
    table = _table(20_000)
    x, y = table.x_nm.copy(), table.y_nm.copy()
    x[:3], y[:3] = [1e9, -3e8, np.inf], [5.0, 4e9, 0.0]
    store = PointStore.build(table.replace(x_nm=x, y_nm=y))
    left, top, right, bottom = store.bounds_nm
    assert right - left < 9000
    assert bottom - top < 9000
    assert store.n == 19_999
    view = View(left_nm=1e9 - 640, top_nm=-600, pixel_size_nm=20, width_px=64, height_px=64)
    assert store.render(view, _COUNTS, exact=False).n_drawn == 1


def test_rows_in_a_box_and_in_a_polygon() -> None:
    table = _table()
    store = PointStore.build(table, tile_nm=300)
    box = (31_500.0, -1500.0, 32_750.0, 250.0)
    inside_x = (table.x_nm >= box[0]) & (table.x_nm < box[2])
    inside = inside_x & (table.y_nm >= box[1]) & (table.y_nm < box[3])
    np.testing.assert_array_equal(store.rows_in(box), np.flatnonzero(inside))
    kept = table.z_nm > 0
    store.set_mask(kept)
    np.testing.assert_array_equal(store.rows_in(box), np.flatnonzero(inside & kept))
    store.set_mask(None)
    triangle = np.array([[31_000.0, -2500.0], [35_000.0, -2500.0], [31_000.0, 1500.0]])
    below = (table.x_nm - 31_000) + (table.y_nm + 2500) < 4000
    np.testing.assert_array_equal(store.rows_in(triangle), np.flatnonzero(below))
    with pytest.raises(ConfigError, match="three corners"):
        store.rows_in(np.zeros((2, 2)))


def test_work_stops_when_asked() -> None:
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        PointStore.build(_table(), check=check)
    store = PointStore.build(_table())
    for view, exact in ((_view(100), False), (_view(8), False), (_view(8), True)):
        calls = 0
        with pytest.raises(InterruptedError):
            store.render(view, Style(), exact=exact, check=check)
        assert store.render(view, Style(), exact=exact).n_drawn > 0


def test_a_rendering_uses_one_state_of_the_filter() -> None:
    """Masks that change while another thread draws never mix."""
    table, view = _table(60_000), _view(12)
    store = PointStore.build(table, tile_nm=250)
    masks = [table.photons > limit for limit in (0.0, 1500.0, 3000.0, 4500.0)]
    allowed = {int(_brute_counts(table.take(m), view).sum()) for m in masks}
    drawn: list[Rendered] = []
    done = threading.Event()

    def draw() -> None:
        while not done.is_set() or not drawn:
            drawn.append(store.render(view, _COUNTS, exact=False))

    thread = threading.Thread(target=draw)
    thread.start()
    for i in range(200):
        store.set_mask(masks[i % 4])
    done.set()
    thread.join()
    assert {int(r.weight.sum()) for r in drawn} <= allowed


def test_brightness_is_density_per_area() -> None:
    """Zooming into an even field keeps its brightness; the gain is the caller's."""
    n = 400_000
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 8000, (2, n))
    table = _table(n, x_nm=x, y_nm=y, sigma_x_nm=np.full(n, 40.0), sigma_y_nm=np.full(n, 40.0))
    store, style = PointStore.build(table), Style(color="none", colormap="gray")
    overview = View(left_nm=2000, top_nm=2000, pixel_size_nm=40, width_px=100, height_px=100)
    gain = 0.5 / (n / 8000**2)
    levels = []
    for pixel_size_nm, exact in ((40.0, False), (20.0, True), (5.0, False), (1.0, True)):
        view = View(
            left_nm=3500, top_nm=3500, pixel_size_nm=pixel_size_nm, width_px=100, height_px=100
        )
        levels.append(float(tone(store.render(view, style, exact=exact), gain, 1.0).mean()))
    np.testing.assert_allclose(levels, 0.5 * 255, rtol=0.05)
    suggested = suggest_gain(store.render(overview, style, exact=False), 0.5)
    assert suggested == pytest.approx(8000**2 / n, rel=0.02)


def test_tone_is_mean_colour_times_brightness() -> None:
    view = View(left_nm=0, top_nm=0, pixel_size_nm=2, width_px=4, height_px=1)
    sums = np.zeros((1, 4, 4), np.float32)
    sums[0, 1] = [1, 1, 0.5, 0]  # a quarter of the white level
    sums[0, 2] = [4, 4, 2, 0]
    sums[0, 3] = [40, 40, 20, 0]
    rendered = Rendered(view=view, style=Style(), sums=sums, n_drawn=45, exact=True)
    pixels = tone(rendered, gain=1.0, gamma=0.5)
    np.testing.assert_array_equal(
        pixels[0], [[0, 0, 0], [128, 64, 0], [255, 128, 0], [255, 128, 0]]
    )


def test_a_full_disk_does_not_stop_the_first_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba keeps a kernel that it could not write to its cache."""
    failures = iter([OSError("No space left on device")] * 3)
    build = PointStore.build

    def failing(table: Localizations) -> PointStore:
        for error in failures:
            raise error
        return build(table)

    monkeypatch.setattr(PointStore, "build", failing)
    warm_up()
    assert next(failures, None) is None


@pytest.mark.parametrize("pixel_size_nm", [61.7, 30.0, 26.0, 13.3, 4.7, 1.1])
@pytest.mark.parametrize("exact", [False, True])
def test_panning_moves_the_picture_without_changing_it(pixel_size_nm: float, exact: bool) -> None:
    store = PointStore.build(_table(60_000))
    here = _view(pixel_size_nm, 80, 60)
    there = replace(here, left_nm=here.left_nm + 7 * pixel_size_nm)
    first, second = (store.render(v, Style(), exact=exact).sums for v in (here, there))
    assert first.max() > 0
    same = np.isclose(first[:, 7:], second[:, :-7], rtol=1e-3, atol=2e-4 * float(first.max()))
    # A position on the very edge of a counting cell may be rounded to either side.
    assert same.mean() > 0.998
