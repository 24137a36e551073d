"""The psf-preview job against the PSF models and the Fisher information themselves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from decode_engine.contract.jobs import PsfPreviewSpec
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CalibrationError, CancelledError
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.jobs.psf_preview import run
from decode_engine.psf.fisher import crlb, noise_terms
from decode_engine.psf.models import psf_from_calibration
from tests.psf_samples import ASTIGMATIC, astigmatic_spline


def write(folder: Path, calibration: Calibration) -> str:
    path = folder / "cal.h5"
    write_calibration(calibration, path, overwrite=True)
    return str(path)


def spline() -> Calibration:
    return Calibration(psf=astigmatic_spline(), pixel_size_x_nm=100.0, pixel_size_y_nm=120.0)


def arrays(summary: dict[str, object]) -> dict[str, NDArray[np.float64]]:
    with np.load(str(summary["psf_file"])) as file:
        return dict(file)


@pytest.mark.parametrize(
    "calibration",
    [spline(), Calibration(psf=ASTIGMATIC, pixel_size_x_nm=100.0, pixel_size_y_nm=120.0)],
    ids=["spline", "gaussian"],
)
def test_volume_and_bounds_are_those_of_the_model(tmp_path: Path, calibration: Calibration) -> None:
    spec = PsfPreviewSpec(
        calibration=write(tmp_path, calibration),
        out=str(tmp_path / "out"),
        photons=1500,
        background=7,
        slices=27,
    )
    summary = run(spec, JobContext())
    found = arrays(summary)
    psf = psf_from_calibration(calibration)
    z = torch.linspace(-650.0, 650.0, 27)
    zero, roi = torch.zeros(27), int(str(summary["roi_px"]))
    expected = psf.value(zero, zero, z, roi).numpy()
    np.testing.assert_allclose(found["volume"], expected, atol=1e-6)
    assert found["volume"].shape == (27, roi, roi)
    assert found["volume"].sum(axis=(1, 2)) == pytest.approx(1, abs=0.02)
    bound = crlb(
        psf, dx_px=zero, dy_px=zero, z_nm=z, photons=zero + 1500, background=zero + 7, roi_px=roi
    )
    np.testing.assert_allclose(found["crlb_x_nm"], bound.x_px.numpy() * 100.0, rtol=1e-4)
    np.testing.assert_allclose(found["crlb_y_nm"], bound.y_px.numpy() * 120.0, rtol=1e-4)
    np.testing.assert_allclose(found["crlb_z_nm"], bound.z_nm.numpy(), rtol=1e-4)
    assert (summary["z_min_nm"], summary["z_max_nm"]) == pytest.approx((-650.0, 650.0))
    assert summary["warnings"] == []


def test_a_flat_gaussian_has_one_slice_and_no_axial_bound(tmp_path: Path) -> None:
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130))
    spec = PsfPreviewSpec(
        calibration=write(tmp_path, flat), out=str(tmp_path), pixel_size_nm=100, background=0
    )
    summary = run(spec, JobContext())
    found = arrays(summary)
    assert found["volume"].shape[0] == 1
    assert np.isnan(found["crlb_z_nm"]).all()
    # sigma / sqrt(N), widened by the pixel (Thompson et al. 2002).
    expected = np.sqrt((130**2 + 100**2 / 12) / 5000)
    assert found["crlb_x_nm"][0] == pytest.approx(expected, rel=0.03)
    assert summary["is_3d"] is False


def test_a_camera_adds_its_noise_and_its_doubts(tmp_path: Path) -> None:
    camera = CameraModel(
        kind="emccd",
        pixel_size_x_nm=138.0,
        pixel_size_y_nm=138.0,
        em_gain=100.0,
        read_noise_e=200.0,
        offset_adu=100.0,
    )
    write_camera(camera, tmp_path / "cam.json", overwrite=False)
    spec = PsfPreviewSpec(
        calibration=write(tmp_path, spline()),
        camera=str(tmp_path / "cam.json"),
        out=str(tmp_path),
        slices=5,
    )
    summary = run(spec, JobContext())
    found = arrays(summary)
    assert "100 nm along x" in str(summary["warnings"])
    psf, terms = psf_from_calibration(spline()), noise_terms(camera)
    zero, roi = torch.zeros(5), int(str(summary["roi_px"]))
    bound = crlb(
        psf,
        dx_px=zero,
        dy_px=zero,
        z_nm=torch.linspace(-650.0, 650.0, 5),
        photons=zero + 5000,
        background=zero + 20,
        roi_px=roi,
        excess_noise=2.0,
        read_variance=float(terms.read_variance),
    )
    # A spline is drawn on the pixels of its beads, whatever the camera says.
    np.testing.assert_allclose(found["crlb_x_nm"], bound.x_px.numpy() * 100.0, rtol=1e-4)


def test_without_any_pixel_size_a_gaussian_is_refused(tmp_path: Path) -> None:
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130))
    spec = PsfPreviewSpec(calibration=write(tmp_path, flat), out=str(tmp_path))
    with pytest.raises(CalibrationError, match="does not say its pixel size"):
        run(spec, JobContext())


def test_a_spline_without_pixel_size_is_drawn_but_has_no_lateral_bound(tmp_path: Path) -> None:
    bare = Calibration(psf=astigmatic_spline())
    spec = PsfPreviewSpec(calibration=write(tmp_path, bare), out=str(tmp_path), slices=5)
    summary = run(spec, JobContext())
    found = arrays(summary)
    assert np.isnan(found["crlb_x_nm"]).all()
    assert np.isfinite(found["crlb_z_nm"]).all()
    assert "pixel size" in str(summary["warnings"])


def test_a_cancel_leaves_no_file(tmp_path: Path) -> None:
    token = CancelToken()
    token.cancel()
    spec = PsfPreviewSpec(calibration=write(tmp_path, spline()), out=str(tmp_path / "out"))
    with pytest.raises(CancelledError):
        run(spec, JobContext(cancel=token))
    assert not (tmp_path / "out" / "psf.npz").exists()
