"""Starter models: trained on a whole family of microscopes, to begin a training with.

They are bundled as ``resources/models/<family>.decode``. A training names its own model file, or
``starter`` (the family follows from the calibration), ``starter:<family>``, or ``auto``: the
starter where one fits, else none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.errors import InputError, ModelError
from decode_engine.io.resources import resource_path

__all__ = [
    "AUTO",
    "STARTER",
    "fitting_starter",
    "installed_starters",
    "is_starter",
    "starter_family",
    "starter_model",
    "z_orientation",
]

STARTER = "starter"
AUTO = "auto"
_SUFFIX = ".decode"
_FAMILY_WORDS = {"2d": "2D", "astigmatic": "astigmatic 3D", "tetrapod": "tetrapod 3D"}
# Around the focus an astigmatic image grows along one axis and shrinks along the other.
_NEAR_FOCUS_NM = 400.0
_ASTIGMATIC_CORRELATION = 0.8
# Across its whole range an astigmatic image stays within this root mean square radius at z = 0;
# a tetrapod's lobes are further apart there.
_COMPACT_RADIUS_PX = 2.6
_VISIBLE_SHARE = 0.1  # of the brightest pixel; noise and background of real beads lie below


def is_starter(init: str | None) -> bool:
    """Tell whether a training's start names a starter instead of a file."""
    return init is not None and (init in (AUTO, STARTER) or init.startswith(f"{STARTER}:"))


def installed_starters() -> dict[str, Path]:
    """Return the bundled starters by family."""
    try:
        folder = resource_path("models")
    except InputError:
        return {}
    return {path.stem: path for path in sorted(folder.glob(f"*{_SUFFIX}"))}


def starter_model(init: str, calibration: Calibration) -> Path:
    """Return the model file of ``starter`` or ``starter:<family>``.

    Raises
    ------
    ModelError
        If this installation has no such starter, or none that fits the calibration.
    """
    installed = installed_starters()
    names = ", ".join(f"{STARTER}:{name}" for name in installed) or "none"
    family = init.partition(":")[2] or starter_family(calibration)
    if family is None:
        raise ModelError(
            "No starter model fits this calibration: it is neither flat nor astigmatic nor a "
            "tetrapod.",
            hint=f"Start from nothing or from a model of yours, or name a starter ({names}).",
        )
    if family not in installed:
        words = _FAMILY_WORDS.get(family, family)
        raise ModelError(
            f"There is no starter model for {words} PSFs in this installation.",
            hint=f"Start from nothing or from a model of yours. Installed: {names}.",
        )
    return installed[family]


def fitting_starter(calibration: Calibration) -> Path | None:
    """Return the starter that fits a calibration (``auto``), or None."""
    return installed_starters().get(starter_family(calibration) or "")


def starter_family(calibration: Calibration) -> str | None:
    """Return the family of a calibration: ``2d``, ``astigmatic``, ``tetrapod``, or None."""
    psf = calibration.psf
    if not calibration.is_3d:
        return "2d"
    if not isinstance(psf, SplinePsf):
        return "astigmatic"
    z_nm, x_variance, y_variance = _variances(psf)
    middle = int(np.argmin(np.abs(z_nm)))
    near = np.abs(z_nm) <= _NEAR_FOCUS_NM
    if near.sum() < 3 or abs(_slope_correlation(psf)) < _ASTIGMATIC_CORRELATION:
        return None
    radius_px = float(np.sqrt(x_variance[middle] + y_variance[middle]))
    return "astigmatic" if radius_px <= _COMPACT_RADIUS_PX else "tetrapod"


def z_orientation(calibration: Calibration) -> int:
    """Return 1 where the image widens along x with growing z, -1 where along y, 0 for neither."""
    psf = calibration.psf
    if not calibration.is_3d:
        return 0
    if isinstance(psf, SplinePsf):
        correlation = _slope_correlation(psf)
        return int(np.sign(correlation)) if abs(correlation) >= 0.5 else 0
    return int(np.sign(psf.focus_y_nm - psf.focus_x_nm))


def _slope_correlation(psf: SplinePsf) -> float:
    """Return the correlation of z with the image's elongation along x, around the focus."""
    z_nm, x_variance, y_variance = _variances(psf)
    near = np.abs(z_nm) <= _NEAR_FOCUS_NM
    elongation = (x_variance - y_variance) / (x_variance + y_variance)
    if near.sum() < 3 or np.ptp(elongation[near]) == 0:
        return 0.0
    return float(np.corrcoef(z_nm[near], elongation[near])[0, 1])


def _variances(
    psf: SplinePsf,
) -> tuple[NDArray[np.floating], NDArray[np.floating], NDArray[np.floating]]:
    """Return z and the variances of the visible image along x and y at each slice, in px^2."""
    # The constant terms are the spline's values at whole samples.
    stack = np.moveaxis(psf.coefficients[..., 0].astype(np.float64), 2, 0)
    z_nm = -(np.arange(stack.shape[0]) - psf.z0_slice) * psf.dz_nm
    floor = _VISIBLE_SHARE * stack.max(axis=(1, 2), keepdims=True)
    weight = np.clip(stack - floor, 0.0, None)
    weight /= np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1e-30)
    rows, columns = np.arange(stack.shape[1]), np.arange(stack.shape[2])
    along_x, along_y = weight.sum(axis=1), weight.sum(axis=2)
    return (
        z_nm,
        along_x @ columns**2 - (along_x @ columns) ** 2,
        along_y @ rows**2 - (along_y @ rows) ** 2,
    )
