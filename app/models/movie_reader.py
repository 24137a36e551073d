"""One open movie, read frame by frame from background threads; never more than a cache of it."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies import FrameSource, MovieMetadata, open_movie

__all__ = ["MovieChoiceError", "MovieInfo", "MovieReader", "MovieUnavailableError"]

_CACHE_BYTES = 96 << 20


class MovieUnavailableError(MovieError):
    """The movie is not where the project says it is."""

    code = "movie_missing"


class MovieChoiceError(MovieError):
    """The movie has several channels or slices, and none that it has is chosen."""

    code = "movie_choice"


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieInfo:
    """What is known of an open movie.

    Parameters
    ----------
    path : Path
    n_frames, height_px, width_px : int
    dtype : str
        Pixel type as numpy names it.
    size_bytes : int or None
        Of the file; None for folders.
    metadata : MovieMetadata
    """

    path: Path
    n_frames: int
    height_px: int
    width_px: int
    dtype: str
    size_bytes: int | None
    metadata: MovieMetadata

    @property
    def size_text(self) -> str:
        """Width and height in words."""
        return f"{self.width_px} × {self.height_px} px"


class MovieReader:
    """Keeps one movie open and the frames read last in memory.

    Calls may come from any thread; a lock lets one read at a time. `retire` never waits: when a
    read hangs on a slow drive, the thread that hangs closes the file once it returns.
    """

    def __init__(
        self,
        path: Path,
        *,
        channel: int | None = None,
        z_slice: int | None = None,
        cache_bytes: int = _CACHE_BYTES,
    ) -> None:
        self._source = _open(path, channel, z_slice)
        self._lock = threading.Lock()
        self._retired = False
        self._closed = False
        self._frames: OrderedDict[int, NDArray[Any]] = OrderedDict()
        self._cache_bytes = cache_bytes
        try:
            self._info = self._look()
        except OSError:
            self._source.close()
            raise

    @property
    def info(self) -> MovieInfo:
        """What is known of the movie, as of opening or the last `refresh`; asks no drive."""
        return self._info

    def _look(self) -> MovieInfo:
        source = self._source
        size = source.path.stat().st_size if source.path.is_file() else None
        return MovieInfo(
            path=source.path,
            n_frames=source.n_frames,
            height_px=source.height_px,
            width_px=source.width_px,
            dtype=source.dtype.name,
            size_bytes=size,
            metadata=source.metadata,
        )

    @property
    def n_frames(self) -> int:
        """Frames that are there, as far as known."""
        return self._source.n_frames

    @property
    def cached_bytes(self) -> int:
        """Bytes of the frames in memory."""
        return sum(frame.nbytes for frame in list(self._frames.values()))

    def cached(self, index: int) -> NDArray[Any] | None:
        """Return a frame if it is in memory already."""
        return self._frames.get(index)

    def frame(self, index: int, *, keep: bool = True) -> NDArray[Any]:
        """Read one frame as (H, W), ADU; ``keep`` puts it into the cache."""
        with self._lock:
            try:
                self._require_open()
                known = self._frames.get(index)
                if known is not None:
                    self._frames.move_to_end(index)
                    return known
                frame = np.asarray(self._source.read(index, index + 1)[0])
                if keep:
                    self._remember(index, frame)
                return frame
            finally:
                self._close_if_retired()

    def refresh(self) -> int:
        """Look for frames that were added; return the number of frames."""
        with self._lock:
            try:
                self._require_open()
                n_frames = self._source.refresh()
                self._info = self._look()
                return n_frames
            finally:
                self._close_if_retired()

    def retire(self) -> None:
        """Close the file now, or as soon as a read in progress returns; never waits."""
        self._retired = True
        if self._lock.acquire(blocking=False):
            try:
                self._close_if_retired()
            finally:
                self._lock.release()

    def _remember(self, index: int, frame: NDArray[Any]) -> None:
        self._frames[index] = frame
        while len(self._frames) > 1 and self.cached_bytes > self._cache_bytes:
            self._frames.popitem(last=False)

    def _require_open(self) -> None:
        if self._retired:
            raise MovieError("The movie was closed.", hint="Choose it again in the list.")

    def _close_if_retired(self) -> None:
        if self._retired and not self._closed:
            self._closed = True
            self._frames.clear()
            self._source.close()


def _open(path: Path, channel: int | None, z_slice: int | None) -> FrameSource:
    """Open a movie; say in words when it is gone or has channels or slices to choose from."""
    if not os.path.lexists(path) or not path.exists():
        raise MovieUnavailableError(
            f"The movie {path} is not there.",
            hint="It was moved or renamed, or its drive is not connected. Connect the drive, or "
            "show where the movie is now.",
        )
    try:
        return open_movie(path, channel=channel, z_slice=z_slice)
    except MovieError as error:
        if not _is_hyperstack(path):
            raise
        raise MovieChoiceError(
            f"{error.message} Decode Desktop works on one channel and one focal plane at a time.",
            hint="Choose them on the Movie page. Or in Fiji: Image > Color > Split Channels (or "
            "Image > Stacks > Tools > Make Substack), save the part you need and add that file.",
            detail=error.hint or "",
        ) from error


def _is_hyperstack(path: Path) -> bool:
    """Whether the movie opens once channel and slice are chosen."""
    try:
        open_movie(path, channel=0, z_slice=0).close()
    except MovieError:
        return False
    return True
