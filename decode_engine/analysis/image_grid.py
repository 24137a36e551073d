"""The pixels of a rendered image and where they lie.

Orientation: x runs to the right, y downwards; arrays are (y, x). The image pixel (row r,
column c) covers ``left + c p <= x < left + (c + 1) p`` and likewise in y with ``top``: left and
top are outer edges, so that the *centre* of image pixel (0, 0) lies at ``left + p / 2``. (In the
camera's own coordinates, (0, 0) nm is the centre of the camera's top-left pixel.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError

__all__ = ["ImageGrid"]

_FINEST_NM = 0.1  # a view of a single point needs some width
_MOST_PIXELS = 1 << 27  # 134 Mpx: 2 GB of double-precision sums with z


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageGrid:
    """Pixels of a rendered image; ``left_nm`` and ``top_nm`` are the outer edges of pixel (0, 0).

    Parameters
    ----------
    left_nm, top_nm : float, nm
        Edges of the field.
    pixel_size_nm : float, nm
        Width and height of an image pixel.
    width_px, height_px : int
        Size of the image.
    """

    left_nm: float
    top_nm: float
    pixel_size_nm: float
    width_px: int
    height_px: int

    def __post_init__(self) -> None:
        if self.width_px * self.height_px > _MOST_PIXELS:
            raise ConfigError(
                f"An image of {self.width_px} x {self.height_px} pixels is too large.",
                hint="Choose larger pixels or a smaller field.",
            )

    @classmethod
    def covering(
        cls, field_nm: tuple[float, float, float, float], pixel_size_nm: float
    ) -> ImageGrid:
        """Return the smallest grid over left, top, right, bottom (nm)."""
        left, top, right, bottom = field_nm
        if not (right > left and bottom > top):
            raise ConfigError(
                f"The field {left:g},{top:g},{right:g},{bottom:g} nm is empty.",
                hint="Give left, top, right, bottom with right > left and bottom > top.",
            )
        # The small number forgives the rounding of widths that are whole multiples.
        return cls(
            left_nm=left,
            top_nm=top,
            pixel_size_nm=pixel_size_nm,
            width_px=max(1, math.ceil((right - left) / pixel_size_nm - 1e-6)),
            height_px=max(1, math.ceil((bottom - top) / pixel_size_nm - 1e-6)),
        )

    @classmethod
    def around(cls, localizations: Localizations, pixel_size_nm: float) -> ImageGrid:
        """Return the grid over all localizations, its edges on multiples of the pixel size."""
        if not len(localizations):
            return cls.covering((0.0, 0.0, pixel_size_nm, pixel_size_nm), pixel_size_nm)
        first, last = (
            [
                math.floor(float(end(v)) / pixel_size_nm)
                for v in (localizations.x_nm, localizations.y_nm)
            ]
            for end in (np.min, np.max)
        )
        return cls(
            left_nm=first[0] * pixel_size_nm,
            top_nm=first[1] * pixel_size_nm,
            pixel_size_nm=pixel_size_nm,
            width_px=last[0] - first[0] + 1,
            height_px=last[1] - first[1] + 1,
        )

    @classmethod
    def fitting(
        cls, bounds_nm: tuple[float, float, float, float], width_px: int, height_px: int
    ) -> ImageGrid:
        """Return the view of that size, centred, that shows all of left, top, right, bottom."""
        left, top, right, bottom = bounds_nm
        pixel = max((right - left) / width_px, (bottom - top) / height_px, _FINEST_NM)
        return cls(
            left_nm=0.5 * (left + right - width_px * pixel),
            top_nm=0.5 * (top + bottom - height_px * pixel),
            pixel_size_nm=pixel,
            width_px=width_px,
            height_px=height_px,
        )

    @property
    def right_nm(self) -> float:
        """Return the outer edge of the last column."""
        return self.left_nm + self.width_px * self.pixel_size_nm

    @property
    def bottom_nm(self) -> float:
        """Return the outer edge of the last row."""
        return self.top_nm + self.height_px * self.pixel_size_nm

    @property
    def shape(self) -> tuple[int, int]:
        """Return (height, width) in pixels."""
        return self.height_px, self.width_px

    def x_to_px(self, x_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert x to image columns; 0 is the centre of the left-most pixel."""
        return (x_nm - self.left_nm) / self.pixel_size_nm - 0.5

    def y_to_px(self, y_nm: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert y to image rows; 0 is the centre of the top-most pixel."""
        return (y_nm - self.top_nm) / self.pixel_size_nm - 0.5
