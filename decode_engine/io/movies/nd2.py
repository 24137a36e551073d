"""Nikon's ND2, read frame by frame by the ``nd2`` library.

A file is a sequence of frames in the order of its loops (time, position, z, nested as recorded),
each with all its channels. Pixel size, exposure, camera and EM gain stand in its own metadata,
most of them as text lines ``Name: value``.
"""

from __future__ import annotations

import re
import struct
import zlib
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies.micromanager import number
from decode_engine.io.movies.source import BaseSource, MovieMetadata, vanished

if TYPE_CHECKING:
    import nd2

__all__ = ["Nd2Source"]

_FLAGS = {"C": " (--movie-channel)", "Z": " (--z-slice)", "P": ""}
_WORDS = {"P": "positions", "Z": "z slices", "C": "channels"}
_LINE = re.compile(r"\s*(?P<name>[A-Za-z][\w /#.+-]{1,60}?)\s*:\s*(?P<value>\S.*?)\s*")
_CAMERA_NAMES = ("Camera Name", "Camera Type", "Camera")
_CANNOT = "Open it in NIS-Elements or Fiji and save it as TIFF."
# What the library raises for files that are cut off or of an unknown kind.
_LIBRARY_ERRORS = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, NotImplementedError,
    ArithmeticError, AssertionError, struct.error, zlib.error,
)  # fmt: skip


class Nd2Source(BaseSource):
    """An ND2 file of one channel, slice and position; time is the movie's axis."""

    def __init__(
        self, path: Path, *, channel: int | None = None, z_slice: int | None = None
    ) -> None:
        super().__init__(path)
        self._file = _open(path)
        try:
            self._arrange({"C": channel, "Z": z_slice})
            self._metadata = _describe(self._file)
        except (*_LIBRARY_ERRORS, OSError) as error:
            self.close()
            raise _unreadable(path, error) from error
        except BaseException:
            self.close()
            raise

    def _arrange(self, choice: Mapping[str, int | None]) -> None:
        file, sizes = self._file, dict(self._file.sizes)
        if "S" in sizes:
            raise MovieError(
                f"{self._path.name} is a colour recording.",
                hint="Record or save grey frames of the camera.",
            )
        self._height_px, self._width_px = int(sizes["Y"]), int(sizes["X"])
        self._dtype = np.dtype(file.dtype).newbyteorder("=")
        moving = "T" if sizes.get("T", 1) > 1 or sizes.get("Z", 1) == 1 else "Z"
        chosen: dict[str, int] = {}
        for axis in ("C", "Z", "P"):
            size = int(sizes.get(axis, 1))
            if axis == moving or size == 1:
                continue
            index = choice.get(axis)
            if index is None or not 0 <= index < size:
                asked = "" if index is None else f"; {index} was asked"
                raise MovieError(
                    f"{self._path.name} has {size} {_WORDS[axis]}{asked}.",
                    hint=f"Choose one from 0 to {size - 1}{_FLAGS[axis]}, or save each as a movie "
                    "of its own.",
                )
            chosen[axis] = index
        self._channel = chosen.pop("C", 0)
        loops = file.loop_indices or ({},)
        self._frames = array(
            "q",
            (
                sequence
                for sequence, place in enumerate(loops)
                if all(place.get(axis, 0) == index for axis, index in chosen.items())
            ),
        )
        self._n_frames = len(self._frames)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if not self._path.exists():
            raise vanished(self._path)
        out = np.empty((stop - start, self._height_px, self._width_px), self._dtype)
        for row, sequence in enumerate(self._frames[start:stop]):
            try:
                frame = self._file.read_frame(sequence)
                planes = frame.reshape(-1, self._height_px, self._width_px)
            except (*_LIBRARY_ERRORS, EOFError) as error:
                raise _unreadable(self._path, error) from error
            out[row] = planes[self._channel]
            # The library fills what the file has lost with zeros, without a word.
            if not out[row].any() and not _holds_frame(self._path, sequence):
                raise MovieError(
                    f"Frame {start + row} of {self._path.name} is missing in the file.",
                    hint="The recording was broken off; use the frames before it (--frames).",
                )
        return out

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _open(path: Path) -> nd2.ND2File:
    try:
        import nd2  # loaded for Nikon's files only: it costs a tenth of a second
    except ImportError as error:
        raise MovieError(
            f"{path.name} is a file of Nikon's NIS-Elements; this installation cannot read it.",
            hint="Install the Python package nd2, or save the movie as TIFF.",
        ) from error
    try:
        return nd2.ND2File(path)
    except (*_LIBRARY_ERRORS, OSError) as error:
        raise _unreadable(path, error) from error


