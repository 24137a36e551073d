"""What can be wrong with SMAP's, Picasso's, DECODE's and drift files, and what is said then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from decode_engine.domain.drift import Drift
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import EngineError, InputError, LocalizationsError, OutputError
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.drift_files import (
    read_drift,
    write_drift_csv,
    write_drift_picasso,
)
from decode_engine.io.dialects.registry import (
    dialect,
    export_remarks,
    read_table,
    recognise,
    write_table,
)
from decode_engine.io.matlab import Opaque, read_mat
from decode_engine.io.matlab_writing import Cell, Structs, matlab_bytes, write_mat7, write_mat73
from tests.unit.light.conftest import MatWriter

CONTEXT = ExportContext(
    geometry=Geometry(pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, width_px=64, height_px=32)
)
OURS = ("smap-sml", "smap-csv", "picasso", "decode-h5", "decode-csv", "decode-h5-smap",
        "decode-csv-smap")  # fmt: skip
LOC = {
    "frame": np.array([[1.0], [2.0]]),
    "xnm": np.array([[200.0], [300.0]], np.float32),
    "ynm": np.array([[400.0], [500.0]], np.float32),
    "locprecnm": np.array([[9.0], [10.0]], np.float32),
}
INFO = {"Width": 64.0, "Height": 32.0, "cam_pixelsize_um": np.array([[0.1, 0.1]])}


def table(**columns: Any) -> Localizations:
    plain: dict[str, Any] = {
        name: np.array([100.0, 200.0], np.float32)
        for name in ("x_nm", "y_nm", "z_nm", "photons", "background")
    }
    return Localizations(**{"frame": np.array([0, 1]), **plain, **columns})


def sml(path: Path, loc: dict[str, Any], info: dict[str, Any] | None = None) -> Path:
    file = {"info": INFO if info is None else info, "name": "movie_sml.mat"}
    scipy.io.savemat(path, {"saveloc": {"loc": loc, "file": file}}, oned_as="column")
    return path


# ---------------------------------------------------------------- all


@pytest.mark.parametrize("name", OURS)
def test_writing_asks_for_the_pixel_size(tmp_path: Path, name: str) -> None:
    with pytest.raises(LocalizationsError, match="pixel size") as caught:
        write_table(name, tmp_path / f"t{dialect(name).suffix}", table())
    assert "--pixel-size-nm" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", OURS)
def test_nothing_is_overwritten_unasked(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"t{dialect(name).suffix}"
    files = write_table(name, path, table(), CONTEXT)
    before = [file.read_bytes() for file in files]
    with pytest.raises(OutputError, match="exists already"):
        write_table(name, path, table(), CONTEXT)
    assert [file.read_bytes() for file in files] == before
    assert sorted(tmp_path.iterdir()) == sorted(files)
    write_table(name, path, table(), CONTEXT, overwrite=True)


@pytest.mark.parametrize("name", ["smap-csv", "picasso"])
def test_a_file_beside_it_is_not_overwritten_either(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"t{dialect(name).suffix}"
    _, beside = write_table(name, path, table(), CONTEXT)
    path.unlink()
    with pytest.raises(OutputError, match="exists already"):
        write_table(name, path, table(), CONTEXT)
    assert list(tmp_path.iterdir()) == [beside]


@pytest.mark.parametrize("name", OURS)
def test_a_table_without_rows(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"t{dialect(name).suffix}"
    write_table(name, path, Localizations.empty(), CONTEXT)
    export_remarks(name, Localizations.empty(), CONTEXT)
    assert len(read_table(path, ReadOptions(pixel_size_x_nm=100.0)).table) == 0


@pytest.mark.parametrize("suffix", ["_sml.mat", "_locs.hdf5", ".h5", ".csv"])
@pytest.mark.parametrize(
    "content", [b"", b"MATLAB 5.0 MAT-file", b"\x89HDF\r\n\x1a\n", b"a,b\n1,2\n"]
)
def test_files_of_another_kind_are_not_claimed(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    claim = recognise(path)
    assert claim is None or claim.dialect.name not in OURS
    with pytest.raises(EngineError):
        read_table(path)


# ---------------------------------------------------------------- SMAP


def test_smap_without_a_column_names_the_nearest(tmp_path: Path) -> None:
    loc = {("xpix" if name == "xnm" else name): v for name, v in LOC.items()}
    with pytest.raises(LocalizationsError, match="have no xnm; the nearest are ynm"):
        read_table(sml(tmp_path / "a_sml.mat", loc))


def test_smap_columns_of_different_lengths(tmp_path: Path) -> None:
    with pytest.raises(LocalizationsError, match=r"differ in length: .*'phot': 1"):
        read_table(sml(tmp_path / "a_sml.mat", {**LOC, "phot": np.array([[1.0]])}))


def test_smap_field_that_was_never_filled(tmp_path: Path) -> None:
    found = read_table(sml(tmp_path / "a_sml.mat", {**LOC, "znm": np.zeros((0, 0))}))
    assert found.table.x_nm.tolist() == [100.0, 200.0]
    assert np.isnan(found.table.z_nm).all()
    assert any(guess.field == "sigma_x_nm, sigma_y_nm" for guess in found.guesses)


def test_smap_old_z_and_complex_uncertainties(tmp_path: Path) -> None:
    """SMAP divides the z (um) of its oldest files by 1.25; a failed fit has an imaginary part."""
    loc = {**LOC, "z": np.array([[0.5], [-0.25]]), "locprecnm": np.array([[9.0], [3 + 2j]])}
    found = read_table(sml(tmp_path / "a_sml.mat", loc))
    assert found.table.z_nm.tolist() == [400.0, -200.0]
    assert found.table.sigma_x_nm is not None
    assert np.isnan(found.table.sigma_x_nm[1])
    assert len(found.table) == 2


def test_smap_without_a_pixel_size_keeps_positions_and_says_so(tmp_path: Path) -> None:
    found = read_table(sml(tmp_path / "a_sml.mat", LOC, info={"Width": 64.0}))
    assert found.table.x_nm.tolist() == [200.0, 300.0]
    assert any(guess.field == "origin" for guess in found.guesses)
    given = read_table(tmp_path / "a_sml.mat", ReadOptions(pixel_size_x_nm=100.0))
    assert given.table.x_nm.tolist() == [100.0, 200.0]


def test_smap_group_averages_are_no_whole_numbers(tmp_path: Path) -> None:
    found = read_table(sml(tmp_path / "a_sml.mat", {**LOC, "iterations": np.array([[5.5], [6]])}))
    assert found.table.iterations is None
    assert any(guess.field == "iterations" for guess in found.guesses)


def test_smap_objects_are_named_and_skipped(tmp_path: Path, mat_writer: type[MatWriter]) -> None:
    numbers = {name: values.astype(np.float64) for name, values in LOC.items()}
    saveloc = {
        "loc": numbers,
        "file": {"info": INFO, "name": "a"},
        "siteexplorer": mat_writer.Object("interfaces.SEsites"),
    }
    for number, write in enumerate((mat_writer.v5, mat_writer.v73)):
        path = write(tmp_path / f"a{number}_sml.mat", {"saveloc": saveloc})
        found = read_table(path)
        assert found.table.x_nm.tolist() == [100.0, 200.0]
        assert any("saveloc.siteexplorer (interfaces.SEsites)" in note for note in found.notes)


def test_smap_part_that_is_missing(tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "dialects"
    whole, part = tmp_path / "smap_parts_sml.mat", tmp_path / "smap_parts_sml_p2.mat"
    whole.write_bytes((golden / whole.name).read_bytes())
    with pytest.raises(LocalizationsError, match=r"smap_parts_sml_p2\.mat is not beside it"):
        read_table(whole)
    whole.unlink()
    part.write_bytes((golden / part.name).read_bytes())
    with pytest.raises(LocalizationsError, match=r"smap_parts_sml\.mat is not beside it"):
        read_table(part)


def test_smap_parts_that_were_renamed(tmp_path: Path) -> None:
    golden = Path(__file__).parents[2] / "golden" / "dialects"
    for name in ("smap_parts_sml.mat", "smap_parts_sml_p2.mat"):
        new = name.replace("smap_parts", "renamed")
        (tmp_path / new).write_bytes((golden / name).read_bytes())
    assert read_table(tmp_path / "renamed_sml.mat").table.x_nm[0] == 1301.75


def test_smap_removes_rows_and_that_is_told() -> None:
    sigma = np.array([300.0, np.nan], np.float32)
    said = " ".join(export_remarks("smap-sml", table(sigma_x_nm=sigma, sigma_y_nm=sigma), CONTEXT))
    assert "remove 2 of 2 rows" in said
    said = " ".join(export_remarks("smap-sml", table(), CONTEXT))
    assert "no uncertainties" in said
    assert "remove" not in said


def test_made_up_uncertainties_do_not_come_back(tmp_path: Path) -> None:
    write_table("smap-sml", tmp_path / "a_sml.mat", table(), CONTEXT)
    raw = scipy.io.loadmat(tmp_path / "a_sml.mat")["saveloc"][0, 0]["loc"][0, 0]
    assert raw["locprecnm"][0, 0] == pytest.approx(150.0 / np.sqrt(100.0))
    assert read_table(tmp_path / "a_sml.mat").table.sigma_x_nm is None
    write_table("picasso", tmp_path / "a_locs.hdf5", table(sigma_x_nm=np.ones(2)), CONTEXT)
    found = read_table(tmp_path / "a_locs.hdf5").table
    assert found.sigma_y_nm is None
    assert found.sigma_x_nm is not None


def test_a_map_of_the_camera_is_no_number_for_smap(tmp_path: Path) -> None:
    from decode_engine.contract.configs import CameraConfig

    camera = CameraConfig(pixel_size_x_nm=100.0, offset_adu="offset.npy", e_per_adu=0.5)
    context = ExportContext(geometry=CONTEXT.geometry, camera=camera)
    write_table("smap-sml", tmp_path / "a_sml.mat", table(), context)
    found = read_table(tmp_path / "a_sml.mat")
    assert "offset_adu" not in found.camera
    assert found.camera["e_per_adu"] == 0.5
    assert found.camera["kind"] == "scmos"


# ---------------------------------------------------------------- MATLAB files


@pytest.mark.parametrize("write", [write_mat7, write_mat73])
def test_matlab_values_come_back(tmp_path: Path, write: Any) -> None:
    tree = {
        "numbers": np.arange(6.0).reshape(2, 3),
        "single": np.arange(1000, dtype=np.float32),
        "whole": np.array([[1, 2]], np.uint16),
        "text": "Grüße, µm",
        "nothing": "",
        "truth": True,
        "count": 3,
        "empty": np.zeros((0, 3)),
        "cell": Cell(["a", 2.0, "c", 4.0], (2, 2)),
        "one": Cell([{"x": 1.0}]),
        "none": Cell(),
        "files": Structs([{"name": "a", "n": 1.0}, {"name": "b", "n": 2.0}]),
        "inner": {"deep": {"er": 5.0}},
    }
    write(tmp_path / "a.mat", tree)
    found: Any = read_mat(tmp_path / "a.mat")
    assert found["numbers"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert np.asarray(found["single"]).shape == (1000, 1)
    assert np.asarray(found["single"]).dtype == np.float32
    assert found["whole"].dtype.name in ("uint16", "float64")
    assert found["text"] == "Grüße, µm"
    assert found["nothing"] == ""
    assert found["truth"].dtype == bool
    assert found["truth"].item() is True
    assert found["count"].tolist() == [[3.0]]
    assert found["empty"].size == 0
    assert found["cell"].shape == (2, 2)
    assert found["cell"][0] == "a"
    assert found["cell"][1].item() == 2.0
    assert isinstance(found["one"], list)
    assert found["one"][0]["x"].item() == 1.0
    assert list(found["none"]) == []
    assert [f["name"] for f in found["files"]] == ["a", "b"]
    assert found["inner"]["deep"]["er"].item() == 5.0
    assert not any(isinstance(v, Opaque) for v in found.values())


def test_size_of_a_tree() -> None:
    tree = {"a": np.zeros(1000), "b": Cell(["xy"]), "c": Structs([{"d": np.zeros(10, np.float32)}])}
    assert 8044 <= matlab_bytes(tree) <= 8044 + 64 * 8


# ---------------------------------------------------------------- Picasso


def picasso(path: Path, yaml: str | None, **columns: Any) -> Path:
    plain = {"frame": [0, 1], "x": [1.0, 2.0], "y": [3.0, 4.0], **columns}
    rows = np.empty(2, dtype=[(name, "f4") for name in plain])
    for name, values in plain.items():
        rows[name] = values
    with h5py.File(path, "w") as file:
        file.create_dataset("locs", data=rows)
    if yaml is not None:
        path.with_suffix(".yaml").write_text(yaml, encoding="utf-8")
    return path


def test_picasso_without_its_yaml_asks(tmp_path: Path) -> None:
    path = picasso(tmp_path / "a_locs.hdf5", None)
    with pytest.raises(LocalizationsError, match="pixel size"):
        read_table(path)
    found = read_table(path, ReadOptions(pixel_size_x_nm=100.0))
    assert found.table.x_nm.tolist() == [100.0, 200.0]
    assert any("no a_locs.yaml" in note for note in found.notes)


def test_picasso_takes_the_newest_pixel_size(tmp_path: Path) -> None:
    text = "Pixelsize: 130\nWidth: 8\n---\nPixelsize: 100\nx: !!python/tuple [1, 2]\n"
    found = read_table(picasso(tmp_path / "a_locs.hdf5", text))
    assert found.table.x_nm.tolist() == [100.0, 200.0]
    assert found.geometry.width_px == 8


def test_picasso_yaml_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    text = f"Pixelsize: 100\nx: !!python/object/apply:os.mkdir [{mark}]\n"
    read_table(picasso(tmp_path / "a_locs.hdf5", text))
    assert not mark.exists()


def test_picasso_yaml_that_is_none(tmp_path: Path) -> None:
    path = picasso(tmp_path / "a_locs.hdf5", "Pixelsize: [1\n--- }")
    with pytest.raises(LocalizationsError, match=r"a_locs\.yaml.*not readable YAML"):
        read_table(path)


def test_picasso_file_that_smap_exported_counts_from_one(tmp_path: Path) -> None:
    path = picasso(tmp_path / "a.hdf5", None)
    side = tmp_path / "a.hdf5.mat.yaml"
    side.write_text("Frames: 2\nWidth: 9\nHeight: 9\nGenerated by: Picasso Convert from SMAP\n")
    found = read_table(path, ReadOptions(pixel_size_x_nm=100.0))
    assert found.table.x_nm.tolist() == [0.0, 100.0]
    assert any(guess.field == "origin" for guess in found.guesses)


def test_picasso_without_a_column(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["locs"] = np.zeros(2, [("frame", "u4"), ("x", "f4")])
    with pytest.raises(LocalizationsError, match="no y"):
        dialect("picasso").read(tmp_path / "a.hdf5", ReadOptions())


# ---------------------------------------------------------------- DECODE


def test_decode_in_nanometres_needs_no_pixel_size(tmp_path: Path) -> None:
    (path,) = write_table("decode-h5", tmp_path / "a.h5", table(), CONTEXT)
    with h5py.File(path, "a") as file:
        file["meta"].attrs["xy_unit"] = "nm"
        del file["meta"].attrs["px_size"]
    assert read_table(path).table.x_nm.tolist() == [1.0, 2.0]


def test_decode_without_pixel_size_asks(tmp_path: Path) -> None:
    (path,) = write_table("decode-h5", tmp_path / "a.h5", table(), CONTEXT)
    with h5py.File(path, "a") as file:
        del file["meta"].attrs["px_size"]
    with pytest.raises(LocalizationsError, match="pixel size"):
        read_table(path)


def test_decode_variances_stand_in_for_deviations(tmp_path: Path) -> None:
    (path,) = write_table("decode-h5", tmp_path / "a.h5", table(), CONTEXT)
    with h5py.File(path, "a") as file:
        del file["data/xyz_cr"]
        file["data/xyz_cr"] = np.full((2, 3), 0.04, np.float32)
    found = read_table(path)
    assert found.table.sigma_x_nm is not None
    assert found.table.sigma_x_nm.tolist() == pytest.approx([20.0, 20.0])
    assert any(guess.value == "root of x_cr" for guess in found.guesses)


def test_decode_two_channels_are_said(tmp_path: Path) -> None:
    (path,) = write_table("decode-h5-smap", tmp_path / "a.h5", table(), CONTEXT)
    with h5py.File(path, "a") as file:
        file["data/phot"][:, 1] = 7.0
    found = read_table(path)
    assert found.table.photons.tolist() == [100.0, 200.0]
    assert any("phot has 2 channels" in note for note in found.notes)


@pytest.mark.parametrize("shape", [(2,), (2, 2), (3, 3)])
def test_decode_data_sets_that_do_not_belong_together(
    tmp_path: Path, shape: tuple[int, ...]
) -> None:
    (path,) = write_table("decode-h5", tmp_path / "a.h5", table(), CONTEXT)
    with h5py.File(path, "a") as file:
        del file["data/xyz"]
        file["data/xyz"] = np.zeros(shape, np.float32)
    with pytest.raises(LocalizationsError, match=r"shape|belong together"):
        read_table(path)


def test_decode_csv_with_gaps_and_windows_line_ends(tmp_path: Path) -> None:
    """A column that begins with gaps is not taken for an empty one."""
    path = tmp_path / "a.csv"
    lines = [
        "# DECODE EmitterSet",
        '# {"version": "0.10.2"}',
        '# {"xy_unit": "px", "px_size": [100.0, 100.0]}',
        "x,y,z,phot,frame_ix,bg,phot_sig,x_cr",
        "1,2,3,100,0,5,,",
        "3,4,5,200,1,,9,",
    ]
    path.write_bytes("\r\n".join(lines).encode())
    found = read_table(path).table
    assert found.x_nm.tolist() == [200.0, 400.0]
    assert found.background[0] == 5.0
    assert np.isnan(found.background[1])
    assert found.sigma_photons is not None
    assert found.sigma_photons[1] == 9.0
    assert found.sigma_x_nm is None


def test_decode_csv_without_a_column(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('# DECODE EmitterSet\n# {"version": "0.10.2"}\n#\nx,z,frame_ix\n1,2,3\n')
    with pytest.raises(LocalizationsError, match="no column 'y'"):
        read_table(path)


def test_decode_makes_up_what_it_says(tmp_path: Path) -> None:
    said = " ".join(export_remarks("decode-h5-smap", table(z_nm=np.full(2, np.nan)), CONTEXT))
    assert "no z; 0 is written" in said
    assert "no probabilities" in said
    assert "smap-sml" in " ".join(export_remarks("decode-h5", table(), CONTEXT))


# ---------------------------------------------------------------- SMAP's importer


def test_smap_preset_that_is_damaged_is_not_believed(tmp_path: Path) -> None:
    path, preset = write_table("smap-csv", tmp_path / "a.csv", table(), CONTEXT)
    preset.write_text(preset.read_text().replace("100 100", "wide"))
    found = read_table(path)
    assert found.table.x_nm.tolist() == [200.0, 300.0]
    assert any(guess.field == "origin" for guess in found.guesses)


# ---------------------------------------------------------------- drift


def drift() -> Drift:
    return Drift(x_nm=np.array([0.0, 1.5]), y_nm=np.array([0.0, -2.5]))


def test_drift_files_as_they_are_written(tmp_path: Path) -> None:
    write_drift_csv(tmp_path / "d.csv", drift())
    expected = "frame,dx_nm,dy_nm\n0,0.000000,0.000000\n1,1.500000,-2.500000\n"
    assert (tmp_path / "d.csv").read_bytes() == expected.encode()
    write_drift_picasso(tmp_path / "d.txt", drift(), pixel_size_nm=100.0)
    lines = (tmp_path / "d.txt").read_bytes().split(b"\r\n")
    assert lines[1] == b"1.499999999999999944e-02 -2.500000000000000139e-02"
    with pytest.raises(OutputError, match="exists already"):
        write_drift_csv(tmp_path / "d.csv", drift())


@pytest.mark.parametrize(
    ("text", "pixel", "match"),
    [
        ("0 0\n1 1\n", None, "pixel size is needed"),
        ("0 0\n1 1\n", -1.0, "not positive"),
        ("0 0 0 0\n", 100.0, "4 columns"),
        ("frame,dx_nm,dy_nm\n0,0,0\n2,1,1\n", None, "frame 2 where frame 1 is expected"),
        ("frame,dx_nm,dy_nm\n1,0,0\n", None, "frame 1 where frame 0"),
        ("frame,dx_nm\n0,0\n", None, "no column 'dy_nm'"),
        ("frame,dx_nm,dy_nm\n0,0,nan\n", None, "not a number in frame 0"),
        ("", None, "is empty"),
    ],
)
def test_drift_files_that_cannot_be_used(
    tmp_path: Path, text: str, pixel: float | None, match: str
) -> None:
    (tmp_path / "d.txt").write_text(text)
    with pytest.raises(InputError, match=match) as caught:
        read_drift(tmp_path / "d.txt", pixel_size_nm=pixel)
    assert caught.value.hint


def test_drift_of_unequal_length() -> None:
    with pytest.raises(LocalizationsError, match="one number per frame"):
        Drift(x_nm=np.zeros(3), y_nm=np.zeros(2))


def test_our_variable_in_smaps_file_may_be_foreign(tmp_path: Path) -> None:
    path = tmp_path / "a_sml.mat"
    saveloc = {"loc": LOC, "file": {"info": INFO, "name": "a"}}
    foreign = json.dumps({"roi_origin_px": "nonsense"})
    scipy.io.savemat(path, {"saveloc": saveloc, "decode_desktop": foreign}, oned_as="column")
    found = read_table(path)
    assert found.metadata is None
    assert found.table.x_nm.tolist() == [100.0, 200.0]
