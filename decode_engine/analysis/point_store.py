"""The renderer of the Explore page: any view of tens of millions of localizations at once.

A `PointStore` is built once. Views that show much come from a pyramid of sums; closer views are
drawn from the localizations of the tiles they show, first as counts blurred with the median sigma
(`exact=False`, tens of milliseconds), then each as a Gaussian of its own sigma (`exact=True`).
A filter is a mask: nothing is copied or sorted again. The same code serves the window, the command
line and the tests; it needs neither a window nor OpenGL.

One thread may set masks while others render: a rendering uses the mask that it found.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis import render_kernels as kernels
from decode_engine.analysis.bands import Bands, cells_to_pixels
from decode_engine.analysis.drawing import (
    Check,
    Palette,
    Points,
    Sums,
    Widths,
    apply_bands,
    draw_counts,
    draw_gaussians,
    run_ordered,
)
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.analysis.pyramid import Pyramid, base_grid
from decode_engine.analysis.tiles import IndexArray, Tiles, sort_into_tiles
from decode_engine.analysis.view_style import (
    BRIGHTNESS_MAPS,
    Z_MAPS,
    Rendered,
    Style,
    color_bar,
    suggest_gain,
    tone,
)
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray, FloatArray
from decode_engine.errors import ConfigError, LocalizationsError

__all__ = [
    "BRIGHTNESS_MAPS",
    "DEFAULT_SIGMA_NM",
    "Z_MAPS",
    "PointStore",
    "Rendered",
    "Style",
    "View",
    "color_bar",
    "suggest_gain",
    "tone",
    "warm_up",
]

View: TypeAlias = ImageGrid  # a window onto the localizations is a grid of image pixels
Bounds: TypeAlias = tuple[float, float, float, float]
Rows: TypeAlias = NDArray[np.int64]

DEFAULT_SIGMA_NM = 10.0  # for tables without uncertainties
_PYRAMID_FROM = 1.35  # view pixels per finest cell of the pyramid: 27 nm
_SHARP_PX = 0.3  # a median sigma below is not seen
_ROWS_AT_ONCE = 1 << 21
_NO_FLOATS: FloatArray = np.empty(0, np.float32)
_NO_BOOLS: BoolArray = np.empty(0, np.bool_)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Mask:
    """One state of the filter; ``kept`` is in stored order, empty for all."""

    number: int
    kept: BoolArray
    n_kept: int


class PointStore:
    """Localizations in the order of tiles; use `build`."""

    def __init__(
        self,
        localizations: Localizations,
        tiles: Tiles,
        columns: dict[str, FloatArray],
        order: IndexArray,
    ) -> None:
        self._localizations = localizations
        self._tiles = tiles
        self._columns = columns
        self._order = order
        self._mask = _Mask(number=0, kept=_NO_BOOLS, n_kept=order.size)
        self._lock = threading.Lock()
        self._pyramid: tuple[tuple[int, Style], Pyramid] | None = None
        self._colored: tuple[str, FloatArray] = ("", _NO_FLOATS)
        self._finest_nm = base_grid(self.bounds_nm).pixel_size_nm
        sigmas = columns.get("sigma_x_nm", _NO_FLOATS), columns.get("sigma_y_nm", _NO_FLOATS)
        self._sigma_nm = _median(sigmas[0]), _median(sigmas[1])
        self._sigma_span = kernels.sigma_span(sigmas, self._sigma_nm)

    @classmethod
    def build(
        cls, localizations: Localizations, *, tile_nm: float = 1000.0, check: Check = lambda: None
    ) -> PointStore:
        """Sort localizations into tiles; those without a finite position are left out.

        Parameters
        ----------
        localizations : Localizations
            Kept by reference for the columns that are coloured by later.
        tile_nm : float, nm
            Width of the tiles.
        check : callable
            Called several times a second; may raise to stop.
        """
        if len(localizations) >= 1 << 32:
            raise LocalizationsError(
                f"{len(localizations)} localizations are too many to draw.",
                hint="Draw a part of them, for example a range of frames.",
            )
        present = localizations.columns()
        names = [n for n in ("x_nm", "y_nm", "z_nm", "sigma_x_nm", "sigma_y_nm") if n in present]
        columns = tuple(_read_only(present[name]) for name in names)
        tiles, stored, order = sort_into_tiles(columns, tile_nm, check)
        return cls(localizations, tiles, dict(zip(names, stored, strict=True)), order)

    @property
    def n(self) -> int:
        """Return the number of localizations with a position."""
        return int(self._order.size)

    @property
    def n_kept(self) -> int:
        """Return how many of them the mask keeps."""
        return self._mask.n_kept

    @property
    def order(self) -> IndexArray:
        """Return the original row of each stored point, (n,) uint32."""
        return self._order

    @property
    def bounds_nm(self) -> Bounds:
        """Return left, top, right, bottom of the localizations, far strays left out."""
        tiles = self._tiles
        return tiles.left_nm, tiles.top_nm, tiles.right_nm, tiles.bottom_nm

    def set_mask(self, kept: BoolArray | None) -> None:
        """Draw only these from now on.

        Parameters
        ----------
        kept : (N,) bool or None
            In the order of the localizations given to `build`; None for all.
        """
        if kept is None:
            self._mask = _Mask(number=self._mask.number + 1, kept=_NO_BOOLS, n_kept=self.n)
            return
        if kept.shape != (len(self._localizations),):
            raise ConfigError(
                f"The mask has the shape {kept.shape} for {len(self._localizations)} localizations."
            )
        stored = self._stored_order(np.array(kept, np.bool_))
        n_kept = int(np.count_nonzero(stored))
        if not self.n:
            stored = _NO_BOOLS
        self._mask = _Mask(number=self._mask.number + 1, kept=stored, n_kept=n_kept)

    def render(
        self, view: View, style: Style, *, exact: bool, check: Check = lambda: None
    ) -> Rendered:
        """Draw a view.

        Parameters
        ----------
        view : View
            Pixels to fill.
        style : Style
            Colour and width.
        exact : bool
            Each localization as wide as its own sigma, instead of all as wide as the median.
            Views with pixels of 27 nm and more come from the pyramid either way.
        check : callable
            Called several times a second; may raise to stop.
        """
        palette, mask = style.palette(), self._mask
        points = self._points(palette, mask)
        limits_nm = (style.sigma_min_nm, max(style.sigma_min_nm, style.sigma_max_nm))
        final = True
        sigma_px = self._median_sigma_px(view, style)
        if view.pixel_size_nm > _PYRAMID_FROM * self._finest_nm:
            sums, n_drawn = self._from_pyramid(view, style, points, palette, mask, check)
        elif style.mode == "histogram" or (not exact and max(sigma_px) < _SHARP_PX):
            blocks = self._tiles.blocks(view, 0.0)
            sums, n_drawn = draw_counts(points, blocks, view, palette, check=check)
            final = style.mode == "histogram"
        elif not exact:
            sums, n_drawn = self._blurred(view, style, points, palette, check)
            final = False
        else:
            sums, n_drawn = self._gaussians(view, points, palette, limits_nm, np.float32, check)
        shape = (view.height_px, view.width_px, palette.n_channels)
        return Rendered(
            view=view, style=style, sums=sums.reshape(shape), n_drawn=n_drawn, exact=final
        )

    def counts(
        self,
        grid: ImageGrid,
        palette: Palette,
        *,
        dtype: type[np.floating] = np.float32,
        check: Check = lambda: None,
    ) -> Sums:
        """Add each localization to the pixel it lies in: (height, width, channels)."""
        points = self._points(palette, self._mask)
        blocks = self._tiles.blocks(grid, 0.0)
        sums, _ = draw_counts(points, blocks, grid, palette, dtype=dtype, check=check)
        return sums.reshape(grid.height_px, grid.width_px, palette.n_channels)

    def gaussians(
        self,
        grid: ImageGrid,
        palette: Palette,
        limits_nm: tuple[float, float],
        *,
        dtype: type[np.floating] = np.float32,
        check: Check = lambda: None,
    ) -> Sums:
        """Add each localization as a Gaussian of its own sigma: (height, width, channels).

        ``limits_nm`` are the narrowest and widest sigma that are drawn; others are drawn so wide.
        """
        points = self._points(palette, self._mask)
        sums, _ = self._gaussians(grid, points, palette, limits_nm, dtype, check)
        return sums.reshape(grid.height_px, grid.width_px, palette.n_channels)

    def _gaussians(
        self,
        grid: ImageGrid,
        points: Points,
        palette: Palette,
        limits_nm: tuple[float, float],
        dtype: type[np.floating],
        check: Check,
    ) -> tuple[Sums, int]:
        low, high = limits_nm
        smallest, largest, ratio = self._sigma_span
        widths = Widths(
            smallest_nm=low,
            largest_nm=high,
            default_nm=self._sigma_nm,
            present_nm=(min(max(smallest, low), high), min(max(largest, low), high)),
            ratio=ratio,
        )
        return draw_gaussians(
            points,
            partial(self._tiles.blocks, grid, kernels.CUT_SIGMAS * widths.present_nm[1]),
            grid,
            palette,
            widths,
            dtype=dtype,
            check=check,
        )

    def rows_in(self, region: Bounds | NDArray[np.float64]) -> Rows:
        """Return the original rows inside a region that the mask keeps, ascending.

        Parameters
        ----------
        region : left, top, right, bottom, or (k, 2) corners x, y of a polygon, nm
        """
        corners = _corners(region)
        low, high = corners.min(axis=0), corners.max(axis=0)
        ranges = self._tiles.ranges((low[0], low[1], high[0], high[1]))
        found = np.empty(int((ranges[:, 1] - ranges[:, 0]).sum()), np.int64)
        columns = (self._columns["x_nm"], self._columns["y_nm"], self._mask.kept)
        n = kernels.rows_in_polygon(columns, ranges, corners, found)
        return np.sort(self._order[found[:n]].astype(np.int64))

    def _points(self, palette: Palette, mask: _Mask) -> Points:
        return Points(
            x=self._columns["x_nm"],
            y=self._columns["y_nm"],
            value=self._colors(palette.column) if palette.column else _NO_FLOATS,
            kept=mask.kept,
            sigma_x=self._columns.get("sigma_x_nm", _NO_FLOATS),
            sigma_y=self._columns.get("sigma_y_nm", _NO_FLOATS),
        )

    def _colors(self, column: str) -> FloatArray:
        """Return a column in stored order; of those not stored, the last one is kept."""
        if column in self._columns:
            return self._columns[column]
        with self._lock:
            if self._colored[0] != column:
                values = self._localizations.columns().get(column)
                if values is None:
                    raise LocalizationsError(
                        f"The localizations have no {column} to be coloured by.",
                        hint="Choose another colour.",
                    )
                self._colored = (column, self._stored_order(np.array(values, np.float32)))
            return self._colored[1]

    def _stored_order(self, values: Sums) -> Sums:
        out = np.empty(self.n, values.dtype)

        def part(first: int) -> None:
            kernels.gather(values, self._order, first, min(first + _ROWS_AT_ONCE, self.n), out)

        jobs = (partial(part, first) for first in range(0, self.n, _ROWS_AT_ONCE))
        run_ordered(jobs, lambda _: None, lambda: None)
        return out

    def _median_sigma_px(self, view: View, style: Style) -> tuple[float, float]:
        if style.mode == "histogram":
            return 0.0, 0.0
        high = max(style.sigma_min_nm, style.sigma_max_nm)
        x, y = (min(max(s, style.sigma_min_nm), high) for s in self._sigma_nm)
        return x / view.pixel_size_nm, y / view.pixel_size_nm

    def _from_pyramid(
        self,
        view: View,
        style: Style,
        points: Points,
        palette: Palette,
        mask: _Mask,
        check: Check,
    ) -> tuple[Sums, int]:
        # Neither the widths nor the map of brightness change the sums.
        key = (mask.number, replace(style, mode="gaussian", sigma_min_nm=0.0, sigma_max_nm=0.0))
        with self._lock:
            if self._pyramid is None or self._pyramid[0] != key:
                self._pyramid = None  # its memory is used again
                grid = base_grid(self.bounds_nm)
                blocks = self._tiles.blocks(grid, 0.0)
                sums, _ = draw_counts(points, blocks, grid, palette, check=check)
                self._pyramid = key, Pyramid(grid, palette.n_channels, [sums])
            pyramid = self._pyramid[1]
            cells, sums = pyramid.level(pyramid.level_for(view))
        sigma_px = tuple(s if s > _SHARP_PX else 0.0 for s in self._median_sigma_px(view, style))
        out = self._carry(view, cells, sums, palette.n_channels, sigma_px, check)
        return out, round(float(out[:, :: palette.n_channels].sum(dtype=np.float64)))

    def _blurred(
        self, view: View, style: Style, points: Points, palette: Palette, check: Check
    ) -> tuple[Sums, int]:
        """Count on cells up to as wide as the blur, fixed in space so that nothing shimmers."""
        sigma_px = self._median_sigma_px(view, style)
        steps = max(-1, math.floor(math.log2(min(sigma_px))))
        pitch = view.pixel_size_nm * 2.0**steps
        margin = 4.0 * max(sigma_px) * view.pixel_size_nm
        first_x = math.floor((view.left_nm - margin) / pitch)
        first_y = math.floor((view.top_nm - margin) / pitch)
        cells = ImageGrid(
            left_nm=first_x * pitch,
            top_nm=first_y * pitch,
            pixel_size_nm=pitch,
            width_px=math.ceil((view.right_nm + margin) / pitch) - first_x,
            height_px=math.ceil((view.bottom_nm + margin) / pitch) - first_y,
        )
        blocks = self._tiles.blocks(cells, 0.0)
        counts, n_drawn = draw_counts(points, blocks, cells, palette, check=check)
        return self._carry(view, cells, counts, palette.n_channels, sigma_px, check), n_drawn

    def _carry(
        self,
        view: View,
        cells: ImageGrid,
        sums: Sums,
        n_channels: int,
        sigma_px: tuple[float, ...],
        check: Check,
    ) -> Sums:
        """Carry sums on cells to the pixels of a view, blurred to the given sigma (x, y)."""
        pixel = view.pixel_size_nm
        pitch = cells.pixel_size_nm / pixel

        def bands(n: int, origin_nm: float, sigma: float) -> Bands:
            # Counting into cells and spreading them evenly is a blur of pitch² / 6 already.
            rest = math.sqrt(max(sigma**2 - pitch**2 / 6.0, 0.0))
            return cells_to_pixels(n, origin_nm / pixel, pitch, rest)

        out = np.zeros((view.height_px, view.width_px * n_channels), np.float32)
        down = bands(view.height_px, cells.top_nm - view.top_nm, sigma_px[1])
        across = bands(view.width_px, cells.left_nm - view.left_nm, sigma_px[0])
        apply_bands(sums, n_channels, down, across, out, check)
        return out


def _median(sigma: FloatArray) -> float:
    """Return the median of the valid sigma (nm), from a sample."""
    sample = sigma[:: max(1, sigma.size // 200_000)]
    valid = sample[np.isfinite(sample) & (sample > 0)]
    return float(np.median(valid)) if valid.size else DEFAULT_SIGMA_NM


def _read_only(column: FloatArray) -> FloatArray:
    """Return the column as the kernels were compiled for it: contiguous, read-only."""
    contiguous = np.ascontiguousarray(column).view()
    contiguous.flags.writeable = False
    return contiguous


def warm_up() -> None:
    """Compile (the first time, some seconds) or load every kernel that the window needs.

    To be called on a thread of its own while the program starts.
    """
    # A kernel is ready although it could not be written to a full disk; each try passes one.
    for _ in range(50):
        try:
            _use_every_kernel()
        except OSError:
            continue
        return


def _use_every_kernel() -> None:
    few = np.arange(4, dtype=np.float32)
    table = Localizations(
        frame=np.arange(4, dtype=np.int32),
        x_nm=few,
        y_nm=few,
        z_nm=few,
        photons=few,
        background=few,
        sigma_x_nm=few,
        sigma_y_nm=few,
    )
    store = PointStore.build(table)
    store.set_mask(np.ones(4, np.bool_))
    for color in ("z", "photons", "none"):
        style = Style(color=color, sigma_max_nm=8.0)
        for pixel_size_nm, exact in ((1.0, True), (1.0, False), (5.0, False), (100.0, False)):
            view = View(
                left_nm=0.0, top_nm=0.0, pixel_size_nm=pixel_size_nm, width_px=8, height_px=8
            )
            tone(store.render(view, style, exact=exact), 1.0)
    store.rows_in((0.0, 0.0, 2.0, 2.0))


def _corners(region: Bounds | NDArray[np.float64]) -> NDArray[np.float64]:
    corners = np.asarray(region, np.float64)
    if corners.shape == (4,):
        left, top, right, bottom = corners
        return np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if corners.ndim != 2 or corners.shape[1] != 2 or corners.shape[0] < 3:
        raise ConfigError(
            f"A region of the shape {corners.shape} is neither a box nor a polygon.",
            hint="Give left, top, right, bottom or at least three corners (x, y).",
        )
    return np.ascontiguousarray(corners)
