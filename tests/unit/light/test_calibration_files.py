"""Calibration files of SMAP, fit3Dcspline, uiPSF and this program."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from decode_engine.domain.calibration import (
    Calibration,
    CalibrationQuality,
    GaussianPsf,
    SplinePsf,
)
from decode_engine.errors import CalibrationError, OutputError
from decode_engine.io.calibration_native import calibration_from_bytes, calibration_to_bytes
from decode_engine.io.calibrations import (
    PixelSize,
    describe_calibration,
    is_calibration_file,
    read_calibration,
    write_calibration,
)
from decode_engine.io.smap_members import flip_spline

RNG = np.random.default_rng(7)
SMALL = "calibrations/smap_made_real_bead_small_3dcal.mat"
ONE_BEAD = "calibrations/smap_made_real_bead_1bead_3dcal.mat"


def random_coefficients(shape: tuple[int, int, int] = (6, 6, 5)) -> NDArray[np.float32]:
    return RNG.normal(size=(*shape, 64)).astype(np.float32)


def value_at(c: NDArray[np.float32], y: float, x: float, z: float) -> float:
    """Evaluate a spline in SMAP's order by its definition, one term after the other."""
    j, i, k = (int(np.floor(v)) for v in (y, x, z))
    a, b, t = y - j, x - i, z - k
    terms = (
        float(c[j, i, k, p1 + 4 * p2 + 16 * p3]) * a**p1 * b**p2 * t**p3
        for p1 in range(4)
        for p2 in range(4)
        for p3 in range(4)
    )
    return sum(terms)


# ---------------------------------------------------------------- real files


def test_real_file_numbers(shared_data: Path) -> None:
    """The coefficients, centre and z origin are those scipy finds in SMAP's own file."""
    path = shared_data / SMALL
    calibration = read_calibration(path)
    raw = scipy.io.loadmat(path)["SXY"][0, 0]["cspline"][0, 0]
    psf = calibration.psf
    assert isinstance(psf, SplinePsf)
    np.testing.assert_array_equal(psf.coefficients, raw["coeff"][0, 0])
    assert (psf.dz_nm, psf.z0_slice) == (10.0, 21.0)
    assert (psf.center_x_px, psf.center_y_px) == (7.0, 7.0)  # x0 = 8 counts from 1
    assert calibration.z_range_nm == (-190.0, 210.0)  # 40 slices, z0 = 21
    assert calibration.em_mirrored is False
    assert calibration.pixel_size_x_nm is None  # 100 is the placeholder of a TIFF reader
    assert "fit3Dcspline_single_bead.tif" in calibration.provenance["bead_files"]
    assert "/" not in calibration.provenance["bead_files"]


def test_real_file_says_what_it_is(shared_data: Path) -> None:
    report = describe_calibration(shared_data / SMALL)
    assert (report.n_regions, report.n_channels) == (1, 1)
    assert report.entries[0].shape == (14, 14, 40)
    text = "\n".join(report.lines())
    assert "14 x 14 px, 40 slices of 10 nm, z -190 to 210 nm" in text
    assert "not stated" in text
    json.dumps(report.as_dict())


@pytest.mark.parametrize("roi_px", [13, 17])
def test_conventions_explain_images_of_fit3dcspline(shared_data: Path, roi_px: int) -> None:
    """Images that fit3Dcspline's simulator drew from this calibration are what we expect.

    Row, column, slice, centre and exponent order are all wrong by something if the Pearson
    chi-square of the Poisson images is not 1 per pixel. Its variance is (2 + 1/mu) / n, mu >= 20.
    """
    psf = read_calibration(shared_data / ONE_BEAD).psf
    assert isinstance(psf, SplinePsf)
    golden = np.load(shared_data / "calibrations/fit3Dcspline_golden_fits.npz")
    images, truth = golden[f"im{roi_px}"], golden[f"gt{roi_px}"]
    # Emitters are drawn within half a slice of nominal heights; 'z_nm' is the nominal one.
    z_nm = -(truth[:, 4] - psf.z0_slice) * psf.dz_nm
    np.testing.assert_allclose(z_nm, truth[:, 5], atol=0.501 * psf.dz_nm)

    pixels = np.arange(roi_px)
    chi2, count = 0.0, 0
    for index in range(0, 700, 5):
        theta_row, theta_column, photons, background, slice_, _ = truth[index]
        j, a = np.divmod(psf.center_y_px + pixels - theta_row, 1)
        i, b = np.divmod(psf.center_x_px + pixels - theta_column, 1)
        k, t = divmod(slice_, 1)
        rows = np.clip(j.astype(int), 0, psf.coefficients.shape[0] - 1)
        columns = np.clip(i.astype(int), 0, psf.coefficients.shape[1] - 1)
        voxels = psf.coefficients[np.ix_(rows, columns, [int(k)])][:, :, 0].astype(float)
        voxels = voxels.reshape(roi_px, roi_px, 4, 4, 4)
        powers = np.arange(4)
        unit = np.einsum(
            "jizxy,jy,ix,z->ji",
            voxels,
            a[:, None] ** powers,
            b[:, None] ** powers,
            t**powers,
        )
        expected = background + photons * unit
        chi2 += float(np.sum((images[:, :, index] - expected) ** 2 / expected))
        count += roi_px**2
    assert chi2 / count == pytest.approx(1.0, abs=5 * np.sqrt(2.05 / count))


