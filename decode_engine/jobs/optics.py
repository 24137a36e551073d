"""Calibration and camera of a job: read together, and checked against each other."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.compatibility import require_compatible
from decode_engine.errors import MismatchError
from decode_engine.io.calibrations import PixelSize, read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.jobs.context import JobContext

__all__ = ["Optics", "OpticsSpec", "camera_record", "read_calibration_for", "read_optics"]


class OpticsSpec(Protocol):
    """Jobs that name a calibration (and which PSF of it) and a camera."""

    @property
    def calibration(self) -> str:
        """Path of the calibration."""
        ...

    @property
    def camera(self) -> str:
        """Path of the camera file."""
        ...

    @property
    def region(self) -> int | None:
        """Field region of the calibration."""
        ...

    @property
    def channel(self) -> int | None:
        """Channel of the calibration."""
        ...


@dataclass(frozen=True, kw_only=True)
class Optics:
    """What turns emitters into frames: the PSF and the camera that sees it."""

    calibration: Calibration
    camera: CameraModel


def read_optics(spec: OpticsSpec, context: JobContext, *, allow_mismatch: bool) -> Optics:
    """Read a job's calibration and camera, and see that they belong together.

    Raises
    ------
    CalibrationError, CameraError
        If one of the files cannot be used.
    MismatchError
        If they differ in pixel size or mirroring and that is not allowed; where it is, the
        differences are a warning.
    """
    camera = read_camera(Path(spec.camera))
    calibration = read_calibration_for(
        camera, Path(spec.calibration), region=spec.region, channel=spec.channel
    )
    try:
        require_compatible(calibration, camera)
    except MismatchError as error:
        if not allow_mismatch:
            raise
        context.log(error.message, "warning")
    return Optics(calibration=calibration, camera=camera)


def read_calibration_for(
    camera: CameraModel, path: Path, *, region: int | None, channel: int | None
) -> Calibration:
    """Read a calibration; the camera's pixel size stands in where the file states none."""
    size = PixelSize(x_nm=camera.pixel_size_x_nm, y_nm=camera.pixel_size_y_nm)
    return read_calibration(path, region=region, channel=channel, pixel_size=size)


def camera_record(camera: CameraModel) -> dict[str, Any]:
    """Return the camera as JSON values; per-pixel maps by size, mean and checksum."""
    record: dict[str, Any] = {}
    for field in dataclasses.fields(camera):
        value = getattr(camera, field.name)
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            height, width = value.shape
            value = f"map of {width} x {height} px, mean {value.mean():g}, sha256 {digest}"
        record[field.name] = value
    return record
