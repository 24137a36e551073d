"""ND2 files (version 3) written chunk by chunk, as the format's readers describe it.

A chunk is magic, length of its name area, length of its data, the name, the data. Settings are
"lite variants": type, length of the name with its end mark in UTF-16 units, name, value; a level
holds several. The map of all chunks stands at the end. No writer exists to be used instead.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_MAGIC = 0x0ABECEDA
_NAME_AREA = 4072


def write_nd2(
    path: Path,
    frames: NDArray[np.uint16],
    *,
    loops: tuple[tuple[int, int], ...] = ((1, 0),),
    pixel_um: float | None = 0.108,
    text: str = "",
    capturing: str = "",
    compressed: bool = False,
    left_out: tuple[int, ...] = (),
) -> None:
    """Write frames of the shape (sequence, channels, rows, columns).

    ``loops`` are (type, count) from the outermost: 1 = time, 2 = positions, 4 = z stack.
    """
    n, channels, height, width = frames.shape
    chunks: list[tuple[str, bytes]] = []
    for index in range(n):
        if index not in left_out:
            pixels = frames[index].transpose(1, 2, 0).astype("<u2").tobytes()
            pixels = zlib.compress(pixels) if compressed else pixels
            chunks.append((f"ImageDataSeq|{index}!", struct.pack("<d", 10.0 * index) + pixels))
    attributes = {
        "uiWidth": width, "uiWidthBytes": width * 2 * channels, "uiHeight": height,
        "uiComp": channels, "uiBpcInMemory": 16, "uiBpcSignificant": 16, "uiSequenceCount": n,
        "eCompression": 0 if compressed else 2, "dCompressionParam": 0.0,
    }  # fmt: skip
    planes = {
        f"a{i}": {
            "sDescription": f"C{i}",
            "uiCompCount": 1,
            "pFluorescentProbe": {"m_sName": "A647"},
        }
        for i in range(channels)
    }
    picture = {
        "bCalibrated": pixel_um is not None, "dCalibration": pixel_um or 1.0,
        "dXPos": 0.0, "dYPos": 0.0, "dZPos": 0.0,
        "sPicturePlanes": {"uiCount": channels, "uiCompCount": channels, "sPlaneNew": planes},
    }  # fmt: skip
    chunks.append(("ImageAttributesLV!", lite({"SLxImageAttributes": attributes})))
    chunks.append(("ImageMetadataSeqLV|0!", lite({"SLxPictureMetadata": picture})))
    chunks.append(("ImageMetadataLV!", lite({"SLxExperiment": _experiment(loops)})))
    info = {"TextInfoItem_5": text, "TextInfoItem_6": capturing, "TextInfoItem_9": "1/2/2024"}
    chunks.append(("ImageTextInfoLV!", lite({"SLxImageTextInfo": info})))
    times = np.arange(n, dtype="<f8").tobytes()
    chunks.append(("CustomData|AcqTimesCache!", times))
    _write(path, chunks)


def _experiment(loops: tuple[tuple[int, int], ...]) -> dict[str, Any]:
    kind, count = loops[0]
    if kind == 1:
        parameters = {"uiCount": count, "dStart": 0.0, "dPeriod": 25.0, "dDuration": 25.0 * count}
    elif kind == 2:
        points = {f"i{i:010}": {"dPosX": 0.0, "dPosY": 0.0, "dPosZ": 0.0} for i in range(count)}
        parameters = {"uiCount": count, "bUseZ": False, "Points": points}
    else:
        parameters = {
            "uiCount": count, "dZStep": 0.1, "dZLow": 0.0, "dZHigh": 0.1 * (count - 1),
            "dZHome": 0.0, "iType": 2,
        }  # fmt: skip
    experiment: dict[str, Any] = {"eType": kind, "uLoopPars": parameters}
    if kind == 2:
        experiment["pItemValid"] = bytes([1] * count)
    if loops[1:]:
        experiment["ppNextLevelEx"] = {"i0000000000": _experiment(loops[1:])}
    return experiment


def lite(values: dict[str, Any]) -> bytes:
    """Return settings as lite variants."""
    return b"".join(_variant(name, value) for name, value in values.items())


def _variant(name: str, value: Any) -> bytes:
    wide = f"{name}\0".encode("utf-16-le")
    head = bytes([_kind(value), len(wide) // 2]) + wide
    if isinstance(value, dict):
        inner = lite(value)
        length = len(head) + 12 + len(inner)
        return head + struct.pack("<IQ", len(value), length) + inner + b"\0" * 8 * len(value)
    if isinstance(value, bool):
        return head + bytes([value])
    if isinstance(value, int):
        return head + struct.pack("<I", value)
    if isinstance(value, float):
        return head + struct.pack("<d", value)
    if isinstance(value, bytes):
        return head + struct.pack("<Q", len(value)) + value
    return head + f"{value}\0".encode("utf-16-le")


def _kind(value: Any) -> int:
    return {dict: 11, bool: 1, int: 3, float: 6, bytes: 9, str: 8}[type(value)]


def _write(path: Path, chunks: list[tuple[str, bytes]]) -> None:
    with path.open("wb") as file:
        signature = b"ND2 FILE SIGNATURE CHUNK NAME01!"
        file.write(struct.pack("<IIQ", _MAGIC, 32, 64) + signature + b"Ver3.0".ljust(64, b"\0"))
        places = []
        for name, data in chunks:
            places.append((name, file.tell(), len(data)))
            area = name.encode().ljust(_NAME_AREA, b"\0")
            file.write(struct.pack("<IIQ", _MAGIC, _NAME_AREA, len(data)) + area + data)
        start = file.tell()
        entries = b"".join(n.encode() + struct.pack("<QQ", at, size) for n, at, size in places)
        mark = b"ND2 CHUNK MAP SIGNATURE 0000001!"
        entries += mark + struct.pack("<Q", start)
        name_area = b"ND2 FILEMAP SIGNATURE NAME 0001!"
        file.write(struct.pack("<IIQ", _MAGIC, len(name_area), len(entries)) + name_area + entries)
