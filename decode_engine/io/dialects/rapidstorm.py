"""rapidSTORM's text: one line of XML that names each field, its meaning and its unit.

0 is the centre of the first pixel: the extent that the header states for a camera of 128 pixels
is 127 pixel sizes. Frames count from 0. Amplitudes are A/D counts, not photons.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.delimited import Delimited
from decode_engine.io.dialects.assembly import Source, assemble
from decode_engine.io.dialects.base import (
    ExportContext,
    FileSample,
    Guess,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.convention import OURS
from decode_engine.io.dialects.text import read_columns

__all__ = ["DIALECTS", "RapidStorm"]

_START = "# <localizations"
_AXES = {"X": "x_nm", "Y": "y_nm", "Z": "z_nm"}
_NM = {"nanometer": 1.0, "micrometer": 1000.0, "meter": 1e9}
_PHOTONS = ("photon", "photons")


class RapidStorm:
    """Fields separated by blanks under a header in XML."""

    name = "rapidstorm"
    title = "rapidSTORM table"
    words = "Text of rapidSTORM, whose first line describes the columns."
    suffix = ".txt"
    can_read = True
    can_write = False
    needs_pixel_size = False

    def recognise(self, sample: FileSample) -> Match | None:
        """Claim texts that begin with rapidSTORM's header."""
        if not sample.head.startswith(_START.encode()):
            return None
        return Match(confidence=95, why="its first line is rapidSTORM's description of fields")

    def read(self, path: Path, options: ReadOptions) -> ImportedTable:
        """Read positions, frames, uncertainties; brightness only where it is in photons."""
        fields = _fields(path)
        layout = Delimited(
            path=path,
            names=tuple(f.get("identifier", "") for f in fields),
            delimiter=" ",
            n_columns=len(fields),
        )
        found = _understood(fields)
        chosen, scale = found.chosen, found.scale
        _require(path, chosen)
        columns = read_columns(layout, chosen)
        columns = {name: values * scale.get(name, 1.0) for name, values in columns.items()}
        guesses = (
            Guess("origin", "centre of the first pixel", "by the extent that the header states"),
            Guess("first frame", "0", "rapidSTORM counts from 0"),
        )
        taken = set(chosen.values())
        source = Source(
            dialect=self.name,
            guesses=guesses,
            notes=found.notes,
            unused=[f.get("semantic", "") for i, f in enumerate(fields) if i not in taken],
            n_header_lines=1,
        )
        return assemble(columns, OURS, options, source)

    def write(
        self, path: Path, table: Localizations, context: ExportContext, *, overwrite: bool
    ) -> tuple[Path, ...]:
        """Not possible."""
        del path, table, context, overwrite
        raise ConfigError(
            "A rapidSTORM table can be read but not written.", hint="Choose another format."
        )


def _fields(path: Path) -> list[ElementTree.Element]:
    with path.open("r", encoding="utf-8", errors="replace") as file:
        header = file.readline()
    text = header.lstrip("# ").strip()
    if "<!" in text:  # neither entities nor document types belong here
        raise LocalizationsError(f"The first line of {path} is not rapidSTORM's.", hint="")
    try:
        return list(ElementTree.fromstring(text).iter("field"))
    except ElementTree.ParseError as error:
        raise LocalizationsError(
            f"The first line of {path} is not rapidSTORM's description of fields.",
            hint="Export the table again, or read it by a column mapping (--mapping).",
            detail=str(error),
        ) from error


class _Understood(NamedTuple):
    chosen: dict[str, int]
    scale: dict[str, float]  # to nm
    notes: tuple[str, ...]


def _understood(fields: Sequence[ElementTree.Element]) -> _Understood:
    """Return which field is which of our columns; brightness only where it is in photons."""
    chosen: dict[str, int] = {}
    scale: dict[str, float] = {}
    notes: list[str] = []
    for position, one in enumerate(fields):
        semantic, unit = one.get("semantic", ""), one.get("unit", "")
        ours = _meaning(semantic)
        if ours is None or ours in chosen:
            continue
        if ours in ("photons", "background"):
            if unit not in _PHOTONS:
                notes.append(
                    f"{semantic.capitalize()} is in {unit or 'no unit'}, not in photons, and was "
                    "left out; read it by a column mapping with a scale to keep it."
                )
                continue
        elif ours != "frame":
            if unit not in _NM:
                raise LocalizationsError(
                    f"The unit {unit!r} of {semantic!r} is not a length that is known.",
                    hint="Known are nanometer, micrometer and meter.",
                )
            scale[ours] = _NM[unit]
        chosen[ours] = position
    return _Understood(chosen, scale, tuple(notes))


def _meaning(semantic: str) -> str | None:
    """Return our column of a field by what rapidSTORM says it means."""
    axis = re.search(r"in sample space in ([XYZ])$", semantic)
    if axis and semantic.startswith("position in"):
        return _AXES[axis.group(1)]
    if axis and "uncertainty" in semantic:
        return "sigma_" + _AXES[axis.group(1)]
    return {
        "frame number": "frame",
        "emission strength": "photons",
        "local background": "background",
    }.get(semantic)


def _require(path: Path, chosen: dict[str, int]) -> None:
    for name in ("frame", "x_nm", "y_nm"):
        if name not in chosen:
            raise LocalizationsError(
                f"{path} has no field that means {name.removesuffix('_nm')!r}.",
                hint="Export positions and frame numbers from rapidSTORM.",
            )


DIALECTS = (RapidStorm(),)
