"""What all dialects of text share: finding columns by name, and saying what is missing."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError
from decode_engine.io.delimited import WORKBOOK, Delimited, layout_of, read_numbers, split_unit
from decode_engine.io.dialects.base import FileSample, Guess

__all__ = [
    "choose",
    "has_names",
    "layout_guesses",
    "missing_column",
    "read_columns",
    "require_layout",
    "unused",
]


def require_layout(path: Path, example: str) -> Delimited:
    """Return the layout of a table that must be one.

    Raises
    ------
    LocalizationsError
        If the file is empty or no text; ``example`` is a first line as it should be.
    """
    sample = FileSample(path)
    if path.is_dir() or (sample.head and not sample.is_text):
        raise LocalizationsError(
            f"{path} is not a text file.", hint="Give a table of text (.csv, .txt)."
        )
    layout = layout_of(path, sample.lines, encoding=sample.encoding)
    if layout is None:
        raise LocalizationsError(
            f"{path} is empty.", hint=f"The first line must name the columns ({example})."
        )
    return layout


def has_names(sample: FileSample, *groups: Sequence[str]) -> Delimited | None:
    """Return the layout if its header has, of each group, one of the names (units aside)."""
    if not sample.is_text:
        return None
    layout = layout_of(sample.path, sample.lines, encoding=sample.encoding)
    if layout is None or not layout.names:
        return None
    present = {split_unit(name)[0].lower() for name in layout.names}
    present |= {name.lower() for name in layout.names}
    if all(any(name.lower() in present for name in group) for group in groups):
        return layout
    return None


def choose(layout: Delimited, wanted: Mapping[str, Sequence[str]]) -> dict[str, int]:
    """Return the position of the column of each of our names; the first spelling found wins.

    Raises
    ------
    LocalizationsError
        If a column is there twice.
    """
    plain = [split_unit(name)[0].lower() for name in layout.names]
    exact = [name.lower() for name in layout.names]
    chosen: dict[str, int] = {}
    for ours, spellings in wanted.items():
        for spelling in spellings:
            names = exact if spelling.lower() in exact else plain
            count = names.count(spelling.lower())
            if count > 1:
                raise LocalizationsError(
                    f"{layout.path} has the column {spelling!r} {count} times.",
                    hint="Rename or remove all but the one that is meant.",
                )
            if count:
                chosen[ours] = names.index(spelling.lower())
                break
    return chosen


def read_columns(layout: Delimited, chosen: Mapping[str, int]) -> dict[str, NDArray[Any]]:
    """Read the chosen columns as float64, under our names."""
    numbers = read_numbers(layout, sorted(set(chosen.values())))
    columns: dict[str, NDArray[Any]] = {}
    for ours, position in chosen.items():
        taken = any(values is numbers[position] for values in columns.values())
        columns[ours] = np.array(numbers[position]) if taken else numbers[position]
    return columns


def missing_column(layout: Delimited, wanted: str, spellings: Sequence[str]) -> LocalizationsError:
    """Return the error for a column that is not there, with the nearest candidates."""
    others = {spec.name for spec in Localizations.specs()} - {wanted}
    near: dict[str, float] = {}
    for name in layout.names:
        plain = split_unit(name)[0].lower()
        if not plain or plain in others:
            continue
        ratios = [difflib.SequenceMatcher(None, s.lower(), plain).ratio() for s in spellings]
        # A name with the same first letter is likelier meant than another of the same length.
        near[name] = max(ratios) + (0.3 if plain[0] == wanted[0] else 0.0)
    similar = [name for name in sorted(near, key=lambda n: -near[n]) if near[name] >= 0.4][:3]
    found = f"the nearest are {', '.join(map(repr, similar))}" if similar else "nothing is alike"
    return LocalizationsError(
        f"{layout.path} has no column {spellings[0]!r}; {found}.",
        hint="Rename the column if it means the same, or say which column means what with a "
        "column mapping (--mapping).",
        detail=f"columns: {', '.join(layout.names)}",
    )


def layout_guesses(layout: Delimited) -> tuple[Guess, ...]:
    """Say where a text is not UTF-8, and where commas were taken for decimal points."""
    commas: tuple[Guess, ...] = ()
    if layout.decimal_comma:
        words = {";": "semicolons", "\t": "tabs", " ": "blanks"}
        why = f"columns are separated by {words.get(layout.delimiter, repr(layout.delimiter))}"
        commas = (Guess("decimal mark", "comma", why),)
    if layout.encoding in ("utf-8-sig", WORKBOOK):
        return commas
    word = "UTF-16" if layout.encoding == "utf-16" else "Western Windows (cp1252)"
    why = "by its mark" if layout.encoding == "utf-16" else "it is not valid UTF-8"
    return (Guess("encoding", word, why), *commas)


def unused(layout: Delimited, chosen: Mapping[str, int]) -> list[str]:
    """Return the names of the columns that were not chosen."""
    taken = set(chosen.values())
    return [name for i, name in enumerate(layout.names) if i not in taken and name]
