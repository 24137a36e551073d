"""The MATLAB reader: the same tree from every version, and objects never in the way."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import scipy.io

from decode_engine.errors import InputError
from decode_engine.io.matlab import (
    LazyArray,
    MatlabList,
    Opaque,
    is_matlab_file,
    read_mat,
    variable_names,
)

RNG = np.random.default_rng(20240517)
STACK = RNG.normal(size=(3, 4, 5, 6)).astype(np.float32)


def tree_for(writer: Any) -> dict[str, Any]:
    """Return a tree with every kind of value, for the writers of the fixture."""
    return {
        "SXY": writer.Structs(
            [
                {
                    "coeff": writer.Cell([STACK], (1, 1)),
                    "range": np.array([[-np.inf, 62.5]]),
                    "EMon": np.array([[True, False]]),
                    "object": writer.Object("interfaces.LocTransformN"),
                },
                {
                    "coeff": writer.Cell([STACK + 1, STACK + 2], (1, 2)),
                    "range": np.array([[62.5, np.inf]]),
                    "EMon": np.array([[True]]),
                    "object": writer.Object("cfit"),
                },
            ],
            (1, 2),
        ),
        "parameters": {"name": "bead µ.tif", "dz": 10.0, "nested": {"deep": np.eye(2)}},
        "transformation": writer.Object("interfaces.LocTransformN"),
        "other": writer.Object("table"),
        "matrix": np.arange(6.0).reshape(2, 3),
    }


def check_tree(tree: dict[str, Any]) -> None:
    """Compare with what `tree_for` wrote."""
    regions = tree["SXY"]
    assert isinstance(regions, MatlabList)
    assert regions.shape == (1, 2)
    first, second = regions
    np.testing.assert_array_equal(first["coeff"][0], STACK)
    np.testing.assert_array_equal(second["coeff"][1], STACK + 2)
    assert first["range"].tolist() == [[-np.inf, 62.5]]
    assert first["EMon"].tolist() == [[True, False]]
    assert first["EMon"].dtype == bool
    assert first["object"] == Opaque("interfaces.LocTransformN")
    assert second["object"] == Opaque("cfit")
    assert tree["parameters"]["name"] == "bead µ.tif"
    assert tree["parameters"]["dz"].tolist() == [[10.0]]
    np.testing.assert_array_equal(tree["parameters"]["nested"]["deep"], np.eye(2))
    np.testing.assert_array_equal(tree["matrix"], np.arange(6.0).reshape(2, 3))


def test_v73_tree(tmp_path: Path, mat_writer: Any) -> None:
    path = mat_writer.v73(tmp_path / "a.mat", tree_for(mat_writer))
    tree = read_mat(path)
    check_tree(tree)
    assert tree["transformation"] == Opaque("interfaces.LocTransformN")
    assert tree["other"] == Opaque("table")


def test_v5_tree_with_objects_everywhere(tmp_path: Path, mat_writer: Any) -> None:
    # Two objects at the top level share the name None in scipy, so one of them is lost there.
    path = mat_writer.v5(tmp_path / "a.mat", tree_for(mat_writer))
    check_tree(read_mat(path))
    assert is_matlab_file(path)


@pytest.mark.parametrize("version", ["v5", "v73"])
def test_names_include_objects(tmp_path: Path, mat_writer: Any, version: str) -> None:
    path = getattr(mat_writer, version)(tmp_path / "a.mat", tree_for(mat_writer))
    expected = ["SXY", "matrix", "other", "parameters", "transformation"]
    assert sorted(variable_names(path)) == expected


@pytest.mark.parametrize("compressed", [False, True])
def test_savemat_file(tmp_path: Path, compressed: bool) -> None:
    path = tmp_path / "a.mat"
    cell = np.empty((2, 2), dtype=object)
    cell[:] = [[1.0, "b"], [np.zeros((0, 0)), np.int16([[1, 2]])]]
    structs = np.zeros((2, 1), dtype=[("a", object)])
    structs["a"] = [[3.0], [4.0]]
    content = {
        "cell": cell,
        "structs": structs,
        "scalar": {"x": 1.0, "flag": True},
        "text": "hello",
        "rows": np.array(["ab ", "cde"]),
        "empty": "",
        "complex": np.array([[1 + 2j]]),
        "sparse": scipy.sparse.eye_array(3).tocsc(),
        "whole": np.arange(5.0),
    }
    scipy.io.savemat(path, content, do_compression=compressed)
    tree: dict[str, Any] = dict(read_mat(path))
    # Column-major, as MATLAB's cell{k} counts.
    assert tree["cell"][0].tolist() == [[1.0]]
    assert tree["cell"][1].size == 0
    assert tree["cell"][2] == "b"
    assert tree["cell"][3].tolist() == [[1, 2]]
    assert tree["cell"].shape == (2, 2)
    assert [s["a"].item() for s in tree["structs"]] == [3.0, 4.0]
    assert tree["structs"].shape == (2, 1)
    assert tree["scalar"]["flag"].item() == 1
    assert tree["text"] == "hello"
    assert tree["rows"] == ["ab ", "cde"]
    assert tree["empty"] == ""
    assert tree["complex"].tolist() == [[1 + 2j]]
    assert tree["sparse"] == Opaque("sparse")
    np.testing.assert_array_equal(tree["whole"].ravel(), np.arange(5.0))
    assert sorted(variable_names(path)) == sorted(content)


def test_numbers_have_matlabs_class(tmp_path: Path) -> None:
    """MATLAB stores whole doubles as bytes; they are doubles all the same, and logical is bool."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"whole": np.arange(5.0), "flag": np.array([True]), "i": np.int16(3)})
    kinds = {name: np.asarray(value).dtype for name, value in read_mat(path).items()}
    assert kinds == {"whole": np.float64, "flag": np.bool_, "i": np.int16}


