"""Cubic-spline PSF, evaluated by one matrix product per occupied z slice.

All pixels of an emitter's window share the fractions of its position, so the 64 monomials of
an emitter times the (64, pixels) coefficients of its slice give its whole image. Emitters are
sorted by slice once; a batch then costs as many matrix products as it occupies slices.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

from decode_engine.domain.calibration import SplinePsf
from decode_engine.errors import ConfigError
from decode_engine.psf.base import PatchGradient

__all__ = ["SplinePsfModel"]

# Rounding of z0 * dz in single precision must not count as out of range.
_Z_TOLERANCE_NM = 1e-3
# Intermediate images are kept within the processor's cache, or within reason on a GPU.
_CHUNK_BYTES_CPU = 1 << 21
_CHUNK_BYTES_GPU = 1 << 28


class SplinePsfModel:
    """Tensor-product cubic spline in SMAP's layout (facts: `domain.calibration.SplinePsf`).

    A pixel ``(u, v)`` columns and rows from the window's centre shows the spline at the sample
    ``(center_y + v - dy, center_x + u - dx, z0 - z / dz)``.

    Parameters
    ----------
    coefficients : (Z, 64, Y, X) tensor
        The last axis of `SplinePsf.coefficients` moved to second place, slices first.
    dz_nm, z0_slice, center_x_px, center_y_px : float
        As in `SplinePsf`.

    Notes
    -----
    Laterally outside the coefficients the PSF is 0. (SMAP's fitter repeats the edge voxel
    instead, which biases fits whose window is larger than the calibration.) The spline may be
    slightly negative between samples of a dark region; who needs a rate clamps the sum with
    the background.

    z beyond the range is clamped to its end, slice and fraction alike; d_z is 0 there.
    """

    def __init__(
        self,
        coefficients: Tensor,
        *,
        dz_nm: float,
        z0_slice: float,
        center_x_px: float,
        center_y_px: float,
    ) -> None:
        # One voxel of zeros to the right and below: pixels outside the support point at it.
        self._padded = torch.nn.functional.pad(coefficients, (0, 1, 0, 1)).contiguous()
        self._dz_nm = dz_nm
        self._z0_slice = z0_slice
        self._center_x_px = center_x_px
        self._center_y_px = center_y_px

    @classmethod
    def from_parameters(
        cls,
        psf: SplinePsf,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> SplinePsfModel:
        """Build the model from a calibration's parameters."""
        coefficients = torch.from_numpy(psf.coefficients).permute(2, 3, 0, 1)
        return cls(
            coefficients.to(device=device, dtype=dtype),
            dz_nm=psf.dz_nm,
            z0_slice=psf.z0_slice,
            center_x_px=psf.center_x_px,
            center_y_px=psf.center_y_px,
        )

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest z that the slices cover."""
        slices = self._padded.shape[0]
        return (-(slices - self._z0_slice) * self._dz_nm, self._z0_slice * self._dz_nm)

    @property
    def is_3d(self) -> bool:
        """Always True: a spline has slices."""
        return True

    @property
    def support_px(self) -> int:
        """Odd width that holds all non-zero pixels of an emitter within ±0.5 px of the centre."""
        rows, columns = self._extent
        reach = max(
            self._center_x_px,
            columns - self._center_x_px,
            self._center_y_px,
            rows - self._center_y_px,
        )
        return 2 * int(reach + 0.5) + 1

    @property
    def device(self) -> torch.device:
        """Device of the coefficients."""
        return self._padded.device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the coefficients."""
        return self._padded.dtype

    @property
    def _extent(self) -> tuple[int, int]:
        """Voxels along rows and columns, without the padding."""
        return self._padded.shape[2] - 1, self._padded.shape[3] - 1

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> SplinePsfModel:
        """Return the model on another device or with another precision."""
        return SplinePsfModel(
            self._padded[:, :, :-1, :-1].to(device=device, dtype=dtype or self.dtype),
            dz_nm=self._dz_nm,
            z0_slice=self._z0_slice,
            center_x_px=self._center_x_px,
            center_y_px=self._center_y_px,
        )

    def out_of_range(self, z_nm: Tensor) -> Tensor:
        """Return a (K,) bool tensor that is True where z lies outside `z_range_nm`."""
        low, high = self.z_range_nm
        return (z_nm < low - _Z_TOLERANCE_NM) | (z_nm > high + _Z_TOLERANCE_NM)

    def value(self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int) -> Tensor:
        """Return the (K, roi_px, roi_px) photon fractions of K emitters."""
        return self._evaluate(dx_px, dy_px, z_nm, roi_px, derivatives=False)[:, 0]

    def value_and_gradient(
        self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int
    ) -> PatchGradient:
        """Return photon fractions and their derivatives in x, y (per px) and z (per nm)."""
        patches = self._evaluate(dx_px, dy_px, z_nm, roi_px, derivatives=True)
        return PatchGradient(
            value=patches[:, 0], d_x=patches[:, 1], d_y=patches[:, 2], d_z=patches[:, 3]
        )

    @torch.no_grad()
    def _evaluate(
        self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int, *, derivatives: bool
    ) -> Tensor:
        """Return (K, 1 or 4, R, R): the value and, if asked for, d_x, d_y and d_z."""
        if roi_px < 1 or roi_px % 2 == 0:
            raise ConfigError(
                f"The window of {roi_px} px has no central pixel.", hint="Use an odd width."
            )
        planes = 4 if derivatives else 1
        out = self._padded.new_empty((dx_px.shape[0], planes, roi_px, roi_px))
        if dx_px.shape[0] == 0:
            return out
        batch, counts, box = self._sorted_batch(dx_px, dy_px, z_nm, roi_px)
        weights = self._weights(batch, derivatives=derivatives)  # (K, planes, 64)
        size = self._chunk_size(planes * max(roi_px**2, box.area))
        on_cpu = self.device.type == "cpu"
        for start in range(0, out.shape[0], size):
            stop = min(start + size, out.shape[0])
            products = self._slice_products if on_cpu else self._padded_products
            images = products(weights[start:stop], counts, start, box)
            rows, columns = batch.first_row[start:stop], batch.first_column[start:stop]
            placed = self._place(images, rows, columns, roi_px, box)
            out.index_copy_(0, batch.order[start:stop], placed)
        return out

    def _sorted_batch(
        self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int
    ) -> tuple[_SortedBatch, list[int], _Box]:
        """Split positions into voxels and fractions, and sort the emitters by slice."""
        slices = self._padded.shape[0]
        w = self._z0_slice - z_nm.to(self.dtype) / self._dz_nm
        w = w.clamp(0, slices)
        slice_index = w.floor().clamp(max=slices - 1)
        sorted_slice, order = slice_index.long().sort(stable=True)
        sample_x = self._center_x_px - dx_px.to(self.dtype)[order]
        sample_y = self._center_y_px - dy_px.to(self.dtype)[order]
        floor_x, floor_y = sample_x.floor(), sample_y.floor()
        first_column, first_row = floor_x.long() - roi_px // 2, floor_y.long() - roi_px // 2
        batch = _SortedBatch(
            order=order,
            first_row=first_row,
            first_column=first_column,
            fraction_x=sample_x - floor_x,
            fraction_y=sample_y - floor_y,
            fraction_z=(w - slice_index)[order],
            inside=~self.out_of_range(z_nm)[order],
        )
        # One transfer tells the host all it needs to know.
        extremes = torch.stack(
            [first_row.amin(), first_row.amax(), first_column.amin(), first_column.amax()]
        )
        numbers: list[int] = torch.cat(
            [torch.bincount(sorted_slice, minlength=slices), extremes]
        ).tolist()
        rows, columns = self._extent
        row_range = _needed(numbers[-4], numbers[-3] + roi_px, rows)
        column_range = _needed(numbers[-2], numbers[-1] + roi_px, columns)
        return batch, numbers[:-4], _Box(*row_range, *column_range)

    def _weights(self, batch: _SortedBatch, *, derivatives: bool) -> Tensor:
        """Return the (K, 1 or 4, 64) factors of the coefficients, ``p_y + 4 p_x + 16 p_z``."""
        x, y, z = _powers(batch.fraction_x), _powers(batch.fraction_y), _powers(batch.fraction_z)
        if not derivatives:
            return _outer(z, x, y).unsqueeze(1)
        # The sample coordinates run against the emitter's: s_x = c_x - dx, w = z0 - z / dz.
        slope_z = _slopes(batch.fraction_z) * (batch.inside.to(z.dtype) / -self._dz_nm)[:, None]
        return torch.stack(
            [
                _outer(z, x, y),
                _outer(z, -_slopes(batch.fraction_x), y),
                _outer(z, x, -_slopes(batch.fraction_y)),
                _outer(slope_z, x, y),
            ],
            dim=1,
        )

    def _slice_products(self, weights: Tensor, counts: list[int], start: int, box: _Box) -> Tensor:
        """Multiply the rows ``start..`` of the sorted batch with their slices' coefficients."""
        number, planes = weights.shape[:2]
        images = weights.new_empty((number * planes, box.area))
        flat = weights.reshape(number * planes, 64)
        end_of_slice = 0
        for index, count in enumerate(counts):
            first, last = max(end_of_slice - start, 0), min(end_of_slice + count - start, number)
            end_of_slice += count
            if first >= last:
                if first >= number:
                    break
                continue
            rows = slice(first * planes, last * planes)
            torch.mm(flat[rows], self._slice_matrix(index, box), out=images[rows])
        return images.view(number, planes, box.area)

    def _padded_products(self, weights: Tensor, counts: list[int], start: int, box: _Box) -> Tensor:
        """Do what `_slice_products` does in one batched product, for which slices are padded.

        A GPU waits for the launch of a hundred small products longer than for their results.
        """
        number, planes = weights.shape[:2]
        ends = list(itertools.accumulate(counts))
        inside = [
            (max(e - c - start, 0), min(e - start, number))
            for c, e in zip(counts, ends, strict=True)
        ]
        occupied = [(i, a, b) for i, (a, b) in enumerate(inside) if b > a]
        widest = max(b - a for _, a, b in occupied)
        table = torch.tensor(occupied, device=self.device)
        row = table[:, 1:2] + torch.arange(widest, device=self.device)
        chosen = row < table[:, 2:]
        padded = weights[row.clamp(max=number - 1)].flatten(1, 2)  # (S, widest * planes, 64)
        voxels = self._padded[table[:, 0], :, box.top : box.bottom, box.left : box.right]
        images = padded @ voxels.reshape(len(occupied), 64, box.area)
        return images.view(-1, widest, planes, box.area)[chosen]

    def _slice_matrix(self, index: int, box: _Box) -> Tensor:
        """Return the (64, pixels of the box) coefficients of a slice."""
        voxels = self._padded[index, :, box.top : box.bottom, box.left : box.right]
        return voxels.reshape(64, box.area)

    def _place(
        self, images: Tensor, first_row: Tensor, first_column: Tensor, roi_px: int, box: _Box
    ) -> Tensor:
        """Cut each emitter's window (K, planes, R, R) out of its image of the box."""
        rows, columns = self._extent
        steps = torch.arange(roi_px, device=self.device)
        row, column = first_row[:, None] + steps, first_column[:, None] + steps
        # Outside the support every index points at the padding, which is zero.
        row = torch.where((row < 0) | (row > rows), rows, row) - box.top
        column = torch.where((column < 0) | (column > columns), columns, column) - box.left
        width = box.right - box.left
        index = (row[:, :, None] * width + column[:, None, :]).view(-1, 1, roi_px * roi_px)
        index = index.expand(-1, images.shape[1], -1)
        return images.gather(2, index).view(-1, images.shape[1], roi_px, roi_px)

    def _chunk_size(self, floats_per_emitter: int) -> int:
        limit = _CHUNK_BYTES_CPU if self.device.type == "cpu" else _CHUNK_BYTES_GPU
        return max(64, limit // (floats_per_emitter * self._padded.element_size()))


@dataclass(frozen=True, slots=True)
class _Box:
    """Range of voxels that a batch touches (padding included where a window overhangs)."""

    top: int
    bottom: int
    left: int
    right: int

    @property
    def area(self) -> int:
        return (self.bottom - self.top) * (self.right - self.left)


@dataclass(frozen=True, slots=True)
class _SortedBatch:
    """Emitters in the order of their slices, all (K,)."""

    order: Tensor
    first_row: Tensor
    first_column: Tensor
    fraction_x: Tensor
    fraction_y: Tensor
    fraction_z: Tensor
    inside: Tensor


def _needed(first: int, end: int, size: int) -> tuple[int, int]:
    """Return the voxels within ``first..end``, up to the padding at `size` if it overhangs."""
    begin = min(max(first, 0), size)
    return (begin, size + 1) if first < 0 or end > size else (begin, end)


def _powers(fraction: Tensor) -> Tensor:
    square = fraction * fraction
    return torch.stack([torch.ones_like(fraction), fraction, square, square * fraction], dim=1)


def _slopes(fraction: Tensor) -> Tensor:
    return torch.stack(
        [
            torch.zeros_like(fraction),
            torch.ones_like(fraction),
            2 * fraction,
            3 * fraction * fraction,
        ],
        dim=1,
    )


def _outer(z: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Return (K, 64): all products of three (K, 4) sets of powers, y fastest."""
    plane = x[:, :, None] * y[:, None, :]
    return (z[:, :, None, None] * plane[:, None]).reshape(-1, 64)
