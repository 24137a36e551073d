"""A few pairs of successive frames of a movie, by which camera values are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.models.movie_reader import MovieReader
from app.models.project import MovieEntry
from decode_engine.domain.geometry import Roi
from decode_engine.io.movies import MovieMetadata

__all__ = ["MovieSample", "sample_movie"]

_PIXELS = 4_000_000  # of first frames: enough for a histogram, quick to convert
_MOST_PAIRS = 24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MovieSample:
    """Pairs of successive frames, spread over the movie.

    Parameters
    ----------
    path : Path
    first, second : (N, H, W) array, ADU
        Frames t and t + 1 (the same ones for a movie of a single frame), whole frames.
    roi : Roi or None
        The part that counts.
    metadata : MovieMetadata
    """

    path: Path
    first: NDArray[Any]
    second: NDArray[Any]
    roi: Roi | None
    metadata: MovieMetadata

    @property
    def has_pairs(self) -> bool:
        """Whether there are different successive frames."""
        return self.first is not self.second

    @property
    def frame_size(self) -> tuple[int, int]:
        """Height and width of a whole frame."""
        return int(self.first.shape[1]), int(self.first.shape[2])

    def part(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Cut frames to the part that counts."""
        if self.roi is None:
            return frames
        rows = slice(self.roi.y_px, self.roi.y_px + self.roi.height_px)
        columns = slice(self.roi.x_px, self.roi.x_px + self.roi.width_px)
        return frames[..., rows, columns]


def sample_movie(entry: MovieEntry, check: Callable[[], None]) -> MovieSample:
    """Read the sample of a movie; ``check`` may raise to stop.

    Raises
    ------
    MovieError
        If the movie is gone or cannot be read.
    """
    reader = MovieReader(
        Path(entry.path), channel=entry.movie_channel, z_slice=entry.z_slice, cache_bytes=0
    )
    try:
        info = reader.info
        begin, end = entry.frames or (0, info.n_frames)
        begin, end = min(begin, info.n_frames - 1), min(end, info.n_frames)
        pairs = int(np.clip(_PIXELS // (info.height_px * info.width_px), 1, _MOST_PAIRS))
        last = max(begin, end - 2)
        starts = np.unique(np.linspace(begin, last, pairs).round().astype(int)).tolist()
        first, second = [], []
        for start in starts:
            check()
            first.append(reader.frame(start, keep=False))
            if info.n_frames > 1:
                second.append(reader.frame(min(start + 1, info.n_frames - 1), keep=False))
        a = np.stack(first)
        return MovieSample(
            path=Path(entry.path),
            first=a,
            second=np.stack(second) if second else a,
            roi=_roi(entry, info.width_px, info.height_px),
            metadata=info.metadata,
        )
    finally:
        reader.retire()


def _roi(entry: MovieEntry, width_px: int, height_px: int) -> Roi | None:
    """Return the entry's region where it fits the frame."""
    if entry.roi_px is None:
        return None
    x, y, width, height = entry.roi_px
    if x + width > width_px or y + height > height_px:
        return None
    return Roi(x_px=x, y_px=y, width_px=width, height_px=height)
