"""The localizations that are looked at, read once and shared by the pages that show them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from decode_engine.domain.localizations import Localizations
from decode_engine.io.tables import read_any_localizations

__all__ = ["TableCache"]


@dataclass(frozen=True, slots=True)
class _Key:
    path: str
    mtime_ns: int
    size: int


class TableCache:
    """Keeps the last table that was read; ten million rows must not be in memory twice.

    Calls may come from any thread; two that want the same table read it once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: _Key | None = None
        self._table: Localizations | None = None

    def read(self, path: str, check: Callable[[], None] = lambda: None) -> Localizations:
        """Return the table of a file, from memory if the file has not changed since.

        Raises
        ------
        LocalizationsError
            If it cannot be read.
        """
        with self._lock:
            check()
            key = _key(path)
            if self._table is None or key is None or key != self._key:
                self._table = None  # freed before the next one is read
                self._table = read_any_localizations(Path(path))
                self._key = key
            return self._table

    def forget(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._key, self._table = None, None


def _key(path: str) -> _Key | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None  # the reader says what is wrong
    return _Key(path, status.st_mtime_ns, status.st_size)
