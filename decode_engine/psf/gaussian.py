"""Pixel-integrated Gaussian PSF: two-dimensional, or astigmatic with widths that follow z."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.errors import CalibrationError, ConfigError
from decode_engine.psf.base import PatchGradient

__all__ = ["GaussianPsfModel"]

_Z_TOLERANCE_NM = 1e-3
# Outside four standard deviations lie 6e-5 of the photons along each axis.
_SUPPORT_SIGMAS = 4.0


class GaussianPsfModel:
    """Elliptical Gaussian integrated over each pixel by the error function.

    ``value(u, v) = E_x(u) E_y(v)`` with
    ``E_x(u) = [erf((u - dx + 1/2) / (sqrt(2) s_x)) - erf((u - dx - 1/2) / (sqrt(2) s_x))] / 2``
    (Smith et al. 2010, doi 10.1038/nmeth.1449) and the widths of `domain.calibration.GaussianPsf`
    (Huang et al. 2008, doi 10.1126/science.1153529).

    Parameters
    ----------
    parameters : GaussianPsf
    pixel_size_x_nm, pixel_size_y_nm : float
        The widths are in nm, the windows in pixels.

    Raises
    ------
    CalibrationError
        If the defocus curve has no real width somewhere in its z range.
    """

    def __init__(
        self,
        parameters: GaussianPsf,
        *,
        pixel_size_x_nm: float,
        pixel_size_y_nm: float,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not (pixel_size_x_nm > 0 and pixel_size_y_nm > 0):
            raise CalibrationError(
                f"The pixel size {pixel_size_x_nm} x {pixel_size_y_nm} nm is not positive.",
                hint="Give the size of a camera pixel in the sample plane, usually 80-160 nm.",
            )
        self._parameters = parameters
        self._pixel_size_x_nm = pixel_size_x_nm
        self._pixel_size_y_nm = pixel_size_y_nm
        self._device = torch.device(device)
        self._dtype = dtype
        self._sigma_max_px = self._largest_width_px()

    def _largest_width_px(self) -> float:
        z_nm = torch.linspace(*self.z_range_nm, 1001, dtype=torch.float64)
        sigma_x, _ = self._width(z_nm, along_x=True)
        sigma_y, _ = self._width(z_nm, along_x=False)
        widths = torch.cat([sigma_x, sigma_y]).numpy()
        if not np.all(np.isfinite(widths) & (widths > 0)):
            raise CalibrationError(
                f"The Gaussian calibration has no real width everywhere between "
                f"{self.z_range_nm[0]:g} and {self.z_range_nm[1]:g} nm.",
                hint="Narrow its z range, or make the calibration again.",
            )
        return float(widths.max())

    @property
    def z_range_nm(self) -> tuple[float, float]:
        """Lowest and highest valid z; (0, 0) for the two-dimensional PSF."""
        return self._parameters.z_range_nm

    @property
    def is_3d(self) -> bool:
        """Whether the widths depend on z."""
        return self._parameters.depth_nm is not None

    @property
    def support_px(self) -> int:
        """Odd width that holds all but 1e-4 of the photons at the widest defocus."""
        return 2 * math.ceil(_SUPPORT_SIGMAS * self._sigma_max_px) + 1

    @property
    def device(self) -> torch.device:
        """Device on which images are made."""
        return self._device

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the images."""
        return self._dtype

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> GaussianPsfModel:
        """Return the model on another device or with another precision."""
        return GaussianPsfModel(
            self._parameters,
            pixel_size_x_nm=self._pixel_size_x_nm,
            pixel_size_y_nm=self._pixel_size_y_nm,
            device=device,
            dtype=dtype or self._dtype,
        )

    def out_of_range(self, z_nm: Tensor) -> Tensor:
        """Return a (K,) bool tensor, True where z lies outside the range; never true in 2D."""
        if not self.is_3d:
            return torch.zeros_like(z_nm, dtype=torch.bool)
        low, high = self.z_range_nm
        return (z_nm < low - _Z_TOLERANCE_NM) | (z_nm > high + _Z_TOLERANCE_NM)

    @torch.no_grad()
    def value(self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int) -> Tensor:
        """Return the (K, roi_px, roi_px) photon fractions of K emitters."""
        pixels = self._pixels(roi_px)
        sigma_x, _ = self._width(z_nm.to(self._dtype), along_x=True)
        sigma_y, _ = self._width(z_nm.to(self._dtype), along_x=False)
        profile_x = _integral(pixels - dx_px[:, None], sigma_x[:, None])
        profile_y = _integral(pixels - dy_px[:, None], sigma_y[:, None])
        return profile_y[:, :, None] * profile_x[:, None, :]

    @torch.no_grad()
    def value_and_gradient(
        self, dx_px: Tensor, dy_px: Tensor, z_nm: Tensor, roi_px: int
    ) -> PatchGradient:
        """Return photon fractions and their derivatives in x, y (per px) and z (per nm)."""
        pixels = self._pixels(roi_px)
        z_nm = z_nm.to(self._dtype)
        sigma_x, slope_x = self._width(z_nm, along_x=True)
        sigma_y, slope_y = self._width(z_nm, along_x=False)
        inside = ~self.out_of_range(z_nm)
        x = _profile(pixels - dx_px[:, None], sigma_x[:, None])  # three (K, R)
        y = _profile(pixels - dy_px[:, None], sigma_y[:, None])
        by_z_x, by_z_y = (slope_x * inside)[:, None] * x[2], (slope_y * inside)[:, None] * y[2]
        return PatchGradient(
            value=y[0][:, :, None] * x[0][:, None, :],
            d_x=y[0][:, :, None] * x[1][:, None, :],
            d_y=y[1][:, :, None] * x[0][:, None, :],
            d_z=by_z_y[:, :, None] * x[0][:, None, :] + y[0][:, :, None] * by_z_x[:, None, :],
        )

    def _pixels(self, roi_px: int) -> Tensor:
        if roi_px < 1 or roi_px % 2 == 0:
            raise ConfigError(
                f"The window of {roi_px} px has no central pixel.", hint="Use an odd width."
            )
        half = roi_px // 2
        return torch.arange(-half, half + 1, device=self._device, dtype=self._dtype)

    def _width(self, z_nm: Tensor, *, along_x: bool) -> tuple[Tensor, Tensor]:
        """Return the width in px and its derivative in px per nm, both (K,)."""
        p = self._parameters
        if along_x:
            sigma0 = p.sigma0_x_nm / self._pixel_size_x_nm
            focus_nm, cubic, quartic = p.focus_x_nm, p.cubic_x, p.quartic_x
        else:
            sigma0 = p.sigma0_y_nm / self._pixel_size_y_nm
            focus_nm, cubic, quartic = p.focus_y_nm, p.cubic_y, p.quartic_y
        if p.depth_nm is None:
            return torch.full_like(z_nm, sigma0), torch.zeros_like(z_nm)
        low, high = self.z_range_nm
        u = (z_nm.clamp(low, high) - focus_nm) / p.depth_nm
        root = torch.sqrt(1 + u * u * (1 + u * (cubic + u * quartic)))
        slope = u * (2 + u * (3 * cubic + u * 4 * quartic)) / (2 * root * p.depth_nm)
        return sigma0 * root, sigma0 * slope


def _integral(distance: Tensor, sigma: Tensor) -> Tensor:
    """Return the integral of a normal density over a pixel ``distance`` away, (K, R)."""
    scale = 1 / (math.sqrt(2) * sigma)
    return 0.5 * (torch.erf((distance + 0.5) * scale) - torch.erf((distance - 0.5) * scale))


def _profile(distance: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return `_integral` and its derivatives by the emitter's position and by sigma, (K, R)."""
    right, left = distance + 0.5, distance - 0.5
    norm = 1 / (math.sqrt(2 * math.pi) * sigma)
    density_right = norm * torch.exp(-0.5 * (right / sigma) ** 2)
    density_left = norm * torch.exp(-0.5 * (left / sigma) ** 2)
    by_position = density_left - density_right
    by_sigma = (left * density_left - right * density_right) / sigma
    return _integral(distance, sigma), by_position, by_sigma
