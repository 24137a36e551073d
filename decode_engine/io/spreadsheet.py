"""The first sheet of an Excel workbook (.xlsx) as lines of text separated by tabs.

A workbook is a ZIP of XML. Tables of localizations are plain numbers under one line of names;
formulas count by their last result, formats do not matter.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from html import unescape
from pathlib import Path

from decode_engine.errors import LocalizationsError

__all__ = ["is_workbook", "sheet_lines"]

_LARGEST_SHEET_BYTES = 1 << 31
_BLOCK_BYTES = 1 << 22
_SHEET = re.compile(rb"<sheet\b[^>]*\br:id=\"([^\"]+)\"")
_RELATION = re.compile(rb"<Relationship\b[^>]*>")
_ROW = re.compile(rb"<row\b[^>]*?(?:/>|>(.*?)</row>)", re.S)
_CELL = re.compile(rb"<c\b([^>]*?)(?:/>|>(.*?)</c>)", re.S)
_PLACE = re.compile(rb"\br=\"([A-Z]+)\d+\"")
_KIND = re.compile(rb"\bt=\"(\w+)\"")
_VALUE = re.compile(rb"<v\b[^>]*>(.*?)</v>", re.S)
_TEXT = re.compile(rb"<t\b[^>]*>(.*?)</t>", re.S)
_STRING = re.compile(rb"<si\b[^>]*?(?:/>|>(.*?)</si>)", re.S)
_BLANKS = re.compile(r"[\t\r\n]+")


def is_workbook(path: Path) -> bool:
    """Whether a file is a workbook, by its content."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "xl/workbook.xml" in archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return False


def sheet_lines(path: Path) -> Iterator[str]:
    """Yield the rows of the first sheet, cells separated by tabs.

    Raises
    ------
    LocalizationsError
        If the workbook is damaged, or its sheet is far larger than Excel's.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            name = _first_sheet(archive)
            if archive.getinfo(name).file_size > _LARGEST_SHEET_BYTES:
                raise LocalizationsError(
                    f"The sheet of {path} is too large.", hint="Save it as CSV and give that."
                )
            strings = _strings(archive)
            for row in _rows(archive, name):
                yield _line(row, strings)
    except (OSError, zipfile.BadZipFile, KeyError, IndexError, ValueError) as error:
        raise LocalizationsError(
            f"{path} is a workbook that cannot be read.",
            hint="Save the sheet as CSV and give that.",
            detail=str(error),
        ) from error


def _first_sheet(archive: zipfile.ZipFile) -> str:
    """Return the member of the sheet that stands first in the workbook."""
    identity = _SHEET.findall(archive.read("xl/workbook.xml"))[0]
    for relation in _RELATION.findall(archive.read("xl/_rels/workbook.xml.rels")):
        if b'Id="' + identity + b'"' in relation:
            target = re.findall(rb"Target=\"([^\"]+)\"", relation)[0].decode()
            return target.lstrip("/") if target.startswith("/") else f"xl/{target}"
    raise KeyError(identity.decode())


def _strings(archive: zipfile.ZipFile) -> list[str]:
    if "xl/sharedStrings.xml" not in archive.namelist():
        return []
    found = _STRING.findall(archive.read("xl/sharedStrings.xml"))
    return [_plain(b"".join(_TEXT.findall(one))) for one in found]


def _rows(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """Yield the content of each row, reading the sheet piece by piece."""
    rest = b""
    with archive.open(name) as sheet:
        while block := sheet.read(_BLOCK_BYTES):
            rest += block
            end = 0
            for match in _ROW.finditer(rest):
                yield match.group(1) or b""
                end = match.end()
            rest = rest[end:]


def _line(row: bytes, strings: list[str]) -> str:
    cells: list[str] = []
    for about, content in _CELL.findall(row):
        place = _PLACE.search(about)
        column = _column(place.group(1)) if place else len(cells)
        cells += [""] * (column - len(cells))  # Excel leaves out empty cells
        cells.append(_cell(about, content, strings))
    return "\t".join(cells) if any(cells) else ""


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - ord("A") + 1
    if number > 16_384:
        raise ValueError("a column beyond Excel's last")
    return number - 1


def _cell(about: bytes, content: bytes, strings: list[str]) -> str:
    kind = _KIND.search(about)
    if kind is not None and kind.group(1) == b"inlineStr":
        return _plain(b"".join(_TEXT.findall(content)))
    value = _VALUE.search(content)
    if value is None:
        return ""
    if kind is not None and kind.group(1) == b"s":
        return strings[int(value.group(1))]
    if kind is not None and kind.group(1) == b"e":
        return ""  # an error such as #DIV/0!
    return _plain(value.group(1))


def _plain(text: bytes) -> str:
    return _BLANKS.sub(" ", unescape(text.decode("utf-8"))).strip()
