"""What every PSF model can do, whatever its formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

__all__ = ["PatchGradient", "PsfModel"]


@dataclass(frozen=True, slots=True)
class PatchGradient:
    """Expected photon fractions and their derivatives.

    Attributes
    ----------
    value : (K, R, R) float
        Fraction of an emitter's photons in each pixel of its window.
    d_x, d_y : (K, R, R) float, 1/px
        Derivatives with respect to the emitter's position.
    d_z : (K, R, R) float, 1/nm
    """

    value: Tensor
    d_x: Tensor
    d_y: Tensor
    d_z: Tensor


@runtime_checkable
class PsfModel(Protocol):
    """Expected photon fraction of an emitter in the pixels of a window around it.

    The window has ``roi_px`` (odd) pixels a side; ``dx_px`` and ``dy_px`` are the emitter's
    position relative to the centre of the window's central pixel (x right, y down). Any value
    is allowed; ±0.5 is usual. All tensors are on `device` with `dtype`.

    z outside `z_range_nm` is never extrapolated: it is clamped to the range, and
    `out_of_range` says where.
    """

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest valid z; (0, 0) for a 2D model."""
        ...

    @property
    def is_3d(self) -> bool:
        """Whether the image depends on z."""
        ...

    @property
    def support_px(self) -> int:
        """Odd width of the window outside which the model is zero (or negligible)."""
        ...

    @property
    def device(self) -> torch.device:
        """Device of the model's parameters."""
        ...

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the model's parameters."""
        ...

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> PsfModel:
        """Return the model on another device or with another precision."""
        ...

    def out_of_range(self, z_nm: Tensor) -> Tensor:
        """Return a (K,) bool tensor that is True where z lies outside `z_range_nm`."""
        ...

    def value(self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int) -> Tensor:
        """Return the (K, roi_px, roi_px) photon fractions of K emitters."""
        ...

    def value_and_gradient(
        self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int
    ) -> PatchGradient:
        """Return photon fractions and their derivatives in x, y (per px) and z (per nm)."""
        ...
