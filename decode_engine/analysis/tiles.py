"""Sorting localizations into square tiles, so that a view touches only what it shows.

The data of a tile lie together in memory, which alone makes drawing several times faster; inside
a tile they are in random order, so that any first part of a tile is a fair sample of it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis import render_kernels as kernels
from decode_engine.analysis.drawing import Block, Check, run_ordered
from decode_engine.analysis.image_grid import ImageGrid
from decode_engine.domain.table import FloatArray

__all__ = ["Tiles", "sort_into_tiles"]

Bounds: TypeAlias = tuple[float, float, float, float]
IndexArray: TypeAlias = NDArray[np.uint32]

_MOST_TILES = 1 << 18
_ROWS_AT_ONCE = 1 << 21
_BLOCK_PX = 192  # a block's buffer with four channels stays in the second-level cache
_BLOCK_POINTS = 1 << 18  # so that a block takes a fraction of a second at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Where each tile's rows are.

    Attributes
    ----------
    left_nm, top_nm, right_nm, bottom_nm : float, nm
        The field that is tiled; strays lie outside.
    size_nm : float, nm
        Width of the tiles, of which the first begins at left and top.
    columns, rows : int
        Number of tiles; those at the border also hold what lies beyond.
    starts : (columns * rows + 1,) int64
        First row of each tile, row by row.
    """

    left_nm: float
    top_nm: float
    right_nm: float
    bottom_nm: float
    size_nm: float
    columns: int
    rows: int
    starts: NDArray[np.int64]

    def for_kernel(self) -> tuple[float, float, float, int, int]:
        """Return left, top, tiles per nm, columns, rows."""
        return self.left_nm, self.top_nm, 1.0 / self.size_nm, self.columns, self.rows

    def _span(self, low: float, high: float, start: float, size: int) -> tuple[int, int]:
        # The same arithmetic as in the kernel: rounding cannot put a point into another tile.
        per_nm = 1.0 / self.size_nm
        first = int(min(max((low - start) * per_nm, 0.0), size - 1))
        last = int(min(max((high - start) * per_nm, 0.0), size - 1))
        return first, last

    def ranges(self, bounds_nm: Bounds) -> NDArray[np.int64]:
        """Return (k, 2) ranges of rows that hold everything inside left, top, right, bottom."""
        first_x, last_x = self._span(bounds_nm[0], bounds_nm[2], self.left_nm, self.columns)
        first_y, last_y = self._span(bounds_nm[1], bounds_nm[3], self.top_nm, self.rows)
        row = np.arange(first_y, last_y + 1) * self.columns
        return np.stack([self.starts[row + first_x], self.starts[row + last_x + 1]], axis=1)

    def blocks(self, grid: ImageGrid, reach_nm: float) -> Iterator[Block]:
        """Yield what may touch a grid, in pieces of a few tiles and not too many rows."""
        first_x, last_x = self._span(
            grid.left_nm - reach_nm, grid.right_nm + reach_nm, self.left_nm, self.columns
        )
        first_y, last_y = self._span(
            grid.top_nm - reach_nm, grid.bottom_nm + reach_nm, self.top_nm, self.rows
        )
        step = max(1, round(_BLOCK_PX * grid.pixel_size_nm / self.size_nm))
        for row in range(first_y, last_y + 1, step):
            for column in range(first_x, last_x + 1, step):
                yield from self._pieces(
                    (column, min(column + step, last_x + 1)), (row, min(row + step, last_y + 1))
                )

    def _pieces(self, columns: tuple[int, int], rows: tuple[int, int]) -> Iterator[Block]:
        lines = np.arange(*rows) * self.columns
        ranges = np.stack(
            [self.starts[lines + columns[0]], self.starts[lines + columns[1]]], axis=1
        )
        edges = (
            -math.inf if columns[0] == 0 else self.left_nm + columns[0] * self.size_nm,
            -math.inf if rows[0] == 0 else self.top_nm + rows[0] * self.size_nm,
            math.inf if columns[1] == self.columns else self.left_nm + columns[1] * self.size_nm,
            math.inf if rows[1] == self.rows else self.top_nm + rows[1] * self.size_nm,
        )
        for part in _portions(ranges[ranges[:, 1] > ranges[:, 0]]):
            yield Block(
                left_nm=edges[0],
                top_nm=edges[1],
                right_nm=edges[2],
                bottom_nm=edges[3],
                ranges=part,
            )


