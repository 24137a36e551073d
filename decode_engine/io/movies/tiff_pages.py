"""The pages of a TIFF file: where each frame lies, found with little memory.

A movie may have millions of pages. This module walks the chain of image file directories and
keeps two 64-bit numbers a page, nothing else; it reads classic TIFF and BigTIFF of either
byte order (TIFF 6.0, Adobe 1992; BigTIFF, Aperio/LibTIFF 2007). It stops, and says so, where
a file was cut off or is still being written, and can go on from there later.
"""

from __future__ import annotations

import struct
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError

__all__ = ["NOT_CONTIGUOUS", "PageLayout", "TiffPages"]

NOT_CONTIGUOUS = -1  # data offset of a page that needs decoding
_WINDOW_BYTES = 8192
_MAX_TAGS = 4096
# Bytes per value of each TIFF field type.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}
_TYPE_BYTES |= {13: 4, 16: 8, 17: 8, 18: 8}
_INTEGER_CODES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_KINDS = {1: "u", 2: "i", 3: "f"}
# Tags that must be the same in all pages: width, length, bits, compression, samples, format.
_LAYOUT_TAGS = (256, 257, 258, 259, 277, 339)

Tag = tuple[int, int, bytes]  # type, count, value or offset
Tags = dict[int, list[Tag]]


@dataclass(frozen=True, slots=True, kw_only=True)
class PageLayout:
    """Size and pixel type of a page; ``dtype`` carries the file's byte order."""

    width_px: int
    height_px: int
    dtype: np.dtype[Any]
    compression: int
    samples: int
    photometric: int
    packed: bool  # pixels do not fill whole bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes of the uncompressed page."""
        return self.width_px * self.height_px * self.dtype.itemsize


