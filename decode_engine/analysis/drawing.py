"""Sums of localizations on a pixel grid: counts, or Gaussians as wide as their uncertainty.

Every localization adds a Gaussian integrated over the pixels (not sampled at their centres),
cut at four standard deviations and renormalised, so that it adds exactly its weight. Narrow
Gaussians are stamped directly. Wide ones (2.8 pixels and more) are stamped on a grid whose
pitch is ``2**level`` pixels, which is then interpolated with a Gaussian: the convolution of
``N(0, s² - pitch²)`` with ``N(0, pitch²)`` is ``N(0, s²)``, and the sum over the nodes equals
that integral to ``2 exp(-2π² s_eff²) < 2e-4`` with ``s_eff² = (1 - pitch²/s²) >= 1/2`` pitches
(Poisson summation; the idea of fast Gaussian gridding, Greengard & Lee 2004,
doi:10.1137/S003614450343200X). The work for one localization is thus bounded whatever its width.

The image is made of blocks of tiles. Each is drawn on a buffer of its own, so that several
threads need no locks, and the buffers are added in the order of the blocks, so that the result
does not depend on the number of threads.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis import render_kernels as kernels
from decode_engine.analysis.bands import Bands, nodes_to_pixels
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.domain.table import FloatArray

__all__ = [
    "Block",
    "Check",
    "Palette",
    "Points",
    "Sums",
    "Widths",
    "apply_bands",
    "draw_counts",
    "draw_gaussians",
    "run_ordered",
]

Check: TypeAlias = Callable[[], None]
Sums: TypeAlias = NDArray[Any]
Ranges: TypeAlias = NDArray[np.int64]
Box: TypeAlias = tuple[int, int, int, int]

_WIDEST_DIRECT = 2.0 * 2.0**0.5  # pixels: from here on, a coarser grid is used
_MARGIN = int(kernels.CUT_SIGMAS) + 1  # nodes beyond the image that reach into it
_MOST_THREADS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Columns of localizations; those that may be missing are empty then.

    Attributes
    ----------
    x, y : (N,) float32, nm
        Positions.
    value : (N,) float32 or (0,)
        What the palette colours by.
    kept : (N,) bool or (0,)
        Which are drawn.
    sigma_x, sigma_y : (N,) float32, nm, or (0,)
        Uncertainties.
    """

    x: FloatArray
    y: FloatArray
    value: FloatArray
    kept: NDArray[np.bool_]
    sigma_x: FloatArray
    sigma_y: FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Palette:
    """What a localization adds to the channels.

    Attributes
    ----------
    table : (K + 1, channels) float64
        From ``low`` to ``high``, interpolated; the last row is for NaN.
    low, high : float
        Ends of the scale.
    column : str
        The column that is looked up; empty for none.
    """

    table: NDArray[np.float64]
    low: float = 0.0
    high: float = 1.0
    column: str = ""

    @classmethod
    def plain(cls) -> Palette:
        """Return the palette of a single channel, the weight."""
        return cls(table=np.ones((2, 1)))

    @property
    def n_channels(self) -> int:
        """Return the number of channels."""
        return int(self.table.shape[1])

    def for_kernel(self) -> tuple[NDArray[np.float64], float, float]:
        """Return table, low end and rows per unit."""
        steps = self.table.shape[0] - 2
        span = self.high - self.low
        return self.table, float(self.low), steps / span if span > 0.0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Which sigma are drawn.

    Attributes
    ----------
    smallest_nm, largest_nm : float, nm
        Limits; what is beyond is drawn that wide.
    default_nm : two float, nm
        For rows without, along x and y.
    present_nm : two float, nm
        What occurs between the limits.
    ratio : float
        Largest ratio of the two sigma of a row.
    """

    smallest_nm: float
    largest_nm: float
    default_nm: tuple[float, float]
    present_nm: tuple[float, float]
    ratio: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Rows of points that lie in a rectangle (nm; infinite at the border of all data)."""

    left_nm: float
    top_nm: float
    right_nm: float
    bottom_nm: float
    ranges: Ranges


