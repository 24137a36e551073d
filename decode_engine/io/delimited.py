"""Tables of numbers in text: layout, strictness and speed for every program's dialect.

A table is a header line that names columns (perhaps quoted, perhaps quoted twice by a
spreadsheet), and lines of numbers separated by commas, semicolons, tabs or blanks. Decimal
commas, Windows line ends, UTF-16 and Western Windows' characters are understood; a line with
too many fields or few is an error that names it, never a shift of columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import LocalizationsError
from decode_engine.io.spreadsheet import sheet_lines

__all__ = ["WORKBOOK", "Delimited", "layout_of", "read_numbers", "split_unit"]

WORKBOOK = "xlsx"
_DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+(?:[eE][+-]?\d+)?")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)", re.I)
_UNIT = re.compile(r"^(.*?)\s*[\[(]\s*([^\[\]()]*)\s*[\])]\s*$")
_UNIT_WORDS = {
    "nanometer": "nm", "nanometre": "nm", "micrometer": "um", "micron": "um", "microns": "um",
    "µm": "um", "μm": "um", "pix": "px", "pixel": "px", "pixels": "px", "photons": "photon",
    "A/D count": "ADU", "adu": "ADU",
}  # fmt: skip
_MISSING = {"", "na", "n/a", "null", "none", "nan", "#n/a", "-"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Delimited:
    """How a table is laid out.

    Parameters
    ----------
    names : tuple of str
        Columns as the header names them, without quotes; empty where there is no header.
    delimiter : str
        ``" "`` stands for any number of blanks.
    n_header_lines : int
        Lines before the first row.
    encoding : str
        `WORKBOOK` for a sheet of Excel, whose cells count as separated by tabs.
    decimal_comma : bool
    n_columns : int
    end : str
        Text that ends the table before the file does; empty = the file's own end.
    """

    path: Path
    names: tuple[str, ...]
    delimiter: str
    n_header_lines: int = 1
    encoding: str = "utf-8-sig"
    decimal_comma: bool = False
    n_columns: int = 0
    end: str = ""


def split_unit(name: str) -> tuple[str, str]:
    """Split ``"x [nm]"`` or ``"X (pix)"`` into name and unit ("" = no unit)."""
    match = _UNIT.match(name.strip())
    if match is None:
        return name.strip(), ""
    unit = match.group(2).strip()
    return match.group(1).strip(), _UNIT_WORDS.get(unit, _UNIT_WORDS.get(unit.lower(), unit))


def layout_of(path: Path, lines: Sequence[str], *, encoding: str = "utf-8-sig") -> Delimited | None:
    """Return the layout of a table from its first lines, or None if they hold no table.

    Parameters
    ----------
    lines : sequence of str
        Without their ends. The first one that is neither empty nor a comment (``#``, ``%``) is
        the header, unless it holds only numbers.
    """
    first = next(
        (i for i, line in enumerate(lines) if line.strip(" \t,;") and line[0] not in "#%"), None
    )
    if first is None:
        return None
    rows = [line for line in lines[first + 1 : first + 50] if line.strip()]
    delimiter = _delimiter(lines[first], rows)
    fields = _fields(lines[first], delimiter)
    headless = all(_is_number(field) for field in fields)
    decimal_comma = delimiter != "," and any(
        _DECIMAL_COMMA.fullmatch(field) for row in rows[:5] for field in _fields(row, delimiter)
    )
    if delimiter == " " and not headless and rows:
        # Names may hold blanks themselves; the numbers below say how many there are.
        fields = _names_of_blank_table(lines[first], len(_fields(rows[0], delimiter)))
    return Delimited(
        path=path,
        names=() if headless else tuple(fields),
        delimiter=delimiter,
        n_header_lines=first if headless else first + 1,
        encoding=encoding,
        decimal_comma=decimal_comma,
        n_columns=len(fields),
    )


def read_numbers(
    table: Delimited, columns: Sequence[int], *, gaps: bool = True
) -> dict[int, NDArray[np.float64]]:
    """Read some columns, by their positions, as float64.

    Parameters
    ----------
    gaps : bool
        Empty fields are NaN; else they are an error.

    Raises
    ------
    LocalizationsError
        If a line has another number of fields than the header, or a field is no number.
    """
    if not _check_rows(table):
        return {position: np.empty(0) for position in columns}
    try:
        values = _parse(table, _source(table), columns)
    except (ValueError, IndexError):
        values = _parse_with_gaps(table, columns) if gaps else _one_by_one(table, columns, gaps)
    return {position: values[:, i] for i, position in enumerate(columns)}


def _parse(
    table: Delimited, source: str | Iterable[str], columns: Sequence[int]
) -> NDArray[np.float64]:
    return np.loadtxt(
        source,
        dtype=np.float64,
        delimiter=None if table.delimiter == " " else table.delimiter,
        skiprows=table.n_header_lines,
        usecols=list(columns),
        ndmin=2,
        encoding=table.encoding,
        comments=None,
        quotechar='"',
    )


def _source(table: Delimited) -> str | Iterable[str]:
    """Return what numpy reads: the file itself, or its text where that must be changed first."""
    if not table.end and not table.decimal_comma and table.encoding not in ("utf-16", WORKBOOK):
        return str(table.path)
    text = _rows_text(table)
    head = "\n" * table.n_header_lines
    return io.StringIO(head + (text.replace(",", ".") if table.decimal_comma else text))


def _parse_with_gaps(table: Delimited, columns: Sequence[int]) -> NDArray[np.float64]:
    try:
        return _parse(table, io.StringIO(_filled(table)), columns)
    except (ValueError, IndexError):
        return _one_by_one(table, columns, gaps=True)


def _filled(table: Delimited) -> str:
    """Return the text with "nan" in fields that are empty.

    Raises
    ------
    ValueError
        If fields are separated by blanks, between which none can be empty.
    """
    if table.delimiter == " ":
        raise ValueError("no field can be empty")
    text, mark = _rows_text(table), table.delimiter
    if table.decimal_comma:
        text = text.replace(",", ".")
    for _ in range(2):  # of three marks in a row, the first pass sees only one gap
        text = text.replace(mark + mark, f"{mark}nan{mark}")
    text = "\n" * table.n_header_lines + text.replace(f"\n{mark}", f"\nnan{mark}")
    return text.replace(f"{mark}\n", f"{mark}nan\n")


def _rows_text(table: Delimited) -> str:
    with _open(table) as file:
        for _ in range(table.n_header_lines):
            file.readline()
        text = file.read()
    return text.split(table.end, 1)[0] if table.end else text


def _one_by_one(table: Delimited, columns: Sequence[int], gaps: bool) -> NDArray[np.float64]:
    """Read field by field, slowly; name the line and the column of what is no number."""
    values: list[list[float]] = []
    for number, row in _rows(table):
        fields = (
            row.split()
            if table.delimiter == " "
            else next(csv.reader([row], delimiter=table.delimiter))
        )
        values.append([_number(table, fields, column, number, gaps) for column in columns])
    return np.asarray(values, np.float64).reshape(len(values), len(columns))


def _number(table: Delimited, fields: Sequence[str], column: int, line: int, gaps: bool) -> float:
    text = fields[column].strip() if column < len(fields) else ""
    if table.decimal_comma:
        text = text.replace(",", ".")
    if gaps and text.lower() in _MISSING:
        return float("nan")
    if _NUMBER.fullmatch(text):
        return float(text)
    name = table.names[column] if table.names else f"column {column + 1}"
    raise LocalizationsError(
        f"{table.path.name} is not numeric: {text[:40]!r} in line {line}, {name!r}.",
        hint="Numbers are written with a decimal point and without thousands separators.",
    )


def _rows(table: Delimited) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is not empty."""
    with _open(table) as file:
        for _ in range(table.n_header_lines):
            file.readline()
        for number, line in enumerate(file, start=table.n_header_lines + 1):
            if table.end and table.end in line:
                line = line.split(table.end, 1)[0]
                if line.strip():
                    yield number, line.strip("\r\n ")
                return
            text = line.strip("\r\n ")
            if text:
                yield number, text


def _open(table: Delimited) -> TextIO:
    if table.encoding == WORKBOOK:
        width = table.n_columns - 1  # Excel leaves out empty cells at the end of a row, too
        lines = (
            row + "\t" * (width - row.count("\t")) if row else row
            for row in sheet_lines(table.path)
        )
        return io.StringIO("\n".join(lines))
    return table.path.open("r", encoding=table.encoding, errors="replace")


def _check_rows(table: Delimited) -> bool:
    """Return whether there are rows; raise `LocalizationsError` if one has too many fields or few.

    NumPy takes the columns that it is asked for from rows of any length. A decimal comma in a
    table separated by commas would silently shift all fields behind it.
    """
    found = False
    delimiter, n_columns = table.delimiter, table.n_columns
    for number, text in _rows(table):
        found = True
        n_fields = len(text.split()) if delimiter == " " else text.count(delimiter) + 1
        closed = n_fields == n_columns + 1 and text.endswith(delimiter)
        if n_fields == n_columns or closed or '"' in text:  # quotes may hide a delimiter
            continue
        raise LocalizationsError(
            f"{table.path} has {n_fields} fields in line {number}; its first line names "
            f"{n_columns}.",
            hint="Each line needs one number per column, written with a decimal point; is "
            "the line cut off, or are there decimal commas?",
        )
    return found


def _delimiter(header: str, rows: Sequence[str]) -> str:
    counts = {mark: header.count(mark) for mark in ",;\t"}
    best = max(counts, key=lambda mark: counts[mark])
    if best == "," and rows and counts["\t"] == counts[";"] == 0:
        # A header without a delimiter of its own, over rows with decimal commas?
        return "," if rows[0].count(",") >= 1 else " "
    return best if counts[best] else " "


def _fields(line: str, delimiter: str) -> list[str]:
    if delimiter == " ":
        return line.split()
    fields = next(csv.reader([line], delimiter=delimiter), [])
    if len(fields) == 1 and delimiter in fields[0]:  # the whole line was quoted once more
        fields = next(csv.reader([fields[0]], delimiter=delimiter), [])
    return [field.strip().strip('"').strip() for field in fields]


def _names_of_blank_table(line: str, n_columns: int) -> list[str]:
    for separator in (r"\s{2,}", r"\s+"):
        fields = re.split(separator, line.strip())
        if len(fields) == n_columns:
            return fields
    return line.split()


def _is_number(field: str) -> bool:
    return bool(_NUMBER.fullmatch(field.replace(",", ".", 1)))
