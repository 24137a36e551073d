"""Candidates for fitting: maxima that rise above the local background of photon frames."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional

from decode_engine.errors import ConfigError
from decode_engine.psf.base import PsfModel

__all__ = [
    "Candidates",
    "DetectionOptions",
    "crowded",
    "detection_width_px",
    "find_candidates",
]

# The background of a pixel is looked for in blocks of this many pixels, over five blocks.
_BLOCK_PX = 4
_BLOCKS = 5
_OUTER_WIDTH = 2.2  # of the subtracted Gaussian, in widths of the inner one
_SMALLEST_VARIANCE = 1e-2


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionOptions:
    """How candidates are found.

    Parameters
    ----------
    width_px : float
        Standard deviation of the smoothing; see `detection_width_px`.
    threshold : float
        Standard deviations of the filtered noise that a candidate rises above its surroundings.
    excess_noise : float
        F of the variance ``F mu + r`` of a pixel.
    """

    width_px: float
    threshold: float
    excess_noise: float = 1.0

    @property
    def separation_px(self) -> int:
        """Candidates are the largest within this many pixels."""
        return max(2, round(1.7 * self.width_px))


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Pixels to fit around, sorted by frame, all (K,).

    Attributes
    ----------
    frame, x_px, y_px : int64
    significance : float
        Height above the surroundings in standard deviations.
    """

    frame: Tensor
    x_px: Tensor
    y_px: Tensor
    significance: Tensor

    def __len__(self) -> int:
        return int(self.frame.shape[0])


def detection_width_px(psf: PsfModel) -> float:
    """Return the smoothing that suits a PSF: 1.2 times the Gaussian width of its focus.

    In focus the peak pixel of a Gaussian holds ``1 / (2 pi sigma^2)`` of the photons.
    """
    low, high = psf.z_range_nm
    z_nm = torch.linspace(low, high, 41, device=psf.device, dtype=psf.dtype)
    zero = torch.zeros_like(z_nm)
    roi_px = min(psf.support_px, 15)
    peak = float(psf.value(zero, zero, z_nm, roi_px).max())
    if not peak > 0:
        raise ConfigError(f"The PSF is empty: its largest value is {peak}.")
    return min(max(1.2 / math.sqrt(2 * math.pi * peak), 0.8), 4.0)


@torch.no_grad()
def find_candidates(
    frames: Tensor, *, options: DetectionOptions, read_variance: float | Tensor = 0.0
) -> Candidates:
    """Find emitters by a difference of Gaussians in units of its own noise.

    Parameters
    ----------
    frames : (N, H, W) float, photons
    options : DetectionOptions
    read_variance : float or (H, W) float, photon^2

    Returns
    -------
    Candidates

    Notes
    -----
    The variance of a pixel is taken half-way between that of the local background and that of
    the smoothed signal, which makes the ratio close to the variance-stabilised
    ``2 (sqrt(signal) - sqrt(background))``: single photons on a dark background do not pass.
    """
    width = options.width_px
    inner, outer = _gaussian(width), _gaussian(_OUTER_WIDTH * width)
    signal = _smooth(frames, inner)
    height = signal - _smooth(frames, outer)
    mean = (0.5 * (signal + _local_background(frames))).clamp(min=0)
    if isinstance(read_variance, Tensor):
        read_variance = _smooth(read_variance[None], inner)
    variance = (options.excess_noise * mean + read_variance).clamp(min=_SMALLEST_VARIANCE)
    significance = height / (variance * _power(inner, outer, frames)).sqrt()
    largest = _extreme(significance, 2 * options.separation_px + 1)
    found = (significance == largest) & (significance > options.threshold)
    frame, y_px, x_px = found.nonzero(as_tuple=True)
    candidates = Candidates(
        frame=frame, x_px=x_px, y_px=y_px, significance=significance[frame, y_px, x_px]
    )
    return _without_ties(candidates, options.separation_px)


