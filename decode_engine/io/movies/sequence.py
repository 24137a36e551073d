"""A movie spread over several files: parts of one recording, or a folder of images."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import MovieError
from decode_engine.io.movies.source import BaseSource, MovieMetadata, add_warnings, vanished
from decode_engine.io.movies.tiff_pages import TiffPages

__all__ = ["SequenceSource", "natural_order"]

_OPEN_PARTS = 2


def natural_order(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a sort key that puts ``frame_10`` behind ``frame_9``."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((1, int(p), "") if p.isdigit() else (0, 0, p) for p in parts if p)


class SequenceSource(BaseSource):
    """Several files, one behind the other.

    Parts are opened when they are needed and at most two at a time, so a folder of a hundred
    thousand images costs a name and a number for each.

    Parameters
    ----------
    path : Path
        What the user opened.
    list_parts : callable
        Returns the parts in order; called again by `refresh`.
    open_part : callable
        Opens one part.
    """

    def __init__(
        self,
        path: Path,
        list_parts: Callable[[], Sequence[Path]],
        open_part: Callable[[Path], BaseSource],
    ) -> None:
        super().__init__(path)
        self._list_parts = list_parts
        self._open_part = open_part
        self._folder = path if path.is_dir() else path.parent
        self._names: list[str] = []
        self._sizes: list[int] = []  # file sizes, to notice growth
        self._starts = [0]
        self._open: dict[int, BaseSource] = {}
        paths = list(list_parts())
        with open_part(paths[0]) as first:
            self._height_px, self._width_px = first.height_px, first.width_px
            self._dtype = first.dtype
            self._first_metadata = first.metadata
            self._single = first.n_frames == 1
        self._take(paths)

    def _take(self, paths: Sequence[Path]) -> None:
        """Count the frames of parts that are new or have grown."""
        for index, path in enumerate(paths):
            try:
                size = path.stat().st_size
            except OSError as error:
                raise vanished(path, str(error)) from error
            if index < len(self._names):
                if size == self._sizes[index]:
                    continue
                if index != len(self._names) - 1:
                    raise MovieError(
                        f"{path} changed while the movie was open.",
                        hint="Wait until the recording is finished and start again.",
                    )
                self._forget_last()
            self._names.append(str(path))
            self._sizes.append(size)
            self._starts.append(self._starts[-1] + self._count(path, size))
        self._n_frames = self._starts[-1]
        self._metadata = self._describe()

    def _forget_last(self) -> None:
        self._names.pop()
        self._sizes.pop()
        self._starts.pop()
        part = self._open.pop(len(self._names), None)
        if part is not None:
            part.close()

    def _count(self, path: Path, size: int) -> int:
        if not self._names:
            with self._open_part(path) as part:
                return part.n_frames
        if self._single and size == self._sizes[0]:
            return 1  # checked when it is read
        if self._single and path.suffix.lower() in (".tif", ".tiff"):
            pages = TiffPages(path)
            pages.close()
            if len(pages) == 1:
                return 1
        with self._open_part(path) as part:
            self._require_same_size(part)
            return part.n_frames

    def _require_same_size(self, part: BaseSource) -> None:
        found = (part.width_px, part.height_px, part.dtype)
        if found != (self._width_px, self._height_px, self._dtype):
            raise MovieError(
                f"{part.path.name} has frames of {found[0]} x {found[1]} {found[2]}, the first "
                f"part has {self._width_px} x {self._height_px} {self._dtype}.",
                hint="Keep only the files of one movie in the folder, or name them one by one.",
            )

    def _describe(self) -> MovieMetadata:
        """Return the first part's metadata; its announcement is about all parts."""
        first = self._first_metadata
        others = [w for w in first.warnings if "announces" not in w]
        clean = MovieMetadata(
            **{
                **{f: getattr(first, f) for f in first.__dataclass_fields__},
                "warnings": tuple(others),
            }
        )
        announced = first.announced_frames
        if announced is not None and self._starts[1] <= self._n_frames < announced:
            missing = announced - self._n_frames
            if len(self._names) > 1 or not self._single:
                return add_warnings(
                    clean,
                    f"{len(self._names)} files hold {self._n_frames} whole frames of the "
                    f"{announced} that are announced; {missing} are missing.",
                )
        return clean

    @property
    def parts(self) -> tuple[Path, ...]:
        """The files, in order."""
        return tuple(Path(name) for name in self._names)

    def _part(self, index: int) -> BaseSource:
        if index not in self._open:
            while len(self._open) >= _OPEN_PARTS:
                self._open.pop(next(iter(self._open))).close()
            path = Path(self._names[index])
            if not path.exists():
                raise vanished(path)
            part = self._open_part(path)
            self._open[index] = part
            self._require_same_size(part)
            expected = self._starts[index + 1] - self._starts[index]
            if part.n_frames < expected:
                raise vanished(path)
        return self._open[index]

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        out = np.empty((stop - start, self._height_px, self._width_px), self._dtype)
        frame = start
        while frame < stop:
            index = bisect_right(self._starts, frame) - 1
            first = self._starts[index]
            end = min(stop, self._starts[index + 1])
            out[frame - start : end - start] = self._part(index).read(frame - first, end - first)
            frame = end
        return out

    def refresh(self) -> int:
        """Look for new parts and a longer last part; return the number of frames."""
        with self._lock:
            paths = list(self._list_parts())
            if [str(p) for p in paths[: len(self._names)]] != self._names:
                raise vanished(self._path, "the list of files changed")
            self._take(paths)
        return self._n_frames

    def close(self) -> None:
        """Release the files."""
        while self._open:
            self._open.popitem()[1].close()
