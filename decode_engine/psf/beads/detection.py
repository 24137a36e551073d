"""Where the beads are: maxima of a projection of the stack, and why some are not used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.psf.beads.stacks import BeadStack

__all__ = ["BeadCandidate", "BeadDetection", "RejectedBead", "detect_beads"]

# A maximum must rise this many standard deviations of the filtered noise above the background
# before `detection_cutoff` scales it, and must reach this part of the typical bead.
_NOISE_SIGMAS = 8.0
_TYPICAL_FRACTION = 0.25
# A neighbour dimmer than this part of a bead does not spoil it (defocus rings are such maxima).
_NEIGHBOUR_FRACTION = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class BeadCandidate:
    """A bead found in a stack.

    Attributes
    ----------
    stack : int
        Index of the stack.
    x_px, y_px : float
        Position in the field, (0, 0) is the centre of the top-left pixel.
    height : float
        Rise of the smoothed projection above the background, photons.
    """

    stack: int
    x_px: float
    y_px: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectedBead:
    """A bead that was found and not used, and the reason in words."""

    stack: int
    x_px: float
    y_px: float
    reason: str


@dataclass(frozen=True, kw_only=True)
class BeadDetection:
    """What was found in one stack.

    ``cutoff`` and ``brightest`` are heights in photons of the smoothed projection: what a
    maximum had to reach, and what the highest one reached.
    """

    candidates: tuple[BeadCandidate, ...]
    rejected: tuple[RejectedBead, ...]
    cutoff: float
    brightest: float
    single_bead: bool


def detect_beads(stack: BeadStack, config: CalibrateConfig) -> BeadDetection:
    """Find the beads of one stack.

    The projection is the maximum over z of the slices smoothed by a Gaussian of
    ``filter_px``, minus its local background. A maximum is a bead when its height exceeds
    ``detection_cutoff`` times the larger of eight noise standard deviations and a quarter of
    the typical bead's height (the height-weighted median of all maxima above the noise, which
    neither many dim specks nor a few bright clumps move). A field too small for two beads
    that keep their distance counts as the crop of a single bead: the maximum nearest to its
    centre is taken.

    Returns
    -------
    BeadDetection
        Candidates by falling height. Whether a window fits around them is decided later, when
        the size of the window is known (`selection.select_beads`).
    """
    projection, noise = _projection(stack.photons, config)
    peaks_yx, heights = _local_maxima(projection, config.filter_px)
    height, width = projection.shape
    single = max(height, width) < config.roi_px + config.min_distance_px
    if single:
        central = _nearest_to_center(peaks_yx, heights, (height, width))
        peaks_yx, heights = peaks_yx[central], heights[central]
    above_noise = heights > _NOISE_SIGMAS * noise
    typical = _weighted_median(heights[above_noise])
    cutoff = config.detection_cutoff * max(_NOISE_SIGMAS * noise, _TYPICAL_FRACTION * typical)
    bright = heights >= cutoff
    found = [
        BeadCandidate(stack=stack.index, x_px=float(x), y_px=float(y), height=float(h))
        for (y, x), h in zip(
            _refine(projection, peaks_yx[bright], config.filter_px), heights[bright], strict=True
        )
    ]
    near = _neighbours(found, peaks_yx[above_noise], heights[above_noise], config.min_distance_px)
    return BeadDetection(
        candidates=tuple(b for b, n in zip(found, near, strict=True) if n is None),
        rejected=tuple(
            RejectedBead(
                stack=b.stack,
                x_px=b.x_px,
                y_px=b.y_px,
                reason=f"another bead is {n:.1f} px away, closer than min_distance_px = "
                f"{config.min_distance_px:g}",
            )
            for b, n in zip(found, near, strict=True)
            if n is not None
        ),
        cutoff=float(cutoff),
        brightest=float(heights.max(initial=0.0)),
        single_bead=single,
    )


def _projection(
    photons: NDArray[np.float32], config: CalibrateConfig
) -> tuple[NDArray[np.float64], float]:
    """Return the background-free projection (H, W) and the noise of a smoothed slice."""
    # Second differences along z cancel the slowly changing PSF and leave sqrt(6) x the noise.
    # They are kept on a coarse grid of pixels, so that a large field costs little memory.
    peak = np.full(photons.shape[1:], -np.inf, np.float32)
    recent: list[NDArray[np.float32]] = []
    second: list[NDArray[np.float32]] = []
    for slice_ in photons:
        smoothed = ndimage.gaussian_filter(slice_, config.filter_px)
        np.maximum(peak, smoothed, out=peak)
        recent = [*recent[-2:], smoothed[::3, ::3]]
        if len(recent) == 3:
            second.append(recent[0] - 2 * recent[1] + recent[2])
    # Only the darker half of the field counts: beads' shot noise does not reach there.
    dark = peak[::3, ::3] <= np.median(peak[::3, ::3])
    noise = 1.4826 * float(np.median(np.abs(np.stack(second)[:, dark]))) / np.sqrt(6.0)
    height = np.asarray(peak, np.float64)
    return height - _local_background(height, config.roi_px), noise


def _local_background(peak: NDArray[np.float64], roi_px: int) -> NDArray[np.float64]:
    """Return the median in a sliding window of four bead windows, smoothed.

    The median of a centred window follows a sloping background without bias.
    """
    step = 4  # the background is smooth: a coarse grid gives the same and is 200 times faster
    coarse = ndimage.gaussian_filter(peak, 1.0)[::step, ::step]
    size = max(3, (4 * roi_px) // step)
    low = ndimage.median_filter(coarse, size=size, mode="mirror")
    low = ndimage.gaussian_filter(low, size / 4, mode="nearest")
    rows, cols = np.indices(peak.shape) / step
    return np.asarray(ndimage.map_coordinates(low, [rows, cols], order=1, mode="nearest"))


def _local_maxima(
    projection: NDArray[np.float64], filter_px: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the (K, 2) rows and columns of maxima and their (K,) heights, highest first."""
    radius = max(1, round(filter_px))
    highest = ndimage.maximum_filter(projection, size=2 * radius + 1, mode="nearest")
    peaks = np.argwhere((projection == highest) & (projection > 0))
    heights = projection[tuple(peaks.T)]
    order = np.argsort(-heights, kind="stable")
    return peaks[order], heights[order]