def n_threads() -> int:
    """Return how many threads draw: as many as processors, at most four."""
    return max(1, min(_MOST_THREADS, os.cpu_count() or 1))


def run_ordered(
    jobs: Iterable[Callable[[], Any]], take: Callable[[Any], None], check: Check
) -> None:
    """Run jobs on a few threads and take their results in order.

    If ``check`` raises, what has not begun is dropped; jobs are short.
    """
    workers = n_threads()
    pending: deque[Future[Any]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="render") as pool:
        try:
            for job in jobs:
                check()
                pending.append(pool.submit(job))
                if len(pending) > 2 * workers:
                    take(pending.popleft().result())
            while pending:
                check()
                take(pending.popleft().result())
        finally:
            for future in pending:
                future.cancel()


def draw_counts(
    points: Points,
    blocks: Iterable[Block],
    grid: ImageGrid,
    palette: Palette,
    *,
    dtype: type[np.floating] = np.float32,
    check: Check = lambda: None,
) -> tuple[Sums, int]:
    """Add every localization to the pixel it lies in.

    Returns
    -------
    sums : (height, width * channels)
        The image.
    n_added : int
        Localizations in it.
    """
    out = _blank(grid, palette, dtype)
    columns = (points.x, points.y, points.value, points.kept)

    def work(block: Block, box: Box) -> tuple[Sums, Box, int]:
        buffer = np.zeros((box[3] - box[1], (box[2] - box[0]) * palette.n_channels), dtype)
        frame = _frame(grid, box)
        n = kernels.add_counts(buffer, columns, block.ranges, frame, palette.for_kernel())
        return buffer, box, n

    return out, _draw(out, palette.n_channels, blocks, grid, 0.0, work, check)


def draw_gaussians(
    points: Points,
    blocks: Callable[[], Iterable[Block]],
    grid: ImageGrid,
    palette: Palette,
    widths: Widths,
    *,
    dtype: type[np.floating] = np.float32,
    check: Check = lambda: None,
) -> tuple[Sums, int]:
    """Add every localization as a Gaussian; ``blocks`` must hold all that reach into the grid.

    Returns
    -------
    sums : (height, width * channels)
        The image.
    n_drawn : int
        Localizations that reach into it.
    """
    lowest, highest = (
        max(0, math.floor(math.log2(max(s / grid.pixel_size_nm, 1e-9) / (0.5 * _WIDEST_DIRECT))))
        for s in widths.present_nm
    )
    out = _blank(grid, palette, dtype)
    n_drawn = 0
    for level in range(lowest, highest + 1):
        nodes_grid = grid if level == 0 else _node_grid(grid, 2**level)
        target = out
        if level:
            target = _blank(nodes_grid, palette, dtype)
        unit = 0.5 * _WIDEST_DIRECT * grid.pixel_size_nm
        chosen = (  # the ends are open, so that no sigma is lost to rounding
            0.0 if level == lowest else unit * 2.0**level,
            math.inf if level == highest else unit * 2.0 ** (level + 1),
            grid.pixel_size_nm * 2.0**level if level else 0.0,
        )
        work = _stamping(points, nodes_grid, palette, widths, chosen, dtype)
        # A buffer need not be larger than what this level draws.
        reach = kernels.CUT_SIGMAS * min(widths.present_nm[1], chosen[1] * widths.ratio)
        n = _draw(target, palette.n_channels, blocks(), nodes_grid, reach, work, check)
        n_drawn += n
        if level and n:
            down = nodes_to_pixels(grid.height_px, _MARGIN, 2**level)
            across = nodes_to_pixels(grid.width_px, _MARGIN, 2**level)
            apply_bands(target, palette.n_channels, down, across, out, check)
    return out, n_drawn


def _blank(grid: ImageGrid, palette: Palette, dtype: type[np.floating]) -> Sums:
    return np.zeros((grid.height_px, grid.width_px * palette.n_channels), dtype)


