"""Whether a calibration and a camera belong together."""

from __future__ import annotations

from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import MismatchError

__all__ = ["differs_in_mirroring", "require_same_mirroring", "require_same_pixel_size"]

_RELATIVE_TOLERANCE = 0.01  # files round pixel sizes; one percent widens a PSF unnoticeably


def require_same_pixel_size(calibration: Calibration, camera: CameraModel) -> None:
    """Raise `MismatchError` if the calibration states another pixel size than the camera."""
    pairs = (
        ("x", calibration.pixel_size_x_nm, camera.pixel_size_x_nm),
        ("y", calibration.pixel_size_y_nm, camera.pixel_size_y_nm),
    )
    for axis, own_nm, camera_nm in pairs:
        if own_nm is not None and abs(own_nm / camera_nm - 1) > _RELATIVE_TOLERANCE:
            raise MismatchError(
                f"The calibration's pixels measure {own_nm:g} nm along {axis}, the camera's "
                f"{camera_nm:g} nm.",
                hint="Correct the pixel size that is wrong, or use the calibration made for "
                "this camera.",
            )


def differs_in_mirroring(calibration: Calibration, camera: CameraModel) -> bool:
    """Return whether one of the two is known to be mirrored and the other not."""
    return calibration.em_mirrored is not None and calibration.em_mirrored != camera.em_mirrored


def require_same_mirroring(calibration: Calibration, camera: CameraModel) -> None:
    """Raise `MismatchError` if one of the two is known to be mirrored and the other not."""
    if differs_in_mirroring(calibration, camera):
        mirrored, plain = ("calibration", "camera")[:: 1 if calibration.em_mirrored else -1]
        raise MismatchError(
            f"The {mirrored} is mirrored as EM frames are, the {plain} is not.",
            hint="Use a calibration that was recorded with this read-out, or correct em_mirrored "
            "in the camera file.",
        )
