"""Coefficients of the tensor-product cubic spline through a PSF stack, in SMAP's order."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from decode_engine.errors import CalibrationError

__all__ = ["spline_coefficients"]

# Slices turned into coefficients at a time; bounds the float64 temporaries to tens of MB.
_SLICES_PER_BLOCK = 32


def spline_coefficients(stack: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Interpolate a stack by cubic splines with not-a-knot ends along all three axes.

    Parameters
    ----------
    stack : (Y, X, Z) float
        Samples of the PSF at whole pixels and slices.

    Returns
    -------
    (Y - 1, X - 1, Z - 1, 64) float32
        ``f(j + b, i + a, k + c) = sum coeff[j, i, k, p_y + 4 p_x + 16 p_z] b^p_y a^p_x c^p_z``
        for fractions a, b, c in 0..1.

    Raises
    ------
    CalibrationError
        If an axis has fewer than two samples, or a sample is not finite.

    Notes
    -----
    A spline along one axis is linear in the samples, so one small matrix per axis and power
    holds all of it (de Boor, A Practical Guide to Splines, chapter XVII). All axes are done in
    double precision. An axis of two or three samples gets a line or a parabola.
    """
    samples = np.asarray(stack, np.float64)
    if samples.ndim != 3 or min(samples.shape) < 2:
        raise CalibrationError(
            f"A spline needs at least 2 x 2 x 2 samples, not {samples.shape}.",
            hint="Use a bead stack with more slices or a larger window.",
        )
    if not np.all(np.isfinite(samples)):
        raise CalibrationError(
            "The PSF stack contains values that are NaN or infinite.",
            hint="Choose beads further from the border.",
        )
    rows, columns, slices = (_axis_matrices(n) for n in samples.shape)
    sizes = [n - 1 for n in samples.shape]
    coefficients = np.empty((*sizes, 64), np.float32)
    for start in range(0, sizes[2], _SLICES_PER_BLOCK):
        stop = min(start + _SLICES_PER_BLOCK, sizes[2])
        block = np.tensordot(slices[:, start:stop], samples, axes=(2, 2))  # (p_z, k, Y, X)
        block = np.tensordot(block, columns, axes=(3, 2))  # (p_z, k, Y, p_x, i)
        block = np.tensordot(block, rows, axes=(2, 2))  # (p_z, k, p_x, i, p_y, j)
        ordered = block.transpose(5, 3, 1, 0, 2, 4)  # (j, i, k, p_z, p_x, p_y)
        coefficients[:, :, start:stop] = ordered.reshape(*sizes[:2], stop - start, 64)
    return coefficients


def _axis_matrices(samples: int) -> NDArray[np.float64]:
    """Return (4, samples - 1, samples): interval coefficients by power, from the samples."""
    spline = CubicSpline(np.arange(samples), np.eye(samples), bc_type="not-a-knot")
    return np.ascontiguousarray(spline.c[::-1])