def _holds_frame(path: Path, sequence: int) -> bool:
    """Whether the map of chunks, whose place stands in the last 8 bytes, names a frame."""
    with path.open("rb") as handle:
        end = handle.seek(-8, 2)
        (start,) = struct.unpack("<Q", handle.read(8))
        if not 0 <= start < end:
            return False
        handle.seek(start)
        return f"ImageDataSeq|{sequence}!".encode() in handle.read(end - start)


def _unreadable(path: Path, error: Exception) -> MovieError:
    return MovieError(
        f"{path.name} cannot be read as ND2: it is damaged, unfinished or of an unknown kind.",
        hint=_CANNOT,
        detail=repr(error),
    )


# ---------------------------------------------------------------- metadata


def _describe(file: nd2.ND2File) -> MovieMetadata:
    facts: dict[str, Any] = {"kind": "Nikon ND2"}
    try:
        calibrated = _calibrated(file)
    except (*_LIBRARY_ERRORS, NameError):  # the frames are of use without it
        calibrated = None
        facts["warnings"] = ("The pixel size in the file's metadata cannot be read.",)
    if calibrated is not None:
        facts["pixel_size_x_nm"], facts["pixel_size_y_nm"] = calibrated
    texts = file.text_info or {}
    properties = dict(_lines(texts))
    facts["properties"] = MappingProxyType(properties)
    if (exposure := _exposure_ms(properties.get("Exposure", ""))) is not None:
        facts["exposure_ms"] = exposure
    for loop in file.experiment or ():
        period = getattr(loop.parameters, "periodMs", None)
        if loop.type == "TimeLoop" and period:
            facts["frame_interval_ms"] = float(period)
    facts["camera"] = next((properties[n] for n in _CAMERA_NAMES if n in properties), None)
    facts["acquired"] = texts.get("date") or None
    facts["software"] = texts.get("appVersion") or "NIS-Elements"
    if binning := number(properties.get("Binning")):
        facts["binning"] = int(binning)
    gain = number(properties.get("EM Gain") or properties.get("Multiplier"))
    if gain is not None and gain >= 1:
        facts["em_gain"] = gain
    return MovieMetadata(**facts)


def _calibrated(file: nd2.ND2File) -> tuple[float, float] | None:
    channels = getattr(file.metadata, "channels", None)
    if not channels:
        return None
    volume = channels[0].volume
    x_um, y_um = (float(size) for size in volume.axesCalibration[:2])
    if all(volume.axesCalibrated[:2]) and x_um > 0 and y_um > 0:
        return x_um * 1e3, y_um * 1e3
    return None


def _lines(texts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the ``Name: value`` lines; those of the camera's own text come last and win."""
    for key in ("description", "capturing"):
        for line in str(texts.get(key) or "").splitlines():
            # Nikon puts the first setting behind the headline: "Camera Settings:  Exposure: 30 ms".
            text = line.strip().removeprefix("Camera Settings:")
            if match := _LINE.fullmatch(text):
                yield match["name"], match["value"]


def _exposure_ms(text: str) -> float | None:
    """Read ``30 ms``, ``0.03 s`` or ``500 us``; a number without unit says nothing."""
    match = re.fullmatch(r"\s*([\d.]+)\s*(ms|s|us|µs)\b.*", text)
    if match is None or (value := number(match.group(1))) is None:
        return None
    return value * {"ms": 1.0, "s": 1e3}.get(match.group(2), 1e-3)
