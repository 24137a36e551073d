"""The history of a run, ``history.jsonl``: one line of JSON for each report of numbers.

A line reads ``{"step": 120, "values": {"loss": 3.2, ...}}``; a number that does not exist is null.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decode_engine.contract.checking import strict_json
from decode_engine.io.atomic import atomic_path, explain_os_error

__all__ = ["HistoryEntry", "HistoryWriter", "read_history"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """Numbers by name that belong to one step."""

    step: int
    values: dict[str, float | None]


def read_history(path: Path) -> list[HistoryEntry]:
    """Return the entries in order; lines that a killed writer left unfinished are left out."""
    if not path.is_file():
        return []
    entries = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            content: Any = json.loads(line)
            entries.append(HistoryEntry(step=int(content["step"]), values=dict(content["values"])))
        except (ValueError, KeyError, TypeError):
            continue
    return entries


class HistoryWriter:
    """Appends to a history; each step and kind of report appears once, also after a resumption.

    Parameters
    ----------
    path : Path
    first_step : int
        Where the run goes on: later entries, written before a kill and about to be made again,
        are dropped. 0 starts anew. The file changes with the first new entry, not before.
    """

    def __init__(self, path: Path, first_step: int) -> None:
        self._path = path
        self._first_step = first_step
        self._seen: set[tuple[int, frozenset[str]]] | None = None

    def append(self, step: int, values: Mapping[str, float]) -> None:
        """Add an entry, unless this step has one of the same names."""
        try:
            if self._seen is None:
                self._seen = self._begin()
            key = (step, frozenset(values))
            if key in self._seen:
                return
            self._seen.add(key)
            with self._path.open("a", encoding="utf-8") as handle:
                handle.write(_line(step, values))
        except OSError as error:
            raise explain_os_error(error, self._path) from error

    def _begin(self) -> set[tuple[int, frozenset[str]]]:
        kept = [e for e in read_history(self._path) if 0 < e.step <= self._first_step]
        with atomic_path(self._path, overwrite=True) as temporary:
            temporary.write_text("".join(_line(e.step, e.values) for e in kept), encoding="utf-8")
        return {(e.step, frozenset(e.values)) for e in kept}


def _line(step: int, values: Mapping[str, float | None]) -> str:
    return f'{{"step": {step}, "values": {strict_json(values)}}}\n'
