"""The list of movies in the project: adding, relinking, regions and frame ranges, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.models.project import MovieEntry
from decode_engine.domain.geometry import Roi
from decode_engine.errors import ConfigError

__all__ = [
    "add_movies",
    "apply_to_all",
    "checked_frames",
    "checked_roi",
    "moved_index",
    "relinked",
    "size_warning",
    "with_entry",
    "without_parts",
]

_LATER_PART = re.compile(r"(?P<stem>.*MMStack.*)_[1-9]\d*(?P<suffix>\.ome\.tiff?)", re.IGNORECASE)
_LONGEST_NAME = 20

Region = tuple[int, int, int, int]
Frames = tuple[int, int]


def without_parts(paths: Iterable[Path]) -> list[Path]:
    """Drop later parts of a Micro-Manager recording whose first part is there too.

    ``open_movie`` finds them beside the first; as movies of their own they would be fitted twice.
    """
    paths = list(paths)
    there = set(paths)
    kept = []
    for path in paths:
        match = _LATER_PART.fullmatch(path.name)
        if match and path.with_name(match["stem"] + match["suffix"]) in there:
            continue
        kept.append(path)
    return kept


def add_movies(movies: Sequence[MovieEntry], paths: Iterable[Path]) -> tuple[MovieEntry, ...]:
    """Append movies that are not in the list yet, in the order given."""
    known = {entry.path for entry in movies}
    fresh = dict.fromkeys(str(path) for path in without_parts(paths))
    return (*movies, *(MovieEntry(path=path) for path in fresh if path not in known))


def with_entry(
    movies: Sequence[MovieEntry], index: int, entry: MovieEntry
) -> tuple[MovieEntry, ...]:
    """Replace one entry."""
    return tuple(entry if i == index else old for i, old in enumerate(movies))


def apply_to_all(movies: Sequence[MovieEntry], index: int) -> tuple[MovieEntry, ...]:
    """Give all movies the region and frames of one."""
    part = {"frames": movies[index].frames, "roi_px": movies[index].roi_px}
    return tuple(entry.model_copy(update=part) for entry in movies)


def moved_index(movies: Sequence[MovieEntry], index: int, step: int) -> tuple[MovieEntry, ...]:
    """Move one entry up (-1) or down (+1); at an end nothing changes."""
    target = index + step
    if not (0 <= index < len(movies) and 0 <= target < len(movies)):
        return tuple(movies)
    order = list(movies)
    order[index], order[target] = order[target], order[index]
    return tuple(order)


def relinked(movies: Sequence[MovieEntry], index: int, path: Path) -> tuple[MovieEntry, ...]:
    """Point an entry to where its file is now; and others of the same folder that came along."""
    old_folder = Path(movies[index].path).parent
    result = []
    for i, entry in enumerate(movies):
        old = Path(entry.path)
        beside = path.parent / old.name
        if i == index:
            entry = entry.model_copy(update={"path": str(path)})
        elif old.parent == old_folder and not old.exists() and beside.exists():
            entry = entry.model_copy(update={"path": str(beside)})
        result.append(entry)
    return tuple(result)


def checked_roi(region: Region, width_px: int, height_px: int) -> Region | None:
    """Return a region inside a frame; None for the whole frame.

    Raises
    ------
    ConfigError
        If it is empty or reaches beyond the frame.
    """
    x, y, width, height = region
    roi = Roi(x_px=x, y_px=y, width_px=width, height_px=height)
    roi.require_inside(width_px, height_px)
    return None if region == (0, 0, width_px, height_px) else region


def checked_frames(first: int, last: int, n_frames: int) -> Frames | None:
    """Return (first, end exclusive) from first and last frame; None for all frames.

    Raises
    ------
    ConfigError
        If last lies before first or either lies outside the movie.
    """
    if not 0 <= first <= last < n_frames:
        raise ConfigError(
            f"Frames {first} to {last} are not a part of this movie, which has the frames 0 to "
            f"{n_frames - 1}.",
            hint="Choose a first frame, and a last one that is not before it.",
        )
    return None if (first, last) == (0, n_frames - 1) else (first, last + 1)


def size_warning(sizes: dict[str, tuple[int, int]]) -> str:
    """Say that movies differ in size; ``sizes`` is name -> (width, height) of those opened."""
    if len(set(sizes.values())) < 2:
        return ""
    words = ", ".join(f"{_short(name)} {w} × {h} px" for name, (w, h) in list(sizes.items())[:4])
    return (
        f"The movies differ in size ({words}). That is fine if the camera is the same; per-pixel "
        "camera maps and regions fit only one of them."
    )


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[:8]}…{name[-8:]}"
