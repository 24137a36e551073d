"""Charts of the report picture: points land where their values say."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from decode_engine.io.charts import Box, Chart, Curve, draw_chart, nice_ticks

RED = (255, 0, 0)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (-1000, 1000, [-1000, -500, 0, 500, 1000]),
        (0.11, 0.29, [0.15, 0.2, 0.25]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert nice_ticks(low, high) == pytest.approx(expected)


def red_pixels(chart: Chart) -> tuple[np.ndarray, np.ndarray]:
    image = Image.new("RGB", (500, 400), "white")
    draw_chart(ImageDraw.Draw(image), Box(0, 0, 500, 400), chart)
    rows, cols = np.nonzero((np.asarray(image) == RED).all(axis=2))
    return rows, cols


def test_points_keep_their_order_in_both_directions() -> None:
    """The plot area of a 500 x 400 box spans columns 56..484 and rows 30..348."""
    point = Curve(x=np.array([2.5]), y=np.array([7.5]), color=RED, joined=False)
    chart = Chart(title="t", x_label="x", x_range=(0, 10), y_range=(0, 10), curves=(point,))
    rows, cols = red_pixels(chart)
    assert cols.mean() == pytest.approx(56 + 0.25 * 428, abs=1)
    assert rows.mean() == pytest.approx(348 - 0.75 * 318, abs=1)


def test_points_outside_the_ranges_are_left_out() -> None:
    away = Curve(x=np.array([-1.0, 5.0]), y=np.array([5.0, 50.0]), color=RED, joined=False)
    chart = Chart(title="t", x_label="x", x_range=(0, 10), y_range=(0, 10), curves=(away,))
    assert red_pixels(chart)[0].size == 0
