"""Band matrices that carry sums from a grid of cells or nodes to the pixels of an image.

One axis at a time: pixel j gets ``sum_k weight[j, k] * cells[first[j] + k]``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from decode_engine.analysis.render_kernels import CUT_SIGMAS

__all__ = ["Bands", "cells_to_pixels", "nodes_to_pixels"]

Real: TypeAlias = NDArray[np.float64]

BLUR_CUT = 3.5  # sigmas: the fast pass may lose 5e-4 of the weight


@dataclass(frozen=True, slots=True, kw_only=True)
class Bands:
    """A band matrix: first column (n,) int64 and weights (n, taps) float32 or float64."""

    first: NDArray[np.int64]
    weight: NDArray[np.floating]

    def as_type(self, dtype: type[np.floating]) -> tuple[NDArray[np.int64], NDArray[np.floating]]:
        """Return what the kernel takes."""
        return self.first, np.ascontiguousarray(self.weight, dtype)


def cells_to_pixels(n_pixels: int, origin: float, pitch: float, sigma: float) -> Bands:
    """Spread each cell evenly over its width, blur it, and integrate over the pixels.

    Parameters
    ----------
    n_pixels : int
        Pixel j covers j to j + 1.
    origin, pitch : float, px
        Cell n covers ``origin + n pitch`` to ``origin + (n + 1) pitch``.
    sigma : float, px
        Standard deviation of the blur; 0 for none, and then the weight of a cell in a pixel is
        the part of it that lies there.
    """
    edge = np.arange(n_pixels, dtype=np.float64)
    reach = BLUR_CUT * sigma
    first = np.floor((edge - reach - origin) / pitch + 1e-9).astype(np.int64)
    taps = math.ceil((1.0 + 2.0 * reach) / pitch - 1e-9) + 1
    start = origin + (first[:, None] + np.arange(taps)) * pitch
    if sigma <= 0.0:
        overlap = np.minimum(edge[:, None] + 1.0, start + pitch) - np.maximum(edge[:, None], start)
        # A cell that belongs to a pixel to within rounding belongs to it: counts stay whole.
        share = np.clip(overlap / pitch, 0.0, 1.0)
        share[share < 1e-9] = 0.0
        share[share > 1.0 - 1e-9] = 1.0
        return Bands(first=first, weight=share)
    low, high = edge[:, None] - start, edge[:, None] + 1.0 - start
    weight = _ramp(high, sigma) - _ramp(high - pitch, sigma)
    weight -= _ramp(low, sigma) - _ramp(low - pitch, sigma)
    return Bands(first=first, weight=weight / pitch)


def _ramp(distance: Real, sigma: float) -> Real:
    """Integral of the normal distribution function of width ``sigma`` up to ``distance``."""
    u = distance / sigma
    density = np.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi)
    return np.asarray(distance * ndtr(u) + sigma * density)


def nodes_to_pixels(n_pixels: int, margin: int, pitch: int) -> Bands:
    """Interpolate between nodes with Gaussians of ``sigma = pitch``, integrated over pixels.

    Node n lies at ``(n - margin + 1/2) pitch`` px. Every node adds exactly its weight.
    """
    reach = int(CUT_SIGMAS) * pitch
    centre = np.arange(n_pixels) + 0.5
    first = np.ceil((centre - reach) / pitch - 0.5).astype(np.int64) + margin
    node = (first[:, None] + np.arange(2 * int(CUT_SIGMAS) + 1) - margin + 0.5) * pitch
    # Distances are multiples of a half; all nodes see the same set of them, so one total serves.
    distance = node - centre[:, None]
    weight = ndtr((distance + 0.5) / pitch) - ndtr((distance - 0.5) / pitch)
    weight[np.abs(distance) > reach] = 0.0
    offset = np.arange(-reach, reach + 1) if pitch % 2 else np.arange(-reach + 0.5, reach)
    total = float(np.sum(ndtr((offset + 0.5) / pitch) - ndtr((offset - 0.5) / pitch)))
    return Bands(first=first, weight=weight / total)
