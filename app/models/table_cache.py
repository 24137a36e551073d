"""The localizations that are looked at, read once and shared by the pages that show them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import LocalizationsError

if TYPE_CHECKING:
    from decode_engine.io.dialects.base import ImportedTable

__all__ = ["PIXEL_SIZE_MISSING", "TableCache"]

PIXEL_SIZE_MISSING = "pixel_size_missing"  # the engine's code of what the camera can mend

PixelSize = tuple[float, float]


@dataclass(frozen=True, slots=True)
class _Key:
    path: str
    mtime_ns: int
    size: int


class _PixelSizeMissing(LocalizationsError):
    code = PIXEL_SIZE_MISSING


class TableCache:
    """Keeps the last table that was read; ten million rows must not be in memory twice.

    Calls may come from any thread; two that want the same table read it once.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: _Key | None = None
        self._table: Localizations | None = None
        self._assumed_nm: PixelSize | None = None
        self._about: tuple[str, tuple[str, ...], PixelSize | None] = ("", (), None)

    def read(
        self,
        path: str,
        check: Callable[[], None] = lambda: None,
        camera: CameraConfig | None = None,
    ) -> Localizations:
        """Return the table of a file, from memory if the file has not changed since.

        The pixel size of ``camera`` is taken for a table that needs one and does not say it
        (Picasso's without its .yaml).

        Raises
        ------
        LocalizationsError
            If it cannot be read; `PIXEL_SIZE_MISSING` is its code if a camera would help.
        """
        with self._lock:
            check()
            key, size_nm = _key(path), _pixel_size_nm(camera)
            other = self._assumed_nm is not None and self._assumed_nm != size_nm
            if self._table is None or key is None or key != self._key or other:
                self._table = None  # freed before the next one is read
                imported, self._assumed_nm = _read(Path(path), size_nm)
                self._table, self._key = imported.table, key
                self._about = (path, _remarks(imported, self._assumed_nm), self._assumed_nm)
            return self._table

    def remarks(self, path: str) -> tuple[str, ...]:
        """Return what was assumed and left out when a table was read, in sentences."""
        about = self._about
        return about[1] if about[0] == path else ()

    def assumed_pixel_size_nm(self, path: str) -> PixelSize | None:
        """Return the camera's pixel size (x, y) if a table was read with it."""
        about = self._about
        return about[2] if about[0] == path else None

    def forget(self) -> None:
        """Give the memory back."""
        with self._lock:
            self._key, self._table = None, None


def _pixel_size_nm(camera: CameraConfig | None) -> PixelSize | None:
    if camera is None:
        return None
    return camera.pixel_size_x_nm, camera.pixel_size_y_nm or camera.pixel_size_x_nm


def _read(path: Path, size_nm: PixelSize | None) -> tuple[ImportedTable, PixelSize | None]:
    # All readers: a slow import, not at the start of the app.
    from decode_engine.io.dialects.base import ReadOptions
    from decode_engine.io.dialects.convention import PixelSizeMissingError
    from decode_engine.io.dialects.registry import read_table

    try:
        return read_table(path), None
    except PixelSizeMissingError as error:
        if size_nm is None:
            raise _PixelSizeMissing(
                f"{path.name} counts in camera pixels and does not say how large they are.",
                hint="Set the pixel size on the Camera page, or put the file that says it (the "
                ".yaml of Picasso) beside it; then open it again.",
                detail=str(error),
            ) from error
    options = ReadOptions(pixel_size_x_nm=size_nm[0], pixel_size_y_nm=size_nm[1])
    return read_table(path, options), size_nm


def _remarks(imported: ImportedTable, assumed_nm: PixelSize | None) -> tuple[str, ...]:
    said = []
    if assumed_nm is not None:
        size = " x ".join(f"{value:g}" for value in dict.fromkeys(assumed_nm))
        said.append(f"The pixel size is that of the Camera page, {size} nm: the file has none.")
    said += [f"Assumed {guess.field}: {guess.value} ({guess.why})." for guess in imported.guesses]
    for reason, count in imported.n_dropped.items():
        rows = "1 row was" if count == 1 else f"{count:,} rows were"
        said.append(f"{rows} left out: {reason}.")
    return tuple(said)


def _key(path: str) -> _Key | None:
    try:
        status = Path(path).stat()
    except OSError:
        return None  # the reader says what is wrong
    return _Key(path, status.st_mtime_ns, status.st_size)