def test_v73_corner_values(tmp_path: Path, mat_writer: Any) -> None:
    path = mat_writer.v73(
        tmp_path / "a.mat",
        {
            "none": np.zeros((0, 0)),
            "tall": np.zeros((0, 3), np.float32),
            "text": "",
            "column": mat_writer.Structs([{"a": 1.0}, {"a": 2.0}, {"a": "x"}], (3, 1)),
            "emoji": "z 😀",
        },
    )
    with h5py.File(path, "r+") as file:
        # MATLAB's own spellings of things the writer above has no words for.
        pair = np.zeros((2, 1), dtype=[("real", "f8"), ("imag", "f8")])
        pair["imag"] = [[1], [2]]
        file.create_dataset("complex", data=pair).attrs["MATLAB_class"] = np.bytes_("double")
        sparse = file.create_group("sparse")
        sparse.attrs["MATLAB_class"] = np.bytes_("double")
        sparse.attrs["MATLAB_sparse"] = np.uint64(3)
        rows = np.array([list(b"ab"), list(b"cd")], "u2").T
        file.create_dataset("rows", data=rows).attrs["MATLAB_class"] = np.bytes_("char")
        handle = file.create_group("handle")
        handle.attrs["MATLAB_class"] = np.bytes_("function_handle")
        nothing = file.create_dataset("nothing", data=np.array([0, 0], "u8"))
        nothing.attrs["MATLAB_class"] = np.bytes_("cell")
        nothing.attrs["MATLAB_empty"] = np.uint8(1)
    tree: dict[str, Any] = dict(read_mat(path))
    assert tree["none"].shape == (0, 0)
    assert tree["tall"].shape == (0, 3)
    assert tree["tall"].dtype == np.float32
    assert tree["text"] == ""
    assert tree["column"].shape == (3, 1)
    assert tree["column"][2]["a"] == "x"
    assert tree["emoji"] == "z 😀"
    assert tree["complex"].tolist() == [[1j, 2j]]
    assert tree["sparse"] == Opaque("sparse")
    assert tree["rows"] == ["ab", "cd"]
    assert tree["handle"] == Opaque("function_handle")
    assert tree["nothing"] == []


@pytest.mark.parametrize("version", ["v5", "v73"])
def test_only_wanted_paths_are_read(tmp_path: Path, mat_writer: Any, version: str) -> None:
    path = getattr(mat_writer, version)(tmp_path / "a.mat", tree_for(mat_writer))
    tree: dict[str, Any] = dict(read_mat(path, variables=("SXY", "absent"), skip=("*.coeff",)))
    assert list(tree) == ["SXY"]
    assert sorted(tree["SXY"][0]) == ["EMon", "object", "range"]


def test_large_arrays_of_v73_wait_until_asked_for(tmp_path: Path, mat_writer: Any) -> None:
    big = RNG.normal(size=(70, 71, 72)).astype(np.float32)
    path = mat_writer.v73(tmp_path / "a.mat", {"s": {"c": mat_writer.Cell([big], (1, 1))}})
    tree: dict[str, Any] = dict(read_mat(path))
    lazy = tree["s"]["c"][0]
    assert isinstance(lazy, LazyArray)
    assert lazy.shape == big.shape
    assert lazy.size == big.size
    np.testing.assert_array_equal(np.asarray(lazy), big)
    assert np.asarray(lazy, np.float64).dtype == np.float64


def test_big_endian_names(tmp_path: Path) -> None:
    """A file of an old PowerPC Mac: everything is the other way round."""
    body = b""
    for name in (b"first", b"second_one"):
        inner = struct.pack(">IIII", 6, 8, 6, 0) + struct.pack(">IIii", 5, 8, 1, 1)
        inner += struct.pack(">II", 1, len(name)) + name + bytes(-len(name) % 8)
        inner += struct.pack(">IId", 9, 8, 2.5)
        body += struct.pack(">II", 14, len(inner)) + inner
    path = tmp_path / "a.mat"
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\x01\x00MI" + body)
    assert variable_names(path) == ["first", "second_one"]
    tree: dict[str, Any] = dict(read_mat(path))
    assert tree["second_one"].item() == 2.5


