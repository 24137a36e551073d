"""Write a calibration as SMAP's ``SXY`` file, or as the stand-alone fit3Dcspline writes it.

SMAP needs ``Xrange``, ``Yrange`` and ``EMon`` beside ``cspline``; DECODE reads
``SXY.cspline.{coeff, x0, z0, dz}`` only. The stand-alone layout has ``cspline`` and ``parameters``
at the top level, for fit3Dcspline's own fitter. A Gaussian becomes ``outforfit``. Heights are those
of the stage: SMAP multiplies by its "RI mismatch" when it fits. SMAP mirrors EM frames when it
reads them, those of beads too, so a PSF of mirrored frames is mirrored back for it. What SMAP's
layout has no place for goes into `decode_engine.io.smap_extra`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.io
from numpy.typing import NDArray

from decode_engine.domain.calibration import Calibration, GaussianPsf, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.smap_extra import EXTRA_COEFFICIENTS, EXTRA_VARIABLE, extra_text
from decode_engine.io.smap_members import mirror_columns

__all__ = ["MatLayout", "spline_samples", "write_smap_calibration"]

MatLayout: TypeAlias = Literal["smap", "fit3dcspline"]

_EVERYWHERE = np.array([[-np.inf, np.inf]])
_NO_NATIVE = "Write it as .h5, which keeps everything."


def write_smap_calibration(
    calibration: Calibration, path: Path, *, overwrite: bool, layout: MatLayout = "smap"
) -> None:
    """Write a ``.mat`` (version 7) with ``SXY`` or ``cspline``, for a Gaussian ``outforfit``.

    Raises
    ------
    CalibrationError
        If SMAP's layout cannot hold the calibration.
    """
    psf = calibration.psf
    content: dict[str, Any] = {EXTRA_VARIABLE: extra_text(calibration)}
    if isinstance(psf, SplinePsf):
        if calibration.em_mirrored:
            content[EXTRA_COEFFICIENTS] = psf.coefficients
            psf = mirror_columns(psf)
        if layout == "smap":
            content["SXY"] = _sxy(calibration, psf)
        else:
            # Its examples pass coeff on as it is; only its window looks into a cell.
            content["cspline"] = {**_cspline(psf), "coeff": psf.coefficients}
            content["EMon"] = np.array([[bool(calibration.em_mirrored)]])
        content["parameters"] = _parameters(calibration, psf, path)
    else:
        content["outforfit"] = _outforfit(calibration, psf)
        content["EMon"] = np.array([[bool(calibration.em_mirrored)]])
    with atomic_path(path, overwrite=overwrite) as temporary:
        scipy.io.savemat(
            str(temporary), content, do_compression=True, long_field_names=True, oned_as="row"
        )


def spline_samples(coefficients: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the samples that a spline runs through.

    Parameters
    ----------
    coefficients : (Y, X, Z, 64) float32

    Returns
    -------
    (Y + 1, X + 1, Z + 1) float32
    """
    split = coefficients.reshape(*coefficients.shape[:3], 4, 4, 4)
    values = _line_ends(split, voxel_axis=2, exponent_axis=3)
    values = _line_ends(values, voxel_axis=1, exponent_axis=3)
    return _line_ends(values, voxel_axis=0, exponent_axis=3)


def _line_ends(
    values: NDArray[np.float32], *, voxel_axis: int, exponent_axis: int
) -> NDArray[np.float32]:
    # Every voxel begins at a sample (t = 0); the last one also ends at one (t = 1).
    begins = np.take(values, 0, axis=exponent_axis)
    last = np.take(values, [-1], axis=voxel_axis).sum(axis=exponent_axis, dtype=np.float32)
    return np.concatenate([begins, last], axis=voxel_axis)


def _cell(*values: Any) -> NDArray[np.object_]:
    cell = np.empty((1, len(values)), dtype=object)
    for index, value in enumerate(values):  # one by one, lest numpy unpacks an array
        cell[0, index] = value
    return cell


