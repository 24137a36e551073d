"""Calibrations between programs, and the refractive-index factor that z is multiplied by once."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.interpolate import CubicSpline

from decode_engine.cli.main import main
from decode_engine.contract.jobs import ConvertCalibrationSpec
from decode_engine.contract.messages import EventBody, LogEvent
from decode_engine.domain.calibration import Calibration, GaussianPsf, SplinePsf
from decode_engine.errors import CalibrationError, ConfigError, OutputError
from decode_engine.io.calibrations import (
    describe_calibration,
    read_calibration,
    write_calibration,
)
from decode_engine.io.smap_members import mirror_columns
from decode_engine.jobs import convert_calibration
from decode_engine.jobs.context import JobContext

SMALL = "calibrations/smap_made_real_bead_small_3dcal.mat"


def spline(seed: int = 3) -> SplinePsf:
    rng = np.random.default_rng(seed)
    return SplinePsf(
        coefficients=rng.normal(size=(6, 6, 5, 64)).astype(np.float32),
        dz_nm=20.0, z0_slice=3.0, center_x_px=3.0, center_y_px=3.0,
    )  # fmt: skip


def run(file: Path, out: Path, **changes: Any) -> tuple[dict[str, Any], list[str]]:
    events: list[EventBody] = []
    spec = ConvertCalibrationSpec(file=str(file), out=str(out), **changes)
    summary = convert_calibration.run(spec, JobContext(emit=events.append))
    return summary, [e.text for e in events if isinstance(e, LogEvent)]


# ---------------------------------------------------------------- between programs


@pytest.mark.parametrize("layout", ["smap", "fit3dcspline"])
def test_smaps_real_file_survives_the_way_there_and_back(
    shared_data: Path, tmp_path: Path, layout: str
) -> None:
    """SMAP's own file → ours → .mat; what MATLAB would see is compared through scipy."""
    ours, theirs = tmp_path / "cal.h5", tmp_path / "back_3dcal.mat"
    run(shared_data / SMALL, ours, pixel_size_x_nm=117.0, pixel_size_y_nm=127.0)
    _, words = run(ours, theirs, layout=layout)
    first = scipy.io.loadmat(shared_data / SMALL, squeeze_me=True)["SXY"]["cspline"][()]
    again = scipy.io.loadmat(theirs, squeeze_me=True)
    again = again["SXY"]["cspline"][()] if layout == "smap" else again["cspline"]
    np.testing.assert_array_equal(again["coeff"][()], first["coeff"][()])
    for name in ("dz", "z0", "x0"):
        assert float(again[name][()]) == float(first[name][()]), name
    calibration = read_calibration(theirs)
    assert (calibration.pixel_size_x_nm, calibration.pixel_size_y_nm) == (117.0, 127.0)
    assert calibration == read_calibration(ours)
    assert any("opposite sign" in word for word in words) == (layout == "fit3dcspline")


def test_the_stand_alone_layout_has_what_its_examples_read(tmp_path: Path) -> None:
    """``cal = load(file); coeff = cal.cspline.coeff; dz = cal.cspline.dz; z0 = cal.cspline.z0``."""
    write_calibration(Calibration(psf=spline()), tmp_path / "a.h5", overwrite=False)
    run(tmp_path / "a.h5", tmp_path / "b.mat", layout="fit3dcspline")
    variables = scipy.io.loadmat(tmp_path / "b.mat")
    assert {"cspline", "parameters"} <= variables.keys()
    assert "SXY" not in variables
    struct = variables["cspline"][0, 0]
    # fit3Dcspline's examples: mleFit_LM(imstack, 5, 50, single(cal.cspline.coeff), 0)
    np.testing.assert_array_equal(struct["coeff"], spline().coefficients)
    assert struct["coeff"].dtype == np.float32
    assert (struct["dz"].item(), struct["z0"].item(), struct["x0"].item()) == (20.0, 3.0, 4.0)
    assert describe_calibration(tmp_path / "b.mat").variant == "fit3Dcspline calibration (cspline)"


def test_from_uipsf(tmp_path: Path) -> None:
    """Built by uiPSF's documented layout: (64, z, rows, columns) and params in JSON."""
    coefficients = np.random.default_rng(0).normal(size=(64, 5, 7, 7)).astype(np.float32)
    with h5py.File(tmp_path / "psfmodel.h5", "w") as file:
        file.attrs["params"] = (
            '{"pixel_size": {"x": 0.1, "y": 0.11, "z": 0.05}, "PSFtype": "voxel"}'
        )
        file["locres/coeff"] = coefficients
    summary, words = run(tmp_path / "psfmodel.h5", tmp_path / "c_3dcal.mat")
    assert summary["variant"].startswith("uiPSF")
    assert any("not verified on a real file" in word for word in words)
    found = read_calibration(tmp_path / "c_3dcal.mat")
    assert found.psf == read_calibration(tmp_path / "psfmodel.h5").psf
    assert isinstance(found.psf, SplinePsf)
    assert found.psf.dz_nm == pytest.approx(50.0)


