"""Compiled inner loops of the renderer (numba); everything here takes and fills plain arrays.

Kernels release the GIL and touch only the arrays they are given, so that two Python threads may
run them at once. numba's own ``parallel=True`` is not used: its default threading layer ends the
process when two threads of a program enter it.

Images are accumulated in arrays of the shape (height, width * channels), channels innermost, so
that a row of a stamp is one contiguous multiply-add, whatever the number of channels. Channel 0
is the weight of a localization (1); the others are what its colour adds.

Colours come from a table (rows, channels) whose rows are interpolated linearly; its last row is
for localizations without a value (NaN). With the two rows (1, low) and (1, high) a channel is the
value itself, which is how mean z is drawn.

They are compiled when first called and kept on disk: in ``NUMBA_CACHE_DIR`` where that is set,
else beside this file or in the user's cache. Where none can be written, compilation is repeated
in each process and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

__all__ = [
    "CUT_SIGMAS",
    "NOWHERE",
    "add_counts",
    "add_gaussians",
    "apply_bands",
    "count_tiles",
    "gather",
    "halve",
    "place_rows",
    "rows_in_polygon",
    "scatter",
    "shuffle_tiles",
    "sigma_span",
    "tone_brightness",
    "tone_colors",
]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

CUT_SIGMAS = 4.0  # half width of a stamp in standard deviations
NOWHERE = 0xFFFFFFFF  # the place of a row without a position
_NARROWEST_PX = 1e-3  # stands for zero, so that a point falls into its pixel

# The normal distribution function as cubics on intervals of 1/32: exact to 2e-9.
_PER_SIGMA = 32
_END = 6.0
_KNOT = np.arange(-_END, _END + 0.5 / _PER_SIGMA, 1.0 / _PER_SIGMA)
_VALUE = np.asarray(ndtr(_KNOT), np.float64)
_SLOPE = np.exp(-0.5 * _KNOT**2) / np.sqrt(2.0 * np.pi) / _PER_SIGMA
_RISE = np.diff(_VALUE)
_PHI: NDArray[np.float64] = np.stack(
    [
        _VALUE[:-1],
        _SLOPE[:-1],
        3.0 * _RISE - 2.0 * _SLOPE[:-1] - _SLOPE[1:],
        _SLOPE[:-1] + _SLOPE[1:] - 2.0 * _RISE,
    ],
    axis=1,
)


def _kernel(function: Kernel) -> Kernel:
    """Compile lazily, without the GIL; keep the result on disk where that is possible."""
    options: dict[str, Any] = {"nogil": True, "fastmath": {"contract", "nsz"}}
    try:
        compiled: Kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # "no locator available": no folder for the cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


# --- sorting into tiles -----------------------------------------------------------------------


@_kernel
def _tile(position: float, start: float, per_nm: float, size: int) -> int:
    # Clamped: what lies outside belongs to the border tiles, so a few strays cost nothing.
    number = (position - start) * per_nm
    if number <= 0.0:
        return 0
    if number >= size:
        return size - 1
    return int(number)


@_kernel
def count_tiles(
    x: Any, y: Any, first: int, last: int, tiling: tuple[float, float, float, int, int], counts: Any
) -> None:
    """Count the rows ``first:last`` with finite positions in each tile."""
    left, top, per_nm, columns, rows = tiling
    for i in range(first, last):
        px, py = np.float64(x[i]), np.float64(y[i])
        if np.isfinite(px) and np.isfinite(py):
            counts[_tile(py, top, per_nm, rows) * columns + _tile(px, left, per_nm, columns)] += 1


@_kernel
def place_rows(
    x: Any,
    y: Any,
    first: int,
    last: int,
    tiling: tuple[float, float, float, int, int],
    offsets: Any,
    order: Any,
    places: Any,
) -> None:
    """Give each of the rows ``first:last`` the next place in its tile; `NOWHERE` without position.

    ``offsets`` are the next free places of the tiles.
    """
    left, top, per_nm, columns, rows = tiling
    for i in range(first, last):
        px, py = np.float64(x[i]), np.float64(y[i])
        if np.isfinite(px) and np.isfinite(py):
            tile = _tile(py, top, per_nm, rows) * columns + _tile(px, left, per_nm, columns)
            place = offsets[tile]
            offsets[tile] = place + 1
            order[place] = i
            places[i - first] = place
        else:
            places[i - first] = NOWHERE


@_kernel
def scatter(values: Any, first: int, places: Any, out: Any) -> None:
    """Copy the rows from ``first`` on to their places; one column at a time suits the cache."""
    for j in range(places.size):
        if places[j] != NOWHERE:
            out[places[j]] = values[first + j]


@_kernel
def shuffle_tiles(starts: Any, first: int, last: int, columns: Any, order: Any) -> None:
    """Put the rows of the tiles ``first:last`` in a random, repeatable order (Fisher-Yates)."""
    state = np.uint64(first) * np.uint64(2654435761) + np.uint64(88172645463325252)
    for tile in range(first, last):
        start = starts[tile]
        for i in range(starts[tile + 1] - start - 1, 0, -1):
            # xorshift64: Marsaglia 2003, doi:10.18637/jss.v008.i14
            state ^= state << np.uint64(13)
            state ^= state >> np.uint64(7)
            state ^= state << np.uint64(17)
            a = start + i
            b = start + np.int64((state >> np.uint64(11)) % np.uint64(i + 1))
            order[a], order[b] = order[b], order[a]
            for c in range(len(columns)):
                columns[c][a], columns[c][b] = columns[c][b], columns[c][a]


@_kernel
def gather(values: Any, order: Any, first: int, last: int, out: Any) -> None:
    """``out[first:last] = values[order[first:last]]`` without an index array of 8 bytes a row."""
    for i in range(first, last):
        out[i] = values[order[i]]


# --- drawing ----------------------------------------------------------------------------------


@_kernel
def _color(value: float, table: Any, low: float, per_unit: float, out: Any) -> None:
    last = table.shape[0] - 2
    position = (value - low) * per_unit
    if np.isnan(position):
        for c in range(table.shape[1]):
            out[c] = table[last + 1, c]
        return
    position = min(max(position, 0.0), float(last))
    row = min(int(position), max(last - 1, 0))
    part = position - row
    upper = min(row + 1, last)
    for c in range(table.shape[1]):
        out[c] = table[row, c] + part * (table[upper, c] - table[row, c])


@_kernel
def add_counts(
    out: Any,
    points: tuple[Any, Any, Any, Any],
    ranges: Any,
    frame: tuple[float, float, float, int, int],
    palette: tuple[Any, float, float],
) -> int:
    """Add each localization to the pixel it lies in; return how many did.

    ``points`` are x, y, value and kept (the last two may be empty), ``ranges`` (k, 2) rows of
    them, ``frame`` left and top edge and pixel size of the whole image (nm) and the column and row
    of it at which ``out`` begins.
    """
    x, y, value, kept = points
    left, top, pixel, offset_x, offset_y = frame
    table, low, per_unit = palette
    n_channels = table.shape[1]
    height, width = out.shape[0], out.shape[1] // n_channels
    color = table[0].copy()
    n_added = 0
    for r in range(ranges.shape[0]):
        for i in range(ranges[r, 0], ranges[r, 1]):
            if kept.size and not kept[i]:
                continue
            column = (np.float64(x[i]) - left) / pixel - offset_x
            row = (np.float64(y[i]) - top) / pixel - offset_y
            if not (column >= 0.0 and column < width and row >= 0.0 and row < height):
                continue
            if value.size:
                _color(np.float64(value[i]), table, low, per_unit, color)
            start = int(column) * n_channels
            for c in range(n_channels):
                out[int(row), start + c] += color[c]
            n_added += 1
    return n_added


@_kernel
def _phi(u: float) -> float:
    position = (u + _END) * _PER_SIGMA
    if position <= 0.0:
        return 0.0
    if position >= 2.0 * _END * _PER_SIGMA:
        return 1.0
    k = int(position)
    t = position - k
    value: float = _PHI[k, 0] + t * (_PHI[k, 1] + t * (_PHI[k, 2] + t * _PHI[k, 3]))
    return value


@_kernel
def _profile(centre: float, sigma: float, integrate: bool, size: int, out: Any) -> tuple[int, int]:
    """Write the weights of the pixels (k covers k..k+1) within the cut; return which: first, end.

    Over all pixels, also those outside ``0..size``, they sum to one.
    """
    low = np.floor(centre - CUT_SIGMAS * sigma)
    high = np.floor(centre + CUT_SIGMAS * sigma)
    if not (high >= 0.0 and low < size):
        return 0, 0
    first, end = int(max(low, 0.0)), int(min(high, size - 1.0)) + 1
    if integrate:
        total = _phi((high + 1.0 - centre) / sigma) - _phi((low - centre) / sigma)
        lower = _phi((first - centre) / sigma)
        for k in range(first, end):
            upper = _phi((k + 1 - centre) / sigma)
            out[k - first] = (upper - lower) / total
            lower = upper
        return first, end
    total = 0.0
    for step in range(int(high - low) + 1):
        u = (low + step + 0.5 - centre) / sigma
        value = np.exp(-0.5 * u * u)
        total += value
        k = int(low) + step
        if first <= k < end:
            out[k - first] = value
    for k in range(end - first):
        out[k] /= total
    return first, end


@_kernel
def _stamp(
    out: Any, across: Any, down: Any, color: Any, place: tuple[int, int, int, int], line: Any
) -> None:
    """Add ``down`` × ``across`` × ``color`` at place: first and end column, first and end row."""
    n_channels = color.size
    for k in range(place[1] - place[0]):
        for c in range(n_channels):
            line[k * n_channels + c] = across[k] * color[c]
    n_values = (place[1] - place[0]) * n_channels
    base = place[0] * n_channels
    for k in range(place[3] - place[2]):
        row = out[place[2] + k]
        weight = down[k]
        for j in range(n_values):
            row[base + j] += weight * line[j]


@_kernel
def _clipped(sigma: float, smallest: float, largest: float, default: float) -> float:
    if not (sigma >= 0.0 and sigma < np.inf):
        sigma = default
    return min(max(sigma, smallest), largest)


@_kernel
def _left_over(sigma: float, spread: float, pixel: float) -> float:
    """Return sigma in pixels after a blur of ``spread`` is taken off; both in nm."""
    rest: float = np.sqrt(sigma * sigma - spread * spread) / pixel
    return max(rest, _NARROWEST_PX)


@_kernel
def sigma_span(sigmas: tuple[Any, Any], defaults: tuple[float, float]) -> tuple[float, ...]:
    """Return the smallest and the largest sigma and the largest ratio of a row's two."""
    smallest, largest, ratio = min(defaults), max(defaults), max(defaults) / min(defaults)
    across, down = sigmas
    default_x, default_y = defaults
    for i in range(max(across.size, down.size)):
        x = _clipped(np.float64(across[i]) if across.size else np.nan, 1e-3, 1e9, default_x)
        y = _clipped(np.float64(down[i]) if down.size else np.nan, 1e-3, 1e9, default_y)
        low, high = (x, y) if x < y else (y, x)
        if low < smallest:
            smallest = low
        if high > largest:
            largest = high
        if high > ratio * low:
            ratio = high / low
    return smallest, largest, ratio


