"""Cubic smoothing spline along one axis, for many curves at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solveh_banded

__all__ = ["smooth_along_z", "smoothing_strength"]


def smoothing_strength(smoothing_z_nm: float, dz_nm: float) -> float:
    """Return the strength ``lambda`` for a length: ``(smoothing_z / dz)**4``.

    A smoothing spline damps a wave of angular frequency ``w`` (per slice) to
    ``1 / (1 + lambda w^4)``; so waves of period ``2 pi smoothing_z_nm`` keep half of their
    height whatever the slice distance. SMAP's "smoothing z" s is ``lambda = 100 s / dz_nm``
    in the same units (its own files show this response): its default 1 at 10 nm slices is
    ``smoothing_z_nm`` = 17.8.
    """
    return float((smoothing_z_nm / dz_nm) ** 4)


def smooth_along_z(volume: NDArray[np.floating], strength: float) -> NDArray[np.float64]:
    """Return the natural cubic smoothing spline through each column, at the slices.

    Minimises ``sum (f - y)^2 + strength * integral f''^2`` with the slice as unit of length
    (Reinsch 1967, doi 10.1007/BF02162161): with ``Q`` the second differences and ``R`` the
    Gram matrix of the second derivative's hat functions,
    ``(R + strength Q'Q) g = Q' y`` and ``f = y - strength Q g``.

    Parameters
    ----------
    volume : (Z, ...) array with Z >= 3
    strength : float
        0 returns the values as they are.
    """
    values = np.asarray(volume, np.float64)
    if strength == 0:
        return values
    columns = values.reshape(len(values), -1)
    n = len(values) - 2
    banded = np.zeros((3, n))  # upper form: rows are the second, first and main diagonal
    banded[0] = strength
    banded[1] = 1 / 6 - 4 * strength
    banded[2] = 2 / 3 + 6 * strength
    rows = max(0, 3 - n)  # diagonals that do not exist for very few slices
    curvature = solveh_banded(banded[rows:], np.diff(columns, 2, axis=0))
    correction = np.zeros_like(columns)
    correction[:-2] += curvature
    correction[1:-1] -= 2 * curvature
    correction[2:] += curvature
    return (columns - strength * correction).reshape(values.shape)