def test_real_gaussian_vector(shared_data: Path) -> None:
    """``outforfit`` of SMAP: widths in pixels, z in micrometres, the y curve mirrored in z."""
    path = shared_data / "calibrations/SMAP_cal_3DAcal.mat"
    with pytest.raises(CalibrationError, match="camera pixels") as caught:
        read_calibration(path)
    assert "pixel size" in caught.value.hint
    calibration = read_calibration(path, pixel_size=PixelSize(x_nm=138.0, y_nm=140.0))
    psf = calibration.psf
    assert isinstance(psf, GaussianPsf)
    assert psf.depth_nm is not None
    s0x, ax, ay, bx, by, g, d, s0y = scipy.io.loadmat(path)["outforfit"][0]
    for z_um in (-0.5, 0.0, 0.31):
        u, v = (z_um - g) / d, (z_um + g) / d
        width_x_px = s0x * np.sqrt(1 + u**2 + ax * u**3 + bx * u**4)
        width_y_px = s0y * np.sqrt(1 + v**2 + ay * v**3 + by * v**4)
        ux, uy = (
            (1e3 * z_um - focus_nm) / psf.depth_nm for focus_nm in (psf.focus_x_nm, psf.focus_y_nm)
        )
        ours_x = psf.sigma0_x_nm * np.sqrt(1 + ux**2 + psf.cubic_x * ux**3 + psf.quartic_x * ux**4)
        ours_y = psf.sigma0_y_nm * np.sqrt(1 + uy**2 + psf.cubic_y * uy**3 + psf.quartic_y * uy**4)
        assert ours_x == pytest.approx(138.0 * width_x_px, rel=1e-12)
        assert ours_y == pytest.approx(140.0 * width_y_px, rel=1e-12)
    low, high = calibration.z_range_nm
    assert -low == high == pytest.approx(1e3 * (abs(g) + abs(d)), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("calibrations/SMAP_3Daberrationcorrection_v5.mat", "depth-dependent aberrations"),
        ("calibrations/SMAP_3Daberrationcorrection_v73.mat", "depth-dependent aberrations"),
        ("loc_tables/Locan_smap_dstorm_data_sml.mat", "localizations"),
        ("camera_metadata/SMAP_cameras.mat", "camera database"),
        ("loc_tables/Locan_decode_dstorm_data.h5", "not a calibration"),
        ("loc_tables/picasso_raw_movie_locs.hdf5", "not a calibration"),
        ("bead_stacks/fit3Dcspline_single_bead.tif", "not a calibration"),
        ("bead_stacks/bstore_calibration_curves.csv", "not a calibration"),
    ],
)
def test_real_files_that_are_no_calibration(shared_data: Path, name: str, words: str) -> None:
    with pytest.raises(CalibrationError, match=words) as caught:
        read_calibration(shared_data / name)
    assert Path(name).name in caught.value.message
    assert "_3dcal.mat" in caught.value.hint
    assert not is_calibration_file(shared_data / name)


# ---------------------------------------------------------------- SMAP variants


def smap_element(coefficients: Any, **changes: Any) -> dict[str, Any]:
    cspline = {"coeff": coefficients, "dz": 20.0, "z0": 3.0, "x0": 4.0, "mirror": 0.0}
    cspline.update(changes.pop("cspline", {}))
    everywhere = np.array([[-np.inf, np.inf]])
    element = {"cspline": cspline, "Xrange": everywhere, "Yrange": everywhere}
    return {**element, "EMon": np.array([[False]]), **changes}


@pytest.mark.parametrize("version", ["v5", "v73"])
@pytest.mark.parametrize("in_cell", [True, False])
def test_single_region(tmp_path: Path, mat_writer: Any, version: str, in_cell: bool) -> None:
    """Scalar SXY, coefficients in a cell or bare, opaque objects wherever SMAP puts them."""
    c = random_coefficients()
    stored = mat_writer.Cell([c], (1, 1)) if in_cell else c
    transformation = mat_writer.Object("interfaces.LocTransformN")
    element = smap_element(
        stored,
        cspline={"global": {"isglobal": np.array([[False]]), "transformation": transformation}},
        gauss_sx2_sy2={"function": mat_writer.Object("cfit"), "ds2range": np.array([[0.0, 1.0]])},
    )
    content = {
        "SXY": element,
        "parameters": {"Tfile": transformation, "dz": 20.0},
        "transformation": transformation,
    }
    path = getattr(mat_writer, version)(tmp_path / "bead_3dcal.mat", content)
    calibration = read_calibration(path)
    assert calibration.psf == SplinePsf(
        coefficients=c, dz_nm=20, z0_slice=3, center_x_px=3, center_y_px=3
    )
    assert calibration.em_mirrored is False


