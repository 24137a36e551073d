"""What is written is what is read, for any calibration and any camera."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from decode_engine.domain.calibration import (
    Calibration,
    CalibrationQuality,
    GaussianPsf,
    PsfParameters,
    SplinePsf,
)
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibration_native import calibration_from_bytes, calibration_to_bytes
from decode_engine.io.calibrations import read_calibration, write_calibration
from decode_engine.io.cameras import read_camera, write_camera
from decode_engine.io.smap_members import flip_spline

settings.register_profile("files", derandomize=True, max_examples=30, deadline=None)

numbers = st.floats(-1e4, 1e4, allow_nan=False)
positive = st.floats(1e-3, 1e4)
sizes = st.integers(1, 4)
# No surrogates: they are no text, and no NUL, which MATLAB strings and HDF5 text end at.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)


@st.composite
def splines(draw: st.DrawFn) -> SplinePsf:
    shape = (draw(sizes), draw(sizes), draw(sizes), 64)
    elements = st.floats(-1e6, 1e6, width=32)
    center = draw(numbers)
    return SplinePsf(
        coefficients=draw(hnp.arrays(np.float32, shape, elements=elements)),
        dz_nm=draw(positive),
        z0_slice=draw(numbers),
        center_x_px=center,
        center_y_px=center,
    )


@st.composite
def gaussians(draw: st.DrawFn) -> GaussianPsf:
    low = draw(st.floats(-2000, 0))
    return GaussianPsf(
        sigma0_x_nm=draw(positive),
        sigma0_y_nm=draw(positive),
        depth_nm=draw(st.none() | positive),
        focus_x_nm=draw(numbers),
        focus_y_nm=draw(numbers),
        cubic_x=draw(numbers),
        quartic_y=draw(numbers),
        z_min_nm=low,
        z_max_nm=low + draw(st.floats(1, 2000)),
    )


@st.composite
def qualities(draw: st.DrawFn) -> CalibrationQuality:
    curve = st.lists(numbers, max_size=5).map(tuple)
    return CalibrationQuality(
        beads_used=draw(st.integers(0, 1000)),
        beads_rejected=draw(st.integers(0, 1000)),
        residual_rms=draw(positive),
        z_nm=draw(curve),
        z_fit_std_nm=draw(curve),
        crlb_background=draw(numbers),
        crlb_z_nm=draw(curve),
    )


@st.composite
def calibrations(draw: st.DrawFn, psf: st.SearchStrategy[PsfParameters]) -> Calibration:
    pixel = draw(st.none() | st.tuples(positive, positive))
    return Calibration(
        psf=draw(psf),
        pixel_size_x_nm=pixel[0] if pixel else None,
        pixel_size_y_nm=pixel[1] if pixel else None,
        em_mirrored=draw(st.sampled_from([True, False, None])),
        refractive_index_factor=draw(positive),
        source=draw(texts),
        provenance=draw(st.dictionaries(texts, texts, max_size=3)),
        quality=draw(st.none() | qualities()),
    )


@settings(settings.get_profile("files"))
@given(calibrations(splines() | gaussians()))
def test_native_bytes_round_trip(calibration: Calibration) -> None:
    found = calibration_from_bytes(calibration_to_bytes(calibration))
    assert found == calibration
    assert found.fingerprint() == calibration.fingerprint()


@settings(settings.get_profile("files"))
@given(calibrations(splines()), st.sampled_from([".h5", ".mat"]))
def test_spline_file_round_trip(calibration: Calibration, suffix: str) -> None:
    assert isinstance(calibration.psf, SplinePsf)
    if suffix == ".mat" and calibration.em_mirrored:
        # Mirrored, a centre beside the middle would differ between x and y, which SMAP cannot say.
        middle = calibration.psf.coefficients.shape[1] / 2
        psf = dataclasses.replace(calibration.psf, center_x_px=middle, center_y_px=middle)
        calibration = dataclasses.replace(calibration, psf=psf)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"cal{suffix}"
        write_calibration(calibration, path, overwrite=False)
        found = read_calibration(path)
    # x0 = center + 1 is stored, so the centre comes back to the last bit of x0 only.
    assert isinstance(found.psf, SplinePsf)
    assert found.psf.center_x_px == pytest.approx(calibration.psf.center_x_px, abs=1e-11)
    np.testing.assert_array_equal(found.psf.coefficients, calibration.psf.coefficients)
    assert found.psf.dz_nm == calibration.psf.dz_nm
    assert found.psf.z0_slice == calibration.psf.z0_slice
    for name in ("pixel_size_x_nm", "em_mirrored", "source", "provenance", "quality"):
        assert getattr(found, name) == getattr(calibration, name), name


@settings(settings.get_profile("files"))
@given(splines(), st.sampled_from([0, 1]))
def test_mirroring_twice_changes_nothing(psf: SplinePsf, axis: int) -> None:
    twice = flip_spline(flip_spline(psf.coefficients, axis), axis)
    # Each binomial sum has at most 8 terms of the largest coefficient, in single precision.
    scale = max(float(np.abs(psf.coefficients).max()), 1e-30)
    np.testing.assert_allclose(twice, psf.coefficients, rtol=0, atol=64 * 6e-8 * scale)


@st.composite
def cameras(draw: st.DrawFn) -> CameraModel:
    shape = (draw(sizes), draw(sizes))

    def entry(low: float, high: float) -> st.SearchStrategy[float | np.ndarray]:
        elements = st.floats(low, high, width=32)
        return st.floats(low, high) | hnp.arrays(np.float32, shape, elements=elements)

    kind = draw(st.sampled_from(["emccd", "scmos"]))
    return CameraModel(
        kind=kind,
        name=draw(texts),
        pixel_size_x_nm=draw(positive),
        pixel_size_y_nm=draw(positive),
        offset_adu=draw(entry(-512, 1024)),
        e_per_adu=draw(entry(0.125, 64)),
        em_gain=draw(st.floats(1, 1000)) if kind == "emccd" else 1.0,
        quantum_efficiency=draw(st.floats(0.01, 1)),
        read_noise_e=draw(entry(0, 128)),
        spurious_charge_e=draw(st.floats(0, 1)),
        saturation_adu=draw(st.none() | st.floats(2000, 65535)),
        em_mirrored=draw(st.booleans()),
    )


@settings(settings.get_profile("files"))
@given(cameras())
def test_camera_round_trip(camera: CameraModel) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "camera.json"
        write_camera(camera, path, overwrite=False)
        found = read_camera(path)
    assert found == camera
    assert found.fingerprint() == camera.fingerprint()
