"""A quick picture of a whole table: counts coloured by mean z; without Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.models.explore_view import ColorScale, Placement
from decode_engine.analysis.coloring import DEFAULT_Z_MAP
from decode_engine.analysis.hues import hue_scale
from decode_engine.analysis.live_image import LiveImage
from decode_engine.analysis.rendering import ImageGrid
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray

__all__ = ["WholePicture", "picture_of", "picture_pixel_nm", "whole_picture"]

_SIDE_PX = 600  # of the picture's longer side, about what a page has room for
_FINEST_NM = 10.0
_ROWS_AT_ONCE = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class WholePicture:
    """Pixels (H, W, 3) uint8, where they lie, what the colours mean, how many were drawn."""

    rgb: NDArray[np.uint8]
    placement: Placement
    scale: ColorScale | None
    n_drawn: int


def picture_pixel_nm(width_nm: float, height_nm: float) -> float:
    """Return a pixel size with which the field becomes a picture for the screen."""
    return max(_FINEST_NM, float(np.ceil(max(width_nm, height_nm) / _SIDE_PX)))


def picture_of(image: LiveImage) -> WholePicture:
    """Return the picture of the sums so far."""
    grid, ends = image.grid, image.z_ends_nm
    scale = None
    if ends is not None:
        colors = np.rint(255 * hue_scale(DEFAULT_Z_MAP)).astype(int)
        scale = ColorScale(
            colors=tuple((int(r), int(g), int(b)) for r, g, b in colors),
            low=round(ends[0]),
            high=round(ends[1]),
            label="z (nm)",
        )
    return WholePicture(
        rgb=image.picture(),
        placement=Placement(grid.left_nm, grid.top_nm, grid.pixel_size_nm),
        scale=scale,
        n_drawn=image.n_drawn,
    )


def whole_picture(
    table: Localizations, chosen: BoolArray, check: Callable[[], None] = lambda: None
) -> WholePicture | None:
    """Draw the chosen rows in the field of all rows; None where there are none."""
    rows = np.flatnonzero(chosen & np.isfinite(table.x_nm) & np.isfinite(table.y_nm))
    if not rows.size:
        return None
    left, right = float(np.nanmin(table.x_nm)), float(np.nanmax(table.x_nm))
    top, bottom = float(np.nanmin(table.y_nm)), float(np.nanmax(table.y_nm))
    pixel = picture_pixel_nm(right - left, bottom - top)
    grid = ImageGrid.covering((left, top, right + pixel, bottom + pixel), pixel)
    image = LiveImage(grid)
    for start in range(0, rows.size, _ROWS_AT_ONCE):
        check()
        image.add(table.take(rows[start : start + _ROWS_AT_ONCE]))
    return picture_of(image)