@st.composite
def calibrations(draw: st.DrawFn) -> Calibration:
    side, slices = draw(st.sampled_from([2, 4])), draw(st.integers(1, 3))
    elements = st.floats(-1e6, 1e6, width=32)
    pixel = draw(st.none() | st.tuples(st.floats(20, 900), st.floats(20, 900)))
    return Calibration(
        psf=SplinePsf(
            coefficients=draw(hnp.arrays(np.float32, (side, side, slices, 64), elements=elements)),
            dz_nm=draw(st.floats(0.5, 500)), z0_slice=draw(st.floats(-10, 300)),
            center_x_px=side / 2, center_y_px=side / 2,
        ),
        pixel_size_x_nm=pixel[0] if pixel else None,
        pixel_size_y_nm=pixel[1] if pixel else None,
        em_mirrored=draw(st.sampled_from([True, False, None])),
        refractive_index_factor=draw(st.floats(0.5, 1.5)),
        source=draw(st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=9)),
    )  # fmt: skip


@settings(derandomize=True, max_examples=25, deadline=None)
@given(
    calibrations(),
    st.permutations([(".h5", "smap"), (".mat", "smap"), (".mat", "fit3dcspline")]),
)
def test_any_chain_of_formats_changes_nothing(
    calibration: Calibration, chain: list[tuple[str, str]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "start.h5"
        write_calibration(calibration, path, overwrite=False)
        for number, (suffix, layout) in enumerate(chain):
            following = Path(folder) / f"{number}{suffix}"
            run(path, following, layout=layout)
            path = following
        found = read_calibration(path)
        described = describe_calibration(path).entries[0].z_range_nm
    assert found == calibration
    assert found.fingerprint() == calibration.fingerprint()
    assert described == pytest.approx(calibration.z_range_nm, rel=1e-12, abs=1e-9)


# ---------------------------------------------------------------- EM mirroring


def tensor_spline(samples: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return scipy's not-a-knot spline of (rows, columns, slices) samples in SMAP's layout."""
    powers = [CubicSpline(np.arange(n), np.eye(n)).c[::-1] for n in samples.shape]
    # powers: (exponent, voxel, sample) of each axis
    terms = np.einsum("pja,qib,rkc,abc->jikrqp", *powers, samples, optimize=True)
    return terms.reshape(*(n - 1 for n in samples.shape), 64).astype(np.float32)


def test_smaps_em_calibration_is_turned_to_the_frames_as_stored(tmp_path: Path) -> None:
    """SMAP flips bead frames (``im(:,end:-1:1)``) where EMon; the movie we read is not flipped."""
    rng = np.random.default_rng(5)
    stored = rng.normal(size=(7, 7, 6))  # as the camera stored the bead, (rows, columns, slices)
    content = {
        "coeff": tensor_spline(stored[:, ::-1]), "dz": 10.0, "z0": 3.0, "x0": 4.0,
    }  # fmt: skip
    limits = {"Xrange": [-np.inf, np.inf], "Yrange": [-np.inf, np.inf]}
    scipy.io.savemat(
        tmp_path / "em_3dcal.mat", {"SXY": {"cspline": content, "EMon": True, **limits}}
    )
    found = read_calibration(tmp_path / "em_3dcal.mat")
    assert found.em_mirrored is True
    assert isinstance(found.psf, SplinePsf)
    np.testing.assert_allclose(found.psf.coefficients, tensor_spline(stored), atol=2e-4)
    assert (found.psf.center_x_px, found.psf.center_y_px) == (3.0, 3.0)
    assert any("mirrored back" in n for n in describe_calibration(tmp_path / "em_3dcal.mat").notes)
    # And back: what SMAP gets is what SMAP wrote.
    write_calibration(found, tmp_path / "again.mat", overwrite=False)
    again = scipy.io.loadmat(tmp_path / "again.mat", squeeze_me=True)["SXY"]
    np.testing.assert_allclose(again["cspline"][()]["coeff"][()], content["coeff"], atol=2e-4)
    assert again["EMon"][()] == 1


def test_mirroring_moves_an_uneven_centre_too() -> None:
    psf = dataclasses.replace(spline(), center_x_px=2.5)
    turned = mirror_columns(psf)
    assert (turned.center_x_px, turned.center_y_px) == (3.5, 3.0)
    back = mirror_columns(turned)
    assert back.center_x_px == 2.5
    np.testing.assert_allclose(back.coefficients, psf.coefficients, atol=1e-5)


# ---------------------------------------------------------------- facts put right


def test_what_is_said_replaces_what_the_file_says(shared_data: Path, tmp_path: Path) -> None:
    out = tmp_path / "cal.h5"
    summary, _ = run(
        shared_data / SMALL, out, pixel_size_x_nm=130.0, em_mirrored=True,
        refractive_index_factor=0.75,
    )  # fmt: skip
    found, before = read_calibration(out), read_calibration(shared_data / SMALL)
    assert before.em_mirrored is False
    assert (found.em_mirrored, found.refractive_index_factor) == (True, 0.75)
    assert (found.pixel_size_x_nm, found.pixel_size_y_nm) == (130.0, 130.0)
    low, high = before.z_range_nm
    assert (summary["z_min_nm"], summary["z_max_nm"]) == pytest.approx((0.75 * low, 0.75 * high))
    assert found.fingerprint() != before.fingerprint()
    # Said again, it replaces; it does not pile up.
    run(out, tmp_path / "again.h5", refractive_index_factor=0.75)
    assert read_calibration(tmp_path / "again.h5") == found


def test_a_mat_for_smap_holds_stage_heights_and_says_so(tmp_path: Path) -> None:
    """SMAP multiplies by its "RI mismatch" when it fits; dz must not contain it already."""
    calibration = Calibration(psf=spline(), refractive_index_factor=0.8)
    write_calibration(calibration, tmp_path / "a.h5", overwrite=False)
    _, words = run(tmp_path / "a.h5", tmp_path / "b_3dcal.mat")
    stored = scipy.io.loadmat(tmp_path / "b_3dcal.mat", squeeze_me=True)["SXY"]["cspline"][()]
    assert float(stored["dz"][()]) == 20.0
    assert any("Set 0.8 as 'RI mismatch'" in word for word in words)
    assert any("not known whether the beads were mirrored" in word for word in words)
    assert read_calibration(tmp_path / "b_3dcal.mat").z_range_nm == calibration.z_range_nm


def test_the_factor_scales_all_that_has_a_height() -> None:
    plain = Calibration(psf=spline())
    scaled = dataclasses.replace(plain, refractive_index_factor=0.8)
    assert scaled.z_range_nm == pytest.approx((-2 * 20 * 0.8, 3 * 20 * 0.8))
    assert isinstance(scaled.sample_psf, SplinePsf)
    assert scaled.sample_psf.dz_nm == pytest.approx(16.0)
    assert scaled.sample_psf.z_range_nm == pytest.approx(scaled.z_range_nm)
    assert scaled.psf == plain.psf  # what was measured stays
    gaussian = GaussianPsf(
        sigma0_x_nm=130, sigma0_y_nm=140, depth_nm=400, focus_x_nm=200, focus_y_nm=-200,
        cubic_x=0.1, quartic_y=0.02, z_min_nm=-500, z_max_nm=500,
    )  # fmt: skip
    seen = Calibration(psf=gaussian, refractive_index_factor=0.5).sample_psf
    assert isinstance(seen, GaussianPsf)
    assert (seen.depth_nm, seen.focus_x_nm, seen.focus_y_nm) == (200, 100, -100)
    assert (seen.z_range_nm, seen.sigma0_x_nm, seen.cubic_x) == ((-250, 250), 130, 0.1)
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=1, sigma0_y_nm=1), refractive_index_factor=0.5)
    assert not flat.is_3d
    assert flat.sample_psf == flat.psf


def test_fingerprints_of_earlier_models_still_match() -> None:
    """A factor of 1 leaves the checksum that bundles of earlier versions carry."""
    calibration = Calibration(psf=spline(), em_mirrored=False)
    assert calibration.fingerprint() == (
        dataclasses.replace(calibration, refractive_index_factor=1.0).fingerprint()
    )
    assert calibration.fingerprint() != (
        dataclasses.replace(calibration, refractive_index_factor=0.8).fingerprint()
    )


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("factor", [0.0, -1.0, float("nan"), float("inf")])
def test_factors_that_cannot_be(factor: float) -> None:
    with pytest.raises(CalibrationError, match="refractive-index factor"):
        Calibration(psf=spline(), refractive_index_factor=factor)


def test_what_cannot_be_converted(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / SMALL
    with pytest.raises(ConfigError, match="along columns it is missing"):
        run(source, tmp_path / "a.h5", pixel_size_y_nm=100.0)
    with pytest.raises(OutputError, match=r"\.txt"):
        run(source, tmp_path / "a.txt")
    with pytest.raises(CalibrationError, match="does not exist"):
        run(tmp_path / "no.mat", tmp_path / "a.h5")
    with pytest.raises(CalibrationError, match="3Dcorr"):
        run(shared_data / "calibrations/SMAP_3Daberrationcorrection_v5.mat", tmp_path / "a.h5")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.h5").write_bytes(b"mine")
    with pytest.raises(OutputError, match="exists already"):
        run(source, tmp_path / "a.h5")
    assert (tmp_path / "a.h5").read_bytes() == b"mine"


def test_the_command(shared_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "cal.h5")
    words = ["convert-calibration", str(shared_data / SMALL), out, "--pixel-size-nm", "100,110"]
    assert main([*words, "--em-mirrored", "true", "--refractive-index-factor", "0.8"]) == 0
    found = read_calibration(Path(out))
    assert (found.pixel_size_y_nm, found.em_mirrored) == (110.0, True)
    assert found.refractive_index_factor == 0.8
    assert main([*words, "--refractive-index-factor", "8", "--overwrite"]) == 2
    assert "refractive_index_factor" in capsys.readouterr().err
