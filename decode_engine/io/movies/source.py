"""`FrameSource`, what every movie looks like, and the base class that checks each read."""

from __future__ import annotations

import hashlib
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError

__all__ = ["BaseSource", "FrameSource", "MovieMetadata", "add_warnings"]


@dataclass(frozen=True, kw_only=True)
class MovieMetadata:
    """What a movie's file says about itself; None where it is silent.

    Parameters
    ----------
    kind : str
        File format in words ("ImageJ TIFF", "Micro-Manager OME-TIFF", "DAX", ...).
    pixel_size_x_nm, pixel_size_y_nm : float or None
        Size of a camera pixel in the sample plane.
    exposure_ms, frame_interval_ms : float or None
        Exposure of one frame, time between frames.
    roi_origin_px : (int, int) or None
        Column and row of the frame's top-left pixel on the camera chip.
    binning : int or None
        Camera pixels per pixel and direction.
    camera, device, software, acquired : str or None
        Camera name, the acquisition program's own label of the camera, acquisition software,
        date and time, as written in the file.
    em_gain : float or None
        EM gain that was set, also where the EM register was not used.
    em_register_on : bool or None
        Whether the signal went through an EM register.
    announced_frames : int or None
        Frames that the metadata promise; the file may hold fewer or more.
    properties : mapping
        The camera's own settings as text (gain, read-out rate, temperature, ...).
    warnings : tuple of str
        What is odd about the file, one sentence each; nothing here stops the work.
    """

    kind: str
    pixel_size_x_nm: float | None = None
    pixel_size_y_nm: float | None = None
    exposure_ms: float | None = None
    frame_interval_ms: float | None = None
    roi_origin_px: tuple[int, int] | None = None
    binning: int | None = None
    camera: str | None = None
    device: str | None = None
    em_gain: float | None = None
    em_register_on: bool | None = None
    software: str | None = None
    acquired: str | None = None
    announced_frames: int | None = None
    properties: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    warnings: tuple[str, ...] = ()


def add_warnings(metadata: MovieMetadata, *warnings: str) -> MovieMetadata:
    """Return the metadata with more warnings, each kept once."""
    merged = tuple(dict.fromkeys((*metadata.warnings, *warnings)))
    return replace(metadata, warnings=merged)


class FrameSource(Protocol):
    """A movie that is read piece by piece; frames are (rows, columns), numbered from 0."""

    @property
    def path(self) -> Path:
        """The file or folder that was opened."""
        ...

    @property
    def n_frames(self) -> int:
        """Whole frames known at present."""
        ...

    @property
    def height_px(self) -> int:
        """Rows of a frame."""
        ...

    @property
    def width_px(self) -> int:
        """Columns of a frame."""
        ...

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type in the machine's byte order."""
        ...

    @property
    def metadata(self) -> MovieMetadata:
        """What the file says about itself, and what is odd about it."""
        ...

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the frames start..stop-1 as (N, H, W)."""
        ...

    def refresh(self) -> int:
        """Look for frames that were added since; return the number of frames."""
        ...

    def fingerprint(self, n_frames: int | None = None) -> str:
        """Return a checksum that identifies the movie's first ``n_frames`` frames."""
        ...

    def close(self) -> None:
        """Release the files."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class BaseSource(ABC):
    """Common part of all movies: range checks, value checks, checksum, closing.

    Subclasses set the attributes below and implement `_read`. Reads may come from any thread;
    a lock lets in one at a time.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._n_frames = 0
        self._height_px = 0
        self._width_px = 0
        self._dtype: np.dtype[Any] = np.dtype(np.uint16)
        self._metadata = MovieMetadata(kind="movie")
        self._lock = threading.RLock()

    @property
    def path(self) -> Path:
        """The file or folder that was opened."""
        return self._path

    @property
    def n_frames(self) -> int:
        """Whole frames known at present."""
        return self._n_frames

    @property
    def height_px(self) -> int:
        """Rows of a frame."""
        return self._height_px

    @property
    def width_px(self) -> int:
        """Columns of a frame."""
        return self._width_px

    @property
    def dtype(self) -> np.dtype[Any]:
        """Pixel type in the machine's byte order."""
        return self._dtype

    @property
    def metadata(self) -> MovieMetadata:
        """What the file says about itself, and what is odd about it."""
        return self._metadata

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame."""
        return self._height_px * self._width_px * self._dtype.itemsize

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read the frames ``start`` to ``stop - 1``.

        Returns
        -------
        (N, H, W) array in the movie's dtype and the machine's byte order, ADU

        Raises
        ------
        MovieError
            If the range lies outside the movie, the file vanished or shrank, or pixels are
            negative or not finite.
        """
        if not 0 <= start <= stop <= self._n_frames:
            raise MovieError(
                f"Frames {start} to {stop} were asked of {self._path.name}, which has "
                f"{self._n_frames} frames.",
                hint=f"Choose frames between 0 and {self._n_frames}.",
            )
        if start == stop:
            return np.empty((0, self._height_px, self._width_px), self._dtype)
        with self._lock:
            try:
                frames = self._read(start, stop)
            except OSError as error:
                raise vanished(self._path, str(error)) from error
        if frames.dtype.kind in "fi":
            _require_counts(frames, start, self._path.name)
        return frames

    @abstractmethod
    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Read a valid, non-empty range."""

    def refresh(self) -> int:
        """Look for frames that were added since; return the number of frames."""
        return self._n_frames

    def fingerprint(self, n_frames: int | None = None) -> str:
        """Return a SHA-256 over size, dtype and the first, middle and last frame's pixels.

        It depends on what was recorded, not on file names, and costs three frames. For a movie
        that has grown since, pass the number of frames it had: the checksum is then the same.

        Parameters
        ----------
        n_frames : int or None
            Frames to take into account, from the first; all when None.
        """
        count = self._n_frames if n_frames is None else n_frames
        if not 0 < count <= self._n_frames:
            raise MovieError(
                f"{self._path.name} has {self._n_frames} frames, {count} were expected.",
                hint="Is this the same movie, and is it complete?",
            )
        shape = (count, self._height_px, self._width_px, self._dtype.name)
        digest = hashlib.sha256(repr(shape).encode())
        for index in sorted({0, count // 2, count - 1}):
            digest.update(np.ascontiguousarray(self.read(index, index + 1)).tobytes())
        return digest.hexdigest()

    @abstractmethod
    def close(self) -> None:
        """Release the files."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def vanished(path: Path, detail: str = "") -> MovieError:
    """Return the error for a movie that can no longer be read."""
    return MovieError(
        f"The movie {path} vanished or shrank while it was being read.",
        hint="Is the drive still connected? Put the file back and resume.",
        detail=detail,
    )


def _require_counts(frames: NDArray[Any], start: int, name: str) -> None:
    """Raise `MovieError` for pixels that no camera delivers (negative, NaN, infinite)."""
    lowest = frames.min()  # NaN propagates
    if lowest >= 0 and (frames.dtype.kind == "i" or frames.max() < np.inf):
        return
    bad = ~(frames >= 0) if frames.dtype.kind == "i" else ~((frames >= 0) & np.isfinite(frames))
    frame, row, column = (int(i) for i in np.argwhere(bad)[0])
    value = frames[frame, row, column]
    raise MovieError(
        f"{name} holds the value {value:g} in frame {start + frame} (column {column}, row {row}); "
        "camera counts are never negative or NaN.",
        hint="Use the camera's raw movie, without background subtraction or other processing.",
    )
