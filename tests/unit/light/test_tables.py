from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.errors import LocalizationsError, OutputError
from decode_engine.io.any_localizations import read_any_localizations
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    partial_path,
    write_localizations,
)
from decode_engine.io.tables import (
    read_emitters_csv,
    read_localizations_csv,
    write_emitter_chunks_csv,
    write_emitters_csv,
    write_localizations_csv,
)

HEADER = "frame,x_nm,y_nm,z_nm,photons,background"


def emitters(**changes: object) -> Emitters:
    columns: dict[str, object] = {
        "frame": [0, 3, 12],
        "x_nm": [-0.0004, 12345.6789, -75.25],
        "y_nm": [0.0, 1.0, 99999.5],
        "z_nm": [-600.125, 0.4996, 12.0],
        "photons": [1000.0, 0.25, 123456.0],
        "background": [1.5, 2.0, 0.0009],
    }
    columns |= changes
    return Emitters(**{name: np.asarray(values) for name, values in columns.items()})  # type: ignore[arg-type]


def test_exact_text(tmp_path: Path) -> None:
    write_emitters_csv(tmp_path / "t.csv", emitters())
    assert (tmp_path / "t.csv").read_bytes().decode() == (
        f"{HEADER}\n"
        "0,0.000,0.000,-600.125,1000.000,1.500\n"
        "3,12345.679,1.000,0.500,0.250,2.000\n"
        "12,-75.250,99999.500,12.000,123456.000,0.001\n"
    )


def test_background_that_is_unknown_is_nan(tmp_path: Path) -> None:
    unknown = Emitters(**{k: v for k, v in emitters().columns().items() if k != "background"})
    write_emitters_csv(tmp_path / "t.csv", unknown)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == HEADER
    assert lines[1] == "0,0.000,0.000,-600.125,1000.000,NaN"
    assert read_emitters_csv(tmp_path / "t.csv").background is None


def test_special_numbers(tmp_path: Path) -> None:
    table = Localizations(
        frame=np.arange(5, dtype=np.int32),
        x_nm=np.array([0.0, -0.5, 1e9, 3.4e38, 1e-8], np.float32),
        y_nm=np.zeros(5, np.float32),
        z_nm=np.full(5, np.nan, np.float32),
        photons=np.ones(5, np.float32),
        background=np.array([0.0, np.inf, -np.inf, np.nan, 1.0], np.float32),
        flags=np.array([0, 1, 2**32 - 1, 4, 8], np.uint32),
        track_id=np.array([-1, 0, 5, -2147483648, 2147483647], np.int32),
    )
    write_localizations_csv(tmp_path / "t.csv", table)
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0] == "frame,x_nm,y_nm,z_nm,photons,background,flags,track_id"
    assert lines[2] == "1,-0.500,0.000,NaN,1.000,Inf,1,0"
    assert lines[3].endswith(",-Inf,4294967295,5")
    assert lines[4].endswith(",NaN,4,-2147483648")
    found = read_localizations_csv(tmp_path / "t.csv")
    for name, values in table.columns().items():
        np.testing.assert_allclose(found.columns()[name], values, atol=5e-4, rtol=1e-6)