@pytest.mark.parametrize("version", ["v5", "v73"])
def test_regions_of_the_field(tmp_path: Path, mat_writer: Any, version: str) -> None:
    """A 2 x 3 array of regions: SXY(X, Y) in MATLAB's linear order, each with its own ranges."""
    cs = [random_coefficients() for _ in range(6)]
    edges_x, edges_y = [-np.inf, 100.0, np.inf], [-np.inf, 80.0, 160.0, np.inf]
    elements = [
        smap_element(
            mat_writer.Cell([cs[k]], (1, 1)),
            Xrange=np.array([[edges_x[k % 2], edges_x[k % 2 + 1]]]),
            Yrange=np.array([[edges_y[k // 2], edges_y[k // 2 + 1]]]),
        )
        for k in range(6)
    ]
    content = {"SXY": mat_writer.Structs(elements, (2, 3))}
    path = getattr(mat_writer, version)(tmp_path / "a.mat", content)
    report = describe_calibration(path)
    assert (report.n_regions, report.n_channels) == (6, 1)
    assert report.entries[3].x_range_px == (100.0, np.inf)
    assert report.entries[3].y_range_px == (80.0, 160.0)
    psf = read_calibration(path, region=3).psf
    assert isinstance(psf, SplinePsf)
    np.testing.assert_array_equal(psf.coefficients, cs[3])
    assert "80 to 160" in read_calibration(path, region=3).provenance["region_y_px"]
    with pytest.raises(CalibrationError, match="6 regions") as caught:
        read_calibration(path)
    assert "region 3" in caught.value.hint
    with pytest.raises(CalibrationError, match="no region 6"):
        read_calibration(path, region=6)


@pytest.mark.parametrize("version", ["v5", "v73"])
@pytest.mark.parametrize("shape", [(2, 1), (1, 2)])
def test_two_channels(
    tmp_path: Path, mat_writer: Any, version: str, shape: tuple[int, int]
) -> None:
    """Two-channel SXY beside SXY_g: channels, photons of each channel, no raw copies needed."""
    reference, target, other = (random_coefficients() for _ in range(3))
    raw = {"coeffrawref": reference, "coeffrawtar": target}
    elements = [
        smap_element(mat_writer.Cell([reference], (1, 1)), cspline={"normf": 1.0, "global": raw}),
        smap_element(
            mat_writer.Cell([target], (1, 1)),
            cspline={"normf": 0.7, "mirror": 1.0, "global": raw},
        ),
    ]
    both = smap_element(
        mat_writer.Cell([reference, other], (1, 2)), cspline={"normf": np.array([[1, 0.7]])}
    )
    content = {
        "SXY": mat_writer.Structs(elements, shape),
        "SXY_g": both,
        "parameters_g": {"dz": 20.0},
        "transformation": mat_writer.Object("interfaces.LocTransformN"),
    }
    path = getattr(mat_writer, version)(tmp_path / "a.mat", content)
    report = describe_calibration(path)
    assert (report.n_regions, report.n_channels) == (1, 2)
    assert "two-channel" in report.variant
    first = read_calibration(path, channel=0).psf
    second = read_calibration(path, channel=1)
    assert isinstance(first, SplinePsf)
    assert isinstance(second.psf, SplinePsf)
    np.testing.assert_array_equal(first.coefficients, reference)
    # SXY(2) is in chip orientation already although it says mirror = 1.
    np.testing.assert_allclose(second.psf.coefficients, target / 0.7, rtol=1e-6)
    assert second.provenance["smap_normf"] == "0.7"
    with pytest.raises(CalibrationError, match="2 channels"):
        read_calibration(path)


@pytest.mark.parametrize(("mirror", "axis"), [(0, None), (1, 1), (2, 0)])
def test_both_channels_in_one_cell(
    tmp_path: Path, mat_writer: Any, mirror: int, axis: int | None
) -> None:
    """SXY_g alone: the target is stored mirrored, and mirrored back by evaluating it."""
    reference, target = random_coefficients(), random_coefficients()
    element = smap_element(
        mat_writer.Cell([reference, target], (1, 2)),
        cspline={"mirror": float(mirror), "normf": np.array([[1.0, 1.0]])},
    )
    path = mat_writer.v5(tmp_path / "a.mat", {"SXY_g": element})
    psf = read_calibration(path, channel=1).psf
    assert isinstance(psf, SplinePsf)
    for point in RNG.uniform(0, 5, size=(20, 3)):
        mirrored = point.copy()
        if axis is not None:
            mirrored[axis] = target.shape[axis] - point[axis]
        expected = value_at(target, *mirrored)
        assert value_at(psf.coefficients, *point) == pytest.approx(expected, abs=1e-4)
    first = read_calibration(path, channel=0).psf
    assert isinstance(first, SplinePsf)
    np.testing.assert_array_equal(first.coefficients, reference)


def test_raw_target_is_preferred(tmp_path: Path, mat_writer: Any) -> None:
    """SXY_g with the raw copies: these are in chip orientation."""
    reference, target, raw = (random_coefficients() for _ in range(3))
    element = smap_element(
        mat_writer.Cell([reference, target], (1, 2)),
        cspline={"mirror": 2.0, "global": {"coeffrawref": reference, "coeffrawtar": raw}},
    )
    path = mat_writer.v73(tmp_path / "a.mat", {"SXY_g": element})
    psf = read_calibration(path, channel=1).psf
    assert isinstance(psf, SplinePsf)
    np.testing.assert_array_equal(psf.coefficients, raw)


def test_coefficients_of_two_channels_in_one_array(tmp_path: Path) -> None:
    both = np.stack([random_coefficients(), random_coefficients()], axis=-1)
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"SXY": smap_element(both)})
    psf = read_calibration(path, channel=1).psf
    assert isinstance(psf, SplinePsf)
    np.testing.assert_array_equal(psf.coefficients, both[..., 1])


@pytest.mark.parametrize("version", ["v5", "v73"])
@pytest.mark.parametrize("kind", ["current", "newer", "old"])
def test_standalone_fit3dcspline(tmp_path: Path, mat_writer: Any, version: str, kind: str) -> None:
    c = random_coefficients()
    cspline = {"coeff": mat_writer.Cell([c], (1, 1)), "dz": 20.0, "z0": 3.0, "x0": 4.0}
    none = np.zeros((0, 0))
    content: dict[str, Any] = {
        "current": {
            "cspline": cspline,
            "gausscal": none,
            "cspline_all": none,
            "gauss_sx2_sy2": none,
            "gauss_zfit": none,
            "parameters": {"dz": 20.0},
        },
        "newer": {"cspline": cspline, "parameters": {"dz": 20.0}},
        "old": {
            "cspline_all": {"cspline": {**cspline, "isEM": np.array([[True]])}, "PSF": c[..., 0]},
            "gauss_zfit": none,
        },
    }[kind]
    path = getattr(mat_writer, version)(tmp_path / "a.mat", content)
    calibration = read_calibration(path)
    assert isinstance(calibration.psf, SplinePsf)
    # EM frames were mirrored when the beads were read; see test_convert_calibration.
    expected = flip_spline(c, 1) if kind == "old" else c
    np.testing.assert_array_equal(calibration.psf.coefficients, expected)
    assert calibration.em_mirrored is (True if kind == "old" else None)
    assert "fit3Dcspline" in describe_calibration(path).variant


@pytest.mark.parametrize("voxels", [26, 16])
def test_missing_x0_is_the_middle_and_said(tmp_path: Path, voxels: int) -> None:
    """26 voxels are SMAP's default window of 27 px, whose x0 is 14, counted from 1."""
    cspline = {"coeff": random_coefficients((voxels, voxels, 4)), "dz": 20.0, "z0": 2.0}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"SXY": {"cspline": cspline, "EMon": False}})
    psf = read_calibration(path).psf
    assert isinstance(psf, SplinePsf)
    assert psf.center_x_px == psf.center_y_px == (voxels + 1) // 2
    assert any("x0 is missing" in line for line in describe_calibration(path).lines())