def apply_bands(
    cells: Sums, n_channels: int, down: Bands, across: Bands, out: Sums, check: Check
) -> None:
    """Add ``down @ cells @ across.T`` to an image, a few rows at a time."""
    dtype = out.dtype.type
    rows, columns = down.as_type(dtype), across.as_type(dtype)
    step = max(16, -(-out.shape[0] // (4 * n_threads())))

    def strip(first: int) -> Callable[[], Any]:
        last = min(first + step, out.shape[0])
        return partial(kernels.apply_bands, cells, n_channels, rows, columns, first, last, out)

    run_ordered((strip(r) for r in range(0, out.shape[0], step)), lambda _: None, check)


def _stamping(
    points: Points,
    grid: ImageGrid,
    palette: Palette,
    widths: Widths,
    chosen: tuple[float, float, float],
    dtype: type[np.floating],
) -> Callable[[Block, Box], tuple[Sums, Box, int]]:
    columns = (points.x, points.y, points.value, points.kept)
    sigmas = (points.sigma_x, points.sigma_y)
    limits = (float(widths.smallest_nm), float(widths.largest_nm), *widths.default_nm)

    def work(block: Block, box: Box) -> tuple[Sums, Box, int]:
        buffer = np.zeros((box[3] - box[1], (box[2] - box[0]) * palette.n_channels), dtype)
        n = kernels.add_gaussians(
            buffer,
            columns,
            sigmas,
            block.ranges,
            _frame(grid, box),
            palette.for_kernel(),
            limits,
            chosen,
        )
        return buffer, box, n

    return work


def _draw(
    out: Sums,
    n_channels: int,
    blocks: Iterable[Block],
    grid: ImageGrid,
    reach_nm: float,
    work: Callable[[Block, Box], tuple[Sums, Box, int]],
    check: Check,
) -> int:
    """Draw each block on a buffer and add it to ``out``; return how many points there were."""
    n_drawn = 0

    def take(result: tuple[Sums, Box, int]) -> None:
        nonlocal n_drawn
        buffer, (left, top, right, bottom), n = result
        if n:
            out[top:bottom, left * n_channels : right * n_channels] += buffer
            n_drawn += n

    def jobs() -> Iterable[Callable[[], tuple[Sums, Box, int]]]:
        for block in blocks:
            box = _pixels_of(block, grid, reach_nm)
            if box[2] > box[0] and box[3] > box[1]:
                yield partial(work, block, box)

    run_ordered(jobs(), take, check)
    return n_drawn


def _pixels_of(block: Block, grid: ImageGrid, reach_nm: float) -> Box:
    """Return left, top, right, bottom in pixels of what a block may touch."""
    pixel = grid.pixel_size_nm
    # A pixel more on each side forgives the rounding of positions on the border of a tile.
    left = (block.left_nm - reach_nm - grid.left_nm) / pixel - 1.0
    top = (block.top_nm - reach_nm - grid.top_nm) / pixel - 1.0
    right = (block.right_nm + reach_nm - grid.left_nm) / pixel + 2.0
    bottom = (block.bottom_nm + reach_nm - grid.top_nm) / pixel + 2.0
    return (
        int(min(max(left, 0.0), grid.width_px)),
        int(min(max(top, 0.0), grid.height_px)),
        int(min(max(right, 0.0), grid.width_px)),
        int(min(max(bottom, 0.0), grid.height_px)),
    )


def _frame(grid: ImageGrid, box: Box) -> tuple[float, float, float, int, int]:
    """Return left and top edge (nm) of a grid, its pixel size, and where in it a part begins.

    Positions are always taken relative to the whole grid, so that parts round alike.
    """
    return float(grid.left_nm), float(grid.top_nm), float(grid.pixel_size_nm), box[0], box[1]


def _node_grid(grid: ImageGrid, pitch: int) -> ImageGrid:
    """Return a grid with pixels ``pitch`` times as wide and some more of them all around."""
    pixel = grid.pixel_size_nm * pitch
    return replace(
        grid,
        left_nm=grid.left_nm - _MARGIN * pixel,
        top_nm=grid.top_nm - _MARGIN * pixel,
        pixel_size_nm=pixel,
        width_px=-(-grid.width_px // pitch) + 2 * _MARGIN,
        height_px=-(-grid.height_px // pitch) + 2 * _MARGIN,
    )
