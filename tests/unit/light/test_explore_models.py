from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from app.models.explore_filters import (
    FILTER_FIELDS,
    MaskCache,
    cuts_of,
    histogram_of,
    present_fields,
    with_cuts,
)
from app.models.explore_look import (
    Look,
    available_sources,
    color_scale,
    look_from_config,
    look_to_config,
    maps_for,
    robust_range,
    style_of,
)
from app.models.explore_memory import (
    look_from_json,
    look_to_json,
    view_from_json,
    view_to_json,
)
from app.models.explore_view import ViewTransform
from app.models.projection import Camera, Cloud, box_edges, draw_cloud, rotation
from decode_engine.analysis.filtering import FilterSpec
from decode_engine.contract.configs import FilterConfig, FilterRange, RenderConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray

N = 5000
FIELDS = {field.key: field for field in FILTER_FIELDS}


def table(**missing: None) -> Localizations:
    rng = np.random.default_rng(0)
    names = ("x_nm", "y_nm", "z_nm", "photons", "background", "sigma_x_nm", "sigma_y_nm")
    columns = {n: rng.uniform(0, 100, N).astype(np.float32) for n in names if n not in missing}
    return Localizations(frame=np.arange(N, dtype=np.int32), **columns)


def test_cuts_are_the_projects_filters() -> None:
    other = FilterConfig(ranges=(FilterRange(column="background", high=50.0),))
    config = with_cuts(other, FIELDS["sigma_lateral"], -math.inf, 20.0)
    assert {(r.column, r.low, r.high) for r in config.ranges} == {
        ("background", None, 50.0),
        ("sigma_x_nm", None, 20.0),
        ("sigma_y_nm", None, 20.0),
    }
    assert cuts_of(config, FIELDS["sigma_lateral"]) == (-math.inf, 20.0)
    assert with_cuts(config, FIELDS["sigma_lateral"], -math.inf, math.inf) == other


def test_masks_agree_with_a_plain_comparison_whichever_range_moves() -> None:
    localizations = table()
    masks = MaskCache(localizations)
    config = FilterConfig()
    assert masks.mask(config) is None
    for low, high in ((10.0, 90.0), (20.0, 90.0), (20.0, 60.0)):
        config = with_cuts(config, FIELDS["photons"], low, high)
        config = with_cuts(config, FIELDS["sigma_lateral"], -math.inf, high)
        wanted = (localizations.photons >= low) & (localizations.photons <= high)
        for sigma in (localizations.sigma_x_nm, localizations.sigma_y_nm):
            assert sigma is not None
            wanted &= sigma <= high
        kept = masks.mask(config)
        assert kept is not None
        np.testing.assert_array_equal(kept, wanted)


def test_a_mask_that_was_given_away_does_not_change() -> None:
    masks = MaskCache(table())
    first = with_cuts(FilterConfig(), FIELDS["photons"], 50.0, math.inf)
    kept = masks.mask(first)
    assert kept is not None
    before = kept.copy()
    masks.mask(with_cuts(first, FIELDS["z"], 0.0, 10.0))
    np.testing.assert_array_equal(kept, before)


