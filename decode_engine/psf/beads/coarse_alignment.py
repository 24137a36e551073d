"""First alignment of beads along z, to whole slices, by normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import fft

__all__ = ["axial_lag", "reference_bead"]

# Two beads must share at least this part of the shorter one's slices.
_MIN_OVERLAP = 0.5
_MAX_REFERENCES = 7


def axial_correlation(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return lags and the normalised correlation of ``first(z + lag)`` with ``second(z)``.

    Parameters
    ----------
    first, second : (Z1, Y, X), (Z2, Y, X) float32, background-free
        Windows may differ in size at a field's border; the common part counts.

    Returns
    -------
    (L,) int64, (L,) float64
        Only lags at which enough slices overlap.
    """
    a, b = _common(first, second)
    n1, n2 = len(a), len(b)
    size = fft.next_fast_len(n1 + n2, real=True)
    product = fft.rfft(a, size, axis=0) * np.conj(fft.rfft(b, size, axis=0))
    correlation = fft.irfft(product.sum(axis=1), size)
    least = max(int(_MIN_OVERLAP * min(n1, n2)), 1)
    lags = np.arange(least - n2, n1 - least + 1)
    energy_a = np.concatenate([[0.0], np.cumsum((a**2).sum(axis=1))])
    energy_b = np.concatenate([[0.0], np.cumsum((b**2).sum(axis=1))])
    start, stop = np.maximum(lags, 0), np.minimum(lags + n2, n1)
    norm_a = energy_a[stop] - energy_a[start]
    norm_b = energy_b[stop - lags] - energy_b[start - lags]
    return lags, correlation[lags % size] / np.sqrt(norm_a * norm_b + 1e-30)


def axial_lag(bead: NDArray[np.float32], reference: NDArray[np.float32]) -> int:
    """Return the slice of ``bead`` that corresponds to slice 0 of ``reference``."""
    lags, correlation = axial_correlation(bead, reference)
    return int(lags[correlation.argmax()])


def reference_bead(cores: Sequence[NDArray[np.float32]]) -> int:
    """Return the index of the bead that resembles the others most.

    A handful of beads, evenly chosen by brightness, are compared with each other.
    """
    by_peak = np.argsort([float(c.max()) for c in cores], kind="stable")
    count = min(len(cores), _MAX_REFERENCES)
    chosen = by_peak[np.linspace(0, len(cores) - 1, count).round().astype(np.int64)]
    likeness = np.zeros(count)
    for i in range(count):
        for j in range(i):
            best = float(axial_correlation(cores[chosen[i]], cores[chosen[j]])[1].max())
            likeness[i] += best
            likeness[j] += best
    return int(chosen[likeness.argmax()])


def _common(
    first: NDArray[np.float32], second: NDArray[np.float32]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return both volumes cut to the same middle rows and columns, as (Z, N)."""
    rows = min(first.shape[1], second.shape[1])
    cols = min(first.shape[2], second.shape[2])
    cut = []
    for volume in (first, second):
        top, left = (volume.shape[1] - rows) // 2, (volume.shape[2] - cols) // 2
        part = volume[:, top : top + rows, left : left + cols]
        cut.append(part.reshape(len(part), -1).astype(np.float64))
    return cut[0], cut[1]