def test_missing_z0_is_the_middle_slice_and_said(tmp_path: Path) -> None:
    """SMAP's own files: 198 voxels have z0 = 100, 40 have 21."""
    cspline = {"coeff": random_coefficients((5, 5, 40)), "dz": 20.0, "x0": 3.0}
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"cspline": cspline})
    psf = read_calibration(path).psf
    assert isinstance(psf, SplinePsf)
    assert psf.z0_slice == 21.0
    assert any("z0 is missing" in line for line in describe_calibration(path).lines())


def test_gaussian_inside_regions(tmp_path: Path) -> None:
    """An astigmatic SXY without a spline has the same 8 numbers in gauss_zfit."""
    vector = np.array([[1.2, 0.1, -0.1, 0.0, 0.0, -0.25, -0.5, 1.1]], np.float32)
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"SXY": {"gauss_zfit": vector, "cspline": {}, "EMon": True}})
    psf = read_calibration(path, pixel_size=PixelSize(x_nm=100, y_nm=100)).psf
    assert isinstance(psf, GaussianPsf)
    # A negative depth turns the sign of the cubic term.
    assert psf.depth_nm == pytest.approx(500)
    assert psf.cubic_x == pytest.approx(-0.1)


@pytest.mark.parametrize(
    ("stored", "expected_nm"),
    [
        ([[0.1]], (100.0, 100.0)),
        ([[0.117, 0.127]], (117.0, 127.0)),
        ([[100.0]], None),
        ([[100.0, 100.0]], None),
        ([[0.0]], None),
        ([[np.nan]], None),
    ],
)
def test_pixel_size_only_where_trustworthy(
    tmp_path: Path, stored: Any, expected_nm: tuple[float, float] | None
) -> None:
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0] = cell[0, 1] = np.array(stored)
    path = tmp_path / "a.mat"
    content = {"SXY": smap_element(random_coefficients()), "parameters": {"pixelsize": cell}}
    scipy.io.savemat(path, content)
    calibration = read_calibration(path)
    found = (calibration.pixel_size_x_nm, calibration.pixel_size_y_nm)
    assert found == pytest.approx(expected_nm) if expected_nm else found == (None, None)
    # What the caller gives is used where the file is silent, and only there.
    given = read_calibration(path, pixel_size=PixelSize(x_nm=90, y_nm=91))
    assert given.pixel_size_x_nm == pytest.approx(expected_nm[0] if expected_nm else 90)


