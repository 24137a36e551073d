"""Fourier ring correlation: the resolution of the whole data set, without a truth.

Two images of independent halves of the localizations are compared on rings of spatial
frequency q (Nieuwenhuizen et al. 2013, doi:10.1038/nmeth.2448)::

    FRC(q) = Σ_ring Re(F1 F2*) / sqrt(Σ_ring |F1|² Σ_ring |F2|²)

The resolution is 1/q where the smoothed curve falls below 1/7. Images are counts less their mean,
multiplied with a Tukey window that tapers an eighth of the width at each side. Fields larger than
one tile are cut into tiles of equal size, and the three sums are added over the fullest tiles
before the division: the memory stays bounded, the statistics grow with the area.

Halves made of alternating blocks of frames keep the frames of one blinking event together, and
so do not mistake repeated measurements of one molecule for resolution; random halves do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.fft import next_fast_len, rfft2
from scipy.signal import savgol_filter
from scipy.signal.windows import tukey

from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray
from decode_engine.errors import ConfigError

__all__ = ["FRC_THRESHOLD", "FrcResult", "frc_resolution", "split_halves"]

FRC_THRESHOLD = 1.0 / 7.0

Real: TypeAlias = NDArray[np.float64]
Halves: TypeAlias = Literal["blocks", "random"]

_LARGEST_TILE_PX = 1024
_MOST_TILES = 16
_FEWEST_LOCALIZATIONS = 100
_SMOOTHING = 1 / 20  # width of the smoothing window relative to the number of rings
_NOT_JUDGED_RINGS = 3  # the window function leaks the mean into the first rings


@dataclass(frozen=True, slots=True, kw_only=True)
class FrcResult:
    """A Fourier ring correlation curve and the resolution read from it.

    Attributes
    ----------
    resolution_nm : float, nm
        1/q at the crossing; NaN if there is none.
    reason : str
        Why there is no resolution; empty if there is one.
    frequency_per_nm : (R,) float64, 1/nm
        Spatial frequency of the rings, up to the Nyquist frequency.
    correlation, smoothed : (R,) float64
        The raw curve and the one that is compared with the threshold.
    n_localizations : int
        Localizations in the tiles that were used.
    """

    resolution_nm: float
    reason: str
    frequency_per_nm: Real
    correlation: Real
    smoothed: Real
    n_localizations: int


def frc_resolution(
    localizations: Localizations,
    pixel_size_nm: float = 5.0,
    *,
    halves: Halves = "blocks",
    n_blocks: int = 10,
    rng: np.random.Generator | None = None,
    check: Callable[[], None] = lambda: None,
) -> FrcResult:
    """Estimate the resolution by Fourier ring correlation.

    Parameters
    ----------
    localizations : Localizations
        x, y and frame are used.
    pixel_size_nm : float, nm
        Pixel size of the images; resolutions below twice this cannot be seen.
    halves : {"blocks", "random"}
        Alternating blocks of frames, or a coin for each localization.
    n_blocks : int
        Number of blocks of frames.
    rng : numpy.random.Generator or None
        Needed for random halves.
    check : callable
        Called for each tile; may raise to stop.
    """
    if not pixel_size_nm > 0:
        raise ConfigError(f"The pixel size {pixel_size_nm:g} nm is not positive.")
    kept = np.isfinite(localizations.x_nm) & np.isfinite(localizations.y_nm)
    x = localizations.x_nm[kept].astype(np.float64) / pixel_size_nm
    y = localizations.y_nm[kept].astype(np.float64) / pixel_size_nm
    if x.size < _FEWEST_LOCALIZATIONS:
        return _nothing(f"{x.size} localizations are too few", int(x.size))
    second = split_halves(localizations.frame[kept], halves=halves, n_blocks=n_blocks, rng=rng)
    if second.all() or not second.any():
        return _nothing("all localizations are in one frame, so there are no halves", x.size)
    size, tiles = _tiles(x - x.min(), y - y.min())
    if size < 8 * _NOT_JUDGED_RINGS:
        return _nothing(f"the field is only {size} image pixels wide", int(x.size))
    sums = np.zeros((3, size // 2 + 1))
    n_used = 0
    for rows, column, row in tiles:
        check()
        first_half, second_half = (
            _counts(column[part], row[part], size) for part in (~second[rows], second[rows])
        )
        sums += _ring_sums(first_half, second_half)
        n_used += rows.size
    return _result(sums, size * pixel_size_nm, n_used)


def split_halves(
    frame: NDArray[Any],
    *,
    halves: Halves = "blocks",
    n_blocks: int = 10,
    rng: np.random.Generator | None = None,
) -> BoolArray:
    """Return which localizations belong to the second half, (N,) bool.

    Parameters
    ----------
    frame : (N,) integer
        Frame indices.
    halves, n_blocks, rng
        See `frc_resolution`; movies with fewer frames than blocks alternate frame by frame.
    """
    if halves == "random":
        if rng is None:
            raise ConfigError("Random halves need a random generator.")
        return rng.random(frame.size) < 0.5
    if n_blocks < 2:
        raise ConfigError(f"{n_blocks} blocks do not make two halves.", hint="Use 2 or more.")
    since_first = frame.astype(np.int64) - int(frame.min())
    n_frames = int(since_first.max()) + 1
    block = since_first * min(n_blocks, n_frames) // n_frames
    return np.asarray(block % 2 == 1, np.bool_)


def _tiles(x: Real, y: Real) -> tuple[int, list[tuple[NDArray[np.int64], Real, Real]]]:
    """Cut the field into squares: (size in px, [(rows, x in the tile, y in the tile), ...])."""
    extent = max(float(x.max()), float(y.max()))
    if extent < _LARGEST_TILE_PX:
        size = next_fast_len(math.floor(extent) + 1, real=True)
    else:
        size = _LARGEST_TILE_PX
    columns = math.floor(float(x.max()) / size) + 1
    number = np.floor(y / size).astype(np.int64) * columns + np.floor(x / size).astype(np.int64)
    count = np.bincount(number)
    fullest = np.argsort(-count, kind="stable")[:_MOST_TILES]
    # A sliver of the field would weigh in with little but its own noise.
    fullest = fullest[count[fullest] >= max(1, 0.1 * count[fullest[0]])]
    tiles = []
    for tile in fullest:
        rows = np.flatnonzero(number == tile)
        tiles.append((rows, x[rows] - (tile % columns) * size, y[rows] - (tile // columns) * size))
    return size, tiles


def _counts(column: Real, row: Real, size: int) -> Real:
    flat = np.floor(row).astype(np.int64) * size + np.floor(column).astype(np.int64)
    return np.bincount(flat, minlength=size * size).reshape(size, size).astype(np.float64)


def _ring_sums(first: Real, second: Real) -> Real:
    """Return (3, size // 2 + 1): sums of Re(F1 F2*), |F1|² and |F2|² on rings of integer radius."""
    size = first.shape[0]
    window = tukey(size, 0.25)
    mask = window[:, None] * window[None, :]
    # Without its mean, the density leaks much less through the window into the first rings.
    f1, f2 = (rfft2((image - image.mean()) * mask) for image in (first, second))
    fy = np.fft.fftfreq(size, 1 / size)[:, None]
    fx = np.arange(f1.shape[1])[None, :]
    ring = np.rint(np.hypot(fx, fy)).astype(np.int64)
    # The half spectrum of a real image: every column but the first (and the last, if the size is
    # even) stands for two.
    twice = np.full(f1.shape, 2.0)
    twice[:, 0] = 1.0
    if size % 2 == 0:
        twice[:, -1] = 1.0
    values = ((f1 * f2.conj()).real, np.abs(f1) ** 2, np.abs(f2) ** 2)
    n_rings = size // 2 + 1
    return np.stack(
        [np.bincount(ring.ravel(), (v * twice).ravel(), n_rings)[:n_rings] for v in values]
    )


def _result(sums: Real, width_nm: float, n_used: int) -> FrcResult:
    """Turn ring sums into the curve, and the curve into a resolution."""
    power = np.sqrt(sums[1] * sums[2])
    correlation = np.divide(sums[0], power, out=np.zeros_like(power), where=power > 0)
    window = max(5, int(correlation.size * _SMOOTHING) | 1)
    smoothed = correlation.copy()
    judged = slice(_NOT_JUDGED_RINGS, None)
    smoothed[judged] = savgol_filter(correlation[judged], window, 2)
    frequency = np.arange(correlation.size) / width_nm
    ring, reason = _crossing(correlation, smoothed, window // 2)
    return FrcResult(
        resolution_nm=width_nm / ring if ring > 0 else math.nan,
        reason=reason,
        frequency_per_nm=frequency,
        correlation=correlation,
        smoothed=smoothed,
        n_localizations=n_used,
    )


def _crossing(correlation: Real, smoothed: Real, stay: int) -> tuple[float, str]:
    """Return the ring number at which the curve falls below 1/7 and stays there, or why not.

    A dip that is shorter than the smoothing window is noise, not the end of the signal. So is a
    signal that does not stand out: up to the crossing the mean correlation must exceed 1/7 by
    1.5 of its standard errors (half of the samples of a ring, about π r, are independent).
    """
    above = smoothed > FRC_THRESHOLD
    above[:_NOT_JUDGED_RINGS] = True
    nothing = "the halves do not correlate at any spatial frequency"
    for ring in np.flatnonzero(above[:-1] & ~above[1:]):
        if above[ring + 1 : ring + 1 + stay].any():
            continue
        if ring < _NOT_JUDGED_RINGS:
            return math.nan, nothing
        number = np.arange(_NOT_JUDGED_RINGS, ring + 1)
        mean = np.average(correlation[number], weights=number)
        if mean < FRC_THRESHOLD + 1.5 / math.sqrt(math.pi * number.sum()):
            return math.nan, nothing
        fall = (smoothed[ring] - FRC_THRESHOLD) / (smoothed[ring] - smoothed[ring + 1])
        return float(ring + fall), ""
    return math.nan, "the curve stays above 1/7; use smaller image pixels"


def _nothing(reason: str, n_localizations: int) -> FrcResult:
    none = np.empty(0)
    return FrcResult(
        resolution_nm=math.nan,
        reason=reason,
        frequency_per_nm=none,
        correlation=none,
        smoothed=none,
        n_localizations=n_localizations,
    )
