"""Calibration and camera, read and compared in one place for all jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from decode_engine.contract.jobs import FitMleSpec
from decode_engine.contract.messages import EventBody, LogEvent
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import MismatchError
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.optics import Optics, camera_record, read_optics

PSF = GaussianPsf(sigma0_x_nm=130.0, sigma0_y_nm=140.0)


def write(folder: Path, calibration: dict[str, Any], camera: dict[str, Any]) -> FitMleSpec:
    sizes = {"pixel_size_x_nm": 100.0, "pixel_size_y_nm": 130.0}
    write_calibration(
        Calibration(psf=PSF, **{**sizes, **calibration}), folder / "cal.h5", overwrite=True
    )
    write_camera(
        CameraModel(kind="scmos", **{**sizes, **camera}), folder / "cam.json", overwrite=True
    )
    names = {"calibration": "cal.h5", "camera": "cam.json", "movie": "m.tif", "out": "o.h5"}
    return FitMleSpec(**{field: str(folder / name) for field, name in names.items()})


def read(spec: FitMleSpec, *, allow: bool = False) -> tuple[Optics, list[str]]:
    events: list[EventBody] = []
    optics = read_optics(spec, JobContext(emit=events.append), allow_mismatch=allow)
    return optics, [e.text for e in events if isinstance(e, LogEvent) and e.level == "warning"]


def test_what_belongs_together_is_read_in_silence(tmp_path: Path) -> None:
    optics, warnings = read(write(tmp_path, {"em_mirrored": False}, {}))
    assert optics.calibration.psf == PSF
    assert optics.camera.pixel_size_y_nm == 130.0
    assert warnings == []


def test_what_a_calibration_does_not_say_cannot_differ(tmp_path: Path) -> None:
    unknown = {"pixel_size_x_nm": None, "pixel_size_y_nm": None, "em_mirrored": None}
    assert read(write(tmp_path, unknown, {"em_mirrored": True}))[1] == []


@pytest.mark.parametrize("mirrored", [True, False])
def test_all_differences_are_named_and_can_be_allowed(tmp_path: Path, mirrored: bool) -> None:
    camera = {"em_mirrored": not mirrored, "pixel_size_x_nm": 102.0, "pixel_size_y_nm": 100.0}
    spec = write(tmp_path, {"em_mirrored": mirrored}, camera)
    with pytest.raises(MismatchError) as error:
        read(spec)
    assert "100 nm along x, the camera's 102 nm" in error.value.message
    assert "130 nm along y, the camera's 100 nm" in error.value.message
    owner, other = ("calibration", "camera")[:: 1 if mirrored else -1]
    assert f"the {owner} is mirrored as EM frames are, the {other} is not" in error.value.message
    _, warnings = read(spec, allow=True)
    assert warnings == [error.value.message]


def test_rounded_pixel_sizes_are_the_same(tmp_path: Path) -> None:
    assert read(write(tmp_path, {"pixel_size_x_nm": 100.9}, {}))[1] == []


def test_old_gaussian_calibration_takes_both_pixel_sizes_from_the_camera(tmp_path: Path) -> None:
    """Regression: `simulate` and `fit-mle` could not use SMAP's ``outforfit`` (widths in px)."""
    spec = write(tmp_path, {}, {})
    vector = [[1.2, 0.0, 0.0, 0.0, 0.0, 0.25, 0.4, 1.3]]
    scipy.io.savemat(tmp_path / "old.mat", {"outforfit": np.array(vector)})
    old = spec.model_copy(update={"calibration": str(tmp_path / "old.mat")})
    psf = read(old)[0].calibration.psf
    assert isinstance(psf, GaussianPsf)
    assert sorted([psf.sigma0_x_nm / 100.0, psf.sigma0_y_nm / 130.0]) == pytest.approx([1.2, 1.3])


def test_maps_are_recorded_by_checksum() -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    sizes = {"pixel_size_x_nm": 100.0, "pixel_size_y_nm": 130.0}
    first, second = (
        camera_record(CameraModel(kind="scmos", offset_adu=v, **sizes))["offset_adu"]
        for v in (values, values[::-1])
    )
    assert first.startswith("map of 4 x 3 px, mean 5.5, sha256 ")
    assert first != second