def test_pixel_sizes_that_differ_between_files_are_not_trusted(tmp_path: Path) -> None:
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0], cell[0, 1] = np.array([[0.1]]), np.array([[0.16]])
    path = tmp_path / "a.mat"
    content = {"SXY": smap_element(random_coefficients()), "parameters": {"pixelsize": cell}}
    scipy.io.savemat(path, content)
    assert read_calibration(path).pixel_size_x_nm is None


@pytest.mark.parametrize(
    ("em", "expected"), [([[True]], True), ([[True, True]], True), ([[0.0]], False)]
)
def test_em_mirroring(tmp_path: Path, em: Any, expected: bool) -> None:
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"SXY": smap_element(random_coefficients(), EMon=np.array(em))})
    assert read_calibration(path).em_mirrored is expected


def test_nan_coefficients(tmp_path: Path) -> None:
    c = random_coefficients()
    c[1, 2, 3, 4:6] = np.nan
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"SXY": smap_element(c)})
    with pytest.raises(CalibrationError, match="2 coefficients that are NaN"):
        read_calibration(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"ZcorrInterp": {"interp": 1.0}}, "depth-dependent aberrations"),
        ({"cal4pi": {"coeff": 1.0}, "EMon": 0.0}, "4Pi"),
        ({"saveloc": {"loc": 1.0}, "fileformat": {"name": "sml"}}, "localizations"),
        ({"a": 1.0, "b": 2.0}, "the variables a, b"),
        ({"transformation": 1.0}, "transformation"),
        ({"SXY": np.zeros((0, 0))}, "empty variable SXY"),
        ({"cspline": np.zeros((0, 0))}, "without coefficients"),
        ({"SXY": {"cspline": {"coeff": np.zeros((0, 0)), "dz": 1.0}}}, "without coefficients"),
        ({"cspline": {"coeff": np.zeros((4, 4, 64)), "dz": 1.0}}, r"shape \(4, 4, 64\)"),
        ({"cspline": {"coeff": np.zeros((4, 4, 4, 16)), "dz": 1.0}}, r"shape \(4, 4, 4, 16\)"),
        ({"cspline": {"coeff": np.zeros((4, 4, 4, 64))}}, "distance of its slices"),
        ({"cspline": {"coeff": np.zeros((4, 4, 4, 64)), "dz": 0.0}}, "distance of its slices"),
        ({"outforfit": np.ones((1, 7))}, "7 numbers"),
        ({"outforfit": np.full((1, 8), np.nan)}, "8 numbers"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, content: dict[str, Any], words: str) -> None:
    path = tmp_path / "x_3dcal.mat"
    scipy.io.savemat(path, content)
    with pytest.raises(CalibrationError, match=words) as caught:
        read_calibration(path)
    assert caught.value.hint
    assert caught.value.exit_code == 2
    assert "x_3dcal.mat" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n1234"])
def test_broken_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken_3dcal.mat"
    path.write_bytes(content)
    with pytest.raises(CalibrationError, match="broken_3dcal"):
        read_calibration(path)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(CalibrationError, match="does not exist"):
        read_calibration(tmp_path / "no.mat")
    with pytest.raises(CalibrationError, match="is a folder"):
        read_calibration(tmp_path)


# ---------------------------------------------------------------- uiPSF


def uipsf_file(path: Path, stack: NDArray[np.float64], params: dict[str, Any]) -> None:
    """Write ``/locres/coeff`` of a stack (channels, z, A, B) that is a product of 1-D curves."""
    channels = []
    for curves in stack:
        tables = [CubicSpline(np.arange(c.size), c).c[::-1] for c in curves]  # (power, voxel)
        full = np.einsum("pz,qa,rb->pqrzab", *tables)
        channels.append(full.reshape(64, *full.shape[3:]))
    coefficients = np.stack(channels) if len(channels) > 1 else channels[0]
    with h5py.File(path, "w") as file:
        file.attrs["params"] = json.dumps(params)
        file.create_group("locres")["coeff"] = coefficients.astype(np.float32)
        file.create_group("res")["bg"] = np.zeros(3)