@_kernel
def add_gaussians(
    out: Any,
    points: tuple[Any, Any, Any, Any],
    sigmas: tuple[Any, Any],
    ranges: Any,
    frame: tuple[float, float, float, int, int],
    palette: tuple[Any, float, float],
    limits_nm: tuple[float, float, float, float],
    widths: tuple[float, float, float],
) -> int:
    """Add each localization as a Gaussian of its own sigma; return how many were drawn.

    ``limits_nm`` are the smallest and largest sigma and those (x, y) for rows without; drawn
    are those whose narrower sigma is in ``widths[0] <= sigma < widths[1]`` (nm). ``widths[2]``
    (nm) is the sigma of an interpolation that follows, which is taken off; 0 if none does, and
    then the Gaussian is integrated over the pixels.
    """
    x, y, value, kept = points
    left, top, pixel, offset_x, offset_y = frame
    table, low, per_unit = palette
    n_channels = table.shape[1]
    color = table[0].copy()
    height, width = out.shape[0], out.shape[1] // n_channels
    across, down = np.empty(width), np.empty(height)
    line = np.empty(width * n_channels, out.dtype)
    sigmas_x, sigmas_y = sigmas
    smallest, largest, default_x, default_y = limits_nm
    spread, integrate, n_drawn = widths[2], widths[2] == 0.0, 0
    for r in range(ranges.shape[0]):
        for i in range(ranges[r, 0], ranges[r, 1]):
            if kept.size and not kept[i]:
                continue
            sigma_x = np.float64(sigmas_x[i]) if sigmas_x.size else np.nan
            sigma_y = np.float64(sigmas_y[i]) if sigmas_y.size else np.nan
            sigma_x = _clipped(sigma_x, smallest, largest, default_x)
            sigma_y = _clipped(sigma_y, smallest, largest, default_y)
            if not widths[0] <= min(sigma_x, sigma_y) < widths[1]:
                continue
            column = (np.float64(x[i]) - left) / pixel - offset_x
            row = (np.float64(y[i]) - top) / pixel - offset_y
            sigma_x, sigma_y = (
                _left_over(sigma_x, spread, pixel),
                _left_over(sigma_y, spread, pixel),
            )
            first_x, end_x = _profile(column, sigma_x, integrate, width, across)
            first_y, end_y = _profile(row, sigma_y, integrate, height, down)
            if end_x <= first_x or end_y <= first_y:
                continue
            if value.size:
                _color(np.float64(value[i]), table, low, per_unit, color)
            _stamp(out, across, down, color, (first_x, end_x, first_y, end_y), line)
            n_drawn += 1
    return n_drawn


