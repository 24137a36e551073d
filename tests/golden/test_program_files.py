"""SMAP's, Picasso's and DECODE's files: theirs read, ours read by independent means.

The spot is that of golden/dialects/PROVENANCE.md: column 10.25, row 20.5, frame 7 from 0, z -150,
pixels of 127 x 117 nm, the frame's corner at (12, 34) on the chip. Who made each file:
golden/dialects/provenance.json.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io
import yaml

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.base import ExportContext, ImportedTable, ReadOptions
from decode_engine.io.dialects.drift_files import read_drift
from decode_engine.io.dialects.registry import export_remarks, read_table, recognise, write_table
from decode_engine.io.localization_metadata import LocalizationMetadata

GOLDEN = Path(__file__).parent / "dialects"
PIXELS = ReadOptions(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0)
SPOT = {"frame": 7, "x_nm": 1301.75, "y_nm": 2398.5, "z_nm": -150.0, "photons": 2500.0,
        "background": 12.0, "sigma_x_nm": 8.0, "sigma_y_nm": 10.0, "sigma_z_nm": 25.0}  # fmt: skip


def check(found: ImportedTable, dialect: str, **expected: float) -> None:
    assert found.dialect == dialect
    columns = found.table.columns()
    for name, value in (SPOT | expected).items():
        assert columns[name][0] == pytest.approx(value, abs=1e-3), name


def spot(**changes: Any) -> Localizations:
    columns = {name: np.array([value, value], np.float32) for name, value in SPOT.items()}
    columns["frame"] = np.array([7, 0])
    columns["probability"] = np.array([0.9, 0.5], np.float32)
    columns["sigma_photons"] = np.array([60.0, 10.0], np.float32)
    return Localizations(**columns).replace(**changes)


@pytest.fixture
def context() -> ExportContext:
    camera = CameraConfig(
        kind="emccd", name="iXon", pixel_size_x_nm=127.0, pixel_size_y_nm=117.0, em_gain=300.0,
        e_per_adu=6.0, offset_adu=398.6, em_mirrored=True,
    )  # fmt: skip
    metadata = LocalizationMetadata(
        width_px=64, height_px=48, pixel_size_x_nm=127.0, pixel_size_y_nm=117.0,
        movie_paths=("spöt.tif",), movie_frames=100, frame_stop=100, camera=camera.model_dump(),
    )  # fmt: skip
    made = ExportContext.of(metadata, roi_origin_px=(12, 34))
    return ExportContext(
        metadata=made.metadata, geometry=made.geometry, camera=made.camera,
        calibration_path="beads_3dcal.mat", versions={"decode-desktop": "9.9"},
    )  # fmt: skip


# ---------------------------------------------------------------- SMAP


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("smap_spot_v7_sml.mat", "v7"),
        ("smap_parts_sml.mat", "v7, in parts"),
        ("smap_parts_sml_p2.mat", "v7, in parts"),
    ],
)
def test_smap_version_7_whole_and_in_parts(name: str, variant: str) -> None:
    found = read_table(GOLDEN / name)
    check(found, "smap-sml")
    assert found.variant == variant
    assert len(found.table) == 3  # SMAP itself would remove two of them
    assert any("2 rows have an uncertainty above 250 nm or none" in note for note in found.notes)
    assert found.geometry.roi_origin_px == (12, 34)
    assert found.camera["em_gain"] == 300.0
    turned = variant == "v7"  # there SMAP had turned the frames over
    assert found.camera["em_mirrored"] is turned
    assert any("turned back" in note for note in found.notes) == turned


def test_smap_two_movies_with_regions_and_pixels_of_their_own() -> None:
    """The second movie has pixels of 104 nm and no region: (1, 2) px from its corner."""
    found = read_table(GOLDEN / "smap_two_movies_v73_sml.mat")
    check(found, "smap-sml")
    assert found.variant == "v7.3"
    assert found.table.x_nm[1] == pytest.approx(208.0 - 104.0)
    assert found.table.y_nm[1] == pytest.approx(312.0 - 104.0)
    assert found.table.frame[1] == 0
    assert any("joins 2 movies" in note and "b_sml.mat (1 rows)" in note for note in found.notes)


def test_smap_exported_csv_with_its_trailing_blank() -> None:
    found = read_table(GOLDEN / "smap_exported.csv", PIXELS)
    assert found.dialect == "smap-csv"
    assert found.table.sigma_x_nm is not None
    assert found.table.sigma_x_nm[0] == 9.0
    assert found.table.x_nm.tolist() == pytest.approx([1301.75, 0.0])
    assert found.table.y_nm.tolist() == pytest.approx([2398.5, 0.0])
    assert found.table.frame.tolist() == [7, 0]


def test_smap_exported_csv_without_pixel_size_says_what_it_did() -> None:
    found = read_table(GOLDEN / "smap_exported.csv")
    assert found.table.x_nm[0] == pytest.approx(1428.75)
    assert any(guess.field == "origin" for guess in found.guesses)


def test_smap_real_file(shared_data: Path) -> None:
    path = shared_data / "loc_tables" / "Locan_smap_dstorm_data_sml.mat"
    found = read_table(path)
    with h5py.File(path) as file:
        loc = {name: np.ravel(item[()]) for name, item in file["saveloc/loc"].items()}
    assert len(found.table) == 4884
    np.testing.assert_allclose(found.table.x_nm, loc["xnm"] - 104.0, atol=2e-3)
    np.testing.assert_allclose(found.table.y_nm, loc["ynm"] - 104.0, atol=2e-3)
    np.testing.assert_array_equal(found.table.frame, loc["frame"] - 1)
    # xpix counts from 1 in the frame: 1 lies on our 0.
    np.testing.assert_allclose(found.table.x_nm / 104.0, loc["xpix"] - 1.0, atol=1e-4)
    np.testing.assert_array_equal(found.table.photons, loc["phot"])
    assert found.camera["offset_adu"] == 100.0
    assert found.camera["e_per_adu"] == 0.5
    # SMAP's own code keeps 3851 of them (smap-executed.md, section 3).
    assert any(f"{4884 - 3851} rows have an uncertainty" in note for note in found.notes)
    assert any("interfaces.SEsites" in note for note in found.notes)


def test_smap_real_export(shared_data: Path) -> None:
    found = read_table(shared_data / "loc_tables" / "SMAP_cme_2um_site_uncorrected_sml.csv")
    assert found.dialect == "smap-csv"
    assert len(found.table) == 4382
    assert found.table.frame[0] == 236  # 237 in the file
    assert found.table.sigma_x_nm is not None
    assert found.table.sigma_x_nm[0] == pytest.approx(9.629799)
    assert found.table.sigma_z_nm is not None


@pytest.mark.parametrize("large", [False, True], ids=["v7", "v7.3"])
def test_what_smap_finds_in_our_file(
    tmp_path: Path, context: ExportContext, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    if large:
        monkeypatch.setattr("decode_engine.io.dialects.smap_sml._V7_BYTES", 0)
    path = tmp_path / "spot_sml.mat"
    assert write_table("smap-sml", path, spot(), context) == (path,)
    loc, info = _with_h5py(path) if large else _with_scipy(path)
    assert loc["frame"].dtype == np.float64
    assert loc["xnm"].dtype == np.float32
    by_hand = {
        # The EM camera's frames are mirrored: SMAP counts columns from the other side of 64.
        "frame": 8.0, "xnm": (63 - 10.25 + 1 + 12) * 127, "ynm": 6493.5, "znm": -150.0,
        "phot": 2500.0, "bg": 12.0, "locprecnm": np.sqrt(82.0), "locprecznm": 25.0,
        "prob": 0.9, "LLrel": -0.1,
        "xpix": 53.75, "ypix": 21.5, "filenumber": 1.0, "channel": 0.0,
    }  # fmt: skip
    for name, value in by_hand.items():
        assert loc[name].shape == (2, 1)
        assert loc[name][0, 0] == pytest.approx(value, abs=1e-3), name
    assert info["roi"].ravel().tolist() == [12, 34, 64, 48]
    assert info["cam_pixelsize_um"].ravel().tolist() == [0.127, 0.117]
    camera = {
        "EMon": 1, "emgain": 300, "conversion": 6, "offset": 398.6, "pix2phot": 0.02,
        "EMmirror": 1, "Width": 64, "Height": 48,
    }  # fmt: skip
    for name, value in camera.items():
        assert float(info[name].ravel()[0]) == pytest.approx(value), name


def _with_scipy(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    saveloc = scipy.io.loadmat(path)["saveloc"][0, 0]
    file = saveloc["file"][0, 0]
    fit = file["savefit"][0, 0]["fitparameters"][0, 0]["MLE_GPU_Yiming"][0, 0]
    assert fit["cal_3Dfile"][0] == "beads_3dcal.mat"
    assert saveloc["history"].dtype == object  # a cell
    assert scipy.io.loadmat(path)["fileformat"][0, 0]["name"][0] == "sml"
    loc, info = saveloc["loc"][0, 0], file["info"][0, 0]
    return (
        {name: loc[name] for name in loc.dtype.names},
        {name: info[name] for name in info.dtype.names},
    )


def _with_h5py(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with path.open("rb") as handle:
        head = handle.read(512)
    assert head.startswith(b"MATLAB 7.3 MAT-file")
    assert head[124:128] == b"\x00\x02IM"
    with h5py.File(path) as file:
        assert file.userblock_size == 512
        cal = file["saveloc/file/savefit/fitparameters/MLE_GPU_Yiming/cal_3Dfile"]
        assert "".join(map(chr, cal[()].ravel())) == "beads_3dcal.mat"
        assert cal.attrs["MATLAB_class"] == b"char"
        assert cal.attrs["MATLAB_int_decode"] == 2
        assert file["saveloc/history"].attrs["MATLAB_class"] == b"cell"
        assert file["saveloc/file/info/EMon"].attrs["MATLAB_class"] == b"logical"
        fields = [b"".join(f).decode() for f in file["saveloc/loc"].attrs["MATLAB_fields"]]
        assert fields[:3] == ["frame", "xnm", "ynm"]
        loc = {name: item[()].T for name, item in file["saveloc/loc"].items()}
        info = {
            name: item[()].T
            for name, item in file["saveloc/file/info"].items()
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fu"
        }
    return loc, info


def test_what_smaps_importer_finds_in_our_csv(tmp_path: Path, context: ExportContext) -> None:
    path = tmp_path / "spot.csv"
    _, preset = write_table("smap-csv", path, spot(), context)
    with path.open(newline="") as file:
        row = next(csv.DictReader(file))
    by_hand = {
        "frame": 8, "xnm": (63 - 10.25 + 1 + 12) * 127, "ynm": 6493.5, "znm": -150,
        "phot": 2500, "bg": 12, "locprecnm": np.sqrt(82.0), "locprecznm": 25, "prob": 0.9,
        "LLrel": -0.1,
    }  # fmt: skip
    assert {name: float(row[name]) for name in by_hand} == pytest.approx(by_hand, abs=1e-3)
    lines = dict(line.split("=") for line in preset.read_text().splitlines())
    # SMAP takes the first field in ASCII order for the number of rows, so it must be a column.
    fields = sorted(set(lines) - {"cam_pixelsize_um", "factor"})
    assert fields[0] in row
    assert all(lines[name] == name for name in row)
    assert (lines["cam_pixelsize_um"], lines["factor"]) == ("127 117", "1")
    # Without a preset, SMAP takes the first column whose name holds the letter.
    for letter, wanted in (("x", "xnm"), ("y", "ynm"), ("z", "znm"), ("frame", "frame")):
        assert next(name for name in row if letter in name.lower()) == wanted


# ---------------------------------------------------------------- Picasso


@pytest.mark.parametrize("beside", [True, False], ids=["yaml", "inside"])
def test_picasso_own_file(tmp_path: Path, beside: bool) -> None:
    """Pixels are square there: row 20.5 of 127 nm. The metadata lie beside it, or inside."""
    path = GOLDEN / "picasso_0.11_locs.hdf5"
    if not beside:
        path = tmp_path / "alone_locs.hdf5"
        path.write_bytes((GOLDEN / "picasso_0.11_locs.hdf5").read_bytes())
    found = read_table(path)
    check(found, "picasso", y_nm=20.5 * 127.0)
    assert (found.geometry.width_px, found.geometry.height_px) == (64, 48)
    assert found.geometry.n_frames == 100
    assert found.camera["offset_adu"] == 100.0


@pytest.mark.parametrize(
    ("name", "rows", "size"),
    [("picasso_egfr_mols", 4230, (512, 512)), ("picasso_raw_movie_locs", 2399, (32, 32))],
)
def test_picasso_real_files(shared_data: Path, name: str, rows: int, size: tuple[int, int]) -> None:
    path = shared_data / "loc_tables" / f"{name}.hdf5"
    found = read_table(path)
    with h5py.File(path) as file:
        locs = file["locs"][:]
    assert len(found.table) == rows
    assert (found.geometry.width_px, found.geometry.height_px) == size
    np.testing.assert_allclose(found.table.x_nm, locs["x"] * 130.0, rtol=1e-6)
    np.testing.assert_array_equal(found.table.frame, np.floor(locs["frame"]))
    assert any(g.field == "frame" for g in found.guesses) == (name == "picasso_egfr_mols")


def test_what_picasso_finds_in_our_file(tmp_path: Path, context: ExportContext) -> None:
    path, side = write_table("picasso", tmp_path / "spot_locs.hdf5", spot(), context)
    with h5py.File(path) as file:
        assert list(file) == ["locs"]  # SMAP asks its user if there are two
        row = file["locs"][0]
    assert row.dtype["frame"] == np.uint32
    # Picasso's pixels are square: 2398.5 nm are 18.886 widths of a pixel.
    by_hand = {"frame": 7, "x": 10.25, "y": 2398.5 / 127, "z": -150, "photons": 2500, "bg": 12,
               "lpx": 8 / 127, "lpy": 10 / 127, "lpz": 25, "prob": 0.9}  # fmt: skip
    for name, value in by_hand.items():
        assert row[name] == pytest.approx(value, rel=1e-6), name
    side.read_bytes().decode("ascii")  # Picasso opens it in the computer's own encoding
    first, last = yaml.safe_load_all(side.read_text())
    assert {k: first[k] for k in ("Width", "Height", "Frames", "Pixelsize")} == {
        "Width": 64, "Height": 45, "Frames": 100, "Pixelsize": 127,  # 48 * 117 / 127 = 44.2
    }  # fmt: skip
    assert first["File"] == "spöt.tif"
    assert last["Generated by"].startswith("Decode Desktop")


def test_what_picasso_leaves_out_is_told(context: ExportContext) -> None:
    """Checked once against picassosr 0.11.3: of a million rows it left out as many as we said."""
    table = spot(
        x_nm=np.array([-1.0, 1301.75], np.float32), background=np.array([np.nan, 1], np.float32)
    )
    said = " ".join(export_remarks("picasso", table, context))
    assert "left out: bg" in said
    assert "1 of 2 rows" in said
    assert "left or right of the frame" in said


# ---------------------------------------------------------------- DECODE


@pytest.mark.parametrize("name", ["decode_0.10.h5", "decode_0.10.csv"])
def test_decode_own_files(name: str) -> None:
    found = read_table(GOLDEN / name)
    check(found, "decode-h5" if name.endswith("h5") else "decode-csv")
    assert found.variant == "0.10.2"
    assert found.table.probability is not None
    assert found.table.probability.tolist() == pytest.approx([0.9, 0.5])
    assert found.table.sigma_photons is not None
    assert found.table.sigma_background is None


def test_decode_real_files(shared_data: Path) -> None:
    path = shared_data / "loc_tables" / "Locan_decode_dstorm_data.h5"
    found = read_table(path)
    with h5py.File(path) as file:
        xyz = file["data/xyz"][:]
    assert len(found.table) == 96
    np.testing.assert_allclose(found.table.x_nm, xyz[:, 1] * 117.0, rtol=1e-6)
    np.testing.assert_allclose(found.table.y_nm, xyz[:, 0] * 127.0, rtol=1e-6)
    np.testing.assert_array_equal(found.table.z_nm, xyz[:, 2])
    empty = read_table(path.with_name("Locan_decode_dstorm_data_empty.h5"))
    assert len(empty.table) == 0


def test_what_decode_finds_in_our_files(tmp_path: Path, context: ExportContext) -> None:
    """Same groups, attributes, dtypes and header as in the files that DECODE's code wrote."""
    ours = spot(x_nm=np.array([1301.75, 127.0], np.float32), y_nm=np.array([2398.5, 0], np.float32))
    (path,) = write_table("decode-h5", tmp_path / "d.h5", ours, context)
    with h5py.File(path) as mine, h5py.File(GOLDEN / "decode_0.10.h5") as theirs:
        assert list(mine) == list(theirs)
        for name, item in theirs["data"].items():
            assert mine["data"][name].shape == item.shape, name
            assert mine["data"][name].dtype == item.dtype, name
        assert mine["meta"].attrs["px_size"].tolist() == [117.0, 127.0]
        # SMAP takes the first for the unit and the second for the size.
        for file in (mine, theirs):
            assert _attributes_as_stored(file["meta"]) == ["xy_unit", "px_size"]
        assert mine["data/xyz"][0].tolist() == pytest.approx([20.5, 10.25, -150.0])
        assert mine["data/xyz_sig"][0].tolist() == pytest.approx([10 / 117, 8 / 127, 25.0])
    (path,) = write_table("decode-csv", tmp_path / "d.csv", ours, context)
    lines, golden = path.read_text().splitlines(), (GOLDEN / "decode_0.10.csv").read_text()
    assert lines[:4] == golden.splitlines()[:4]
    assert [f == "" for f in lines[4].split(",")] == [
        f == "" for f in golden.splitlines()[4].split(",")
    ]