@pytest.mark.parametrize(
    ("params", "b_is_rows"),
    [
        ({"swapxy": False, "format": ".tif"}, False),
        ({"format": ".tif"}, False),
        ({"swapxy": True, "format": ".tif"}, True),
        ({"format": ".mat"}, True),
    ],
)
def test_uipsf_orientation(tmp_path: Path, params: dict[str, Any], b_is_rows: bool) -> None:
    """The samples come out at their rows, columns and slices in all orientations."""
    curves: Any = [RNG.uniform(0.1, 1, n) for n in (8, 6, 7)]  # z, A, B
    path = tmp_path / "psfmodel_zernike_single.h5"
    pixel = {"x": 0.127, "y": 0.116, "z": 0.05}
    uipsf_file(path, [curves], {**params, "channeltype": "single", "pixel_size": pixel})
    calibration = read_calibration(path)
    psf = calibration.psf
    assert isinstance(psf, SplinePsf)
    z_curve, a_curve, b_curve = curves
    rows, columns = (b_curve, a_curve) if b_is_rows else (a_curve, b_curve)
    assert psf.coefficients.shape == (rows.size - 1, columns.size - 1, 7, 64)
    for y, x, z in RNG.uniform(0, 4.9, size=(15, 3)):
        axes = zip((rows, columns, z_curve), (y, x, z), strict=True)
        expected = np.prod([float(CubicSpline(np.arange(c.size), c)(v)) for c, v in axes])
        assert value_at(psf.coefficients, y, x, z) == pytest.approx(expected, abs=1e-5)
    assert psf.dz_nm == pytest.approx(50)
    assert psf.z0_slice == 4  # ceil(7 / 2), as SMAP takes it
    found = (calibration.pixel_size_x_nm, calibration.pixel_size_y_nm)
    assert found == pytest.approx((116, 127) if b_is_rows else (127, 116))
    assert any("not verified" in line for line in describe_calibration(path).lines())


def test_uipsf_channels_and_old_keys(tmp_path: Path) -> None:
    curves = [np.hanning(9)[1:-1] / np.hanning(9)[1:-1].sum() for _ in range(3)]
    curves[0] = np.ones(7)
    dim = [curves[0] * 0.4, curves[1], curves[2]]
    path = tmp_path / "psfmodel.h5"
    sizes = {"pixelsize_x": 0.1, "pixelsize_y": 0.1, "pixelsize_z": 0.05}
    uipsf_file(path, [curves, dim], {"channeltype": "multi", **sizes})  # type: ignore[arg-type]  # ragged curves
    assert describe_calibration(path).n_channels == 2
    psf = read_calibration(path, channel=1).psf
    assert isinstance(psf, SplinePsf)
    # Photons of the dimmer channel are its own: the samples of a slice sum to 1 again.
    inner = psf.coefficients[..., 0].sum(axis=(0, 1))
    np.testing.assert_allclose(inner, 1.0, rtol=1e-5)


def test_uipsf_exponents_last(tmp_path: Path) -> None:
    path = tmp_path / "psfmodel.h5"
    c = random_coefficients((4, 5, 6))  # (Z, A, B, 64)
    with h5py.File(path, "w") as file:
        file.attrs["params"] = json.dumps({"pixel_size": {"z": 0.05}, "swapxy": True})
        file["locres/coeff"] = c
    psf = read_calibration(path).psf
    assert isinstance(psf, SplinePsf)
    np.testing.assert_array_equal(psf.coefficients, c.transpose(2, 1, 0, 3))
    assert read_calibration(path).pixel_size_x_nm is None


@pytest.mark.parametrize(
    ("params", "shape", "words"),
    [
        ('{"pixel_size": {"z": 0.05}, "channeltype": "4pi"}', (4, 3, 64, 5, 5, 5), "4pi"),
        ('{"pixel_size": {"z": 0.05}}', (32, 5, 5, 5), "32, 5, 5, 5"),
        ("{}", (64, 5, 5, 5), "distance of its slices"),
        ("{not json", (64, 5, 5, 5), "not JSON"),
    ],
)
def test_uipsf_refused(tmp_path: Path, params: str, shape: tuple[int, ...], words: str) -> None:
    path = tmp_path / "psfmodel.h5"
    with h5py.File(path, "w") as file:
        file.attrs["params"] = params
        file["locres/coeff"] = np.zeros(shape, np.float32)
    with pytest.raises(CalibrationError, match=words):
        read_calibration(path)


# ---------------------------------------------------------------- writing


def full_calibration() -> Calibration:
    quality = CalibrationQuality(
        beads_used=12,
        beads_rejected=3,
        residual_rms=0.013,
        z_nm=(-100.0, 0.0, 100.0),
        z_fit_bias_nm=(1.0, -0.5, 0.25),
        crlb_photons=1000.0,
        crlb_x_nm=(9.5, 8.25, 9.0),
    )
    return Calibration(
        psf=SplinePsf(
            coefficients=random_coefficients(),
            dz_nm=20.0,
            z0_slice=3.0,
            center_x_px=3.0,
            center_y_px=3.0,
        ),
        pixel_size_x_nm=117.3,
        pixel_size_y_nm=127.0,
        em_mirrored=True,
        refractive_index_factor=0.72,
        source="three beads",
        provenance={"bead_files": "a.tif; b.tif", "µ/path": "ok"},
        quality=quality,
    )


