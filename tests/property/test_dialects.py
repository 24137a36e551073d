"""Tables: what is exported for another program comes back, whatever it is."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import EngineError
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.convention import Convention, Geometry, from_ours, to_ours
from decode_engine.io.dialects.registry import read_table, write_table

NUMBERS = st.floats(-1e5, 1e5, width=32)
POSITIVE = st.floats(0, 1e5, width=32)
MAYBE = st.one_of(POSITIVE, st.just(float("nan")))
GEOMETRY = Geometry(
    pixel_size_x_nm=127.0, pixel_size_y_nm=117.0, width_px=300, height_px=200,
    roi_origin_px=(12, 34), n_frames=1000,
)  # fmt: skip
OPTIONAL = ("probability", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm", "sigma_photons",
            "sigma_background", "log_likelihood")  # fmt: skip
# What each format holds, and to which absolute error (beside the rounding to float32).
CASES = {
    "csv": (None, 5.1e-4),
    "parquet": (None, 0.0),
    "thunderstorm": (None, 5.1e-6),
    "challenge": (("frame", "x_nm", "y_nm", "z_nm", "photons"), 5.1e-5),
}


@st.composite
def tables(draw: st.DrawFn) -> Localizations:
    n = draw(st.integers(0, 12))

    def floats(elements: st.SearchStrategy[float]) -> np.ndarray:
        return draw(arrays.arrays(np.float32, n, elements=elements))

    names = draw(st.sets(st.sampled_from(OPTIONAL)))
    more = {name: floats(MAYBE) for name in sorted(names)}
    if draw(st.booleans()):
        integers = st.integers(0, 2**31 - 1)
        more["track_id"] = draw(arrays.arrays(np.int32, n, elements=integers))
        more["flags"] = draw(arrays.arrays(np.uint32, n, elements=st.integers(0, 2**32 - 1)))
    z = floats(NUMBERS) if draw(st.booleans()) else np.full(n, np.nan, np.float32)
    return Localizations(
        frame=draw(arrays.arrays(np.int32, n, elements=st.integers(0, 2**31 - 2))),
        x_nm=floats(NUMBERS),
        y_nm=floats(NUMBERS),
        z_nm=z,
        photons=floats(POSITIVE),
        background=floats(MAYBE),
        **more,
    )


def close(found: np.ndarray, written: np.ndarray, limit: float) -> bool:
    if written.dtype.kind in "iu":
        return bool(np.array_equal(found, written))
    one, two = found.astype(np.float64), written.astype(np.float64)
    ulp = np.spacing(np.abs(written)).astype(np.float64)
    same = np.abs(one - two) <= limit + (ulp if limit else 0.0)
    return bool(np.all(same | (np.isnan(one) & np.isnan(two))))


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=40, deadline=None, derandomize=True)
@given(table=tables())
def test_export_and_import(name: str, table: Localizations) -> None:
    """Nothing is lost or moved, the format is recognised, and a second export is the same file."""
    held, limit = CASES[name]
    options = ReadOptions(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0)
    with tempfile.TemporaryDirectory() as folder:
        path, again = Path(folder) / "t.dat", Path(folder) / "again.dat"
        write_table(name, path, table, ExportContext(geometry=GEOMETRY))
        imported = read_table(path, options)
        write_table(name, again, imported.table, ExportContext(geometry=GEOMETRY))
        twice = read_table(again, options)
    assert imported.dialect == name
    assert imported.n_rows_file == len(imported.table) == len(table)
    columns = imported.table.columns()
    for column, values in table.columns().items():
        if held is not None and column not in held:
            continue
        if column not in columns:
            # A column of NaN alone comes back as no column; z only exists in 3D tables.
            assert np.isnan(values).all()
            continue
        if name == "challenge" and column == "z_nm" and np.isnan(values).all():
            assert not columns[column].any()
            continue
        assert close(columns[column], values, limit), column
    for column, values in columns.items():
        np.testing.assert_allclose(
            twice.table.columns()[column], values, rtol=2e-7, atol=2 * limit, equal_nan=True
        )


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    convention=st.builds(
        Convention,
        xy_unit=st.sampled_from(["nm", "um", "px"]),
        origin=st.sampled_from(["centre", "corner", "one_based_centre"]),
        first_frame=st.sampled_from([0, 1]),
        swapped_xy=st.booleans(),
        mirrored_x=st.booleans(),
        z_unit=st.sampled_from(["nm", "um"]),
        z_sign=st.sampled_from([1, -1]),
        with_roi_origin=st.booleans(),
        extra_shift_px=st.sampled_from([(0.0, 0.0), (1.0, 2.0)]),
    ),
    x=NUMBERS,
    y=NUMBERS,
    z=NUMBERS,
    frame=st.integers(0, 10**6),
)
def test_every_convention_has_its_inverse(
    convention: Convention, x: float, y: float, z: float, frame: int
) -> None:
    ours = {
        "frame": np.array([frame]),
        "x_nm": np.array([x]),
        "y_nm": np.array([y]),
        "z_nm": np.array([z]),
        "sigma_x_nm": np.array([abs(x)]),
        "sigma_y_nm": np.array([abs(y)]),
    }
    theirs = from_ours(ours, convention, GEOMETRY)
    back = to_ours(theirs, convention, GEOMETRY)
    assert back.keys() == ours.keys()
    for name, values in ours.items():
        np.testing.assert_allclose(back[name], values, rtol=1e-12, atol=1e-7)


HEADERS = (
    "frame,x_nm,y_nm", '"id","frame","x [nm]","y [nm]","intensity [photon]"',
    "Ground-truth,frame,xnano,ynano,znano,intensity", "Channel,Frame,X (nm),Y (nm),Photons",
    "First Frame\tPosition X [nm]\tPosition Y [nm]", "image-ID,x,y,photon-count,psfx",
    "# <localizations><field semantic='frame number'/></localizations>", "frame x y", "",
)  # fmt: skip
FIELDS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True).map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["", "NaN", "1,5", "-", '"', '""', "x", "1e400", " ", "µ", "\0", "#"]),
)
CONTENTS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda header, rows, mark, end, encoding: end.join(
            [header, *(mark.join(row) for row in rows)]
        ).encode(encoding, errors="replace"),
        st.sampled_from(HEADERS),
        st.lists(st.lists(FIELDS, min_size=1, max_size=7), max_size=4),
        st.sampled_from([",", ";", "\t", " "]),
        st.sampled_from(["\n", "\r\n"]),
        st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    ),
)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(content=CONTENTS, start=st.sampled_from([b"", b"M425", b"PAR1", b"PK\x03\x04", b"\x89HDF"]))
def test_whatever_a_file_holds_the_answer_is_a_table_or_a_sentence(
    content: bytes, start: bytes
) -> None:
    options = ReadOptions(pixel_size_x_nm=100.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.csv"
        path.write_bytes(start + content)
        with contextlib.suppress(EngineError):
            found = read_table(path, options)
            assert found.n_rows_file == len(found.table) + sum(found.n_dropped.values())


@settings(max_examples=60, deadline=None, derandomize=True)
@given(cut=st.floats(0, 1), place=st.floats(0, 1), byte=st.integers(0, 255), end=st.booleans())
def test_damaged_parquet_is_a_table_or_a_sentence(
    cut: float, place: float, byte: int, end: bool
) -> None:
    table = Localizations.empty().replace(
        **{s.name: np.arange(5).astype(s.dtype) for s in Localizations.specs()}
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.parquet"
        write_table("parquet", path, table)
        content = bytearray(path.read_bytes())
        content[int(place * (len(content) - 1))] = byte
        path.write_bytes(content if end else content[: int(cut * len(content))])
        with contextlib.suppress(EngineError):
            read_table(path)
