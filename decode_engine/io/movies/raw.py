"""Movies without a container: Picasso ``.raw`` + ``.yaml``, DAX + ``.inf``, NumPy ``.npy``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies.micromanager import number
from decode_engine.io.movies.source import BaseSource, MovieMetadata, add_warnings, vanished
from decode_engine.io.movies.tiff import fill_from

__all__ = ["RawLayout", "RawSource", "open_dax", "open_npy", "open_raw"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawLayout:
    """How frames follow each other in a file without structure."""

    width_px: int
    height_px: int
    dtype: np.dtype[Any]
    offset_bytes: int = 0
    fixed_frames: int | None = None  # the file's own header says so; more bytes are not frames

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self.width_px * self.height_px * self.dtype.itemsize


class RawSource(BaseSource):
    """Frames one behind the other, uncompressed; the number follows from the file's size."""

    def __init__(self, path: Path, layout: RawLayout, metadata: MovieMetadata) -> None:
        super().__init__(path)
        if layout.width_px < 1 or layout.height_px < 1 or layout.dtype.kind not in "uif":
            raise MovieError(
                f"{path} has frames of {layout.width_px} x {layout.height_px} pixels of type "
                f"{layout.dtype}.",
                hint="A movie has whole or floating-point numbers and at least one pixel.",
            )
        self._layout = layout
        self._announcement = metadata
        self._height_px, self._width_px = layout.height_px, layout.width_px
        self._dtype = layout.dtype.newbyteorder("=")
        self._handle = path.open("rb", buffering=0)
        self._count()
        if self._n_frames == 0:
            self.close()
            raise MovieError(
                f"{path} ({path.stat().st_size} bytes) holds no whole frame of "
                f"{layout.frame_bytes} bytes.",
                hint="The file is empty or cut off, or its side file belongs to another movie.",
            )

    def _count(self) -> None:
        layout, name = self._layout, self._path.name
        n_bytes = self._path.stat().st_size - layout.offset_bytes
        whole, rest = divmod(max(0, n_bytes), layout.frame_bytes)
        announced = self._announcement.announced_frames
        if layout.fixed_frames is not None and whole >= layout.fixed_frames:
            whole, rest = layout.fixed_frames, 0
        warnings = []
        if announced is not None and whole < announced:
            warnings.append(
                f"{name} holds {whole} whole frames of the {announced} that are announced; "
                f"{announced - whole} are missing (cut off, or still being written)."
            )
        elif announced is not None and whole > announced:
            warnings.append(
                f"{name} holds {whole} frames although {announced} are announced; all are used."
            )
        if rest:
            warnings.append(f"The last {rest} bytes of {name} are not a whole frame.")
        self._n_frames = whole
        self._metadata = add_warnings(self._announcement, *warnings)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if not self._path.exists():
            raise vanished(self._path)
        layout = self._layout
        out = np.empty((stop - start, layout.height_px, layout.width_px), self._dtype)
        offset = layout.offset_bytes + start * layout.frame_bytes
        try:
            fill_from(self._handle, offset, out, layout.dtype)
        except EOFError as error:
            raise vanished(self._path) from error
        return out

    def refresh(self) -> int:
        """Look for frames that were added since; return the number of frames."""
        with self._lock:
            try:
                self._count()
            except OSError as error:
                raise vanished(self._path, str(error)) from error
        return self._n_frames

    def close(self) -> None:
        """Release the file."""
        self._handle.close()


def open_raw(path: Path) -> RawSource:
    """Open Picasso's ``.raw``; its ``.yaml`` gives size, type and byte order."""
    side, guess = _yaml_of(path)
    facts = _yaml_facts(side)
    try:
        height, width = int(facts["Height"]), int(facts["Width"])
        order = facts.get("Byte Order", "<")
        dtype = np.dtype(facts.get("Data Type", "uint16"))
    except (KeyError, ValueError, TypeError) as error:
        raise MovieError(
            f"The YAML file of {path.name} does not say Width, Height and Data Type: {error}.",
            hint="Picasso writes this file; keep the one that belongs to the movie.",
        ) from error
    dtype = dtype.newbyteorder(">" if order.strip("'\"") == ">" else "<")
    pixel = number(facts.get("Pixelsize") or facts.get("Camera.Pixelsize"))
    frames = number(facts.get("Frames"))
    metadata = MovieMetadata(
        kind="Picasso raw",
        pixel_size_x_nm=pixel,
        pixel_size_y_nm=pixel,
        exposure_ms=number(facts.get("Camera.Integration Time")),
        camera=facts.get("Camera") or None,
        software=facts.get("Generated by"),
        announced_frames=None if frames is None else int(frames),
        warnings=guess,
    )
    return RawSource(path, RawLayout(width_px=width, height_px=height, dtype=dtype), metadata)