@pytest.mark.parametrize("suffix", [".h5", ".mat"])
def test_round_trip_keeps_everything(tmp_path: Path, suffix: str) -> None:
    calibration = full_calibration()
    path = tmp_path / f"cal{suffix}"
    write_calibration(calibration, path, overwrite=False)
    assert read_calibration(path) == calibration
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    with pytest.raises(OutputError, match="exists already"):
        write_calibration(calibration, path, overwrite=False)
    unknown = dataclasses.replace(
        calibration, pixel_size_x_nm=None, pixel_size_y_nm=None, em_mirrored=None, quality=None
    )
    write_calibration(unknown, path, overwrite=True)
    assert read_calibration(path) == unknown
    given = read_calibration(path, pixel_size=PixelSize(x_nm=100, y_nm=101))
    assert (given.pixel_size_x_nm, given.pixel_size_y_nm) == (100, 101)


def test_decode_reads_our_mat_file(tmp_path: Path) -> None:
    """The way DECODE's SMAPSplineCoefficient opens a file, line by line."""
    calibration = dataclasses.replace(full_calibration(), em_mirrored=False)
    path = tmp_path / "cal.mat"
    write_calibration(calibration, path, overwrite=False)
    sxy = scipy.io.loadmat(path, struct_as_record=False, squeeze_me=True)["SXY"]
    assert isinstance(calibration.psf, SplinePsf)
    np.testing.assert_array_equal(sxy.cspline.coeff, calibration.psf.coefficients)
    assert sxy.cspline.coeff.dtype == np.float32
    assert (sxy.cspline.x0 - 1, sxy.cspline.z0, sxy.cspline.dz) == (3.0, 3.0, 20.0)
    plain = scipy.io.loadmat(path, squeeze_me=True)["SXY"]
    assert plain["cspline"][()]["coeff"][()].shape == (6, 6, 5, 64)


def layout(value: Any) -> Any:
    """Names, shapes and kinds of a tree that loadmat read."""
    if value.dtype.names:
        return {n: layout(value[0, 0][n]) for n in value.dtype.names}
    if value.dtype == object:
        return ("cell", value.shape, value[0, 0].dtype.kind, value[0, 0].ndim)
    return (value.dtype.kind.replace("b", "u"), value.shape)


def test_our_mat_file_has_smaps_layout(tmp_path: Path, shared_data: Path) -> None:
    """Every field that SMAP wrote into its own file has the same kind and shape in ours."""
    path = tmp_path / "cal.mat"
    write_calibration(read_calibration(shared_data / SMALL), path, overwrite=False)
    theirs, ours = scipy.io.loadmat(shared_data / SMALL), scipy.io.loadmat(path)
    expected, found = layout(theirs["SXY"]), layout(ours["SXY"])
    assert found["cspline"].pop("normf") == ("f", (1, 1))
    assert found == expected
    parameters = layout(ours["parameters"])
    common = parameters.keys() & layout(theirs["parameters"]).keys()
    assert {"dz", "fminmax", "pixelsize", "ROIxy", "ROIz", "modality", "emgain"} <= common
    for name in common - {"filelist", "outputfile", "pixelsize"}:
        assert parameters[name] == layout(theirs["parameters"])[name], name
    # SMAP refuses files without these.
    assert {"Xrange", "Yrange", "EMon"} <= found.keys()
    psf = ours["SXY"][0, 0]["PSF"][0, 0]
    assert psf.shape == (15, 15, 41)
    # The samples are the stack SMAP cut, but for its smoothing along z (about 0.1 % of the peak).
    stack = theirs["SXY"][0, 0]["PSF"][0, 0]
    middle = stack[1:-1, 1:-1, 80:121]
    scale = float((psf * middle).sum() / (middle**2).sum())
    assert np.sqrt(np.mean((psf - scale * middle) ** 2)) < 0.01 * psf.max()


def test_samples_are_the_spline_at_whole_numbers(tmp_path: Path) -> None:
    curves = [RNG.normal(size=n) for n in (7, 7, 6)]
    tables = [CubicSpline(np.arange(c.size), c).c[::-1] for c in curves]
    full = np.einsum("pj,qi,rk->jikrqp", *tables).reshape(6, 6, 5, 64)
    psf = SplinePsf(coefficients=full, dz_nm=20, z0_slice=3, center_x_px=3, center_y_px=3)
    path = tmp_path / "cal.mat"
    write_calibration(Calibration(psf=psf), path, overwrite=False)
    stored = scipy.io.loadmat(path)["SXY"][0, 0]["PSF"][0, 0]
    np.testing.assert_allclose(stored, np.einsum("j,i,k->jik", *curves), atol=1e-5)


