"""All dialects by name; recognising, reading and writing files through them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError, LocalizationsError
from decode_engine.io.dialects.base import (
    Dialect,
    ExportContext,
    FileSample,
    ImportedTable,
    Match,
    ReadOptions,
)
from decode_engine.io.dialects.mapping import is_table, unknown_table
from decode_engine.io.filetypes import describe_file_type
from decode_engine.io.localizations import read_localizations

__all__ = [
    "Recognised",
    "dialect",
    "dialects",
    "export_remarks",
    "read_table",
    "recognise",
    "recognise_all",
    "write_table",
]


class Recognised(NamedTuple):
    """A dialect and its claim."""

    dialect: Dialect
    match: Match


@functools.cache
def dialects() -> tuple[Dialect, ...]:
    """Return all dialects, those that can be written first.

    Imported when first asked for, so that opening one kind of file loads no library of another.
    A module lists its dialects in ``DIALECTS``; add it here.
    """
    from decode_engine.io.dialects import (
        challenge,
        decode_files,
        insight3,
        instruments,
        mapping,
        native,
        parquet,
        picasso,
        plain,
        rapidstorm,
        smap_csv,
        smap_sml,
        thunderstorm,
    )

    modules = (
        smap_sml,
        smap_csv,
        thunderstorm,
        picasso,
        decode_files,
        challenge,
        plain,
        parquet,
        instruments,
        rapidstorm,
        insight3,
        native,
        mapping,
    )
    found: list[Dialect] = [one for module in modules for one in module.DIALECTS]
    return tuple(sorted(found, key=lambda one: not one.can_write))


def dialect(name: str) -> Dialect:
    """Return a dialect by its name.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    for one in dialects():
        if one.name == name:
            return one
    raise ConfigError(
        f"There is no format {name!r}.",
        hint=f"The formats are {', '.join(one.name for one in dialects())}.",
    )


def recognise_all(path: Path) -> list[Recognised]:
    """Return every dialect that claims a file, the surest first."""
    sample = FileSample(path)
    found: list[Recognised] = []
    for one in dialects():
        match = one.recognise(sample) if one.can_read else None
        if match is not None:
            found.append(Recognised(one, match))
    return sorted(found, key=lambda claim: -claim.match.confidence)


def recognise(path: Path) -> Recognised | None:
    """Return the dialect of a file by its content, or None."""
    return next(iter(recognise_all(path)), None)


def read_table(path: Path, options: ReadOptions | None = None, *, name: str = "") -> ImportedTable:
    """Read a table of any program.

    Parameters
    ----------
    name : str
        Dialect; recognised by the content when empty.

    Raises
    ------
    LocalizationsError
        If the file cannot be read, or no dialect knows it.
    """
    options = options or ReadOptions()
    if name or options.mapping is not None:
        return dialect(name or "mapping").read(path, options)
    claim = recognise(path)
    if claim is None:
        sample = FileSample(path)
        layout = is_table(sample) if sample.is_text else None
        if layout is not None:
            raise unknown_table(layout)
        if sample.kind in ("hdf5", "folder"):
            read_localizations(path)  # says what is wrong with it
        raise LocalizationsError(
            f"{path} is {describe_file_type(path)}, not a table of localizations that is known.",
            hint="For a table of an unknown program, say which column means what (--mapping)."
            if sample.is_text
            else "Save it in a form that is known: SMAP, ThunderSTORM, Picasso, DECODE or CSV.",
        )
    return claim.dialect.read(path, options)


def write_table(
    name: str,
    path: Path,
    table: Localizations,
    context: ExportContext | None = None,
    *,
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a table in a program's format; return all files written, ``path`` first."""
    chosen = dialect(name)
    if not chosen.can_write:
        raise ConfigError(
            f"{chosen.title} can be read but not written.",
            hint=f"Choose one of {', '.join(d.name for d in dialects() if d.can_write)}.",
        )
    return chosen.write(path, table, context or ExportContext(), overwrite=overwrite)


def export_remarks(
    name: str, table: Localizations, context: ExportContext | None = None
) -> tuple[str, ...]:
    """Return what is to be said about an export: rows its program will drop, values made up.

    A dialect that has something to say has a method ``remarks(table, context)``.
    """
    remarks = getattr(dialect(name), "remarks", None)
    return () if remarks is None else tuple(remarks(table, context or ExportContext()))
