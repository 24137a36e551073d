"""Robust averages of bead volumes that lie on one grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["clipped_mean", "masked_median"]

# A voxel of one bead that is further than this many robust standard deviations from the
# median of all beads is left out of the mean (a neighbour at the window's edge, a hot pixel).
_CLIP_SIGMAS = 5.0
_CLIP_FLOOR = 0.005  # of the peak: with few beads the deviations can agree by chance
_CLIP_MIN_BEADS = 5


def masked_median(volumes: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return the median over the first axis of the valid values; 0 where there is none.

    Parameters
    ----------
    volumes : (B, ...) float32
    valid : (B, ...) bool
    """
    rising = np.sort(np.where(valid, volumes, np.float32(np.inf)), axis=0)
    count = valid.sum(axis=0)
    low = np.take_along_axis(rising, np.maximum((count - 1) // 2, 0)[None], axis=0)[0]
    high = np.take_along_axis(rising, np.minimum(count // 2, len(volumes) - 1)[None], axis=0)[0]
    low, high = np.where(count > 0, low, 0), np.where(count > 0, high, 0)
    return np.asarray(0.5 * (low + high), np.float32)


def clipped_mean(
    volumes: NDArray[np.float32], valid: NDArray[np.bool_], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the weighted mean over the first axis without outlying voxels.

    Parameters
    ----------
    volumes : (B, Z, Y, X) float32
        Beads scaled to a common peak of about 1.
    valid : (B, Z, Y, X) bool
    weights : (B,) float64
        Brightness of the beads: shot noise makes the sum of raw beads the best estimate.

    Returns
    -------
    (Z, Y, X) float64
        The median where no voxel is left; 0 where no bead was valid.
    """
    used = valid
    if len(volumes) >= _CLIP_MIN_BEADS:
        middle = masked_median(volumes, valid)
        deviation = np.abs(volumes - middle)
        scale = 1.4826 * masked_median(deviation, valid)
        used = valid & (deviation <= _CLIP_SIGMAS * scale + _CLIP_FLOOR)
    per_voxel = np.zeros(volumes.shape[1:])
    total = np.zeros(volumes.shape[1:])
    for volume, use, weight in zip(volumes, used, weights, strict=True):
        per_voxel += weight * use
        total += weight * np.where(use, volume, 0.0)
    return np.divide(total, per_voxel, out=np.zeros_like(total), where=per_voxel > 0)