def test_against_python_formatting(tmp_path: Path) -> None:
    """Every number as Python's own formatting of its nearest thousandth would have it."""
    rng = np.random.default_rng(0)
    n = 5000
    values = np.concatenate([rng.normal(0, 10.0**k, n // 10) for k in range(-4, 6)])
    x = values.astype(np.float32)
    zero = np.zeros(n, np.float32)
    table = Emitters(frame=np.zeros(n, np.int32), x_nm=x, y_nm=zero, z_nm=zero, photons=zero)
    write_emitters_csv(tmp_path / "t.csv", table)
    lines = (tmp_path / "t.csv").read_text().splitlines()[1:]
    expected = [f"{float(v):.3f}".replace("-0.000", "0.000") for v in x]
    assert [line.split(",")[1] for line in lines] == expected


def test_many_blocks_and_chunks(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)

    def chunk(frame: int, n: int) -> Emitters:
        columns = {c: rng.uniform(0, 9999, n).astype(np.float32) for c in HEADER.split(",")[1:]}
        return Emitters(frame=np.full(n, frame, np.int32), **columns)

    chunks = [chunk(0, 70_000), chunk(1, 0), chunk(2, 3)]
    write_emitter_chunks_csv(tmp_path / "t.csv", iter(chunks))
    found = read_emitters_csv(tmp_path / "t.csv")
    for name, values in Emitters.concatenate(chunks).columns().items():
        # half of the last digit, and float32's own step at 9999
        np.testing.assert_allclose(found.columns()[name], values, atol=5e-4 + 1e-3, rtol=0)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffframe,x_nm,y_nm,z_nm,photons\r\n4,1.5,2.5,3.5,100\r\n",
        '"frame","x_nm","y_nm","z_nm","photons"\n4,1.5,2.5,3.5,100\n\n',
        "frame;x_nm;y_nm;z_nm;photons\n4;1.5;2.5;3.5;100\n",
        "photons\tz_nm\ty_nm\tx_nm\tframe\n1e2\t3.5\t2.5\t1.5\t4.0\n",
        "comment,frame , x_nm,y_nm,z_nm,photons\n7,4,1.5,2.5,3.5,100\n",
        "frame,x_nm,y_nm,z_nm,photons\n4,1.5,2.5,3.5,100",
    ],
    ids=["bom-crlf", "quoted", "semicolon", "tab-order", "extra-column", "no-last-newline"],
)
def test_dialects_of_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "t.csv").write_bytes(text.encode())
    found = read_emitters_csv(tmp_path / "t.csv")
    assert {n: v.tolist() for n, v in found.columns().items()} == {
        "frame": [4],
        "x_nm": [1.5],
        "y_nm": [2.5],
        "z_nm": [3.5],
        "photons": [100.0],
    }


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n"])
def test_table_without_rows(tmp_path: Path, end: str) -> None:
    (tmp_path / "t.csv").write_bytes((HEADER + end).encode())
    assert len(read_emitters_csv(tmp_path / "t.csv")) == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ["is empty"]),
        (f"{HEADER}\n0,abc,1,1,1,1\n", ["'abc'", "line 2"]),
        (f"{HEADER}\n0,1,1,1,1,1\n0,1,1\n", ["3 fields in line 3", "names 6"]),
        (f"{HEADER}\n0,1,1,1,1,1\n0,1,1,1,,1\n", ["not numeric", "line 3"]),
        (f"{HEADER}\n0,1,1,1,1,1\nNaN,1,1,1,1,1\n", ["frame nan in line 3"]),
        (f"{HEADER}\n-1,1,1,1,1,1\n", ["frame -1 in line 2"]),
        (f"{HEADER}\n0.5,1,1,1,1,1\n", ["frame 0.5 in line 2"]),
        (f"{HEADER}\n0,1,NaN,1,1,1\n", ["y_nm nan in line 2"]),
        ("frame,X_nm,y_nm,z_nm,photons\n", ["no column 'x_nm'", "'X_nm'"]),
        ("frame,x [nm],y [nm],z [nm],intensity [photon]\n", ["no column 'x_nm'", "'x [nm]'"]),
        ("a,b\n", ["no column 'frame'", "nothing is alike"]),
    ],
)
def test_tables_that_cannot_be_used(tmp_path: Path, text: str, words: list[str]) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LocalizationsError) as caught:
        read_emitters_csv(tmp_path / "t.csv")
    assert "t.csv" in caught.value.message
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"{HEADER}\n0,100,5,200,5,1,0,1000,0,10,0\n", ["11 fields in line 2", "names 6"]),
        ("frame,x_nm,x_nm,y_nm,z_nm,photons\n0,1,2,3,4,5\n", ["'x_nm' 2 times"]),
        (f"{HEADER}\n0,1e300,1,1,1,1\n", ["x_nm of 1e+300"]),
    ],
    ids=["decimal commas", "column twice", "beyond float32"],
)
def test_tables_that_would_give_wrong_numbers(tmp_path: Path, text: str, words: list[str]) -> None:
    """Regression: these were read without a word, as shifted, arbitrary or infinite numbers."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LocalizationsError) as caught:
        read_emitters_csv(tmp_path / "t.csv")
    for word in words:
        assert word in caught.value.message
    assert caught.value.hint


def test_rows_may_end_with_a_delimiter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"{HEADER}\n0,1,2,3,4,5,\n\n")
    assert read_emitters_csv(tmp_path / "t.csv").y_nm.tolist() == [2.0]


def test_binary_file_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_bytes(bytes(range(128, 256)))
    with pytest.raises(LocalizationsError, match="not a text file"):
        read_emitters_csv(tmp_path / "t.csv")


def test_existing_table_is_protected(tmp_path: Path) -> None:
    write_emitters_csv(tmp_path / "t.csv", emitters())
    with pytest.raises(OutputError, match="exists already"):
        write_emitters_csv(tmp_path / "t.csv", emitters())
    write_emitters_csv(tmp_path / "t.csv", emitters(), overwrite=True)


def test_a_table_that_another_process_wrote_meanwhile_is_kept(tmp_path: Path) -> None:
    """Regression: of two jobs with one output, the slower one replaced the other's result."""

    def chunks() -> Iterator[Emitters]:
        yield emitters()
        (tmp_path / "t.csv").write_text("the other's")

    with pytest.raises(OutputError, match="exists already"):
        write_emitter_chunks_csv(tmp_path / "t.csv", chunks())
    assert (tmp_path / "t.csv").read_text() == "the other's"
    assert [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_failing_source_leaves_no_table(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield emitters()
        raise LocalizationsError("The simulation failed.")

    with pytest.raises(LocalizationsError):
        write_emitter_chunks_csv(tmp_path / "t.csv", broken())
    assert list(tmp_path.iterdir()) == []


def test_any_localizations_by_their_content(tmp_path: Path) -> None:
    table = Localizations(
        **{n: np.arange(3) for n in ("frame", *HEADER.split(",")[1:])},  # type: ignore[arg-type]
        probability=np.array([0.25, 0.5, 1.0], np.float32),
    )
    metadata = LocalizationMetadata(
        width_px=8, height_px=8, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, frame_stop=3
    )
    write_localizations(tmp_path / "a.h5", table, metadata)
    write_localizations(tmp_path / "b.result", table, metadata)
    write_localizations_csv(tmp_path / "c.csv", table)
    with LocalizationWriter.create(tmp_path / "d.h5", metadata) as writer:
        writer.append(table, frames_done=2)
    for name in ("a.h5", "b.result", "c.csv", partial_path(tmp_path / "d.h5").name):
        found = read_any_localizations(tmp_path / name)
        assert found.columns().keys() == table.columns().keys()
        for column, values in table.columns().items():
            np.testing.assert_array_equal(found.columns()[column], values)
    with pytest.raises(LocalizationsError, match="does not exist"):
        read_any_localizations(tmp_path / "none.h5")