def _portions(ranges: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    """Split ranges into parts of at most `_BLOCK_POINTS` rows."""
    held: list[tuple[int, int]] = []
    room = _BLOCK_POINTS
    for first, last in ranges.tolist():
        while first < last:
            stop = min(last, first + room)
            held.append((first, stop))
            room -= stop - first
            first = stop
            if room == 0:
                yield np.array(held, np.int64)
                held, room = [], _BLOCK_POINTS
    if held:
        yield np.array(held, np.int64)


def sort_into_tiles(
    columns: tuple[FloatArray, ...], size_nm: float, check: Check
) -> tuple[Tiles, tuple[FloatArray, ...], IndexArray]:
    """Sort columns by tile; the first two are x and y, and rows where they are NaN are left out.

    Returns
    -------
    tiles : Tiles
        Where the rows of each tile are.
    columns : tuple of (n,) float32
        The sorted columns.
    order : (n,) uint32
        The original row of each.
    """
    x, y = columns[:2]
    empty = _tiling(x, y, size_nm, check)
    tiling = empty.for_kernel()
    n_tiles = empty.columns * empty.rows
    limits = _limits(x.size, max(_ROWS_AT_ONCE, -(-x.size * n_tiles // (1 << 25))))
    counts = np.zeros((len(limits), n_tiles), np.int64)
    _parallel(
        (
            partial(kernels.count_tiles, x, y, first, last, tiling, counts[i])
            for i, (first, last) in enumerate(limits)
        ),
        check,
    )
    total = counts.sum(axis=0)
    starts = np.concatenate([[0], np.cumsum(total)]).astype(np.int64)
    offsets = np.cumsum(counts, axis=0) - counts + starts[:-1]
    n = int(starts[-1])
    sorted_columns = tuple(np.empty(n, np.float32) for _ in columns)
    order = np.empty(n, np.uint32)
    _parallel(
        (
            partial(_scatter, columns, a, b, tiling, offsets[i], order, sorted_columns)
            for i, (a, b) in enumerate(limits)
        ),
        check,
    )
    parts = np.searchsorted(starts, np.arange(0, n, _ROWS_AT_ONCE), side="left").tolist()
    _parallel(
        (
            partial(kernels.shuffle_tiles, starts, a, b, sorted_columns, order)
            for a, b in itertools.pairwise(sorted({0, *parts, n_tiles}))
        ),
        check,
    )
    tiles = replace(empty, starts=starts)
    return tiles, sorted_columns, order


def _scatter(
    columns: tuple[FloatArray, ...],
    first: int,
    last: int,
    tiling: tuple[float, float, float, int, int],
    offsets: NDArray[np.int64],
    order: IndexArray,
    sorted_columns: tuple[FloatArray, ...],
) -> None:
    places = np.empty(last - first, np.uint32)
    kernels.place_rows(columns[0], columns[1], first, last, tiling, offsets, order, places)
    for values, out in zip(columns, sorted_columns, strict=True):
        kernels.scatter(values, first, places, out)


def _parallel(jobs: Iterable[Callable[[], Any]], check: Check) -> None:
    run_ordered(jobs, lambda _: None, check)


def _limits(n: int, step: int) -> list[tuple[int, int]]:
    return [(a, min(a + step, n)) for a in range(0, n, step)]


def _tiling(x: FloatArray, y: FloatArray, size_nm: float, check: Check) -> Tiles:
    """Choose the tiles: over all data, or without strays where that would be too many tiles."""
    check()
    spans = [_extent(v, (0.0, 1.0)) for v in (x, y)]
    if _n_tiles(spans, size_nm) > _MOST_TILES:
        spans = [_extent(v, (0.002, 0.998)) for v in (x, y)]
    while _n_tiles(spans, size_nm) > _MOST_TILES:
        size_nm *= 2.0
    (left, right), (top, bottom) = spans
    return Tiles(
        left_nm=left,
        top_nm=top,
        right_nm=right,
        bottom_nm=bottom,
        size_nm=size_nm,
        columns=max(1, math.ceil((right - left) / size_nm)),
        rows=max(1, math.ceil((bottom - top) / size_nm)),
        starts=np.zeros(1, np.int64),
    )


def _n_tiles(spans: list[tuple[float, float]], size_nm: float) -> float:
    return math.prod(max(1.0, (high - low) / size_nm) for low, high in spans)


def _extent(values: FloatArray, quantiles: tuple[float, float]) -> tuple[float, float]:
    """Return the range of finite values, or, from a sample, that between two quantiles."""
    if quantiles == (0.0, 1.0):
        low, high = (float(np.min(values)), float(np.max(values))) if values.size else (0.0, 0.0)
        if math.isfinite(low) and math.isfinite(high):
            return low, high
    finite = values[np.isfinite(values)]
    if not finite.size:
        return 0.0, 0.0
    if quantiles == (0.0, 1.0):
        return float(finite.min()), float(finite.max())
    sample = finite[:: max(1, finite.size // 200_000)]
    low, high = (float(v) for v in np.quantile(sample, quantiles))
    return low - 0.1 * (high - low), high + 0.1 * (high - low)
