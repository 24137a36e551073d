from __future__ import annotations

import math
from dataclasses import replace

import pytest

from app.models.explore_view import (
    FINEST_PIXEL_NM,
    Bounds,
    PointNm,
    ViewTransform,
    format_length,
    format_number,
    scale_bar_nm,
)

VIEW = ViewTransform(left_nm=-500.0, top_nm=250.0, pixel_size_nm=12.5, width_px=640, height_px=480)
FIELD = Bounds(1000.0, 2000.0, 21_000.0, 12_000.0)


def test_points_go_there_and_back() -> None:
    assert VIEW.to_nm(0, 0) == (-500.0, 250.0)
    assert VIEW.to_nm(640, 480) == (VIEW.bounds.right, VIEW.bounds.bottom)
    assert VIEW.to_px(*VIEW.to_nm(123.25, 7.5)) == pytest.approx((123.25, 7.5))


@pytest.mark.parametrize("factor", [0.2, 1.2, 7.0])
def test_zooming_keeps_what_is_under_the_cursor(factor: float) -> None:
    zoomed = VIEW.zoomed(factor, 600.0, 17.0)
    assert zoomed.to_nm(600.0, 17.0) == pytest.approx(VIEW.to_nm(600.0, 17.0))
    assert zoomed.pixel_size_nm == pytest.approx(12.5 / factor)


def test_zooming_in_ends() -> None:
    view = VIEW
    for _ in range(100):
        view = view.zoomed(3.0, 320.0, 240.0)
    assert view.pixel_size_nm == FINEST_PIXEL_NM
    assert view.to_nm(320.0, 240.0) == pytest.approx(VIEW.to_nm(320.0, 240.0))


def test_the_picture_follows_the_hand() -> None:
    pushed = VIEW.panned(30.0, -12.0)
    assert pushed.to_px(*VIEW.to_nm(100.0, 100.0)) == pytest.approx((130.0, 88.0))


def test_fitting_shows_the_whole_field_in_the_middle() -> None:
    view = ViewTransform.fitting(FIELD, 800, 600)
    left, top = view.to_px(FIELD.left, FIELD.top)
    right, bottom = view.to_px(FIELD.right, FIELD.bottom)
    assert 0 < left < 20
    assert top > 0
    assert left == pytest.approx(800 - right)
    assert top == pytest.approx(600 - bottom)


def test_a_field_without_extent_can_be_shown() -> None:
    view = ViewTransform.fitting(Bounds(5.0, 5.0, 5.0, 5.0), 800, 600)
    assert view.pixel_size_nm >= FINEST_PIXEL_NM
    assert view.to_nm(400, 300) == pytest.approx((5.0, 5.0))


def test_nobody_gets_lost() -> None:
    far = replace(VIEW, left_nm=1e7, top_nm=-1e8, pixel_size_nm=1e5).within(FIELD)
    middle = far.to_nm(0.5 * far.width_px, 0.5 * far.height_px)
    assert middle == pytest.approx((FIELD.right, FIELD.top))
    assert far.pixel_size_nm == pytest.approx(
        4 * ViewTransform.fitting(FIELD, 640, 480).pixel_size_nm
    )
    inside = replace(VIEW, left_nm=5000.0, top_nm=5000.0)
    assert inside.within(FIELD) == inside


def test_resizing_keeps_the_middle() -> None:
    wide = VIEW.resized(1000, 200)
    assert wide.to_nm(500, 100) == pytest.approx(VIEW.to_nm(320, 240))
    assert wide.pixel_size_nm == VIEW.pixel_size_nm


def test_more_pixels_show_the_same() -> None:
    fine = VIEW.scaled(2.0)
    assert (fine.width_px, fine.height_px) == (1280, 960)
    assert fine.bounds == pytest.approx(VIEW.bounds)


@pytest.mark.parametrize("width_nm", [0.7, 3.0, 48.0, 999.0, 12_345.0, 7e7])
def test_scale_bars_are_round_and_fit(width_nm: float) -> None:
    length = scale_bar_nm(width_nm)
    assert 0.05 * width_nm < length <= 0.2 * width_nm * 1.0001
    mantissa = length / 10 ** math.floor(math.log10(length * 1.0000001))
    assert min(abs(mantissa - m) for m in (1.0, 2.0, 5.0)) < 1e-6


def test_a_scale_bar_of_nothing_is_nothing() -> None:
    assert scale_bar_nm(0.0) == 0.0
    assert scale_bar_nm(math.inf) == 0.0


def test_boxes_can_be_drawn_any_way() -> None:
    assert Bounds.spanned(PointNm(5, 1), PointNm(2, 9)) == (2, 1, 5, 9)


@pytest.mark.parametrize(
    ("nm", "words"),
    [(5, "5 nm"), (0.5, "0.5 nm"), (1000, "1 µm"), (2500, "2.5 µm"), (3e6, "3 mm")],
)
def test_lengths_in_words(nm: float, words: str) -> None:
    assert format_length(nm) == words


def test_numbers_in_words() -> None:
    assert format_number(1234567.0) == "1,234,567"
    assert format_number(0.123456) == "0.1235"
    assert format_number(math.nan) == "-"
