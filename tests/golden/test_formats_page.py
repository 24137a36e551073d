"""FORMATS.md says where one spot lies in each program's file; here the files are looked into."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.base import ExportContext
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.registry import write_table

Place = tuple[float, ...]  # x, y, frame, z as the file has them
_PAGE = Path(__file__).parents[2] / "FORMATS.md"


def _of_mat(path: Path) -> Place:
    content = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    loc = content["saveloc"].loc
    return tuple(float(getattr(loc, name)) for name in ("xnm", "ynm", "frame", "znm"))


def _of_text(*names: str) -> Callable[[Path], Place]:
    def read(path: Path) -> Place:
        lines = [ln for ln in path.read_text().splitlines() if not ln.startswith("#")]
        row = next(csv.DictReader(lines))
        return tuple(float(row[name]) for name in names)

    return read


def _of_picasso(path: Path) -> Place:
    with h5py.File(path, "r") as file:
        row = file["locs"][0]
    return tuple(float(row[name]) for name in ("x", "y", "frame", "z"))


def _of_decode(path: Path) -> Place:
    with h5py.File(path, "r") as file:
        x, y, z = file["data/xyz"][0]
        return float(x), float(y), float(file["data/frame_ix"][0]), float(z)


_SMAP = _of_text("xnm", "ynm", "frame", "znm")
_THUNDERSTORM = _of_text("x [nm]", "y [nm]", "frame", "z [nm]")
_DECODE = _of_text("x", "y", "frame_ix", "z")
_CASES = [
    ("csv", False, (1301.75, 2398.5, 7, 123), _of_text("x_nm", "y_nm", "frame", "z_nm")),
    ("smap-sml", False, (2952.75, 6493.5, 8, 123), _of_mat),
    ("smap-csv", False, (2952.75, 6493.5, 8, 123), _SMAP),
    ("smap-sml", True, (8350.25, 6493.5, 8, 123), _of_mat),
    ("smap-csv", True, (8350.25, 6493.5, 8, 123), _SMAP),
    ("thunderstorm", False, (1365.25, 2457, 8, 123), _THUNDERSTORM),
    ("thunderstorm", True, (1365.25, 2457, 8, 123), _THUNDERSTORM),
    ("picasso", False, (10.25, 18.8858, 7, 123), _of_picasso),
    ("picasso", True, (10.25, 18.8858, 7, 123), _of_picasso),
    ("decode-h5", True, (20.5, 10.25, 7, 123), _of_decode),
    ("decode-csv", True, (20.5, 10.25, 7, 123), _DECODE),
    ("decode-h5-smap", False, (55.5, 23.25, 7, 123), _of_decode),
    ("decode-h5-smap", True, (55.5, 65.75, 7, 123), _of_decode),
    ("decode-csv-smap", True, (55.5, 65.75, 7, 123), _DECODE),
    ("challenge", False, (1365.25, 2457, 8, -123), _of_text("xnano", "ynano", "frame", "znano")),
]


@pytest.mark.parametrize(("name", "mirrored", "place", "read"), _CASES)
def test_the_spot_lies_where_the_page_says(
    name: str, mirrored: bool, place: Place, read: Callable[[Path], Place], tmp_path: Path
) -> None:
    size = {"pixel_size_x_nm": 127.0, "pixel_size_y_nm": 117.0}
    spot = {"x_nm": 10.25 * 127, "y_nm": 20.5 * 117, "z_nm": 123, "photons": 2500, "background": 12}
    table = Localizations(
        frame=np.array([7]), **{n: np.array([v], np.float32) for n, v in spot.items()}
    )
    context = ExportContext(
        geometry=Geometry(width_px=64, height_px=48, roi_origin_px=(12, 34), **size),
        camera=CameraConfig(kind="emccd", em_gain=200.0, em_mirrored=mirrored, **size),
    )
    path = tmp_path / "spot"
    write_table(name, path, table, context)
    assert read(path) == pytest.approx(place, abs=1e-3)


@pytest.mark.parametrize("number", ["1301.75", "2952.75", "8350.25", "18.8858", "55.5", "−123"])
def test_the_page_has_the_numbers_that_are_checked_here(number: str) -> None:
    assert number in _PAGE.read_text(encoding="utf-8")
