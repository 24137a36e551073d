"""SMAP's, Picasso's and DECODE's tables: what is exported comes back, whatever it is."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decode_engine.domain.drift import Drift
from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.drift_files import (
    read_drift,
    write_drift_csv,
    write_drift_picasso,
)
from decode_engine.io.dialects.registry import dialect, read_table, recognise, write_table
from tests.property.test_dialects import GEOMETRY, tables

SIGMAS = ("sigma_x_nm", "sigma_y_nm", "sigma_z_nm")
CORE = ("frame", "x_nm", "y_nm", "z_nm", "photons", "background", *SIGMAS)


class Case(NamedTuple):
    """What a format keeps, and how exactly."""

    absolute: float  # of the digits written
    shift_nm: float = 0.0  # x and y are rounded to single precision this far from our origin
    lacks: tuple[str, ...] = ()
    makes_up: tuple[str, ...] = ()
    keeps_gaps: bool = True  # a column in which some numbers are missing


CASES = {
    "smap-sml": Case(0.0, shift_nm=117.0 * 35),
    "smap-csv": Case(5.1e-5, makes_up=SIGMAS),
    "picasso": Case(0.0, keeps_gaps=False),
    "decode-h5": Case(0.0, lacks=("flags", "log_likelihood"), makes_up=("probability",)),
    "decode-csv": Case(7e-5, lacks=("flags", "log_likelihood"), makes_up=("probability",)),
}  # 7e-5 nm: half of the seventh decimal of a pixel, and of the fourth of a nm


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(table=tables())
def test_export_and_import(name: str, table: Localizations) -> None:
    """No row is lost, nothing moves, nothing that was made up comes back unsaid."""
    case = CASES[name]
    options = ReadOptions(pixel_size_x_nm=127.0, pixel_size_y_nm=117.0)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"t{dialect(name).suffix}"
        write_table(name, path, table, ExportContext(geometry=GEOMETRY))
        claim = recognise(path)
        imported = read_table(path, options)
    assert claim is not None
    assert claim.dialect.name == name
    assert imported.n_rows_file == len(imported.table) == len(table)
    found, written = imported.table.columns(), table.columns()
    for column, values in written.items():
        gaps = values.dtype.kind == "f" and np.isnan(values)
        if column in case.lacks or (np.any(gaps) and not case.keeps_gaps):
            continue
        if column not in found:
            assert np.all(gaps) or not len(table), column
            continue
        check(found[column], values, case, shifted=column in ("x_nm", "y_nm"))
    told = {guess.field for guess in imported.guesses} | set(case.makes_up)
    for column in set(found) - set(written):
        assert any(column in field for field in told) or not len(table), column


def check(found: np.ndarray, written: np.ndarray, case: Case, *, shifted: bool) -> None:
    if written.dtype.kind in "iu":
        np.testing.assert_array_equal(found, written)
        return
    one, two = found.astype(np.float64), written.astype(np.float64)
    stored = np.abs(two) + (case.shift_nm if shifted else 0.0)
    # Single precision, once in their unit and once in ours.
    limit = 1e-30 + case.absolute + 2 * np.spacing(stored.astype(np.float32)).astype(np.float64)
    assert np.all((np.abs(one - two) <= limit) | (np.isnan(one) & np.isnan(two)))


@st.composite
def drifts(draw: st.DrawFn) -> Drift:
    n = draw(st.integers(1, 20))
    numbers = st.floats(-1e5, 1e5)
    columns = [draw(arrays.arrays(np.float64, n, elements=numbers)) for _ in range(3)]
    return Drift(x_nm=columns[0], y_nm=columns[1], z_nm=columns[2] if draw(st.booleans()) else None)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(drift=drifts(), pixel=st.floats(50, 300))
def test_drift_comes_back(drift: Drift, pixel: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        text, table = Path(folder) / "d.txt", Path(folder) / "d.csv"
        write_drift_picasso(text, drift, pixel_size_nm=pixel)
        write_drift_csv(table, drift)
        found = (read_drift(text, pixel_size_nm=pixel), read_drift(table))
    for one, limit in zip(found, (1e-9, 5.1e-7), strict=True):
        assert (one.z_nm is None) == (drift.z_nm is None)
        for axis in ("x_nm", "y_nm", "z_nm"):
            if getattr(drift, axis) is not None:
                np.testing.assert_allclose(
                    getattr(one, axis), getattr(drift, axis), rtol=1e-14, atol=limit
                )
