"""Plain line and point charts drawn with Pillow, for report pictures without a plot library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import ImageDraw, ImageFont

__all__ = ["Box", "Chart", "Color", "Curve", "draw_chart", "font", "nice_ticks"]

Color: TypeAlias = tuple[int, int, int]

_INK: Color = (40, 40, 40)
_GRID: Color = (225, 225, 225)
_FONT_PX = 15


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of the picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Points of one series; ``name`` appears in the legend unless it is empty."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    color: Color
    name: str = ""
    joined: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """What a chart shows; points outside ``x_range`` or ``y_range`` are left out."""

    title: str
    x_label: str
    x_range: tuple[float, float]
    y_range: tuple[float, float]
    curves: tuple[Curve, ...]


def font(size_px: int = _FONT_PX) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Return Pillow's own font, which is there on every system."""
    return ImageFont.load_default(size_px)


def nice_ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Return about ``count`` round values between low and high."""
    raw = (high - low) / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(s * power for s in (1.0, 2.0, 5.0, 10.0) if s * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [k * step for k in range(first, last + 1)]


def draw_chart(draw: ImageDraw.ImageDraw, box: Box, chart: Chart) -> None:
    """Draw axes, ticks, legend and curves into a box."""
    plot = Box(box.left + 56, box.top + 30, box.width - 72, box.height - 82)
    draw.text((box.left + 56, box.top + 4), chart.title, fill=_INK, font=font(16))
    for value in nice_ticks(*chart.x_range):
        x = _place(value, chart.x_range, plot.left, plot.width)
        draw.line((x, plot.top, x, plot.top + plot.height), fill=_GRID)
        place = (x, plot.top + plot.height + 10)
        draw.text(place, f"{value:g}", fill=_INK, font=font(), anchor="mt")
    for value in nice_ticks(*chart.y_range):
        y = _place(value, chart.y_range, plot.top + plot.height, -plot.height)
        draw.line((plot.left, y, plot.left + plot.width, y), fill=_GRID)
        draw.text((plot.left - 6, y), f"{value:g}", fill=_INK, font=font(), anchor="rm")
    for curve in chart.curves:
        _draw_curve(draw, plot, chart, curve)
    corners = (plot.left, plot.top, plot.left + plot.width, plot.top + plot.height)
    draw.rectangle(corners, outline=_INK)
    middle = (plot.left + plot.width / 2, plot.top + plot.height + 30)
    draw.text(middle, chart.x_label, fill=_INK, font=font(), anchor="mt")
    _draw_legend(draw, plot, chart.curves)


def _place(value: float, limits: tuple[float, float], start: int, length: int) -> float:
    return start + length * (value - limits[0]) / (limits[1] - limits[0])


def _draw_curve(draw: ImageDraw.ImageDraw, plot: Box, chart: Chart, curve: Curve) -> None:
    inside = (
        (curve.x >= chart.x_range[0])
        & (curve.x <= chart.x_range[1])
        & (curve.y >= chart.y_range[0])
        & (curve.y <= chart.y_range[1])
    )
    points = [
        (
            _place(float(x), chart.x_range, plot.left, plot.width),
            _place(float(y), chart.y_range, plot.top + plot.height, -plot.height),
        )
        for x, y in zip(curve.x[inside], curve.y[inside], strict=True)
    ]
    if curve.joined and len(points) > 1:
        draw.line(points, fill=curve.color, width=2)
    if not curve.joined:
        for x, y in points:
            draw.ellipse((x - 1.5, y - 1.5, x + 1.5, y + 1.5), fill=curve.color)


def _draw_legend(draw: ImageDraw.ImageDraw, plot: Box, curves: Sequence[Curve]) -> None:
    x = plot.left + plot.width - 10
    for curve in reversed([c for c in curves if c.name]):
        draw.text((x, plot.top + 8), curve.name, fill=curve.color, font=font(16), anchor="rt")
        x -= round(font(16).getlength(curve.name)) + 14
