"""Localizations to an image: counts or Gaussians, brightness and mean z for each pixel.

Orientation and edges are those of `ImageGrid`.

Brightness is photon-free: every localization adds exactly one, spread over the pixels that its
Gaussian covers; the sum of the image is the number of localizations in the field, less what
reaches across its border.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.drawing import Palette, Sums
from decode_engine.analysis.filtering import ColumnRange, FilterSpec
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.analysis.point_store import PointStore
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
    localizations: Localizations,
    config: RenderConfig,
    check: Callable[[], None] = lambda: None,
    *,
    filters: FilterSpec | None = None,
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
    filters : FilterSpec or None
        What else must hold.

    Raises
    ------
    LocalizationsError
        If a column is missing that the filters, the Gaussians or the colour need.
    """
    kept = selection(localizations, config)
    if filters is not None:
        kept &= filters.mask(localizations)
    drawn = localizations if bool(kept.all()) else localizations.take(kept)
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
        return draw_histogram(drawn, grid, with_z=with_z, check=check)
    return draw_gaussians(drawn, grid, with_z=with_z, sigma_min_nm=config.sigma_min_nm, check=check)


def selection(localizations: Localizations, config: RenderConfig) -> BoolArray:
    """Return which localizations are drawn, (N,) bool.

    Limits on columns that a table lacks do not apply; positions must be finite, and so must z
    where it is the colour.
    """
    probability_min = config.probability_min or -math.inf
    limits = {
        "sigma_x_nm": ColumnRange(column="sigma_x_nm", high=config.sigma_max_nm),
        "sigma_y_nm": ColumnRange(column="sigma_y_nm", high=config.sigma_max_nm),
        "probability": ColumnRange(column="probability", low=probability_min),
    }
    present = localizations.columns()
    spec = FilterSpec(
        ranges=tuple(r for name, r in limits.items() if name in present and r.is_limited)
    )
    kept = spec.mask(localizations)
    kept &= np.isfinite(localizations.x_nm) & np.isfinite(localizations.y_nm)
    if config.color == "z":
        kept &= np.isfinite(localizations.z_nm)
    return kept


def draw_histogram(
    localizations: Localizations,
    grid: ImageGrid,
    *,
    with_z: bool = False,
    check: Callable[[], None] = lambda: None,
) -> DensityImage:
    """Count the localizations in each pixel; those outside the field are left out."""
    store = PointStore.build(localizations, check=check)
    sums = store.counts(grid, _palette(localizations, with_z=with_z), dtype=np.float64, check=check)
    return _image(grid, sums, len(localizations))


def draw_gaussians(
    localizations: Localizations,
    grid: ImageGrid,
    *,
    with_z: bool = False,
    sigma_min_nm: float = 3.0,
    check: Callable[[], None] = lambda: None,
) -> DensityImage:
    """Draw each localization as a Gaussian as wide as its uncertainty, at least ``sigma_min_nm``.

    Those whose uncertainty is NaN are left out.

    Raises
    ------
    LocalizationsError
        If the localizations carry no uncertainties.
    """
    sigma_x, sigma_y = localizations.sigma_x_nm, localizations.sigma_y_nm
    known = None
    if sigma_x is not None and sigma_y is not None:
        known = ~(np.isnan(sigma_x) | np.isnan(sigma_y))
    if known is None or (known.size and not known.any()):
        raise LocalizationsError(
            "The localizations have no uncertainties to draw Gaussians with.",
            hint="Draw them as a histogram (mode histogram).",
        )
    store = PointStore.build(localizations, check=check)
    if not known.all():
        store.set_mask(known)
    palette = _palette(localizations, with_z=with_z)
    limits_nm = (sigma_min_nm, math.inf)
    sums = store.gaussians(grid, palette, limits_nm, dtype=np.float64, check=check)
    return _image(grid, sums, len(localizations))


def _palette(localizations: Localizations, *, with_z: bool) -> Palette:
    """Return the palette whose second channel is z itself."""
    if not with_z:
        return Palette.plain()
    finite = localizations.z_nm[np.isfinite(localizations.z_nm)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    table = np.array([[1.0, low], [1.0, high], [1.0, np.nan]])
    return Palette(table=table, low=low, high=high, column="z_nm")


def _image(grid: ImageGrid, sums: Sums, n_drawn: int) -> DensityImage:
    """Make an image of the sums (height, width, 1 or 2) of one and of z."""
    mean_z: FloatArray | None = None
    density: NDArray[np.float64] = sums[..., 0]
    if sums.shape[2] == 2:
        filled = density > 0
        mean_z = np.full(grid.shape, np.nan, np.float32)
        mean_z[filled] = sums[..., 1][filled] / density[filled]
    return DensityImage(
        grid=grid, density=density.astype(np.float32), mean_z_nm=mean_z, n_drawn=n_drawn
    )
