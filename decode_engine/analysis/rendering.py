"""Localizations to an image: counts or Gaussians, brightness and mean z for each pixel.

Orientation: x runs to the right, y downwards; arrays are (y, x). The image pixel (row r,
column c) covers ``left + c p <= x < left + (c + 1) p`` and likewise in y with ``top``: left and
top are outer edges, so that the *centre* of image pixel (0, 0) lies at ``left + p / 2``. (In the
camera's own coordinates, (0, 0) nm is the centre of the camera's top-left pixel.)

Brightness is photon-free: every localization adds exactly one, spread over the pixels that its
Gaussian covers; the sum of the image is the number of localizations in the field, less what
reaches across its border.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.filtering import ColumnRange, FilterSpec
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.analysis.splatting import splat_gaussians
from decode_engine.contract.configs import RenderConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray, FloatArray
from decode_engine.errors import LocalizationsError

__all__ = ["DensityImage", "ImageGrid", "draw_gaussians", "draw_histogram", "render", "selection"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DensityImage:
    """A rendered image before colours.

    Attributes
    ----------
    grid : ImageGrid
        Where the pixels lie.
    density : (height, width) float32
        Localizations in each pixel.
    mean_z_nm : (height, width) float32, nm, or None
        Mean z in each pixel, weighted like the density; NaN where it is empty.
    n_drawn : int
        Localizations that were given to the drawing.
    """

    grid: ImageGrid
    density: FloatArray
    mean_z_nm: FloatArray | None
    n_drawn: int


def render(
    localizations: Localizations, config: RenderConfig, check: Callable[[], None] = lambda: None
) -> DensityImage:
    """Select and draw localizations as the configuration says.

    Parameters
    ----------
    localizations : Localizations
        What to draw.
    config : RenderConfig
        Pixel size, mode, field and selection.
    check : callable
        Called several times a second; may raise to stop.
    """
    drawn = localizations.take(selection(localizations, config))
    grid = (
        ImageGrid.around(drawn, config.pixel_size_nm)
        if config.field_nm is None
        else ImageGrid.covering(config.field_nm, config.pixel_size_nm)
    )
    with_z = config.color == "z"
    if with_z and len(localizations) and bool(np.isnan(localizations.z_nm).all()):
        raise LocalizationsError(
            "The localizations have no z to be coloured by.",
            hint="Draw them without colour, or localize with a 3D calibration.",
        )
    if config.mode == "histogram":
        return draw_histogram(drawn, grid, with_z=with_z)
    return draw_gaussians(drawn, grid, with_z=with_z, sigma_min_nm=config.sigma_min_nm, check=check)


def selection(localizations: Localizations, config: RenderConfig) -> BoolArray:
    """Return which localizations are drawn, (N,) bool.

    Limits on columns that a table lacks do not apply; positions must be finite, and so must z
    where it is the colour.
    """
    limits = {
        "sigma_x_nm": ColumnRange(column="sigma_x_nm", high=config.sigma_max_nm),
        "sigma_y_nm": ColumnRange(column="sigma_y_nm", high=config.sigma_max_nm),
        "probability": ColumnRange(column="probability", low=config.probability_min),
    }
    present = localizations.columns()
    spec = FilterSpec(ranges=tuple(r for name, r in limits.items() if name in present))
    kept = spec.mask(localizations)
    kept &= np.isfinite(localizations.x_nm) & np.isfinite(localizations.y_nm)
    if config.color == "z":
        kept &= np.isfinite(localizations.z_nm)
    return kept


def draw_histogram(
    localizations: Localizations, grid: ImageGrid, *, with_z: bool = False
) -> DensityImage:
    """Count the localizations in each pixel; those outside the field are left out."""
    x_nm, y_nm = _xy(localizations)
    column = np.floor(grid.x_to_px(x_nm) + 0.5)
    row = np.floor(grid.y_to_px(y_nm) + 0.5)
    inside = (column >= 0) & (column < grid.width_px) & (row >= 0) & (row < grid.height_px)
    flat = row[inside].astype(np.int64) * grid.width_px + column[inside].astype(np.int64)
    n_pixels = grid.width_px * grid.height_px
    count = np.bincount(flat, minlength=n_pixels).reshape(grid.shape)
    z_sum: NDArray[np.float64] | None = None
    if with_z:
        z_nm = localizations.z_nm[inside].astype(np.float64)
        z_sum = np.bincount(flat, z_nm, n_pixels).astype(np.float64).reshape(grid.shape)
    return _image(grid, count.astype(np.float64), z_sum, len(localizations))


def draw_gaussians(
    localizations: Localizations,
    grid: ImageGrid,
    *,
    with_z: bool = False,
    sigma_min_nm: float = 3.0,
    check: Callable[[], None] = lambda: None,
) -> DensityImage:
    """Draw each localization as a Gaussian as wide as its uncertainty, at least ``sigma_min_nm``.

    Raises
    ------
    LocalizationsError
        If the localizations carry no uncertainties.
    """
    if localizations.sigma_x_nm is None or localizations.sigma_y_nm is None:
        raise LocalizationsError(
            "The localizations have no uncertainties to draw Gaussians with.",
            hint="Draw them as a histogram (mode histogram).",
        )
    x_nm, y_nm = _xy(localizations)
    sigma_x, sigma_y = (
        np.maximum(sigma.astype(np.float64), sigma_min_nm) / grid.pixel_size_nm
        for sigma in (localizations.sigma_x_nm, localizations.sigma_y_nm)
    )
    weights: tuple[NDArray[np.float64], ...] = (np.ones(x_nm.size),)
    if with_z:
        weights += (localizations.z_nm.astype(np.float64),)
    position = (grid.x_to_px(x_nm), grid.y_to_px(y_nm))
    sums = splat_gaussians(position, (sigma_x, sigma_y), weights, grid.shape, check)
    return _image(grid, sums[0], sums[1] if with_z else None, len(localizations))


def _xy(localizations: Localizations) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return localizations.x_nm.astype(np.float64), localizations.y_nm.astype(np.float64)


def _image(
    grid: ImageGrid,
    density: NDArray[np.float64],
    z_sum: NDArray[np.float64] | None,
    n_drawn: int,
) -> DensityImage:
    mean_z = None
    if z_sum is not None:
        filled = density > 0
        mean_z = np.full(grid.shape, np.nan, np.float32)
        mean_z[filled] = z_sum[filled] / density[filled]
    return DensityImage(
        grid=grid, density=density.astype(np.float32), mean_z_nm=mean_z, n_drawn=n_drawn
    )
