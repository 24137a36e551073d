"""What raw frames look like in numbers: brightness, background, spots, widths, persistence.

Two movies that are measured in the same way can be compared, although every number here has a
bias of its own (dim spots are missed, close ones merge, tails of spots lift the background):
frames simulated with known settings share the bias. That is the idea of indirect inference
(Gourieroux, Monfort & Renault 1993, doi 10.1002/jae.3950080507), on which
`decode_engine.analysis.simulation_match` builds its suggestions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import ndtri

from decode_engine.domain.camera import CameraModel

__all__ = ["BLOCK_FRAMES", "FrameStatistics", "measure_frames"]

BLOCK_FRAMES = 10
_TILE_PX = 16
_SMOOTHING_PX = 1.0  # near the width of a focused PSF: the matched filter of a spot
_THRESHOLD_SIGMA = 5.0
_WINDOW_PX = 7  # of a spot: holds most of a PSF, and seldom a neighbour
_NEAR_PX = 1.5  # a spot of the next frame this close is the same molecule
_SHIFT_PX = 7  # how far spots are moved to count coincidences by chance
_QUANTILE = 0.15
_ITERATIONS = 12
_MOST_PIXELS = 100_000


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameStatistics:
    """Samples of each quantity, measured alike in any movie.

    Attributes
    ----------
    n_frames : int
    area_um2 : float
        Area of a frame.
    pixel_photons : (P,) float32, photons
        Pixels, thinned evenly to at most 100,000.
    background : (T,) float32, photons per px
        Background of each tile of 16 x 16 px and block of frames.
    spot_photons : (M,) float32, photons
        Light of each spot above the background in a window of 7 x 7 px around its maximum.
    spot_width_nm : (M,) float32, nm
        Root mean square radius per axis in that window; NaN for the dimmer half of the spots,
        where it is noise.
    spots_per_um2 : (F,) float32, 1/um^2
        Spots in each frame and area.
    persistence : float
        Part of the spots that are still there in the next frame, without chance coincidences;
        NaN with fewer than 20 spots.
    """

    n_frames: int
    area_um2: float
    pixel_photons: NDArray[np.float32]
    background: NDArray[np.float32]
    spot_photons: NDArray[np.float32]
    spot_width_nm: NDArray[np.float32]
    spots_per_um2: NDArray[np.float32]
    persistence: float


class _Spots(NamedTuple):
    frame: NDArray[np.intp]
    y_px: NDArray[np.intp]
    x_px: NDArray[np.intp]


def measure_frames(
    frames_adu: NDArray[Any],
    camera: CameraModel,
    *,
    block_frames: int = BLOCK_FRAMES,
    check: Callable[[], None] = lambda: None,
) -> FrameStatistics:
    """Measure frames of a movie.

    Parameters
    ----------
    frames_adu : (F, H, W) array, ADU
        Blocks of ``block_frames`` consecutive frames, one after the other; between two blocks
        any number of frames may be left out.
    camera : CameraModel
        Of exactly this region of the movie.
    block_frames : int
        Frames of a block; the last block may be shorter.
    check : callable
        Called between pieces of work; may raise to cancel.

    Returns
    -------
    FrameStatistics

    Raises
    ------
    ValueError
        If a frame is smaller than the window of a spot.
    """
    n_frames, height, width = frames_adu.shape
    if min(height, width) < _WINDOW_PX or n_frames < 1:
        raise ValueError(f"frames of {width} x {height} px are too small to measure spots")
    photons = camera.adu_to_photons(frames_adu)
    noise = _Noise.of(camera)
    parts = []
    for start in range(0, n_frames, block_frames):
        check()
        parts.append(_Block.measure(photons[start : start + block_frames], noise))
    area_um2 = height * width * camera.pixel_size_x_nm * camera.pixel_size_y_nm * 1e-6
    counts = np.concatenate([part.counts for part in parts])
    spot_photons = np.concatenate([part.photons for part in parts])
    squares = np.concatenate([part.mean_square_px for part in parts])
    pixel_nm = np.sqrt(camera.pixel_size_x_nm * camera.pixel_size_y_nm)
    return FrameStatistics(
        n_frames=n_frames,
        area_um2=area_um2,
        pixel_photons=_thinned(photons),
        background=np.concatenate([part.background for part in parts]).astype(np.float32),
        spot_photons=spot_photons.astype(np.float32),
        spot_width_nm=_widths(spot_photons, squares, float(pixel_nm)),
        spots_per_um2=(counts / area_um2).astype(np.float32),
        persistence=_persistence(parts),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Variance of a pixel of mean ``mu`` photons: ``excess * mu + constant`` (`CameraModel`)."""

    excess: float
    constant: float

    @classmethod
    def of(cls, camera: CameraModel) -> _Noise:
        excess = camera.excess_noise / camera.quantum_efficiency
        read = float(np.median(np.asarray(camera.read_variance_photons2)))
        dark = excess * camera.spurious_charge_e / camera.quantum_efficiency
        return cls(excess=excess, constant=read + dark)

    def sigma(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the standard deviation of pixels with these means."""
        variance = self.excess * np.maximum(mean, 0) + self.constant
        return np.asarray(np.sqrt(np.maximum(variance, 1e-6)))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Consecutive frames."""

    background: NDArray[np.float64]  # (T,)
    counts: NDArray[np.intp]  # (F,)
    photons: NDArray[np.float64]  # (M,)
    mean_square_px: NDArray[np.float64]  # (M,)
    repeats: int  # spots with one at the same place in the next frame
    coincidences: float  # the same, by chance
    followed: int  # spots that have a next frame

    @classmethod
    def measure(cls, photons: NDArray[np.float32], noise: _Noise) -> _Block:
        tiles = _tile_backgrounds(photons, noise)
        background = _spread(tiles, photons.shape[1:])
        light = photons - background[None].astype(np.float32)
        smooth = ndimage.gaussian_filter(light, (0, _SMOOTHING_PX, _SMOOTHING_PX), mode="nearest")
        # A normalised Gaussian of width s averages white noise down by 1 / (2 sqrt(pi) s).
        noise_level = noise.sigma(background) / (2 * np.sqrt(np.pi) * _SMOOTHING_PX)
        spots = _find(smooth, _THRESHOLD_SIGMA * noise_level)
        counts = np.bincount(spots.frame, minlength=len(photons))
        sums, squares = _windows(light, spots)
        repeats, coincidences, followed = _followed(spots, photons.shape)
        return cls(
            background=tiles.ravel(),
            counts=counts,
            photons=sums,
            mean_square_px=squares,
            repeats=repeats,
            coincidences=coincidences,
            followed=followed,
        )


def _tile_backgrounds(photons: NDArray[np.float32], noise: _Noise) -> NDArray[np.float64]:
    """Return the background of each tile, (rows, columns).

    Spots only add light, so the dark side of the pixels' distribution is that of background
    alone: if a part ``c`` of the pixels is touched by light, the quantile ``q`` of all is the
    quantile ``q / (1 - c)`` of the dark ones, whose distribution is nearly normal with a known
    variance, and ``1 - c`` is twice the part that lies below the background. Both conditions
    are iterated to a fixed point.
    """
    _, height, width = photons.shape
    rows, columns = max(1, height // _TILE_PX), max(1, width // _TILE_PX)
    y = np.linspace(0, height, rows + 1).astype(int)
    x = np.linspace(0, width, columns + 1).astype(int)
    found = np.empty((rows, columns))
    for j in range(rows):
        for i in range(columns):
            tile = photons[:, y[j] : y[j + 1], x[i] : x[i + 1]]
            found[j, i] = _background(np.sort(tile, axis=None).astype(np.float64), noise)
    return found


def _background(sorted_photons: NDArray[np.float64], noise: _Noise) -> float:
    level = float(sorted_photons[int(_QUANTILE * (len(sorted_photons) - 1))])
    estimate = float(np.median(sorted_photons))
    for _ in range(_ITERATIONS):
        below = np.searchsorted(sorted_photons, estimate) / len(sorted_photons)
        dark = float(np.clip(2 * below, 2 * _QUANTILE, 1.0))
        z = float(ndtri(_QUANTILE / dark))
        sigma = float(noise.sigma(np.asarray(estimate)))
        # Half a step: the two conditions pull against each other.
        estimate = 0.5 * (estimate + max(level - z * sigma, level))
    return estimate


def _spread(tiles: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Interpolate the tiles' values to all pixels."""
    zoom = (shape[0] / tiles.shape[0], shape[1] / tiles.shape[1])
    return np.asarray(ndimage.zoom(tiles, zoom, order=1, mode="nearest", grid_mode=True))


def _find(smooth: NDArray[np.float32], threshold: NDArray[np.float64]) -> _Spots:
    """Return the local maxima above the threshold whose window lies inside the frame."""
    half = _WINDOW_PX // 2
    largest = ndimage.maximum_filter(smooth, size=(1, 5, 5), mode="nearest")
    peaks = (smooth == largest) & (smooth > threshold[None])
    peaks[:, :half] = peaks[:, -half:] = False
    peaks[:, :, :half] = peaks[:, :, -half:] = False
    return _Spots(*np.nonzero(peaks))


def _windows(
    light: NDArray[np.float32], spots: _Spots
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return light and mean square radius per axis (px^2) of each spot's window."""
    half = _WINDOW_PX // 2
    step = np.arange(-half, half + 1)
    rows = spots.y_px[:, None, None] + step[None, :, None]
    columns = spots.x_px[:, None, None] + step[None, None, :]
    window = light[spots.frame[:, None, None], rows, columns].astype(np.float64)
    total = window.sum(axis=(1, 2))
    safe = np.where(total > 0, total, np.nan)
    x = (window * step[None, None, :]).sum(axis=(1, 2)) / safe
    y = (window * step[None, :, None]).sum(axis=(1, 2)) / safe
    square = step[None, :, None] ** 2 + step[None, None, :] ** 2
    mean_square = (window * square).sum(axis=(1, 2)) / safe
    return total, (mean_square - x**2 - y**2) / 2


def _widths(
    photons: NDArray[np.float64], mean_square_px: NDArray[np.float64], pixel_nm: float
) -> NDArray[np.float32]:
    """Return widths in nm, NaN where a spot is too dim to have one."""
    if not len(photons):
        return np.empty(0, np.float32)
    usable = (photons >= np.median(photons)) & (mean_square_px > 0)
    width = np.sqrt(np.where(usable, mean_square_px, np.nan)) * pixel_nm
    return np.asarray(width, np.float32)


def _followed(spots: _Spots, shape: tuple[int, ...]) -> tuple[int, float, int]:
    """Count spots with one near the same place in the next frame, truly and by chance."""
    n_frames, height, width = shape
    marked = np.zeros(shape, bool)
    marked[spots.frame, spots.y_px, spots.x_px] = True
    reach = int(np.ceil(_NEAR_PX))
    step = np.arange(-reach, reach + 1)
    disc = (step[:, None] ** 2 + step[None, :] ** 2) <= _NEAR_PX**2
    near = ndimage.binary_dilation(marked, structure=disc[None])
    has_next = spots.frame < n_frames - 1
    frame, y, x = spots.frame[has_next] + 1, spots.y_px[has_next], spots.x_px[has_next]
    repeats = int(np.count_nonzero(near[frame, y, x]))
    chance = 0.0
    for dy, dx in ((_SHIFT_PX, 0), (-_SHIFT_PX, 0), (0, _SHIFT_PX), (0, -_SHIFT_PX)):
        chance += np.count_nonzero(near[frame, (y + dy) % height, (x + dx) % width]) / 4
    return repeats, chance, int(np.count_nonzero(has_next))


def _persistence(parts: list[_Block]) -> float:
    followed = sum(part.followed for part in parts)
    if followed < 20:
        return float("nan")
    chance = sum(part.coincidences for part in parts) / followed
    found = sum(part.repeats for part in parts) / followed
    return float(np.clip((found - chance) / max(1 - chance, 1e-3), 0.0, 1.0))


def _thinned(photons: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = photons.ravel()
    # An odd stride does not fall into step with the rows.
    stride = max(1, -(-flat.size // _MOST_PIXELS)) | 1
    return np.array(flat[::stride], np.float32)
