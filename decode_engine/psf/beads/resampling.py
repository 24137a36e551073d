"""Sub-pixel resampling of small volumes by separable not-a-knot cubic splines."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

__all__ = ["Resampled", "derivative", "resample", "spline_matrix"]

# Samples this far outside the data still count as measured (the edge value is taken).
_EDGE_TOLERANCE = 0.5 + 1e-9


@dataclass(frozen=True, slots=True)
class Resampled:
    """A volume on a new grid.

    Attributes
    ----------
    values : (Z, Y, X) float64
    valid : (Z, Y, X) bool
        False where the grid reaches beyond the data; values there repeat the edge.
    """

    values: NDArray[np.float64]
    valid: NDArray[np.bool_]


def spline_matrix(n: int, coordinates: NDArray[np.float64], order: int = 0) -> NDArray[np.float64]:
    """Return the matrix that evaluates the cubic spline through n samples.

    Parameters
    ----------
    n : int
        Number of samples, at 0, 1, ..., n - 1 (at least 4).
    coordinates : (M,) float64
        Where to evaluate; clipped to the samples' range.
    order : int
        Order of the derivative.

    Returns
    -------
    (M, n) float64
    """
    return np.asarray(_unit_splines(n)(np.clip(coordinates, 0, n - 1), order), np.float64)


def resample(
    volume: NDArray[np.floating],
    z: NDArray[np.float64],
    y: NDArray[np.float64],
    x: NDArray[np.float64],
) -> Resampled:
    """Evaluate a volume on the tensor grid z x y x x (coordinates in samples).

    Integer coordinates return the samples themselves.
    """
    values = np.asarray(volume, np.float64)
    valid = np.ones(1, bool)
    for axis, coordinates in enumerate((z, y, x)):
        n = volume.shape[axis]
        inside = (coordinates >= -_EDGE_TOLERANCE) & (coordinates <= n - 1 + _EDGE_TOLERANCE)
        valid = valid[..., None] & inside
        values = np.moveaxis(np.tensordot(_matrix(n, coordinates), values, (1, axis)), 0, axis)
    return Resampled(np.ascontiguousarray(values), valid[0])


def derivative(volume: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """Return the derivative of the spline through the samples, at the samples."""
    n = volume.shape[axis]
    matrix = spline_matrix(n, np.arange(n, dtype=np.float64), order=1)
    return np.moveaxis(np.tensordot(matrix, volume, (1, axis)), 0, axis)


@lru_cache(maxsize=8)
def _unit_splines(n: int) -> CubicSpline[np.float64]:
    """Return the n splines through one sample of 1 and zeros; every iteration needs them."""
    return CubicSpline(np.arange(n), np.eye(n), bc_type="not-a-knot")


def _matrix(n: int, coordinates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return `spline_matrix`, exactly 0 and 1 at integer coordinates (keeps samples as is)."""
    if np.all(coordinates == np.round(coordinates)):
        return np.eye(n)[np.clip(coordinates, 0, n - 1).astype(np.int64)]
    return spline_matrix(n, coordinates)
