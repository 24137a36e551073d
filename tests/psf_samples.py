"""PSFs to test with, made from formulas: no file and no licence is needed."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.domain.calibration import GaussianPsf, SplinePsf
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.spline_coefficients import spline_coefficients

PIXEL_NM = 100.0

ASTIGMATIC = GaussianPsf(
    sigma0_x_nm=125.0,
    sigma0_y_nm=135.0,
    depth_nm=380.0,
    focus_x_nm=220.0,
    focus_y_nm=-200.0,
    cubic_x=0.05,
    quartic_y=0.04,
    z_min_nm=-650.0,
    z_max_nm=650.0,
)


def gaussian_model(dtype: torch.dtype = torch.float64) -> GaussianPsfModel:
    return GaussianPsfModel(
        ASTIGMATIC, pixel_size_x_nm=PIXEL_NM, pixel_size_y_nm=PIXEL_NM, dtype=dtype
    )


def sampled_stack(size_px: int = 19, slices: int = 53, dz_nm: float = 25.0) -> NDArray[np.float64]:
    """(size, size, slices) samples of the astigmatic Gaussian; z = 0 in the middle slice."""
    z_nm = -(torch.arange(slices, dtype=torch.float64) - slices // 2) * dz_nm
    zero = torch.zeros_like(z_nm)
    beyond = dataclasses.replace(ASTIGMATIC, z_min_nm=-2000.0, z_max_nm=2000.0)
    model = GaussianPsfModel(
        beyond, pixel_size_x_nm=PIXEL_NM, pixel_size_y_nm=PIXEL_NM, dtype=torch.float64
    )
    stack = model.value(zero, zero, z_nm, size_px)
    return np.asarray(stack.permute(1, 2, 0).numpy())


def astigmatic_spline(size_px: int = 19, slices: int = 53, dz_nm: float = 25.0) -> SplinePsf:
    """Return the same PSF as a spline; 53 slices of 25 nm reach from -650 to 650 nm."""
    return SplinePsf(
        coefficients=spline_coefficients(sampled_stack(size_px, slices, dz_nm)),
        dz_nm=dz_nm,
        z0_slice=float(slices // 2),
        center_x_px=float(size_px // 2),
        center_y_px=float(size_px // 2),
    )