@_kernel
def _across_four(row: Any, first: Any, weights: Any, out: Any) -> None:
    n_nodes = row.size // 4
    for j in range(first.size):
        a = b = c = d = row.dtype.type(0)
        start = first[j]
        for k in range(max(0, -start), min(weights.shape[1], n_nodes - start)):
            weight, at = weights[j, k], (start + k) * 4
            a += weight * row[at]
            b += weight * row[at + 1]
            c += weight * row[at + 2]
            d += weight * row[at + 3]
        out[4 * j] += a
        out[4 * j + 1] += b
        out[4 * j + 2] += c
        out[4 * j + 3] += d


@_kernel
def apply_bands(
    nodes: Any,
    n_channels: int,
    down: tuple[Any, Any],
    across: tuple[Any, Any],
    first: int,
    last: int,
    out: Any,
) -> None:
    """Add ``A_down @ nodes @ A_across.T`` to the rows ``first:last`` of an image.

    Each A is a band matrix: first column (n,) and weights (n, taps). Nodes beyond the array
    count as empty.
    """
    first_y, weight_y = down
    first_x, weight_x = across
    row = np.empty(nodes.shape[1], nodes.dtype)
    for r in range(first, last):
        row[:] = 0
        for k in range(max(0, -first_y[r]), min(weight_y.shape[1], nodes.shape[0] - first_y[r])):
            weight = weight_y[r, k]
            if weight != 0:
                source = nodes[first_y[r] + k]
                for j in range(row.size):
                    row[j] += weight * source[j]
        n_nodes = row.size // n_channels
        if n_channels == 4:  # the same, but the compiler keeps the four sums in one register
            _across_four(row, first_x, weight_x, out[r])
            continue
        for j in range(first_x.size):
            start = first_x[j]
            for k in range(max(0, -start), min(weight_x.shape[1], n_nodes - start)):
                weight = weight_x[j, k]
                for c in range(n_channels):
                    out[r, j * n_channels + c] += weight * row[(start + k) * n_channels + c]