def test_gaussian_as_mat(tmp_path: Path) -> None:
    psf = GaussianPsf(
        sigma0_x_nm=130,
        sigma0_y_nm=135,
        depth_nm=400,
        focus_x_nm=200,
        focus_y_nm=-200,
        cubic_x=0.1,
        quartic_y=0.02,
        z_min_nm=-500,
        z_max_nm=500,
    )
    calibration = Calibration(psf=psf, pixel_size_x_nm=100, pixel_size_y_nm=110)
    path = tmp_path / "g_3dcal.mat"
    write_calibration(calibration, path, overwrite=False)
    found = read_calibration(path).psf
    assert isinstance(found, GaussianPsf)
    for field in dataclasses.fields(psf):
        if not field.name.startswith("z_"):  # the layout stores no range
            assert getattr(found, field.name) == pytest.approx(getattr(psf, field.name))
    for bad, words in (
        (dataclasses.replace(calibration, pixel_size_x_nm=None), "pixel size"),
        (dataclasses.replace(calibration, psf=dataclasses.replace(psf, focus_y_nm=0)), "foci"),
        (
            dataclasses.replace(calibration, psf=GaussianPsf(sigma0_x_nm=1, sigma0_y_nm=1)),
            "astigmatic",
        ),
    ):
        with pytest.raises(CalibrationError, match=words) as caught:
            write_calibration(bad, tmp_path / "no.mat", overwrite=False)
        assert ".h5" in caught.value.hint
    assert not (tmp_path / "no.mat").exists()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    calibration = full_calibration()
    with pytest.raises(OutputError, match=r"\.txt"):
        write_calibration(calibration, tmp_path / "cal.txt", overwrite=False)
    assert isinstance(calibration.psf, SplinePsf)
    uneven = dataclasses.replace(
        calibration, psf=dataclasses.replace(calibration.psf, center_x_px=2.5)
    )
    with pytest.raises(CalibrationError, match="one centre"):
        write_calibration(uneven, tmp_path / "cal.mat", overwrite=False)
    assert list(tmp_path.iterdir()) == []
    write_calibration(uneven, tmp_path / "cal.h5", overwrite=False)
    assert read_calibration(tmp_path / "cal.h5") == uneven


# ---------------------------------------------------------------- our own format


def test_native_file_is_as_documented(tmp_path: Path) -> None:
    calibration = full_calibration()
    path = tmp_path / "cal.h5"
    write_calibration(calibration, path, overwrite=False)
    with h5py.File(path, "r") as file:
        assert file.attrs["format"] == "decode-desktop calibration"
        assert file.attrs["format_version"] == 1
        assert file.attrs["model"] == "spline"
        assert file["psf/coefficients"].shape == (6, 6, 5, 64)
        assert file["psf"].attrs["z0_slice"] == 3.0
        assert json.loads(file["provenance"][()])["bead_files"] == "a.tif; b.tif"
        assert file["quality"].attrs["beads_used"] == 12
        assert file["quality/z_fit_bias_nm"][1] == -0.5
    lines = "\n".join(describe_calibration(path).lines())
    assert "12 beads (3 rejected)" in lines
    assert "117.3 x 127 nm" in lines


def test_bytes_are_the_same_every_time() -> None:
    """Model ids are checksums of bundles that contain this."""
    calibration = full_calibration()
    content = calibration_to_bytes(calibration)
    assert content == calibration_to_bytes(calibration)
    assert calibration_from_bytes(content) == calibration


def break_file(path: Path, how: str) -> None:
    if how == "truncated":
        path.write_bytes(path.read_bytes()[:3000])
        return
    with h5py.File(path, "r+") as file:
        if how == "newer":
            file.attrs["format_version"] = 2
        elif how == "no coefficients":
            del file["psf/coefficients"]
        elif how == "no distance":
            del file["psf"].attrs["dz_nm"]
        elif how == "unknown model":
            file.attrs["model"] = "pupil"
        elif how == "nan":
            file["psf/coefficients"][0, 0, 0, 0] = np.nan


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("truncated", "cannot be read"),
        ("newer", "format 2"),
        ("no coefficients", "coefficients"),
        ("no distance", "dz_nm"),
        ("unknown model", "pupil"),
        ("nan", "1 coefficients that are NaN"),
    ],
)
def test_native_file_that_cannot_be_used(tmp_path: Path, how: str, words: str) -> None:
    path = tmp_path / "cal.h5"
    write_calibration(full_calibration(), path, overwrite=False)
    break_file(path, how)
    with pytest.raises(CalibrationError, match=words) as caught:
        read_calibration(path)
    assert caught.value.hint


def test_equal_numbers_have_equal_fingerprints() -> None:
    """Regression: 20 and 20.0 gave two fingerprints of one PSF."""
    c = random_coefficients()
    fingerprints = {
        Calibration(
            psf=SplinePsf(
                coefficients=c, dz_nm=dz, z0_slice=3, center_x_px=3, center_y_px=np.float32(3)
            )
        ).fingerprint()
        for dz in (20, 20.0, np.float64(20))
    }
    assert len(fingerprints) == 1
