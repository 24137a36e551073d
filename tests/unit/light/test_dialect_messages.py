"""What dialects say: nothing turned over, taken for granted or made up without a word."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from decode_engine.contract.column_mapping import ColumnMapping
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.registry import export_remarks, read_table, write_table

_SIZE = {"pixel_size_x_nm": 127.0, "pixel_size_y_nm": 117.0}
_THUNDERSTORM = '"frame","x [nm]","y [nm]","intensity [photon]"\n'


def _spot() -> Localizations:
    """Column 10.25, row 20.5, frame 7."""
    one = {"x_nm": 1301.75, "y_nm": 2398.5, "z_nm": 123.0, "photons": 2500.0, "background": 12.0}
    values = {name: np.array([value], np.float32) for name, value in one.items()}
    return Localizations(frame=np.array([7]), **values)


def _mirrored_movie(width_px: int | None = 64) -> ExportContext:
    camera = CameraConfig(kind="emccd", em_gain=200.0, em_mirrored=True, **_SIZE)
    geometry = Geometry(width_px=width_px, height_px=48, roi_origin_px=(12, 34), **_SIZE)
    return ExportContext(geometry=geometry, camera=camera)


@pytest.mark.parametrize("name", ["smap-sml", "smap-csv", "decode-h5-smap", "decode-csv-smap"])
def test_says_that_x_is_turned_over_for_smap(name: str) -> None:
    """Regression: x of a mirrored movie was turned over without a word."""
    said = " ".join(export_remarks(name, _spot(), _mirrored_movie()))
    assert "x is turned over too" in said


def test_says_where_the_missing_width_keeps_x_from_being_turned_over() -> None:
    """Regression: without the frame's width, x of a mirrored movie was silently left as it is."""
    said = " ".join(export_remarks("smap-sml", _spot(), _mirrored_movie(width_px=None)))
    assert "how wide" in said


@pytest.mark.parametrize("name", ["thunderstorm", "picasso", "decode-h5", "csv"])
def test_other_programs_get_x_as_on_the_recorded_frames(name: str) -> None:
    assert "turned over" not in " ".join(export_remarks(name, _spot(), _mirrored_movie()))


def test_says_that_x_of_a_smap_table_is_turned_back(tmp_path: Path) -> None:
    """Regression: only SMAP's .mat told; here (63 - 10.25 + 1 + 12) px = 8350.25 nm."""
    path = tmp_path / "spot.csv"
    write_table("smap-csv", path, _spot(), _mirrored_movie())
    assert path.read_text().splitlines()[1].split(",")[2] == "8350.2500"
    back = read_table(path)
    assert back.table.x_nm[0] == pytest.approx(1301.75)
    assert "turned back" in " ".join(back.notes)


def test_zeros_that_smap_needs_do_not_come_back_as_uncertainties(tmp_path: Path) -> None:
    """Regression: unknown uncertainties of photons came back as 0."""
    path = tmp_path / "spot.h5"
    write_table("decode-h5-smap", path, _spot(), _mirrored_movie())
    assert read_table(path).table.sigma_photons is None


def test_names_what_a_picasso_table_lacks(tmp_path: Path) -> None:
    """Regression: it was "an HDF5 file, but not one of localizations"."""
    path = tmp_path / "no_y_locs.hdf5"
    with h5py.File(path, "w") as file:
        file["locs"] = np.array([(0, 1.0)], dtype=[("frame", "u4"), ("x", "f4")])
    with pytest.raises(LocalizationsError, match="has no y"):
        read_table(path)


def test_says_whose_sign_the_z_of_picasso_has(tmp_path: Path) -> None:
    """Regression: ThunderSTORM's was told as a guess, Picasso's was not."""
    path = tmp_path / "other_locs.hdf5"
    fields = [(name, "f4") for name in ("x", "y", "z", "lpx", "lpy")]
    with h5py.File(path, "w") as file:
        file["locs"] = np.array([(0, 1, 2, 30, 0.1, 0.1)], dtype=[("frame", "u4"), *fields])
    theirs = read_table(path, ReadOptions(pixel_size_x_nm=100.0, pixel_size_y_nm=100.0))
    assert "z sign" in [guess.field for guess in theirs.guesses]
    write_table("picasso", tmp_path / "ours_locs.hdf5", _spot(), _mirrored_movie())
    ours = read_table(tmp_path / "ours_locs.hdf5")
    assert "z sign" not in [guess.field for guess in ours.guesses]


@pytest.mark.parametrize(("wrong", "named"), [("xx [nm]", "x_nm"), ("xpos [nm]", "x_nm")])
def test_names_the_nearest_column(tmp_path: Path, wrong: str, named: str) -> None:
    """Regression: "Nothing is like 'x_nm'" of a table with the column xx."""
    path = tmp_path / "t.csv"
    path.write_text(_THUNDERSTORM.replace("x [nm]", wrong) + "1,2,3,4\n")
    with pytest.raises(LocalizationsError, match=f"Nearest to '{named}' is") as caught:
        read_table(path)
    assert wrong in caught.value.message


def test_never_takes_y_for_x(tmp_path: Path) -> None:
    """Regression: y_nm is one letter from x_nm, and was proposed for it."""
    path = tmp_path / "t.csv"
    path.write_text("frame,y_nm,z,photons\n1,2,3,4\n")
    with pytest.raises(LocalizationsError, match="Nothing is like 'x_nm'"):
        read_table(path)


def test_says_that_commas_are_decimal(tmp_path: Path) -> None:
    """Regression: 1,234 between semicolons was taken for 1.234 without a word."""
    path = tmp_path / "t.csv"
    path.write_text(_THUNDERSTORM.replace(",", ";") + "1;1,234;3,5;4\n")
    found = read_table(path)
    assert found.table.x_nm[0] == pytest.approx(1.234)
    assert ("decimal mark", "comma") in [(guess.field, guess.value) for guess in found.guesses]


def test_says_both_pixel_sizes_of_a_protocol(tmp_path: Path) -> None:
    """Regression: only the one along x was told."""
    path = tmp_path / "t.csv"
    write_table("thunderstorm", path, _spot(), _mirrored_movie())
    values = {guess.field: guess.value for guess in read_table(path).guesses}
    assert values["pixel size"] == "127 x 117 nm"


def test_the_example_of_a_mapping_has_the_rules_that_a_suggested_one_has(tmp_path: Path) -> None:
    """Regression: the error proposed to count frames from 1, the suggested file from 0."""
    path = tmp_path / "t.csv"
    path.write_text("frm,X (nm),Y (nm)\n1,2,3\n")
    with pytest.raises(LocalizationsError) as caught:
        read_table(path)
    hint = caught.value.hint or ""
    proposed = json.loads(hint[hint.index("{") :])
    by_default = ColumnMapping(columns=proposed["columns"])
    assert ColumnMapping(**proposed) == by_default
