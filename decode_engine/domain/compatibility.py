"""Whether a calibration and a camera belong together."""

from __future__ import annotations

from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import MismatchError

__all__ = ["require_compatible"]

_RELATIVE_TOLERANCE = 0.01  # files round pixel sizes; one percent widens a PSF unnoticeably


def require_compatible(calibration: Calibration, camera: CameraModel) -> None:
    """Raise `MismatchError`, naming all that differs, unless both describe the same pixels.

    What the calibration does not say (pixel size or mirroring of None) cannot differ.
    """
    differences = _pixel_size_differences(calibration, camera)
    if calibration.em_mirrored is not None and calibration.em_mirrored != camera.em_mirrored:
        mirrored, plain = ("calibration", "camera")[:: 1 if calibration.em_mirrored else -1]
        differences.append(f"the {mirrored} is mirrored as EM frames are, the {plain} is not")
    if differences:
        raise MismatchError(
            f"Calibration and camera do not belong together: {'; '.join(differences)}.",
            hint="Use the calibration made with this camera and read-out, correct the file that "
            "is wrong, or allow the mismatch (--allow-mismatch).",
        )


def _pixel_size_differences(calibration: Calibration, camera: CameraModel) -> list[str]:
    pairs = (
        ("x", calibration.pixel_size_x_nm, camera.pixel_size_x_nm),
        ("y", calibration.pixel_size_y_nm, camera.pixel_size_y_nm),
    )
    return [
        f"the calibration's pixels measure {own:g} nm along {axis}, the camera's {other:g} nm"
        for axis, own, other in pairs
        if own is not None and abs(own / other - 1) > _RELATIVE_TOLERANCE
    ]