def _attributes_as_stored(group: h5py.Group) -> list[str]:
    """Return the names in the order of the file, which h5py itself sorts."""
    order = h5py.h5.ITER_NATIVE
    opened = (h5py.h5a.open(group.id, index=i, order=order) for i in range(len(group.attrs)))
    return [attribute.get_name().decode() for attribute in opened]


def test_the_variant_for_smap(tmp_path: Path, context: ExportContext) -> None:
    (path,) = write_table("decode-h5-smap", tmp_path / "d.h5", spot(), context)
    with h5py.File(path) as file:
        assert list(file) == ["data", "decode", "meta"]
        for name in ("phot", "phot_sig", "bg"):
            assert file["data"][name].shape == (2, 2)
        assert file["data/phot"][:, 0].tolist() == [2500.0, 2500.0]
        # SMAP's own xnm is (63 - 10.25 + 1 + 12) * 127; its importer only multiplies.
        assert file["data/xyz"][0].tolist() == pytest.approx(
            [20.5 + 1 + 34, 63 - 10.25 + 1 + 12, -150]
        )
    found = read_table(path)
    check(found, "decode-h5")
    assert found.notes == ()
    (path,) = write_table("decode-csv-smap", tmp_path / "d.csv", spot(), context)
    assert path.read_text().splitlines()[3].startswith("#")
    check(read_table(path), "decode-csv")


