"""Compiled inner loops of the rotating view (numba): points in space onto pixels.

They release the GIL, so that a window stays responsive while points turn in another thread; see
`decode_engine.analysis.render_kernels` for where the compiled code is kept.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numpy.typing import NDArray

__all__ = ["add_points", "tone_points"]

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

_REACH_SIGMAS = 2.5


def _kernel(function: Kernel) -> Kernel:
    """Compile lazily, without the GIL; keep the result on disk where that is possible."""
    options: dict[str, Any] = {"nogil": True}
    try:
        compiled: Kernel = numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache can be written
        compiled = numba.njit(**options)(function)
    return compiled


@_kernel
def add_points(
    xyz: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    matrix: NDArray[np.float32],
    soft_px: float,
    out: NDArray[np.float32],
) -> None:
    """Add points to an image.

    Parameters
    ----------
    xyz : (N, 3) float32
        Positions.
    rgb : (N, 3) uint8
        Colours.
    matrix : (2, 3) float32
        Makes pixels right of and below the middle of the image from positions.
    soft_px : float, px
        Standard deviation of a point; 0 adds single pixels.
    out : (height, width, 4) float32
        Sums of weight, red, green and blue.
    """
    height, width = out.shape[0], out.shape[1]
    reach = math.ceil(_REACH_SIGMAS * soft_px)
    factor = -0.5 / (soft_px * soft_px) if soft_px > 0.0 else 0.0
    weights = np.empty(2 * reach + 1, np.float32)
    for i in range(xyz.shape[0]):
        x, y, z = xyz[i, 0], xyz[i, 1], xyz[i, 2]
        column = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] * z + 0.5 * width
        row = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] * z + 0.5 * height
        if not (0.0 <= column < width and 0.0 <= row < height):
            continue
        first_column, first_row = int(column) - reach, int(row) - reach
        red, green, blue = np.float32(rgb[i, 0]), np.float32(rgb[i, 1]), np.float32(rgb[i, 2])
        for k in range(2 * reach + 1):
            offset = first_column + k + 0.5 - column
            weights[k] = math.exp(factor * offset * offset)
        for j in range(2 * reach + 1):
            to_row = first_row + j
            if to_row < 0 or to_row >= height:
                continue
            offset = to_row + 0.5 - row
            down = np.float32(math.exp(factor * offset * offset))
            for k in range(2 * reach + 1):
                to_column = first_column + k
                if to_column < 0 or to_column >= width:
                    continue
                weight = down * weights[k]
                out[to_row, to_column, 0] += weight
                out[to_row, to_column, 1] += weight * red
                out[to_row, to_column, 2] += weight * green
                out[to_row, to_column, 3] += weight * blue


@_kernel
def tone_points(sums: NDArray[np.float32], white: float, out: NDArray[np.uint8]) -> None:
    """Make pixels: the mean colour, as bright as the square root of the weight over ``white``."""
    for row in range(sums.shape[0]):
        for column in range(sums.shape[1]):
            weight = sums[row, column, 0]
            if weight <= 0.0:
                out[row, column, 0] = out[row, column, 1] = out[row, column, 2] = 0
                continue
            shade = math.sqrt(min(weight / white, 1.0)) / weight
            for channel in range(3):
                out[row, column, channel] = int(min(sums[row, column, channel + 1] * shade, 255.0))
