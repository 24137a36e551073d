"""Coarser and coarser sums of all localizations, for views that show much of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np

from decode_engine.analysis import render_kernels as kernels
from decode_engine.analysis.drawing import Sums
from decode_engine.analysis.image_grid import ImageGrid

__all__ = ["Pyramid", "base_grid"]

Bounds: TypeAlias = tuple[float, float, float, float]

_BASE_NM = 20.0
_CELLS_PER_PIXEL = 1.35  # at least; larger cells would blur the picture
_MOST_CELLS = 1 << 24  # 268 MB of four channels; larger fields start coarser


@dataclass(slots=True)
class Pyramid:
    """Sums on cells of ``base pitch * 2**level``; levels are made when they are asked for."""

    grid: ImageGrid
    n_channels: int
    levels: list[Sums] = field(default_factory=list)

    def level(self, number: int) -> tuple[ImageGrid, Sums]:
        """Return the cells of a level and the sums in them."""
        while len(self.levels) <= number:
            finer = self.levels[-1]
            height = -(-finer.shape[0] // 2)
            width = -(-(finer.shape[1] // self.n_channels) // 2)
            coarser = np.zeros((height, width * self.n_channels), finer.dtype)
            kernels.halve(finer, self.n_channels, coarser)
            self.levels.append(coarser)
        sums = self.levels[number]
        grid = replace(
            self.grid,
            pixel_size_nm=self.grid.pixel_size_nm * 2**number,
            height_px=sums.shape[0],
            width_px=sums.shape[1] // self.n_channels,
        )
        return grid, sums

    def level_for(self, view: ImageGrid) -> int:
        """Return the coarsest level whose cells are clearly smaller than the pixels of a view.

        Or of their size, if they lie on each other: then the sums are the pixels.
        """
        exact = math.log2(view.pixel_size_nm / self.grid.pixel_size_nm)
        if exact > -0.5 and abs(exact - round(exact)) < 1e-9:
            offsets = (view.left_nm - self.grid.left_nm, view.top_nm - self.grid.top_nm)
            steps = [offset / view.pixel_size_nm for offset in offsets]
            if all(abs(step - round(step)) < 1e-6 for step in steps):
                return round(exact)
        return max(0, math.floor(exact - math.log2(_CELLS_PER_PIXEL)))


def base_grid(bounds_nm: Bounds) -> ImageGrid:
    """Return the finest cells: 20 nm, or 20 nm times a power of two over large fields.

    Their edges lie on multiples of their size.
    """
    pitch = _BASE_NM
    left, top, right, bottom = bounds_nm
    while ((right - left) / pitch + 2.0) * ((bottom - top) / pitch + 2.0) > _MOST_CELLS:
        pitch *= 2.0
    first_x, first_y = math.floor(left / pitch), math.floor(top / pitch)
    return ImageGrid(
        left_nm=first_x * pitch,
        top_nm=first_y * pitch,
        pixel_size_nm=pitch,
        width_px=math.floor(right / pitch) - first_x + 1,
        height_px=math.floor(bottom / pitch) - first_y + 1,
    )
