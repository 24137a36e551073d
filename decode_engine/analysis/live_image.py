"""A picture that grows while localizations arrive: sums that only ever get more."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from decode_engine.analysis.coloring import (
    DEFAULT_BRIGHTNESS_MAP,
    DEFAULT_Z_MAP,
    Rgb,
    brightness,
    color_by_brightness,
    color_by_z,
)
from decode_engine.analysis.hues import hue_scale
from decode_engine.analysis.rendering import ImageGrid
from decode_engine.domain.localizations import Localizations

__all__ = ["LiveImage"]

_CONTRAST_QUANTILE = 0.98
_GAMMA = 0.7
_LEAST = 1e-6  # below, a blurred count is empty
_BLUR_PX = 0.7  # single counts would be lost between the pixels of a screen


class LiveImage:
    """Counts and mean z for each pixel of a fixed field.

    Parameters
    ----------
    grid : ImageGrid
        Field and pixel size; fixed, so that the picture does not jump while it fills.
    """

    def __init__(self, grid: ImageGrid) -> None:
        self.grid = grid
        self.n_drawn = 0
        self._count = np.zeros(grid.width_px * grid.height_px, np.float64)
        self._z_sum = np.zeros_like(self._count)
        self._z_ends: tuple[float, float] | None = None

    def add(self, localizations: Localizations) -> None:
        """Draw more localizations; those outside the field do not count."""
        grid = self.grid
        x_px = np.floor(grid.x_to_px(localizations.x_nm.astype(np.float64)) + 0.5)
        y_px = np.floor(grid.y_to_px(localizations.y_nm.astype(np.float64)) + 0.5)
        inside = (x_px >= 0) & (x_px < grid.width_px) & (y_px >= 0) & (y_px < grid.height_px)
        index = (y_px[inside] * grid.width_px + x_px[inside]).astype(np.int64)
        z_nm = np.nan_to_num(localizations.z_nm[inside].astype(np.float64))
        size = self._count.size
        self._count += np.bincount(index, minlength=size)
        self._z_sum += np.bincount(index, weights=z_nm, minlength=size)
        self.n_drawn += index.size
        if self._z_ends is None and index.size >= 2:
            low, high = np.percentile(z_nm, [1, 99])  # equal in 2D, where z is NaN
            if high > low:  # frozen: colours must not change while the picture fills
                self._z_ends = (float(low), float(high))

    @property
    def z_ends_nm(self) -> tuple[float, float] | None:
        """Ends of the colour scale; None in 2D or before anything was drawn."""
        return self._z_ends

    def picture(self) -> Rgb:
        """Return the picture as it is now, (height, width, 3) uint8."""
        shape = self.grid.shape
        density = _blurred(self._count.reshape(shape))
        value = brightness(density, quantile=_CONTRAST_QUANTILE, gamma=_GAMMA)
        if self._z_ends is None:
            return color_by_brightness(value, DEFAULT_BRIGHTNESS_MAP)
        mean_z = _blurred(self._z_sum.reshape(shape))
        mean_z /= np.maximum(density, np.float32(_LEAST))
        return color_by_z(value, mean_z, hue_scale(DEFAULT_Z_MAP), *self._z_ends)


def _blurred(sums: NDArray[np.float64]) -> NDArray[np.float32]:
    return np.asarray(gaussian_filter(sums.astype(np.float32), _BLUR_PX), np.float32)
