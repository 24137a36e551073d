"""What part of the sample a canvas shows: zooming, panning, scale bar; without Qt.

A view maps the canvas to the sample: its left and top edges in nm and the size of one
(logical) pixel. x runs to the right and y downwards, as in every image of this app.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

__all__ = [
    "FINEST_PIXEL_NM",
    "Bounds",
    "ColorScale",
    "Overlays",
    "Placement",
    "PointNm",
    "ViewTransform",
    "format_length",
    "format_number",
    "scale_bar_nm",
]

FINEST_PIXEL_NM = 0.05  # deeper zooms show nothing but the width of one Gaussian
_FIT_MARGIN = 1.04  # a little black around the field, so that its border can be seen
_FARTHEST = 4.0  # zooming out ends where the field is a quarter of the canvas


class Bounds(NamedTuple):
    """A rectangle in the sample, nm."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Extent along x, nm."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Extent along y, nm."""
        return self.bottom - self.top

    @classmethod
    def spanned(cls, start: PointNm, end: PointNm) -> Bounds:
        """Return the rectangle with two opposite corners, whichever way it was drawn."""
        return cls(
            min(start.x, end.x), min(start.y, end.y), max(start.x, end.x), max(start.y, end.y)
        )


class PointNm(NamedTuple):
    """A point in the sample, nm."""

    x: float
    y: float


class Placement(NamedTuple):
    """Where an image lies in the sample: outer edges of its pixel (0, 0) and pixel size, nm."""

    left_nm: float
    top_nm: float
    pixel_size_nm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ColorScale:
    """What the colours of a picture mean.

    Attributes
    ----------
    colors : tuple of (red, green, blue), 0 to 255
        From the low to the high end.
    low, high : float
        Values at the ends.
    label : str
        Quantity and unit, for example "z (nm)".
    """

    colors: tuple[tuple[int, int, int], ...]
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlays:
    """What is drawn over a picture."""

    scale_bar: bool = True
    color_scale: ColorScale | None = None
    box: Bounds | None = None
    line: tuple[PointNm, PointNm] | None = None
    field: Bounds | None = None
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewTransform:
    """The part of the sample that a canvas of ``width_px`` x ``height_px`` shows."""

    left_nm: float = 0.0
    top_nm: float = 0.0
    pixel_size_nm: float = 100.0
    width_px: int = 1
    height_px: int = 1

    @classmethod
    def fitting(cls, bounds: Bounds, width_px: int, height_px: int) -> Self:
        """Return the view that shows the whole field in the middle of the canvas."""
        wide, high = max(bounds.width, 1.0), max(bounds.height, 1.0)
        pixel = _FIT_MARGIN * max(wide / max(width_px, 1), high / max(height_px, 1))
        pixel = max(pixel, FINEST_PIXEL_NM)
        return cls(
            left_nm=0.5 * (bounds.left + bounds.right) - 0.5 * pixel * width_px,
            top_nm=0.5 * (bounds.top + bounds.bottom) - 0.5 * pixel * height_px,
            pixel_size_nm=pixel,
            width_px=width_px,
            height_px=height_px,
        )

    @property
    def bounds(self) -> Bounds:
        """What is in view, nm."""
        return Bounds(
            self.left_nm,
            self.top_nm,
            self.left_nm + self.width_px * self.pixel_size_nm,
            self.top_nm + self.height_px * self.pixel_size_nm,
        )

    @property
    def placement(self) -> Placement:
        """Where an image lies that has one pixel for each pixel of the canvas."""
        return Placement(self.left_nm, self.top_nm, self.pixel_size_nm)

    def to_nm(self, x_px: float, y_px: float) -> PointNm:
        """Return the point of the sample under a point of the canvas."""
        return PointNm(
            self.left_nm + x_px * self.pixel_size_nm, self.top_nm + y_px * self.pixel_size_nm
        )

    def to_px(self, x_nm: float, y_nm: float) -> tuple[float, float]:
        """Return where on the canvas a point of the sample lies."""
        return (
            (x_nm - self.left_nm) / self.pixel_size_nm,
            (y_nm - self.top_nm) / self.pixel_size_nm,
        )

    def panned(self, right_px: float, down_px: float) -> Self:
        """Return the view after the picture was pushed by some pixels."""
        return replace(
            self,
            left_nm=self.left_nm - right_px * self.pixel_size_nm,
            top_nm=self.top_nm - down_px * self.pixel_size_nm,
        )

    def zoomed(self, factor: float, x_px: float, y_px: float) -> Self:
        """Return the view magnified by ``factor``; the point under (x_px, y_px) stays there."""
        fixed = self.to_nm(x_px, y_px)
        pixel = max(self.pixel_size_nm / factor, FINEST_PIXEL_NM)
        return replace(
            self,
            left_nm=fixed.x - x_px * pixel,
            top_nm=fixed.y - y_px * pixel,
            pixel_size_nm=pixel,
        )

    def resized(self, width_px: int, height_px: int) -> Self:
        """Return the view of a larger or smaller canvas with the same middle."""
        middle = self.to_nm(0.5 * self.width_px, 0.5 * self.height_px)
        return replace(
            self,
            left_nm=middle.x - 0.5 * width_px * self.pixel_size_nm,
            top_nm=middle.y - 0.5 * height_px * self.pixel_size_nm,
            width_px=width_px,
            height_px=height_px,
        )

    def within(self, field: Bounds) -> Self:
        """Return the nearest view in which nobody is lost.

        Its middle lies in the field, and the field is not smaller than a quarter of the canvas.
        """
        fit = type(self).fitting(field, self.width_px, self.height_px)
        pixel = min(self.pixel_size_nm, _FARTHEST * fit.pixel_size_nm)
        middle = self.to_nm(0.5 * self.width_px, 0.5 * self.height_px)
        x = min(max(middle.x, field.left), field.right)
        y = min(max(middle.y, field.top), field.bottom)
        return replace(
            self,
            left_nm=x - 0.5 * self.width_px * pixel,
            top_nm=y - 0.5 * self.height_px * pixel,
            pixel_size_nm=pixel,
        )

    def scaled(self, ratio: float) -> Self:
        """Return the same part of the sample with ``ratio`` times as many pixels each way."""
        return replace(
            self,
            pixel_size_nm=self.pixel_size_nm / ratio,
            width_px=max(1, round(self.width_px * ratio)),
            height_px=max(1, round(self.height_px * ratio)),
        )


def scale_bar_nm(view_width_nm: float) -> float:
    """Return a round length (1, 2 or 5 times a power of ten), a fifth of the view at most."""
    target = 0.2 * view_width_nm
    if not (math.isfinite(target) and target > 0):
        return 0.0
    power = 10.0 ** math.floor(math.log10(target))
    return max(step * power for step in (0.5, 1.0, 2.0, 5.0) if step * power <= target * 1.000001)


def format_length(nm: float) -> str:
    """Return a length in words: nm, µm from 1000 nm on, mm from 1000 µm on."""
    size = abs(nm)
    if size >= 1e6:
        return f"{nm / 1e6:.4g} mm"
    if size >= 1e3:
        return f"{nm / 1e3:.4g} µm"
    return f"{nm:.3g} nm"


def format_number(value: float) -> str:
    """Return a number with at most four digits that count, large ones with commas."""
    if not math.isfinite(value):
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.4g}"
