"""Where a PSF volume is in focus, along z and laterally."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["focal_center", "focus_slice"]

# Log ratio of gradient energies from which a PSF counts as astigmatic on one side of the focus;
# 0.4 is a width ratio of 1.2.
_ASTIGMATIC_LOG_RATIO = 0.4
# Distance from the sharpest slice within which the widths' crossing is looked for.
_CROSSING_RANGE_NM = 600.0
_SMOOTHING_NM = 30.0
_LEAST_WINDOW_PX = 2.0


def focus_slice(volume: NDArray[np.floating], dz_nm: float) -> float:
    """Return the slice coordinate (from 0) of the focus.

    For an astigmatic PSF it is where the widths in x and y are equal, otherwise the sharpest
    slice (largest sum of squares).

    Parameters
    ----------
    volume : (Z, Y, X) array, any unit
    dz_nm : float
        Distance of slices.

    Notes
    -----
    For a Gaussian the ratio of gradient energies is
    ``sum (dp/dx)^2 / sum (dp/dy)^2 = sigma_y^2 / sigma_x^2``, so its logarithm crosses zero
    where the widths agree. It needs no fit and the bright core dominates it.
    """
    signal = np.asarray(volume, np.float64)
    signal = signal - np.quantile(signal, 0.2)
    smoothing = _SMOOTHING_NM / dz_nm
    sharpness = ndimage.gaussian_filter1d((signal**2).sum(axis=(1, 2)), smoothing, mode="nearest")
    sharpest = _parabola_peak(sharpness)
    energy_x = (np.gradient(signal, axis=2) ** 2).sum(axis=(1, 2))
    energy_y = (np.gradient(signal, axis=1) ** 2).sum(axis=(1, 2))
    tiny = 1e-12 * float(energy_x.max() + energy_y.max())
    ratio = np.log((energy_x + tiny) / (energy_y + tiny))
    ratio = ndimage.gaussian_filter1d(ratio, smoothing, mode="nearest")
    crossing = _crossing(ratio, sharpest, _CROSSING_RANGE_NM / dz_nm)
    return sharpest if crossing is None else crossing


def focal_center(
    volume: NDArray[np.floating], slice_: float, half_slices: int = 3
) -> tuple[float, float]:
    """Return the (y, x) sample coordinates of the focal spot.

    The centroid under a Gaussian window that follows it, of the mean of a few slices around
    the focus (adaptive moments: the background far from the spot does not pull). The window
    starts on the bright pixels' centroid and is as wide as they are spread, so that several
    lobes are centred together.
    """
    k = round(slice_)
    spot = np.asarray(volume, np.float64)[max(k - half_slices, 0) : k + half_slices + 1].mean(0)
    spot = spot - np.median(spot)
    rows, cols = np.indices(spot.shape)
    bright = spot * (spot > 0.25 * spot.max())
    y, x = (float((bright * axis).sum() / bright.sum()) for axis in (rows, cols))
    spread = float((bright * ((rows - y) ** 2 + (cols - x) ** 2)).sum() / bright.sum())
    width_px = max(_LEAST_WINDOW_PX, float(np.sqrt(spread)))
    for _ in range(50):
        weight = np.exp(-((rows - y) ** 2 + (cols - x) ** 2) / (2 * width_px**2)) * spot
        total = float(weight.sum())
        # The window pulls the centroid half-way back when spot and window are equally wide,
        # hence twice the step; the fixed point does not depend on it.
        step_y = 2 * float((weight * (rows - y)).sum()) / total
        step_x = 2 * float((weight * (cols - x)).sum()) / total
        y, x = y + float(np.clip(step_y, -1, 1)), x + float(np.clip(step_x, -1, 1))
        if max(abs(step_y), abs(step_x)) < 1e-5:
            break
    return y, x


def _parabola_peak(profile: NDArray[np.float64]) -> float:
    """Return the position of the largest value, refined by the parabola through three."""
    k = int(profile.argmax())
    if k in (0, len(profile) - 1):
        return float(k)
    left, top, right = profile[k - 1 : k + 2]
    curvature = left - 2 * top + right
    return k + (0.5 * float((left - right) / curvature) if curvature < 0 else 0.0)


def _crossing(ratio: NDArray[np.float64], sharpest: float, reach: float) -> float | None:
    """Return the zero of ``ratio`` nearest to ``sharpest`` if it separates two line foci."""
    low, high = max(int(sharpest - reach), 0), min(int(sharpest + reach) + 2, len(ratio))
    best: float | None = None
    for k in range(low, high - 1):
        a, b = float(ratio[k]), float(ratio[k + 1])
        if a * b > 0 or a == b:
            continue
        before, after = ratio[low : k + 1], ratio[k + 1 : high]
        sign = 1.0 if b > a else -1.0
        two_sided = (
            float((-sign * before).max()) > _ASTIGMATIC_LOG_RATIO
            and float((sign * after).max()) > _ASTIGMATIC_LOG_RATIO
        )
        zero = k + a / (a - b)
        if two_sided and (best is None or abs(zero - sharpest) < abs(best - sharpest)):
            best = zero
    return best
