"""Tables: what is exported for another program comes back, whatever it is."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decode_engine.domain.localizations import Localizations
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