def test_masks_may_be_asked_for_by_two_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Regression: newer filters threw away the ranges that older ones were still computing."""
    masks, plain = MaskCache(table()), FilterSpec.mask
    first = with_cuts(FilterConfig(), FIELDS["photons"], 50.0, math.inf)
    both = with_cuts(first, FIELDS["z"], 0.0, 60.0)
    wanted = MaskCache(table()).mask(both)
    newer = [with_cuts(FilterConfig(), FIELDS["frame"], 10.0, 20.0)]

    def interrupted(spec: FilterSpec, rows: Localizations) -> BoolArray:
        if spec.ranges[0].column == "z_nm" and newer:
            masks.mask(newer.pop())
        return plain(spec, rows)

    monkeypatch.setattr(FilterSpec, "mask", interrupted)
    kept = masks.mask(both)
    assert kept is not None
    assert wanted is not None
    np.testing.assert_array_equal(kept, wanted)


def test_filters_of_columns_that_are_missing_do_not_apply() -> None:
    config = FilterConfig(ranges=(FilterRange(column="probability", low=0.5),))
    assert MaskCache(table()).mask(config) is None


def test_only_what_the_table_has_is_offered() -> None:
    flat = table().replace(z_nm=np.full(N, np.nan, np.float32))
    assert [f.key for f in present_fields(flat)] == ["photons", "sigma_lateral", "frame"]
    assert "z" not in available_sources(flat)
    assert available_sources(table()) == ("z", "photons", "sigma", "frame", "none")


def test_histograms_count_all_and_what_is_shown() -> None:
    localizations = table()
    kept = localizations.photons > 50
    histogram = histogram_of(localizations, FIELDS["photons"], kept)
    assert histogram.shown is not None
    assert histogram.counts.sum() == pytest.approx(N, rel=0.01)
    assert histogram.shown.sum() == pytest.approx(kept.sum(), rel=0.01)
    assert not histogram.shown[histogram.edges[1:] < 49].any()


def test_a_constant_column_has_a_histogram() -> None:
    constant = table().replace(photons=np.full(N, 7.0, np.float32))
    assert histogram_of(constant, FIELDS["photons"], None).counts.sum() == N


def test_a_look_survives_the_project() -> None:
    look = Look(color_by="photons", low=5.0, drawing="histogram", gamma=0.5, colormap="plasma")
    assert look_from_json(look_to_json(look)) == look
    config = look_to_config(Look(low=-200.0, high=100.0, colormap="cividis"), RenderConfig())
    assert (config.color, config.z_min_nm, config.colormap) == ("z", -200.0, "cividis")
    assert look_from_config(config, Look()) == Look(low=-200.0, high=100.0, colormap="cividis")


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"color_by": "smell"},
        {"drawing": 3},
        {"colormap": None},
        {"gamma": 0},
        {"brightness": -1},
    ],
)
def test_a_look_that_cannot_be_is_forgotten(value: object) -> None:
    assert look_from_json(value) is None  # type: ignore[arg-type]


def test_values_of_another_version_are_left_out() -> None:
    assert look_from_json({"gamma": "bright", "sparkle": 3, "low": 4.0}) == Look(low=4.0)


def test_a_view_is_remembered_for_its_table() -> None:
    view = ViewTransform(left_nm=100, top_nm=50, pixel_size_nm=2, width_px=200, height_px=100)
    saved = view_from_json(view_to_json("a.h5", view, whole=False), "a.h5")
    assert saved is not None
    assert saved.middle == (300.0, 150.0)
    assert saved.pixel_size_nm == 2.0
    assert view_from_json(view_to_json("a.h5", view, whole=False), "b.h5") is None
    assert view_from_json(view_to_json("a.h5", view, whole=True), "a.h5") is None
    assert view_from_json({"path": "a.h5", "x_nm": "far"}, "a.h5") is None


def test_open_ends_of_the_colours_come_from_the_data() -> None:
    style = style_of(Look(low=-50.0), (-300.0, 400.0))
    assert (style.z_min_nm, style.z_max_nm) == (-50.0, 400.0)
    crossed = style_of(Look(low=900.0), (-300.0, 400.0))
    assert crossed.z_min_nm < crossed.z_max_nm
    scale = color_scale(style)
    assert scale is not None
    assert (scale.low, scale.high, scale.label) == (-50.0, 400.0, "z (nm)")
    assert color_scale(style_of(Look().colored_by("none"), (0.0, 1.0))) is None


def test_another_quantity_gets_its_own_range_and_a_map_that_suits() -> None:
    look = replace(Look(colormap="plasma"), low=1.0, high=2.0)
    assert look.colored_by("frame") == replace(look, color_by="frame", low=None, high=None)
    assert look.colored_by("none").colormap in maps_for("none")


def test_ranges_are_round_and_hold_most_values() -> None:
    values = np.random.default_rng(1).normal(0, 100, 10_000)
    values[:50] = np.nan
    low, high = robust_range(values)
    assert low < np.nanpercentile(values, 1.5)
    assert high > np.nanpercentile(values, 98.5)
    assert low == round(low / 10) * 10
    assert robust_range(np.full(5, np.nan)) == (0.0, 1.0)
    assert robust_range(np.full(5, 3.0)) == (2.5, 3.5)


def points(*xyz: tuple[float, float, float]) -> Cloud:
    return Cloud(np.array(xyz, np.float32), np.full((len(xyz), 3), 200, np.uint8))


def test_from_above_the_cloud_looks_like_the_picture() -> None:
    camera = Camera(azimuth_deg=0.0, elevation_deg=90.0, pixel_size_nm=10.0)
    np.testing.assert_allclose(rotation(camera), np.eye(3), atol=1e-6)
    image = draw_cloud(points((105.0, 55.0, 300.0)), camera, (100, 80), soft_px=0.0)
    row, column = np.argwhere(image.any(axis=-1))[0]
    assert (row, column) == (40 + 5, 50 + 10)


def test_from_the_side_height_points_up() -> None:
    camera = Camera(azimuth_deg=0.0, elevation_deg=0.0, pixel_size_nm=10.0)
    image = draw_cloud(points((5.0, 5.0, 205.0)), camera, (100, 80), soft_px=0.0)
    row, _ = np.argwhere(image.any(axis=-1))[0]
    assert row < 40 - 18
    tall = replace(camera, z_stretch=1.5)
    image = draw_cloud(points((5.0, 5.0, 205.0)), tall, (100, 80), soft_px=0.0)
    assert np.argwhere(image.any(axis=-1))[0][0] < 40 - 28


def test_no_point_leaves_the_view_while_it_turns() -> None:
    rng = np.random.default_rng(0)
    cloud = Cloud(
        rng.uniform(-1, 1, (500, 3)).astype(np.float32) * [500, 300, 200],
        np.full((500, 3), 9, np.uint8),
    )
    camera = Camera().fitted(cloud.radius_nm, 120, 90)
    for azimuth in range(0, 360, 30):
        turned = replace(camera, azimuth_deg=float(azimuth))
        place = cloud.xyz_nm @ rotation(turned)[:2].T / turned.pixel_size_nm
        assert np.abs(place).max() < 45.0
    edges = box_edges(cloud, camera)
    assert edges.shape == (12, 2, 2)


def test_soft_points_keep_their_place_and_colour() -> None:
    cloud = Cloud(
        np.array([[-205.0, 5.0, 0.0], [105.0, 55.0, 0.0]], np.float32),
        np.array([[250, 0, 0], [0, 0, 250]], np.uint8),
    )
    camera = Camera(azimuth_deg=0.0, elevation_deg=90.0, pixel_size_nm=10.0)
    image = draw_cloud(cloud, camera, (100, 80), soft_px=1.5).astype(float)
    for channel, (row, column) in ((0, (40, 29)), (2, (45, 60))):
        weight = image[..., channel]
        rows, columns = np.indices(weight.shape)
        assert (rows * weight).sum() / weight.sum() == pytest.approx(row, abs=0.2)
        assert (columns * weight).sum() / weight.sum() == pytest.approx(column, abs=0.2)
    assert not image[..., 1].any()


def test_an_empty_cloud_is_black() -> None:
    empty = Cloud(np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    assert not draw_cloud(empty, Camera(), (20, 10), soft_px=1.0).any()