def _cspline(psf: SplinePsf) -> dict[str, Any]:
    if psf.center_x_px != psf.center_y_px:
        raise CalibrationError(
            f"SMAP's format knows one centre for both axes, not {psf.center_x_px:g} x "
            f"{psf.center_y_px:g} px.",
            hint=_NO_NATIVE,
        )
    return {
        "coeff": _cell(psf.coefficients),
        "dz": psf.dz_nm,
        "z0": psf.z0_slice,
        "x0": psf.center_x_px + 1.0,
        "global": {"isglobal": False, "transformation": np.zeros((0, 0))},
        "mirror": 0.0,
        "normf": 1.0,
    }


def _sxy(calibration: Calibration, psf: SplinePsf) -> dict[str, Any]:
    empty = np.zeros((0, 0))
    return {
        "gausscal": empty,
        "cspline_all": empty,
        "gauss_sx2_sy2": empty,
        "gauss_zfit": empty,
        "cspline": _cspline(psf),
        "Xrangeall": _EVERYWHERE,
        "Yrangeall": _EVERYWHERE,
        "Xrange": _EVERYWHERE,
        "Yrange": _EVERYWHERE,
        "posind": np.array([[1.0, 1.0]]),
        # SMAP cannot do without; where unknown, "not mirrored" is its own default.
        "EMon": np.array([[bool(calibration.em_mirrored)]]),
        "PSF": _cell(spline_samples(psf.coefficients)),
    }


def _parameters(calibration: Calibration, psf: SplinePsf, path: Path) -> dict[str, Any]:
    rows, _, slices, _ = psf.coefficients.shape
    x_nm, y_nm = calibration.pixel_size_x_nm, calibration.pixel_size_y_nm
    # SMAP's own placeholder for an unknown pixel size is 100.
    pixel_um = [100.0] if x_nm is None or y_nm is None else [x_nm / 1e3, y_nm / 1e3]
    beads = calibration.provenance.get("bead_files", "")
    return {
        "filelist": _cell(*[name for name in beads.split("; ") if name] or [""]),
        "outputfile": path.name,
        "dz": psf.dz_nm,
        "modality": "arbitrary",
        "ROIxy": float(rows + 1),
        "ROIz": float(slices + 1),
        "fminmax": np.array([[1.0, float(slices + 1)]]),
        "midpoint": psf.z0_slice,
        "smap": True,
        "isglobalfit": False,
        "mirror": False,
        "emgain": bool(calibration.em_mirrored),
        "xrange": _EVERYWHERE,
        "yrange": _EVERYWHERE,
        "pixelsize": _cell(np.array([pixel_um])),
        "zernikefit": {"calculatezernike": False},
    }


def _outforfit(calibration: Calibration, psf: GaussianPsf) -> NDArray[np.float64]:
    x_nm, y_nm = calibration.pixel_size_x_nm, calibration.pixel_size_y_nm
    if x_nm is None or y_nm is None:
        raise CalibrationError(
            "SMAP stores the widths of a Gaussian PSF in pixels, and this calibration has no "
            "pixel size.",
            hint=f"Set its pixel size first. {_NO_NATIVE}",
        )
    if psf.depth_nm is None or psf.focus_x_nm != -psf.focus_y_nm:
        raise CalibrationError(
            "SMAP's Gaussian calibration is astigmatic with both foci at the same distance from "
            f"z = 0; this one has foci {psf.focus_x_nm:g} and {psf.focus_y_nm:g} nm, depth "
            f"{psf.depth_nm} nm.",
            hint=_NO_NATIVE,
        )
    return np.array(
        [
            [
                psf.sigma0_x_nm / x_nm,
                psf.cubic_x,
                psf.cubic_y,
                psf.quartic_x,
                psf.quartic_y,
                psf.focus_x_nm / 1e3,
                psf.depth_nm / 1e3,
                psf.sigma0_y_nm / y_nm,
            ]
        ]
    )