class _CutError(Exception):
    """The file ends before the thing asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    """Recognises pages that differ from the first only in where their pixels lie.

    Nearly all pages of nearly all movies do, and comparing bytes is several times faster than
    taking each directory apart.
    """

    n_bytes: int  # of the entries of a directory
    fixed: tuple[tuple[int, int, bytes], ...]  # start, stop and content of what must be alike
    offset: struct.Struct
    offset_at: int
    count: struct.Struct
    count_at: int
    frame_bytes: int

    @classmethod
    def of(cls, raw: bytes, entry: struct.Struct, layout: PageLayout) -> _Pattern | None:
        """Return the pattern of a page whose pixels are one uncompressed strip, else None."""
        order = entry.format[:1]
        fixed: list[tuple[int, int, bytes]] = []
        values: dict[int, tuple[struct.Struct, int]] = {}
        for index, (code, kind, count, value) in enumerate(entry.iter_unpack(raw)):
            start, stop = index * entry.size, (index + 1) * entry.size
            if code in (273, 279) and count == 1 and kind in _INTEGER_CODES:
                stop -= len(value)
                values[code] = (struct.Struct(order + _INTEGER_CODES[kind]), stop)
            elif code not in _LAYOUT_TAGS and code != 254:
                continue
            fixed.append((start, stop, raw[start:stop]))
        plain = layout.compression == 1 and layout.samples == 1 and not layout.packed
        if set(values) != {273, 279} or not plain:
            return None
        (offset, offset_at), (count_struct, count_at) = values[273], values[279]
        return cls(
            n_bytes=len(raw),
            fixed=tuple(fixed),
            offset=offset,
            offset_at=offset_at,
            count=count_struct,
            count_at=count_at,
            frame_bytes=layout.frame_bytes,
        )

    def match(self, raw: bytes) -> tuple[int, int] | None:
        """Return offset and length of the pixels, or None for a page of another kind."""
        if len(raw) != self.n_bytes:
            return None
        for start, stop, expected in self.fixed:
            if raw[start:stop] != expected:
                return None
        count = int(self.count.unpack_from(raw, self.count_at)[0])
        if count < self.frame_bytes:
            return None
        return int(self.offset.unpack_from(raw, self.offset_at)[0]), count


class TiffPages:
    """Walks the pages of one file.

    Attributes
    ----------
    layout : PageLayout
        Layout of the first page, which all pages share.
    ifd_offsets, data_offsets : array of int64
        Per page: where its directory lies, where its pixels lie (`NOT_CONTIGUOUS` if they are
        compressed or scattered).
    cut : bool
        The chain ends in a page that is not (yet) whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.handle: BinaryIO = path.open("rb", buffering=0)
        self._window = b""
        self._window_start = 0
        self.ifd_offsets = array("q")
        self.data_offsets = array("q")
        self.cut = False
        try:
            self._read_header()
            raw, _ = self._raw_ifd(self._next_ifd())
            self._first_tags = self._tags(raw)
            self.layout = self._layout(self._first_tags)
            self._pattern = _Pattern.of(raw, self._entry, self.layout)
            self.extend()
        except _CutError as error:
            self.handle.close()
            raise MovieError(
                f"{path} ends before its first frame ({path.stat().st_size} bytes).",
                hint="The file was cut off; copy or export it again.",
            ) from error
        except BaseException:
            self.handle.close()
            raise

    def __len__(self) -> int:
        return len(self.ifd_offsets)

    def close(self) -> None:
        """Close the file."""
        self.handle.close()

    @property
    def size(self) -> int:
        """Bytes of the file when it was last looked at."""
        return self._size

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes of the file, fewer where it is shorter."""
        return self._bytes(0, min(n_bytes, self._size))

    def extend(self) -> int:
        """Walk on from the last whole page; return how many pages are known."""
        self._window = b""  # what was read before may be stale in a growing file
        self._size = self.path.stat().st_size
        self.cut = False
        try:
            while offset := self._next_ifd():
                self._append(offset)
        except _CutError:
            self.cut = True
        return len(self)

    def text(self, code: int, *, limit: int = 1 << 16, tags: Tags | None = None) -> list[str]:
        """Return the first ``limit`` bytes of each text in the first page's tag ``code``."""
        texts = []
        for kind, count, value in (self._first_tags if tags is None else tags).get(code, ()):
            n_bytes = min(count * _TYPE_BYTES.get(kind, 1), limit)
            try:
                raw = self._payload(n_bytes, value)
            except _CutError:
                continue
            texts.append(raw.split(b"\0", 1)[0].decode("utf-8", "replace"))
        return texts

    def rational(self, code: int) -> float | None:
        """Return the first page's rational tag ``code``, or None."""
        for kind, _, value in self._first_tags.get(code, ()):
            if kind == 5:
                try:
                    top, bottom = struct.unpack(self._order + "II", self._payload(8, value))
                except _CutError:
                    return None
                return top / bottom if bottom else None
        return None

    def integer(self, code: int, default: int) -> int:
        """Return the first page's integer tag ``code``."""
        return self._integer(self._first_tags, code, default)

    def _read_header(self) -> None:
        self._size = self.path.stat().st_size
        head = self._bytes(0, 8)
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        version = struct.unpack(self._order + "H", head[2:4])[0] if self._order else 0
        if version not in (42, 43):
            raise MovieError(f"{self.path} is not a TIFF file.", hint="Open a movie file.")
        big = version == 43
        self._entry = struct.Struct(self._order + ("HHQ8s" if big else "HHI4s"))
        self._count = struct.Struct(self._order + ("Q" if big else "H"))
        self._pointer = struct.Struct(self._order + ("Q" if big else "I"))
        self._next_position = 8 if big else 4

    def _next_ifd(self) -> int:
        raw = self._bytes(self._next_position, self._pointer.size)
        return int(self._pointer.unpack(raw)[0])

    def _bytes(self, offset: int, n_bytes: int) -> bytes:
        """Return bytes of the file through a small window, so that a walk makes few calls."""
        if offset < 0 or offset + n_bytes > self._size:
            raise _CutError
        start = offset - self._window_start
        if start < 0 or start + n_bytes > len(self._window):
            self.handle.seek(offset)
            self._window = self.handle.read(max(n_bytes, _WINDOW_BYTES))
            self._window_start, start = offset, 0
            if len(self._window) < n_bytes:
                raise _CutError
        return self._window[start : start + n_bytes]

    def _payload(self, n_bytes: int, value: bytes) -> bytes:
        if n_bytes <= len(value):
            return value[:n_bytes]
        return self._bytes(self._pointer.unpack(value)[0], n_bytes)

    def _raw_ifd(self, offset: int) -> tuple[bytes, int]:
        """Return the entries at ``offset`` and the position of the pointer to the next."""
        n_tags = int(self._count.unpack(self._bytes(offset, self._count.size))[0])
        if not 0 < n_tags <= _MAX_TAGS:
            raise _CutError  # zeros or garbage where a directory was announced
        start = offset + self._count.size
        raw = self._bytes(start, n_tags * self._entry.size)
        return raw, start + len(raw)

    def _tags(self, raw: bytes) -> Tags:
        tags: Tags = {}
        for code, kind, count, value in self._entry.iter_unpack(raw):
            tags.setdefault(code, []).append((kind, count, value))
        return tags

    def _integer(self, tags: Tags, code: int, default: int) -> int:
        values = self._integers(tags, code)
        return int(values[0]) if values.size else default

    def _integers(self, tags: Tags, code: int) -> NDArray[np.int64]:
        for kind, count, value in tags.get(code, ()):
            if kind in _INTEGER_CODES and count:
                dtype = np.dtype(self._order + _INTEGER_CODES[kind])
                raw = self._payload(count * dtype.itemsize, value)
                return np.frombuffer(raw, dtype).astype(np.int64)
        return np.empty(0, np.int64)

    def _layout(self, tags: Tags) -> PageLayout:
        bits = self._integer(tags, 258, 1)
        kind = _KINDS.get(self._integer(tags, 339, 1), "")
        n_bytes = bits // 8 if bits >= 8 else 1
        if not kind or n_bytes not in (1, 2, 4, 8) or (kind == "f" and n_bytes < 2):
            raise MovieError(
                f"{self.path} has {bits}-bit pixels of TIFF sample format "
                f"{self._integer(tags, 339, 1)}, which no camera movie has.",
                hint="Save the movie as 16-bit grey TIFF.",
            )
        if bits % 8:  # packed bits (12-bit cameras): decoded into the next larger type
            n_bytes = 1 if bits < 8 else 2 if bits < 16 else 4
        return PageLayout(
            width_px=self._integer(tags, 256, 0),
            height_px=self._integer(tags, 257, 0),
            dtype=np.dtype(f"{self._order}{kind}{n_bytes}"),
            compression=self._integer(tags, 259, 1),
            samples=self._integer(tags, 277, 1),
            photometric=self._integer(tags, 262, 1),
            packed=bits not in (8, 16, 32, 64),
        )

    def _append(self, offset: int) -> None:
        """Take in the page at ``offset``; raise `_CutError` if it is not whole."""
        raw, position = self._raw_ifd(offset)
        if self._pattern is not None and (found := self._pattern.match(raw)) is not None:
            data, count = found  # a page like the first: nearly all pages of nearly all movies
            if data + count > self._size or data == 0:
                raise _CutError
            self._take(offset, data, position)
            return
        self._append_unlike(offset, self._tags(raw), position)

    def _append_unlike(self, offset: int, tags: Tags, next_position: int) -> None:
        if self._integer(tags, 254, 0) & 1:  # a reduced-size preview, not a frame
            self._next_position = next_position
            return
        self._require_same_layout(tags)
        offsets = self._integers(tags, 324 if 324 in tags else 273)
        counts = self._integers(tags, 325 if 325 in tags else 279)
        frame_bytes = self.layout.frame_bytes
        if counts.size == 0 and offsets.size == 1:
            counts = np.array([frame_bytes], np.int64)  # old writers leave the count out
        if offsets.size == 0 or offsets.size != counts.size:
            raise _CutError
        if int((offsets + counts).max()) > self._size or int(offsets[0]) == 0:
            raise _CutError
        self._take(offset, self._contiguous_offset(tags, offsets, counts), next_position)

    def _take(self, ifd_offset: int, data_offset: int, next_position: int) -> None:
        if len(self) * (self._entry.size + self._count.size) > self._size:
            raise MovieError(
                f"The pages of {self.path} run in a circle (page {len(self)}).",
                hint="The file is damaged; copy or export it again.",
            )
        self.ifd_offsets.append(ifd_offset)
        self.data_offsets.append(data_offset)
        self._next_position = next_position

    def _contiguous_offset(
        self, tags: Tags, offsets: NDArray[np.int64], counts: NDArray[np.int64]
    ) -> int:
        layout = self.layout
        plain = layout.compression == 1 and layout.samples == 1 and not layout.packed
        joined = offsets.size == 1 or bool(np.all(offsets[:-1] + counts[:-1] == offsets[1:]))
        whole = int(counts.sum()) >= layout.frame_bytes
        if plain and joined and whole and 322 not in tags:
            return int(offsets[0])
        return NOT_CONTIGUOUS

    def _require_same_layout(self, tags: Tags) -> None:
        if tags is self._first_tags or all(
            tags.get(code) == self._first_tags.get(code) for code in _LAYOUT_TAGS
        ):
            return
        layout, first = self._layout(tags), self.layout
        if layout != first:
            raise MovieError(
                f"Page {len(self)} of {self.path} is {layout.width_px} x {layout.height_px} "
                f"{layout.dtype.name}, the first is {first.width_px} x {first.height_px} "
                f"{first.dtype.name}.",
                hint="All frames of a movie must have the same size; split the file.",
            )
