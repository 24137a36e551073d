"""Files: what is written is read back, whatever it is."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from decode_engine.domain.localizations import Localizations
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    read_localizations,
)
from decode_engine.io.movies import open_movie
from decode_engine.io.tables import read_localizations_csv, write_localizations_csv
from tests.unit.light.tiff_files import write_tiff

METADATA = LocalizationMetadata(
    width_px=9, height_px=9, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0
)
REQUIRED = ("x_nm", "y_nm", "z_nm", "photons", "background")
NUMBERS = st.floats(-1e6, 1e6, width=32)


@st.composite
def tables(draw: st.DrawFn) -> Localizations:
    n = draw(st.integers(0, 20))
    columns = {
        name: draw(arrays.arrays(np.float32, n, elements=NUMBERS))
        for name in (*REQUIRED, "sigma_x_nm")
    }
    frame = draw(arrays.arrays(np.int32, n, elements=st.integers(0, 2**31 - 1)))
    flags = draw(arrays.arrays(np.uint32, n, elements=st.integers(0, 2**32 - 1)))
    return Localizations(frame=frame, flags=flags, **columns)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(table=tables())
def test_csv_keeps_a_thousandth(table: Localizations) -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_localizations_csv(Path(folder) / "t.csv", table)
        found = read_localizations_csv(Path(folder) / "t.csv")
    for name, values in table.columns().items():
        exact = values.astype(np.float64)
        rounding = 5e-4 + np.spacing(np.abs(values.astype(np.float32))).astype(np.float64)
        limit = 0.0 if values.dtype.kind in "iu" else rounding
        assert np.all(np.abs(found.columns()[name].astype(np.float64) - exact) <= limit)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(table=tables(), cuts=st.lists(st.integers(0, 20), max_size=4))
def test_chunks_do_not_matter(table: Localizations, cuts: list[int]) -> None:
    """However a table is cut into chunks, interrupted after each, the result is the same."""
    edges = [0, *sorted(min(cut, len(table)) for cut in cuts), len(table)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "l.h5"
        for index, (start, stop) in enumerate(itertools.pairwise(edges)):
            with LocalizationWriter.resume(path, METADATA) as writer:
                writer.append(table.take(slice(start, stop)), frames_done=index + 1)
        with LocalizationWriter.resume(path, METADATA) as writer:
            writer.finish()
        found = read_localizations(path)
    assert len(found) == len(table)
    for name, values in found.columns().items():
        np.testing.assert_array_equal(values, table.columns()[name])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    frames=arrays.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)),
    ),
    big=st.booleans(),
    order=st.sampled_from(["<", ">"]),
    interleaved=st.booleans(),
    data=st.data(),
)
def test_any_cut_gives_whole_frames_only(
    frames: np.ndarray, big: bool, order: str, interleaved: bool, data: st.DataObject
) -> None:
    """A file cut anywhere behind its first page yields a prefix of its frames, unharmed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "m.tif"
        write_tiff(path, frames, big=big, order=order, interleaved=interleaved)
        content = path.read_bytes()
        with open_movie(path) as source:
            np.testing.assert_array_equal(source.read(0, source.n_frames), frames)
            first_end = source._pages.ifd_offsets[0] + 400  # type: ignore[attr-defined]
        cut = data.draw(st.integers(min(first_end, len(content)), len(content)))
        path.write_bytes(content[:cut])
        with open_movie(path) as source:
            np.testing.assert_array_equal(
                source.read(0, source.n_frames), frames[: source.n_frames]
            )
            assert source.n_frames == len(frames) or source.metadata.warnings