def test_compressed_long_names(tmp_path: Path) -> None:
    """Regression: a name longer than the small element format, behind compression."""
    path = tmp_path / "a.mat"
    scipy.io.savemat(path, {"a" * 60: 1.0, "b": 2.0}, do_compression=True, long_field_names=True)
    assert variable_names(path) == ["a" * 60, "b"]


def damaged(kind: str, path: Path, good: bytes) -> None:
    content = {
        "text": b"x,y\n1,2\n" * 40,
        "empty": b"",
        "truncated": good[: len(good) // 2],
        "header only": good[:128] + b"\x0f\x00",
        "bad compression": good[:128] + struct.pack("<II", 15, 40) + bytes(40),
        "noise": good[:128] + zlib.compress(bytes(range(256))) * 3,
    }[kind]
    path.write_bytes(content)


@pytest.mark.parametrize("kind", ["text", "empty", "truncated", "bad compression", "noise"])
def test_damaged_file_is_one_sentence(tmp_path: Path, kind: str) -> None:
    good = tmp_path / "good.mat"
    scipy.io.savemat(good, {"a": RNG.normal(size=(50, 50))}, do_compression=True)
    path = tmp_path / "bad.mat"
    damaged(kind, path, good.read_bytes())
    with pytest.raises(InputError, match=r"bad\.mat cannot be read"):
        read_mat(path)


def test_truncated_v73(tmp_path: Path, mat_writer: Any) -> None:
    path = mat_writer.v73(tmp_path / "a.mat", {"m": RNG.normal(size=(99, 99))})
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(InputError, match="cannot be read"):
        read_mat(path)


def test_garbage_behind_the_header_is_not_read_out(tmp_path: Path) -> None:
    """Regression: random bytes went to the terminal as names of variables."""
    name = b"\x1b[2Jx"
    element = struct.pack("<IIIIIIII", 6, 8, 6, 0, 5, 8, 1, 1) + struct.pack("<II", 1, 5) + name
    header = b"MATLAB 5.0".ljust(126) + b"IM"
    content = header + struct.pack("<II", 14, len(element))
    (tmp_path / "x.mat").write_bytes(content + element)
    with pytest.raises(InputError, match="cannot be read") as caught:
        variable_names(tmp_path / "x.mat")
    assert "does not allow" in caught.value.detail


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        read_mat(tmp_path / "none.mat")
    with pytest.raises(InputError, match="no file"):
        variable_names(tmp_path / "none.mat")


def test_cell_that_contains_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    with h5py.File(path, "w") as file:
        item = file.create_dataset("loop", (1, 1), dtype=h5py.ref_dtype)
        item.attrs["MATLAB_class"] = np.bytes_("cell")
        item[0, 0] = item.ref
    with pytest.raises(InputError, match="cannot be read"):
        read_mat(path)


def test_real_v73_localizations(shared_data: Path) -> None:
    """A file that SMAP wrote: 4884 localizations, four raw frames of 256 x 256 (its manifest)."""
    path = shared_data / "loc_tables" / "Locan_smap_dstorm_data_sml.mat"
    assert variable_names(path) == ["fileformat", "parameters", "saveloc"]
    tree: dict[str, Any] = dict(
        read_mat(path, variables=("saveloc",), skip=("*.history", "*.fitparameters"))
    )
    saved = tree["saveloc"]
    assert saved["loc"]["xnm"].shape == (4884, 1)
    with h5py.File(path) as file:
        np.testing.assert_array_equal(
            saved["loc"]["xnm"].ravel(), file["saveloc/loc/xnm"][()].ravel()
        )
    raw = saved["file"]["raw"]
    assert isinstance(raw, MatlabList)
    assert raw.shape == (1, 4)
    assert [frame["image"].shape for frame in raw] == [(256, 256)] * 4
    assert [frame["frame"].item() for frame in raw] == [0, 1, 500, 1000]
    assert isinstance(saved["siteexplorer"]["sites"], Opaque)
    np.testing.assert_allclose(saved["file"]["info"]["cam_pixelsize_um"], [[0.104, 0.104]])


@pytest.mark.parametrize("version", ["v5", "v73"])
def test_real_object_files(shared_data: Path, version: str) -> None:
    path = shared_data / "calibrations" / f"SMAP_3Daberrationcorrection_{version}.mat"
    assert variable_names(path) == ["zcorr"]
    assert read_mat(path) == {"zcorr": Opaque("griddedInterpolant")}


def test_real_camera_database(shared_data: Path) -> None:
    """Twenty cameras in a struct array, with cells of mixed text and numbers (its manifest)."""
    tree: dict[str, Any] = dict(read_mat(shared_data / "camera_metadata" / "SMAP_cameras.mat"))
    assert len(tree["cameras"]) == 20
    assert tree["cameras"][0]["par"].shape == (15, 7)
    assert tree["cameras"][0]["par"][:3] == ["EMon", "cam_pixelsize_um", "conversion"]