# ---------------------------------------------------------------- drift, provenance


def test_picassos_drift_file() -> None:
    drift = read_drift(GOLDEN / "picasso_0.11_drift.txt", pixel_size_nm=100.0)
    assert drift.x_nm.tolist() == [0.0, 50.0, -25.0]
    assert drift.y_nm.tolist() == [0.0, 10.0, 20.0]
    assert drift.z_nm is not None
    assert drift.z_nm.tolist() == [0.0, 10.0, -20.0]


def test_every_file_of_a_program_has_its_provenance() -> None:
    told = json.loads((GOLDEN / "provenance.json").read_text())
    for name, entry in told.items():
        assert (GOLDEN / name).is_file()
        assert {"by", "version", "how"} <= set(entry)


@pytest.mark.parametrize("name", ["smap-sml", "smap-csv", "picasso", "decode-h5", "decode-csv"])
def test_a_spot_comes_back(tmp_path: Path, context: ExportContext, name: str) -> None:
    """Region and oblong pixels included; only the file, and what lies beside it, is given."""
    suffix = {"smap-sml": "_sml.mat", "smap-csv": ".csv", "picasso": "_locs.hdf5",
              "decode-h5": ".h5", "decode-csv": ".csv"}[name]  # fmt: skip
    path, *_ = write_table(name, tmp_path / f"spot{suffix}", spot(), context)
    claim = recognise(path)
    assert claim is not None
    assert claim.dialect.name == name
    found = read_table(path)
    check(found, name)
    assert len(found.table) == found.n_rows_file == 2
    assert found.n_dropped == {}
    if name in ("smap-sml", "picasso"):
        assert found.metadata == context.metadata
        assert found.geometry == context.geometry