def _nearest_to_center(
    peaks_yx: NDArray[np.int64], heights: NDArray[np.float64], shape: tuple[int, int]
) -> NDArray[np.int64]:
    """Return the index (as an array of one) of the bright maximum nearest to the centre."""
    if not len(heights):
        return np.empty(0, np.int64)
    distance = np.hypot(*(peaks_yx - (np.array(shape) - 1) / 2).T)
    distance[heights < 0.5 * heights.max()] = np.inf
    return np.array([int(distance.argmin())])


def _weighted_median(heights: NDArray[np.float64]) -> float:
    """Return the height that half of the summed heights lie below."""
    if not len(heights):
        return 0.0
    rising = np.sort(heights)
    return float(rising[np.searchsorted(np.cumsum(rising), 0.5 * rising.sum())])


def _refine(
    projection: NDArray[np.float64], peaks_yx: NDArray[np.int64], filter_px: float
) -> list[tuple[float, float]]:
    """Return the (y, x) centroids of the top of each peak."""
    radius = max(1, round(filter_px))
    refined = []
    for row, col in peaks_yx:
        rows = slice(max(row - radius, 0), row + radius + 1)
        cols = slice(max(col - radius, 0), col + radius + 1)
        top = projection[rows, cols]
        top = np.clip(top - 0.5 * projection[row, col], 0, None)
        y, x = ndimage.center_of_mass(top)
        refined.append((rows.start + float(y), cols.start + float(x)))
    return refined


def _neighbours(
    beads: list[BeadCandidate],
    peaks_yx: NDArray[np.int64],
    heights: NDArray[np.float64],
    min_distance_px: float,
) -> list[float | None]:
    """Return for each bead the distance of the nearest neighbour that spoils it, or None."""
    nearest: list[float | None] = []
    for bead in beads:
        distance = np.hypot(peaks_yx[:, 0] - bead.y_px, peaks_yx[:, 1] - bead.x_px)
        itself = int(distance.argmin())
        spoils = (distance < min_distance_px) & (heights > _NEIGHBOUR_FRACTION * bead.height)
        spoils[itself] = False
        nearest.append(float(distance[spoils].min()) if spoils.any() else None)
    return nearest