def _yaml_of(path: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the YAML file of a ``.raw`` and what was guessed about it.

    Picasso gives both the same stem. Where one was renamed, the YAML file is taken whose stem is
    part of the movie's or the other way round, if there is just one and its frames divide the
    movie evenly.
    """
    for suffix in (".yaml", ".yml"):
        if (side := path.with_suffix(suffix)).is_file():
            return side, ()
    stem = path.stem.lower()
    fitting = [
        side
        for side in sorted(path.parent.glob("*.y*ml"))
        if (stem.startswith(side.stem.lower()) or side.stem.lower().startswith(stem))
        and _divides(side, path)
    ]
    if len(fitting) == 1:
        return fitting[0], (
            f"{path.name} has no YAML file of its own name; {fitting[0].name} is taken for it, as "
            "its frame size divides the movie evenly.",
        )
    return _side_file(path, (".yaml",), "Height, Width, Frames, Data Type"), ()


def _divides(side: Path, path: Path) -> bool:
    facts = _yaml_facts(side)
    try:
        itemsize = np.dtype(facts.get("Data Type", "uint16")).itemsize
        frame_bytes = int(facts["Height"]) * int(facts["Width"]) * itemsize
    except (KeyError, ValueError, TypeError):
        return False
    return frame_bytes > 0 and path.stat().st_size % frame_bytes == 0


def open_dax(path: Path) -> RawSource:
    """Open a DAX movie; its ``.inf`` gives size and byte order."""
    text = _side_file(path, (".inf",), "frame dimensions").read_text("utf-8", "replace")
    size = re.search(r"frame dimensions\s*=\s*(\d+)\s*x\s*(\d+)", text)
    if size is None:
        raise MovieError(
            f"The .inf file of {path.name} has no line 'frame dimensions = W x H'.",
            hint="Keep the .inf file that belongs to the movie.",
        )
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    facts = {key.strip(): value.strip() for key, value in pairs}
    little = "little" in facts.get("data type", "big endian")
    layout = RawLayout(
        width_px=int(size.group(1)),
        height_px=int(size.group(2)),
        dtype=np.dtype("<u2" if little else ">u2"),
    )
    frames, binning = number(facts.get("number of frames")), number(facts.get("binning"))
    x, y = number(facts.get("x_start")), number(facts.get("y_start"))
    metadata = MovieMetadata(
        kind="DAX",
        announced_frames=None if frames is None else int(frames),
        binning=None if binning is None else int(binning),
        roi_origin_px=None if x is None or y is None else (int(x) - 1, int(y) - 1),
        camera=facts.get("camera type"),
    )
    return RawSource(path, layout, metadata)


def open_npy(path: Path) -> RawSource:
    """Open a NumPy array of the shape (frames, rows, columns)."""
    with path.open("rb") as handle:
        try:
            version = npy_format.read_magic(handle)
            read = (
                npy_format.read_array_header_1_0
                if version == (1, 0)
                else npy_format.read_array_header_2_0
            )
            shape, fortran, dtype = read(handle)
        except ValueError as error:
            raise MovieError(
                f"{path} is not a readable NumPy array: {error}.",
                hint="Write it again with numpy.save.",
            ) from error
        offset = handle.tell()
    if len(shape) == 2:
        shape = (1, *shape)
    if len(shape) != 3 or (fortran and min(shape) > 1) or dtype.hasobject:
        order = "Fortran" if fortran else "C"
        raise MovieError(
            f"{path} holds an array of shape {shape}, type {dtype} in {order} order.",
            hint="A movie has the shape (frames, rows, columns), numbers, in C order "
            "(numpy.ascontiguousarray).",
        )
    layout = RawLayout(
        width_px=shape[2],
        height_px=shape[1],
        dtype=dtype,
        offset_bytes=offset,
        fixed_frames=shape[0],
    )
    return RawSource(path, layout, MovieMetadata(kind="NumPy array", announced_frames=shape[0]))


def _side_file(path: Path, suffixes: tuple[str, ...], content: str) -> Path:
    for suffix in suffixes:
        if (side := path.with_suffix(suffix)).is_file():
            return side
    raise MovieError(
        f"{path.name} needs {path.with_suffix(suffixes[0]).name} beside it, which is missing.",
        hint=f"Copy it into the same folder; it says {content}.",
    )


def _yaml_facts(path: Path) -> dict[str, str]:
    """Return the top-level ``key: value`` lines; the first document that has a key wins."""
    facts: dict[str, str] = {}
    for line in path.read_text("utf-8", "replace").splitlines():
        match = re.match(r"([^\s#:][^:]*):\s+(.+?)\s*$", line)
        if match:
            facts.setdefault(match.group(1), match.group(2).strip("'\""))
    return facts
