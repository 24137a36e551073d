"""Sample a PSF and its precision over z: small, fast, for the app's calibration page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.contract.jobs import PsfPreviewSpec
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.compatibility import require_compatible
from decode_engine.errors import MismatchError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.calibrations import PixelSize, read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.jobs.context import JobContext
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import crlb, noise_terms
from decode_engine.psf.models import psf_from_calibration

__all__ = ["run"]

# A wider window is no easier to look at; a PSF that needs more is cut, and the user is told.
_LARGEST_WINDOW_PX = 61
_SLICES_PER_STEP = 32
_MIRRORED = {True: "yes", False: "no", None: "not stated"}


@dataclass(frozen=True, kw_only=True)
class _Noise:
    excess_noise: float = 1.0
    read_variance: float = 0.0


def run(spec: PsfPreviewSpec, context: JobContext) -> dict[str, Any]:
    """Sample the PSF of ``spec.calibration`` and write ``psf.npz`` into the folder ``spec.out``.

    The file holds ``volume`` (Z, Y, X) float32, the fraction of the photons in each pixel of a
    molecule in the centre; ``z_nm`` (Z,) rising; ``crlb_x_nm``, ``crlb_y_nm``, ``crlb_z_nm``
    (Z,), the smallest possible standard deviations for ``spec.photons`` and
    ``spec.background`` with the noise of the camera, if one was given (NaN: z of a 2D PSF);
    ``pixel_size_nm`` (x, y). An earlier preview there is replaced.

    Returns
    -------
    dict
        ``psf_file``, ``z_min_nm``, ``z_max_nm``, ``roi_px``, ``pixel_size_x_nm``,
        ``pixel_size_y_nm``, ``model``, ``is_3d``, ``em_mirrored``, ``source`` and ``warnings``.

    Raises
    ------
    CalibrationError
        If the calibration cannot be read, or nothing says how large a pixel is.
    """
    context.stage("Reading the calibration")
    camera = read_camera(Path(spec.camera)) if spec.camera is not None else None
    size = _pixel_size(spec, camera)
    calibration = read_calibration(
        Path(spec.calibration), region=spec.region, channel=spec.channel, pixel_size=size
    )
    warnings = _warnings(calibration, camera)
    psf = psf_from_calibration(
        calibration,
        pixel_size_x_nm=size.x_nm if size else None,
        pixel_size_y_nm=size.y_nm if size else None,
    )
    shown = _shown_pixel_size(calibration, size)
    if psf.support_px > _LARGEST_WINDOW_PX:
        warnings.append(
            f"The PSF is {psf.support_px} px wide; its inner {_LARGEST_WINDOW_PX} px are shown."
        )
    roi_px = min(psf.support_px, _LARGEST_WINDOW_PX)
    for warning in warnings:
        context.log(warning, "warning")
    context.check()
    context.stage("Drawing the PSF")
    arrays = _sample(psf, spec, roi_px, _noise(camera), context)
    path = Path(spec.out) / "psf.npz"
    _write(path, arrays, shown)
    context.artifact("psf", str(path))
    low, high = psf.z_range_nm
    return {
        "psf_file": str(path),
        "z_min_nm": low,
        "z_max_nm": high,
        "roi_px": roi_px,
        "pixel_size_x_nm": shown.x_nm,
        "pixel_size_y_nm": shown.y_nm,
        "model": "spline" if isinstance(calibration.psf, SplinePsf) else "gaussian",
        "is_3d": psf.is_3d,
        "em_mirrored": _MIRRORED[calibration.em_mirrored],
        "source": calibration.source,
        "warnings": warnings,
    }


def _write(path: Path, arrays: dict[str, NDArray[Any]], pixel: PixelSize) -> None:
    """Write the file, lateral bounds in nm."""
    in_nm = {
        "crlb_x_nm": arrays.pop("crlb_x_px") * pixel.x_nm,
        "crlb_y_nm": arrays.pop("crlb_y_px") * pixel.y_nm,
        "pixel_size_nm": np.array([pixel.x_nm, pixel.y_nm]),
    }
    # By handle: numpy would append .npz to a temporary name.
    with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays, **in_nm)  # type: ignore[arg-type]  # names are known


def _pixel_size(spec: PsfPreviewSpec, camera: CameraModel | None) -> PixelSize | None:
    if camera is not None:
        return PixelSize(x_nm=camera.pixel_size_x_nm, y_nm=camera.pixel_size_y_nm)
    if spec.pixel_size_nm is not None:
        return PixelSize(x_nm=spec.pixel_size_nm, y_nm=spec.pixel_size_nm)
    return None


def _shown_pixel_size(calibration: Calibration, size: PixelSize | None) -> PixelSize:
    """Return the size of the drawn pixels: a spline's are those of its beads."""
    own_x, own_y = calibration.pixel_size_x_nm, calibration.pixel_size_y_nm
    own = PixelSize(x_nm=own_x, y_nm=own_y) if own_x is not None and own_y is not None else None
    first, second = (own, size) if isinstance(calibration.psf, SplinePsf) else (size, own)
    chosen = first or second
    # NaN makes lateral bounds unknown instead of wrong; the warning says what is missing.
    return chosen or PixelSize(x_nm=float("nan"), y_nm=float("nan"))


def _warnings(calibration: Calibration, camera: CameraModel | None) -> list[str]:
    warnings = []
    if calibration.pixel_size_x_nm is None and camera is None:
        warnings.append(
            "The calibration does not state its pixel size; give the one of your camera."
        )
    if camera is not None:
        try:
            require_compatible(calibration, camera)
        except MismatchError as error:
            warnings.append(error.message)
    return warnings


def _noise(camera: CameraModel | None) -> _Noise:
    if camera is None:
        return _Noise()
    terms = noise_terms(camera)
    # One molecule anywhere: the typical pixel stands for a map (a few hot ones must not).
    variance = float(np.median(terms.read_variance))
    return _Noise(excess_noise=terms.excess_noise, read_variance=variance)


def _sample(
    psf: PsfModel, spec: PsfPreviewSpec, roi_px: int, noise: _Noise, context: JobContext
) -> dict[str, NDArray[Any]]:
    """Return volume, z and bounds (lateral ones in px)."""
    low, high = psf.z_range_nm
    z_nm = torch.linspace(low, high, spec.slices if psf.is_3d else 1, dtype=torch.float64)
    volume, bounds = [], []
    for start in range(0, len(z_nm), _SLICES_PER_STEP):
        context.check()
        z = z_nm[start : start + _SLICES_PER_STEP].to(psf.dtype)
        zero = torch.zeros_like(z)
        volume.append(psf.value(zero, zero, z, roi_px))
        bound = crlb(
            psf,
            dx_px=zero,
            dy_px=zero,
            z_nm=z,
            photons=torch.full_like(z, spec.photons),
            background=torch.full_like(z, spec.background),
            roi_px=roi_px,
            excess_noise=noise.excess_noise,
            read_variance=noise.read_variance,
        )
        bounds.append(torch.stack([bound.x_px, bound.y_px, bound.z_nm]))
        context.progress(min(start + _SLICES_PER_STEP, len(z_nm)), len(z_nm), "slice")
    x_px, y_px, z_bound_nm = torch.cat(bounds, dim=1).double().numpy()
    return {
        "volume": torch.cat(volume).float().numpy(),
        "z_nm": z_nm.numpy(),
        "crlb_x_px": x_px,
        "crlb_y_px": y_px,
        "crlb_z_nm": z_bound_nm,
    }
