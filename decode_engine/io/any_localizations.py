"""The localizations of any file that is known, whatever program wrote it."""

from __future__ import annotations

from pathlib import Path

from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.registry import read_table

__all__ = ["read_any_localizations"]


def read_any_localizations(path: Path) -> Localizations:
    """Read the localizations of a file, recognised by its content.

    That is our HDF5 file (finished or not), our CSV, and the tables of other programs
    (`decode_engine.io.dialects`).

    Raises
    ------
    LocalizationsError
        If the file cannot be read, or no program's table is recognised in it.
    """
    return read_table(path).table
