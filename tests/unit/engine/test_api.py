"""The package offers exactly the functions of its API, and offers them without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

import decode_engine
from decode_engine import api
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import read_camera


def test_every_function_of_the_api_is_a_name_of_the_package() -> None:
    offered = {name for name in dir(decode_engine) if hasattr(api, name) and name[0] != "_"}
    assert set(api.__all__) <= offered
    for name in api.__all__:
        assert getattr(decode_engine, name) is getattr(api, name)


def test_importing_the_package_costs_no_torch() -> None:
    code = "import sys, decode_engine; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_cameras_and_calibrations_of_other_programs(tmp_path: Path) -> None:
    psf = SplinePsf(
        coefficients=np.ones((2, 2, 3, 64), np.float32), dz_nm=10, z0_slice=1, center_x_px=1,
        center_y_px=1,
    )  # fmt: skip
    write_calibration(Calibration(psf=psf), tmp_path / "a.h5", overwrite=False)
    made = decode_engine.convert_calibration(
        tmp_path / "a.h5", out=tmp_path / "a_3dcal.mat", pixel_size_x_nm=100.0, em_mirrored=False
    )
    assert (made.pixel_size_y_nm, made.em_mirrored, made.psf) == (100.0, False, psf)
    np.save(tmp_path / "maps.npy", np.ones((3, 5, 7)))
    (path,) = decode_engine.import_cameras(
        tmp_path / "maps.npy", out=tmp_path / "c.json", pixel_size_x_nm=100.0, transposed=True
    )
    assert read_camera(path).map_shape == (7, 5)
