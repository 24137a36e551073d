"""From a calibration to the PSF model that draws it."""

from __future__ import annotations

import torch

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.psf.base import PsfModel
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.spline import SplinePsfModel

__all__ = ["psf_from_calibration"]


def psf_from_calibration(
    calibration: Calibration,
    *,
    pixel_size_x_nm: float | None = None,
    pixel_size_y_nm: float | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> PsfModel:
    """Build the PSF model of a calibration, with z in the sample (`Calibration.sample_psf`).

    Parameters
    ----------
    calibration : Calibration
    pixel_size_x_nm, pixel_size_y_nm : float or None
        Pixel size of the images to draw; the calibration's own when None. A spline is sampled
        on the pixels of its beads, so for it these values have no effect.

    Raises
    ------
    CalibrationError
        If a Gaussian, whose widths are in nm, comes without a pixel size.
    """
    psf = calibration.sample_psf
    if isinstance(psf, SplinePsf):
        return SplinePsfModel.from_parameters(psf, device=device, dtype=dtype)
    x_nm = pixel_size_x_nm if pixel_size_x_nm is not None else calibration.pixel_size_x_nm
    y_nm = pixel_size_y_nm if pixel_size_y_nm is not None else calibration.pixel_size_y_nm
    if x_nm is None or y_nm is None:
        raise CalibrationError(
            "The Gaussian calibration does not say its pixel size.",
            hint="Give the pixel size of the movie, usually from the camera file.",
        )
    return GaussianPsfModel(
        psf, pixel_size_x_nm=x_nm, pixel_size_y_nm=y_nm, device=device, dtype=dtype
    )
