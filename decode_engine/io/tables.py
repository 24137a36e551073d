"""CSV tables of emitters and localizations, with the unit in each column's name.

The first line names the columns, e.g. ``frame,x_nm,y_nm,z_nm,photons,background``. Numbers are
written in fixed-point notation (positions to 0.001 nm), a missing number as ``NaN``; frames
count from 0. Reading accepts any order of columns, further columns, a byte-order mark, Windows
line ends, and semicolons or tabs instead of commas.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.domain.table import ColumnTable
from decode_engine.errors import LocalizationsError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.delimited import Delimited, read_numbers
from decode_engine.io.fixed_point import text_blocks

__all__ = [
    "EMITTER_COLUMNS",
    "read_columns",
    "read_emitters_csv",
    "read_header",
    "read_localizations_csv",
    "write_emitter_chunks_csv",
    "write_emitters_csv",
    "write_localizations_csv",
]

Table = TypeVar("Table", bound=ColumnTable)

EMITTER_COLUMNS = ("frame", "x_nm", "y_nm", "z_nm", "photons", "background")
_DECIMALS = {"nm": 3, "photon": 3, "frame": 0, "": 6}


def write_emitters_csv(path: Path, emitters: Emitters, *, overwrite: bool = False) -> None:
    """Write true emitters as ``frame,x_nm,y_nm,z_nm,photons,background``."""
    write_emitter_chunks_csv(path, [emitters], overwrite=overwrite)


def write_emitter_chunks_csv(
    path: Path, chunks: Iterable[Emitters], *, overwrite: bool = False
) -> None:
    """Write emitters as they come, chunk by chunk, into one table."""
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write((",".join(EMITTER_COLUMNS) + "\n").encode())
        for chunk in chunks:
            columns = chunk.columns()
            missing = np.full(len(chunk), np.nan, np.float32)
            _write_rows(file, chunk, {n: columns.get(n, missing) for n in EMITTER_COLUMNS})


def write_localizations_csv(path: Path, table: Localizations, *, overwrite: bool = False) -> None:
    """Write all columns that the table has."""
    columns = table.columns()
    with atomic_path(path, overwrite=overwrite) as temporary, temporary.open("wb") as file:
        file.write((",".join(columns) + "\n").encode())
        _write_rows(file, table, columns)


def read_emitters_csv(path: Path) -> Emitters:
    """Read true emitters.

    Raises
    ------
    LocalizationsError
        If a required column is missing, a line is not numeric, or a frame or position is NaN.
    """
    return _read_table(path, Emitters)


def read_localizations_csv(path: Path) -> Localizations:
    """Read localizations that were written by `write_localizations_csv` (or alike)."""
    return _read_table(path, Localizations)


def read_header(path: Path) -> tuple[list[str], str]:
    """Return the column names and the delimiter of a table."""
    try:
        with path.open("r", encoding="utf-8-sig", newline="") as file:
            line = file.readline(1 << 16).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise LocalizationsError(
            f"{path} is not a text file.", hint="Give a table (.csv) or a localization file (.h5)."
        ) from error
    except OSError as error:
        raise LocalizationsError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check the name."
        ) from error
    if not line.strip():
        raise LocalizationsError(
            f"{path} is empty.", hint="The first line must name the columns (frame,x_nm,...)."
        )
    delimiter = max(",;\t", key=line.count)
    return [name.strip().strip('"').strip() for name in line.split(delimiter)], delimiter


def read_columns(path: Path, names: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Read some columns of a table as float64; the header must have them all."""
    header, delimiter = read_header(path)
    layout = Delimited(path=path, names=tuple(header), delimiter=delimiter, n_columns=len(header))
    positions = [header.index(name) for name in names]
    numbers = read_numbers(layout, positions, gaps=False)
    return {name: numbers[position] for name, position in zip(names, positions, strict=True)}


def _read_table(path: Path, kind: type[Table]) -> Table:
    header, _ = read_header(path)
    for spec in kind.specs():
        if spec.required and spec.name not in header:
            raise _missing_column(path, spec.name, header)
    names = [spec.name for spec in kind.specs() if spec.name in header]
    double = next((name for name in names if header.count(name) > 1), None)
    if double is not None:
        raise LocalizationsError(
            f"{path} has the column {double!r} {header.count(double)} times.",
            hint="Rename or remove all but the one that is meant.",
        )
    columns = read_columns(path, names)
    for name in ("frame", "x_nm", "y_nm"):
        bad = np.flatnonzero(~np.isfinite(columns[name]))
        if bad.size:
            raise LocalizationsError(
                f"{path.name} has the {name} {columns[name][bad[0]]} in line {int(bad[0]) + 2}.",
                hint="Every row needs a frame and a position; remove such rows.",
            )
    frame = columns["frame"]
    bad = np.flatnonzero((frame < 0) | (frame != np.round(frame)))
    if bad.size:
        raise LocalizationsError(
            f"{path.name} has the frame {frame[bad[0]]:g} in line {int(bad[0]) + 2}.",
            hint="Frames are whole numbers from 0; subtract 1 where they count from 1.",
        )
    return kind(**_plain_columns(columns, kind))


def _plain_columns(
    columns: dict[str, NDArray[np.float64]], kind: type[ColumnTable]
) -> dict[str, NDArray[Any]]:
    """Convert to the declared types; an optional column that holds only NaN is left out."""
    plain: dict[str, NDArray[Any]] = {}
    for spec in kind.specs():
        values = columns.get(spec.name)
        if values is None:
            continue
        if not spec.required and values.size and bool(np.all(np.isnan(values))):
            continue
        if spec.dtype[0] == "f":
            limit = np.finfo(spec.dtype).max
            huge = np.flatnonzero(np.isfinite(values) & (np.abs(values) > limit))
            if huge.size:
                raise LocalizationsError(
                    f"The {spec.name} of {values[huge[0]]:g} is beyond what a number can be here.",
                    hint="Correct or remove that row.",
                )
            values = values.astype(spec.dtype)
        plain[spec.name] = values
    return plain


def _missing_column(path: Path, name: str, header: list[str]) -> LocalizationsError:
    similar = difflib.get_close_matches(name, header, n=3, cutoff=0.4)
    similar += [h for h in header if h not in similar and h.lower()[:1] == name[:1]][:2]
    found = f"the nearest are {', '.join(map(repr, similar))}" if similar else "nothing is alike"
    return LocalizationsError(
        f"{path} has no column {name!r}; {found}.",
        hint="Rename the column if it means the same in the same unit; the columns are "
        f"{', '.join(EMITTER_COLUMNS)}.",
        detail=f"header: {', '.join(header)}",
    )


def _write_rows(file: IO[bytes], table: ColumnTable, columns: dict[str, NDArray[Any]]) -> None:
    decimals = {spec.name: _DECIMALS[spec.unit] for spec in table.specs()}
    for block in text_blocks(columns, decimals):
        file.write(block)
