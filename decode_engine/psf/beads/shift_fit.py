"""The shift of a bead against a template: one step of weighted linear least squares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["ShiftFit", "missing_shift"]

# Variance of a pixel relative to that at the peak: shot noise, and a floor for the rest.
_VARIANCE_FLOOR = 0.02
_LARGEST_SHIFT = 1.0


@dataclass(frozen=True, slots=True)
class ShiftFit:
    """Amplitude and background of a bead, and its (z, y, x) shift in slices and px."""

    amplitude: float
    background: float
    shift: NDArray[np.float64]


def missing_shift(
    bead: NDArray[np.float64],
    valid: NDArray[np.bool_],
    template: NDArray[np.float64],
    gradients: NDArray[np.float64],
) -> ShiftFit:
    """Fit ``bead = a_k (T - d . grad T) + b`` with one amplitude for each slice k.

    Amplitudes of their own keep a bead that bleaches, or whose light flickers, from being
    shifted along z to where the template has its brightness: its shape alone decides. Pixels
    count by the inverse of their shot noise, as in the fits that the calibration serves.

    Parameters
    ----------
    bead : (Z, Y, X) float64
    valid : (Z, Y, X) bool
        Voxels that were measured.
    template : (Z, Y, X) float64
        Peak about 1.
    gradients : (3, Z, Y, X) float64
        Derivatives of the template along z, y, x.

    Returns
    -------
    ShiftFit
        ``amplitude`` is the common one, ``shift`` is limited to 1 slice and 1 px a step.
    """
    weight = valid / (np.clip(template, 0, None) + _VARIANCE_FLOOR)
    ones = np.ones_like(template)
    amplitude, background = _common_fit(bead, template, weight)
    norm = np.maximum(_per_slice(template * template * weight), 1e-30)
    own = _per_slice((bead - background) * template * weight) / norm
    columns = np.stack([ones, *(-g * own[:, None, None] for g in gradients)])
    # Eliminating the slices' amplitudes leaves what is orthogonal to the template per slice.
    residual = _orthogonal(bead - background, template, weight, norm)
    design = np.stack([_orthogonal(c, template, weight, norm) for c in columns])
    design, weighted = design.reshape(4, -1), (design * weight).reshape(4, -1)
    # A trace of damping: with too few slices or a 2D template z is not determined.
    normal = weighted @ design.T
    normal[np.diag_indices(4)] *= 1 + 1e-9
    solution = np.linalg.lstsq(normal, weighted @ residual.ravel(), rcond=1e-12)[0]
    return ShiftFit(
        amplitude=amplitude,
        background=background,
        shift=np.clip(solution[1:], -_LARGEST_SHIFT, _LARGEST_SHIFT),
    )


def _common_fit(
    bead: NDArray[np.float64], template: NDArray[np.float64], weight: NDArray[np.float64]
) -> tuple[float, float]:
    """Return the amplitude and background of the whole bead."""
    design = np.stack([template.ravel(), np.ones(template.size)])
    weighted = design * weight.ravel()
    amplitude, background = np.linalg.solve(weighted @ design.T, weighted @ bead.ravel())
    return float(amplitude), float(background)


def _per_slice(volume: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(volume.sum(axis=(1, 2)))


def _orthogonal(
    volume: NDArray[np.float64],
    template: NDArray[np.float64],
    weight: NDArray[np.float64],
    norm: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Return the volume without its component along the template, slice by slice."""
    along = _per_slice(volume * template * weight) / norm
    return volume - along[:, None, None] * template
