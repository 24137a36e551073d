"""Micro-Manager's NDTiff: TIFF files whose frames are listed in ``NDTiff.index``.

Each entry of the index is, little endian: length and text of the axes (JSON), length and text
of the file name, then eight 32-bit numbers: pixel offset, width, height, pixel type, pixel
compression, metadata offset, metadata length, metadata compression (public specification of
the micro-manager/NDStorage project). Files stay below 4 GB.
"""

from __future__ import annotations

import json
import struct
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies.source import BaseSource, vanished
from decode_engine.io.movies.tiff import fill_from
from decode_engine.io.movies.tiff_metadata import describe_tiff
from decode_engine.io.movies.tiff_pages import TiffPages

__all__ = ["INDEX_NAME", "NdTiffSource"]

INDEX_NAME = "NDTiff.index"
_TYPES = {0: "u1", 1: "u2", 3: "u2", 4: "u2", 5: "u2", 6: "u2"}  # 2 is RGB
_FLAGS = {"channel": " (--movie-channel)", "z": " (--z-slice)"}
_AXIS_WORDS = {"channel": "channels", "z": "z slices", "position": "positions"}


class NdTiffSource(BaseSource):
    """An NDTiff data set of one channel, slice and position; time is the movie's axis."""

    def __init__(
        self,
        folder: Path,
        *,
        channel: int | None = None,
        z_slice: int | None = None,
    ) -> None:
        super().__init__(folder)
        self._choice = {"channel": channel, "z": z_slice}
        self._handles: dict[int, BinaryIO] = {}
        self._load()
        first = folder / self._files[self._file_of[0]]
        pages = TiffPages(first)
        found = describe_tiff(pages).metadata
        # The index says which frames there are; the notes of one file are about that file.
        self._metadata = replace(found, kind="Micro-Manager NDTiff", announced_frames=None)
        pages.close()

    def _load(self) -> None:
        entries = _read_index(self._path / INDEX_NAME)
        if not entries:
            raise MovieError(
                f"{self._path / INDEX_NAME} lists no frames.",
                hint="The recording is empty; choose another.",
            )
        entries = self._select(entries)
        layouts = {(width, height, kind) for _, _, _, width, height, kind in entries}
        if len(layouts) > 1:
            raise MovieError(
                f"The frames of {self._path.name} differ in size or type: {sorted(layouts)}.",
                hint="A movie has frames of one size.",
            )
        self._width_px, self._height_px, kind = layouts.pop()
        if kind not in _TYPES:
            raise MovieError(
                f"{self._path.name} is a colour recording (pixel type {kind}).",
                hint="Record or save grey frames of the camera.",
            )
        self._dtype = np.dtype(_TYPES[kind])
        self._files = sorted({name for _, name, *_ in entries})
        index = {name: i for i, name in enumerate(self._files)}
        self._file_of = array("i", (index[name] for _, name, *_ in entries))
        self._offsets = array("q", (offset for _, _, offset, *_ in entries))
        self._n_frames = len(entries)

    def _select(self, entries: list[_Entry]) -> list[_Entry]:
        """Keep the frames of one channel, slice and position, in order of time."""
        values: dict[str, dict[Any, None]] = {}  # of each axis, in order of appearance
        for axes, *_ in entries:
            for axis, value in axes.items():
                values.setdefault(axis, {})[value] = None
        many = {axis: list(found) for axis, found in values.items() if len(found) > 1}
        moving = "time" if "time" in many or len(many) != 1 or "z" not in many else "z"
        for axis, found in many.items():
            if axis == moving:
                continue
            chosen = self._choice.get(axis)
            if chosen is None or not 0 <= chosen < len(found):
                raise MovieError(
                    f"{self._path.name} has {len(found)} {_AXIS_WORDS.get(axis, axis)}: "
                    f"{', '.join(str(v) for v in found[:8])}.",
                    hint=f"Choose one{_FLAGS.get(axis, '')}, or save each as a movie of its own.",
                )
            entries = [e for e in entries if e[0].get(axis) == found[chosen]]
        return sorted(entries, key=lambda entry: int(entry[0].get(moving, 0)))

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self._height_px, self._width_px), self._dtype)
        little = self._dtype.newbyteorder("<")
        for row, frame in enumerate(range(start, stop)):
            handle = self._handle(self._file_of[frame])
            try:
                fill_from(handle, self._offsets[frame], out[row : row + 1], little)
            except EOFError as error:
                raise vanished(self._path, f"frame {frame} lies beyond its file") from error
        return out

    def _handle(self, file: int) -> BinaryIO:
        path = self._path / self._files[file]
        if not path.exists():
            raise vanished(path)
        if file not in self._handles:
            self.close()
            self._handles[file] = path.open("rb", buffering=0)
        return self._handles[file]

    def refresh(self) -> int:
        """Read the index again; return the number of frames."""
        with self._lock:
            self._load()
        return self._n_frames

    def close(self) -> None:
        """Release the files."""
        while self._handles:
            self._handles.popitem()[1].close()


_Entry = tuple[dict[str, Any], str, int, int, int, int]  # axes, file, offset, width, height, type


def _read_index(path: Path) -> list[_Entry]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise vanished(path, str(error)) from error
    entries: list[_Entry] = []
    position = 0
    while position < len(raw):
        try:
            axes, position = _text(raw, position)
            name, position = _text(raw, position)
            numbers = struct.unpack_from("<8I", raw, position)
        except (struct.error, UnicodeDecodeError):
            break  # the last entry is still being written
        position += 32
        entries.append((json.loads(axes), name, numbers[0], numbers[1], numbers[2], numbers[3]))
    return entries


def _text(raw: bytes, position: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("<I", raw, position)
    start = position + 4
    if start + length > len(raw):
        raise struct.error
    return raw[start : start + length].decode(), start + length
