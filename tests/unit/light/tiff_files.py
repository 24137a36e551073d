"""TIFF files written byte by byte, so that the reader is not tested against its own library."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Entry = tuple[int, int, int, int | bytes]


def write_tiff(
    path: Path,
    frames: NDArray[np.generic],
    *,
    big: bool = False,
    order: str = "<",
    interleaved: bool = True,
    description: str = "",
    extra: tuple[Entry, ...] = (),
    strips: int = 1,
    packed_bits: int | None = None,
) -> None:
    """Write uncompressed grey pages: directory before or behind each frame's pixels."""
    n, height, width = frames.shape
    data = frames.astype(frames.dtype.newbyteorder(order))
    kind = {"u": 1, "i": 2, "f": 3}[frames.dtype.kind]
    pages = []
    for index in range(n):
        text = description.encode() + b"\0" if index == 0 and description else b""
        pixels = data[index].tobytes() if packed_bits is None else pack(frames[index], packed_bits)
        pages.append((pixels, text))
    with path.open("wb") as file:
        mark = b"II" if order == "<" else b"MM"
        if big:
            file.write(mark + struct.pack(order + "HHHQ", 43, 8, 0, 0))
        else:
            file.write(mark + struct.pack(order + "HI", 42, 0))
        pointer = 8 if big else 4
        offsets = []
        if not interleaved:
            for pixels, _ in pages:
                offsets.append(file.tell())
                file.write(pixels)
        for index, (pixels, text) in enumerate(pages):
            if interleaved:
                offsets.append(file.tell())
                file.write(pixels)
            rows = -(-height // strips)
            row_bytes = len(pixels) // height
            starts = [offsets[index] + s * rows * row_bytes for s in range(strips)]
            counts = [(min(height, (s + 1) * rows) - s * rows) * row_bytes for s in range(strips)]
            entries: list[Entry] = [
                (256, 4, 1, width),
                (257, 4, 1, height),
                (258, 3, 1, packed_bits or 8 * data.itemsize),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (273, 4, strips, _array(order, starts)),
                (277, 3, 1, 1),
                (278, 4, 1, rows),
                (279, 4, strips, _array(order, counts)),
                (339, 3, 1, kind),
                *extra,
            ]
            if text:
                entries.append((270, 2, len(text), text))
            pointer = _write_directory(
                file, sorted(entries, key=lambda e: e[0]), big, order, pointer
            )


def pack(frame: NDArray[np.generic], bits: int) -> bytes:
    """Return the rows of a frame with ``bits`` bits a pixel, highest bit first."""
    shifts = np.arange(bits - 1, -1, -1, dtype=np.uint32)
    single = ((frame.astype(np.uint32)[..., None] >> shifts) & 1).astype(np.uint8)
    return np.packbits(single.reshape(frame.shape[0], -1), axis=1).tobytes()


def _array(order: str, values: list[int]) -> bytes:
    return struct.pack(f"{order}{len(values)}I", *values)


def _write_directory(file, entries, big, order, pointer):  # type: ignore[no-untyped-def]
    room = 8 if big else 4
    placed = []
    for code, kind, count, value in entries:
        if isinstance(value, int):
            value = struct.pack(order + ("H" if kind == 3 else "I"), value)
        if len(value) > room:
            position = file.tell()
            file.write(value)
            value = struct.pack(order + ("Q" if big else "I"), position)
        placed.append((code, kind, count, value.ljust(room, b"\0")))
    start = file.tell()
    file.write(struct.pack(order + ("Q" if big else "H"), len(placed)))
    for code, kind, count, value in placed:
        file.write(struct.pack(order + ("HHQ" if big else "HHI"), code, kind, count) + value)
    following = file.tell()
    file.write(b"\0" * room)
    file.seek(pointer)
    file.write(struct.pack(order + ("Q" if big else "I"), start))
    file.seek(0, 2)
    return following
