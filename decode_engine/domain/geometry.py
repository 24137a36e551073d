"""The pixel grid of a movie or a region of it: the only conversion between px and nm in x, y."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from decode_engine.errors import ConfigError

__all__ = ["PixelGrid", "Roi"]

ArrayLike = TypeVar("ArrayLike")


@dataclass(frozen=True, slots=True, kw_only=True)
class Roi:
    """A rectangle of whole pixels in frame coordinates: left, top, width, height."""

    x_px: int
    y_px: int
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.x_px < 0 or self.y_px < 0 or self.width_px < 1 or self.height_px < 1:
            raise ConfigError(
                f"The region {self.x_px},{self.y_px},{self.width_px},{self.height_px} is empty "
                "or starts outside the frame.",
                hint="Give x,y,width,height in pixels, counted from the top-left pixel 0,0.",
            )

    def require_inside(self, width_px: int, height_px: int) -> None:
        """Raise `ConfigError` unless the region lies inside a frame of this size."""
        if self.x_px + self.width_px > width_px or self.y_px + self.height_px > height_px:
            raise ConfigError(
                f"The region x={self.x_px}..{self.x_px + self.width_px}, "
                f"y={self.y_px}..{self.y_px + self.height_px} reaches beyond the frame of "
                f"{width_px} x {height_px} pixels.",
                hint="Choose a region inside the frame.",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelGrid:
    """Pixel size, extent and origin of a frame or of a region cut out of it.

    ``x_nm = (x_px + origin_x_px) * pixel_size_x_nm`` where ``x_px`` counts from the centre of
    the region's own left-most pixel and ``origin_x_px`` is that pixel's column in the full
    frame, so positions found in a region are positions in the frame. Likewise in y.
    """

    width_px: int
    height_px: int
    pixel_size_x_nm: float
    pixel_size_y_nm: float
    origin_x_px: int = 0
    origin_y_px: int = 0

    def __post_init__(self) -> None:
        if not (self.pixel_size_x_nm > 0 and self.pixel_size_y_nm > 0):
            raise ConfigError(
                f"The pixel size {self.pixel_size_x_nm} x {self.pixel_size_y_nm} nm is not "
                "positive.",
                hint="Give the size of a camera pixel in the sample plane, usually 80-160 nm.",
            )
        if self.width_px < 1 or self.height_px < 1:
            raise ConfigError(f"The frame of {self.width_px} x {self.height_px} px is empty.")

    def x_to_nm(self, x_px: ArrayLike) -> ArrayLike:
        """Convert columns of this grid (any array type) to nm in the full frame."""
        return (x_px + self.origin_x_px) * self.pixel_size_x_nm  # type: ignore[operator,return-value]  # arrays, tensors and floats alike

    def y_to_nm(self, y_px: ArrayLike) -> ArrayLike:
        """Convert rows of this grid to nm in the full frame."""
        return (y_px + self.origin_y_px) * self.pixel_size_y_nm  # type: ignore[operator,return-value]  # arrays, tensors and floats alike

    def x_to_px(self, x_nm: ArrayLike) -> ArrayLike:
        """Convert nm in the full frame to columns of this grid."""
        return x_nm / self.pixel_size_x_nm - self.origin_x_px  # type: ignore[operator,return-value]  # arrays, tensors and floats alike

    def y_to_px(self, y_nm: ArrayLike) -> ArrayLike:
        """Convert nm in the full frame to rows of this grid."""
        return y_nm / self.pixel_size_y_nm - self.origin_y_px  # type: ignore[operator,return-value]  # arrays, tensors and floats alike

    def crop(self, roi: Roi) -> PixelGrid:
        """Return the grid of a region of this grid."""
        roi.require_inside(self.width_px, self.height_px)
        return PixelGrid(
            width_px=roi.width_px,
            height_px=roi.height_px,
            pixel_size_x_nm=self.pixel_size_x_nm,
            pixel_size_y_nm=self.pixel_size_y_nm,
            origin_x_px=self.origin_x_px + roi.x_px,
            origin_y_px=self.origin_y_px + roi.y_px,
        )

    @property
    def area_um2(self) -> float:
        """Area of the grid in square micrometres."""
        pixel_um2 = self.pixel_size_x_nm * self.pixel_size_y_nm * 1e-6
        return self.width_px * self.height_px * pixel_um2