def crowded(candidates: Candidates, roi_px: int) -> Tensor:
    """Return a (K,) bool tensor: another candidate lies in the window around this one."""
    mask = torch.zeros(len(candidates), dtype=torch.bool)
    mask[torch.from_numpy(_pairs(candidates, roi_px // 2)).flatten()] = True
    return mask.to(candidates.frame.device)


def _without_ties(candidates: Candidates, separation_px: int) -> Candidates:
    """Keep the first of equal maxima that are closer than the separation."""
    pairs = _pairs(candidates, separation_px)
    if not len(pairs):
        return candidates
    keep = torch.ones(len(candidates), dtype=torch.bool)
    keep[torch.from_numpy(pairs.max(axis=1))] = False
    keep = keep.to(candidates.frame.device)
    return Candidates(
        frame=candidates.frame[keep],
        x_px=candidates.x_px[keep],
        y_px=candidates.y_px[keep],
        significance=candidates.significance[keep],
    )


def _pairs(candidates: Candidates, distance_px: int) -> NDArray[np.int64]:
    """Return (M, 2): pairs in the same frame, within a distance along x and along y."""
    columns = (candidates.frame * (2 * distance_px + 2), candidates.x_px, candidates.y_px)
    points = torch.stack(columns, dim=1).cpu().numpy().astype(np.float64)
    if len(points) < 2:
        return np.empty((0, 2), np.int64)
    pairs = cKDTree(points).query_pairs(distance_px + 0.5, p=np.inf, output_type="ndarray")
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def _gaussian(sigma: float) -> list[float]:
    half = math.ceil(3 * sigma)
    values = [math.exp(-0.5 * (i / sigma) ** 2) for i in range(-half, half + 1)]
    total = sum(values)
    return [v / total for v in values]


def _smooth(frames: Tensor, kernel: list[float]) -> Tensor:
    """Convolve rows and columns; at a border only pixels of the frame count, and count more.

    Shifted sums are several times faster here than convolutions with a single channel.
    """
    half = len(kernel) // 2
    for axis in (1, 2):
        size = frames.shape[axis]
        pad = (half, half, 0, 0) if axis == 2 else (0, 0, half, half)
        padded = functional.pad(frames[:, None], pad)[:, 0]
        total = padded.narrow(axis, half, size) * kernel[half]
        for i in range(half):
            total.add_(padded.narrow(axis, i, size), alpha=kernel[i])
            total.add_(padded.narrow(axis, 2 * half - i, size), alpha=kernel[i])
        inside = torch.from_numpy(_sums(kernel, size)).to(frames.dtype).to(frames.device)
        frames = total / (inside[:, None] if axis == 1 else inside)
    return frames


def _power(inner: list[float], outer: list[float], frames: Tensor) -> Tensor:
    """Return (H, W): by what the filter multiplies the variance of white noise at each pixel.

    The filter is ``a(x) a(y) - c(x) c(y)``, so the sum of its squares factorises.
    """
    narrow = np.pad(np.asarray(inner), (len(outer) - len(inner)) // 2)
    wide = np.asarray(outer)
    products: list[list[NDArray[np.float64]]] = []
    for size in frames.shape[1:]:
        mass_a, mass_c = _sums(narrow, size), _sums(wide, size)
        products.append(
            [
                _sums(narrow**2, size) / mass_a**2,
                _sums(wide**2, size) / mass_c**2,
                _sums(narrow * wide, size) / (mass_a * mass_c),
            ]
        )
    rows, columns = products
    a, c, both = (np.outer(r, x) for r, x in zip(rows, columns, strict=True))
    return torch.from_numpy(a + c - 2 * both).to(frames.dtype).to(frames.device)


def _sums(kernel: Sequence[float] | NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return (size,): the sum of the kernel's weights that fall into a row of pixels."""
    return np.convolve(np.ones(size), kernel)[len(kernel) // 2 :][:size]


def _extreme(frames: Tensor, window: int) -> Tensor:
    """Largest value in a square window around each pixel, (N, H, W)."""
    half = window // 2
    rows = functional.max_pool2d(frames[:, None], (1, window), 1, (0, half))
    return functional.max_pool2d(rows, (window, 1), 1, (half, 0))[:, 0]


def _local_background(frames: Tensor) -> Tensor:
    """Background between the emitters: block means, opened, smoothed, enlarged again."""
    blocks = functional.avg_pool2d(
        frames[:, None], _BLOCK_PX, _BLOCK_PX, ceil_mode=True, count_include_pad=False
    )
    blocks = functional.avg_pool2d(blocks, 3, 1, 1, count_include_pad=False)[:, 0]
    opened = _extreme(-_extreme(-blocks, _BLOCKS), _BLOCKS)[:, None]
    opened = functional.avg_pool2d(opened, 3, 1, 1, count_include_pad=False)
    size = (frames.shape[1], frames.shape[2])
    return functional.interpolate(opened, size=size, mode="bilinear", align_corners=False)[:, 0]