@_kernel
def halve(image: Any, n_channels: int, out: Any) -> None:
    """Sum squares of 2 x 2 pixels; ``out`` is half as large, rounded up."""
    width = image.shape[1] // n_channels
    for r in range(image.shape[0]):
        for j in range(width):
            for c in range(n_channels):
                out[r // 2, (j // 2) * n_channels + c] += image[r, j * n_channels + c]


@_kernel
def rows_in_polygon(points: tuple[Any, Any, Any], ranges: Any, corners: Any, out: Any) -> int:
    """Write the rows inside a polygon (k, 2) to ``out``; return their number (even-odd rule)."""
    x, y, kept = points
    n_found = 0
    for r in range(ranges.shape[0]):
        for i in range(ranges[r, 0], ranges[r, 1]):
            if kept.size and not kept[i]:
                continue
            px, py = np.float64(x[i]), np.float64(y[i])
            inside = False
            k = corners.shape[0] - 1
            for j in range(corners.shape[0]):
                ay, by = corners[j, 1], corners[k, 1]
                if (ay > py) != (by > py):
                    ax, bx = corners[j, 0], corners[k, 0]
                    if px < ax + (bx - ax) * (py - ay) / (by - ay):
                        inside = not inside
                k = j
            if inside:
                out[n_found] = i
                n_found += 1
    return n_found


# --- from sums to what the eye sees -----------------------------------------------------------


@_kernel
def tone_colors(sums: Any, gain: float, gamma: float, first: int, last: int, out: Any) -> None:
    """Mean colour × brightness: ``sums`` (height, width * 4), ``out`` (height, width, 3) uint8."""
    scale, power = np.float32(gain), np.float32(gamma)
    for r in range(first, last):
        for j in range(out.shape[1]):
            weight = sums[r, 4 * j]
            if weight <= 0:
                out[r, j, 0] = out[r, j, 1] = out[r, j, 2] = 0
                continue
            value = min(weight * scale, np.float32(1)) ** power * np.float32(255) / weight
            for c in range(3):
                shade = sums[r, 4 * j + 1 + c] * value + np.float32(0.5)
                out[r, j, c] = np.uint8(min(max(shade, np.float32(0)), np.float32(255)))


@_kernel
def tone_brightness(
    sums: Any, gain: float, gamma: float, table: Any, first: int, last: int, out: Any
) -> None:
    """Look brightness up in ``table`` (256, 3) uint8: ``sums`` (height, width), ``out`` uint8."""
    scale, power = np.float32(gain), np.float32(gamma)
    for r in range(first, last):
        for j in range(out.shape[1]):
            value = max(min(sums[r, j] * scale, np.float32(1)), np.float32(0)) ** power
            entry = int(value * np.float32(255) + np.float32(0.5))
            for c in range(3):
                out[r, j, c] = table[entry, c]
