"""`open_movie`: from a file, a folder or a list of files to a `FrameSource`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from decode_engine.errors import MovieError
from decode_engine.io.filetypes import describe_file_type, file_type
from decode_engine.io.movies.micromanager import read_metadata_text
from decode_engine.io.movies.nd2 import Nd2Source
from decode_engine.io.movies.ndtiff import INDEX_NAME, NdTiffSource
from decode_engine.io.movies.raw import open_dax, open_npy, open_raw
from decode_engine.io.movies.sequence import SequenceSource, natural_order
from decode_engine.io.movies.source import BaseSource, FrameSource, MovieMetadata, add_warnings
from decode_engine.io.movies.tiff import TiffSource

__all__ = ["open_movie"]

_TIFF_SUFFIXES = (".tif", ".tiff", ".stk")
_OTHER_SUFFIXES = (".raw", ".dax", ".npy", ".nd2")
# Names of Micro-Manager's single images, version 1.4 and 2.
_IMAGE_14 = re.compile(r"img_(?P<time>\d+)_(?P<channel>.*)_(?P<z>\d+)\.tiff?", re.IGNORECASE)
_IMAGE_2 = re.compile(
    r"img_channel(?P<channel>\d+)_position(?P<position>\d+)_time(?P<time>\d+)_z(?P<z>\d+)\.tiff?",
    re.IGNORECASE,
)
_LATER_PART = re.compile(r"(?P<stem>.*MMStack.*)_(?P<part>[1-9]\d*)(?P<suffix>\.ome\.tiff?)", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Choice:
    channel: int | None = None
    z_slice: int | None = None


def open_movie(
    path: Path | str | Sequence[Path | str],
    *,
    channel: int | None = None,
    z_slice: int | None = None,
) -> FrameSource:
    """Open a movie without loading it.

    Parameters
    ----------
    path : path or sequence of paths
        TIFF, BigTIFF, OME-TIFF, ImageJ stack; the first of a Micro-Manager set
        (``..._MMStack_Pos0.ome.tif``; the others are found beside it) or its folder; an NDTiff
        folder; a folder of TIFFs, read in natural order; ``.raw`` with ``.yaml``, ``.dax``
        with ``.inf``, ``.npy``, Nikon's ``.nd2``. A sequence is read as one movie, in the order
        given.
    channel, z_slice : int or None
        Which channel, and which slice of a stack at several times; from 0.

    Returns
    -------
    FrameSource
        To be closed, or used in a ``with`` statement.

    Raises
    ------
    MovieError
        If it is no movie, empty, coloured, or has channels or slices to choose from.
    """
    choice = _Choice(channel=channel, z_slice=z_slice)
    if not isinstance(path, (str, Path)):
        return _open_list([Path(p) for p in path], choice)
    path = Path(path)
    try:
        if not path.exists():
            raise MovieError(f"The movie {path} does not exist.", hint="Check the name.")
        return _open_folder(path, choice) if path.is_dir() else _open_file(path, choice)
    except OSError as error:
        raise MovieError(
            f"{path} cannot be read: {error.strerror or error}.",
            hint="Check that you may read it and that the drive is connected.",
        ) from error


def _open_file(path: Path, choice: _Choice) -> BaseSource:
    suffix = path.suffix.lower()
    kind = file_type(path)
    if kind == "empty":
        raise MovieError(f"{path} is empty (0 bytes).", hint="Copy or export the movie again.")
    if (path.parent / INDEX_NAME).is_file() and "NDTiffStack" in path.name:
        return _open_ndtiff(path.parent, choice)
    if kind == "tiff":
        return _open_tiff(path, choice)
    if suffix == ".dax":
        return open_dax(path)
    if kind == "npy":
        return open_npy(path)
    if suffix == ".raw":
        return open_raw(path)
    if suffix == ".nd2":
        return Nd2Source(path, channel=choice.channel, z_slice=choice.z_slice)
    hint = "Open a TIFF, .nd2, .raw, .dax or .npy movie, or a folder of TIFFs."
    if kind == "microscope":
        hint = "Open it in Fiji and save it as TIFF."
    raise MovieError(f"{path} is {describe_file_type(path)}, not a movie.", hint=hint)


def _open_tiff(path: Path, choice: _Choice) -> BaseSource:
    parts = _micromanager_parts(path)
    if len(parts) > 1:
        source: BaseSource = SequenceSource(
            path, lambda: _micromanager_parts(path), lambda part: _tiff(part, choice)
        )
    else:
        source = _tiff(path, choice)
    later = _LATER_PART.fullmatch(path.name)
    if later and path.with_name(later["stem"] + later["suffix"]).exists():
        source._metadata = add_warnings(
            source.metadata,
            f"{path.name} is part {int(later['part']) + 1} of a recording; open "
            f"{later['stem']}{later['suffix']} to read all of it.",
        )
    return _with_metadata_text(source, path)


def _tiff(path: Path, choice: _Choice) -> TiffSource:
    return TiffSource(path, channel=choice.channel, z_slice=choice.z_slice)


def _micromanager_parts(path: Path) -> list[Path]:
    """Return the file and its continuations ``name_1.ome.tif``, ``name_2.ome.tif``, ..."""
    match = re.fullmatch(r"(.*MMStack.*)(\.ome\.tiff?)", path.name, re.IGNORECASE)
    if match is None:
        return [path]
    stem, suffix = match.groups()
    numbered = re.compile(rf"{re.escape(stem)}_([1-9]\d*){re.escape(suffix)}")
    found = {int(m.group(1)): p for p in path.parent.iterdir() if (m := numbered.fullmatch(p.name))}
    for number in range(1, max(found, default=0) + 1):
        if number not in found:
            raise MovieError(
                f"Part {stem}_{number}{suffix} of the recording is missing.",
                hint="Copy it beside the others; without it all later frames would be misnumbered.",
            )
    return [path, *(found[number] for number in sorted(found))]


def _open_folder(folder: Path, choice: _Choice) -> BaseSource:
    if (folder / INDEX_NAME).is_file():
        return _open_ndtiff(folder, choice)
    if (folder / "Full resolution" / INDEX_NAME).is_file():
        return _open_ndtiff(folder / "Full resolution", choice)
    tiffs = _tiffs(folder)
    if not tiffs:
        return _open_only_content(folder, choice)
    stacks = [p for p in tiffs if "mmstack" in p.name.lower() and not _is_later_part(p)]
    if stacks:
        if len(stacks) > 1:
            raise MovieError(
                f"{folder} holds {len(stacks)} recordings: "
                f"{', '.join(p.name for p in stacks[:5])}.",
                hint="Open one of these files instead of the folder.",
            )
        return _open_tiff(stacks[0], choice)
    _chosen_images(folder, choice)  # complains about channels before anything is opened
    source = SequenceSource(
        folder, lambda: _chosen_images(folder, choice), lambda part: _tiff(part, choice)
    )
    return _with_metadata_text(source, folder / "metadata.txt")


def _is_later_part(path: Path) -> bool:
    match = _LATER_PART.fullmatch(path.name)
    return match is not None and path.with_name(match["stem"] + match["suffix"]).exists()


def _tiffs(folder: Path) -> list[Path]:
    names = (p for p in folder.iterdir() if p.suffix.lower() in _TIFF_SUFFIXES)
    return sorted(
        (p for p in names if not p.name.startswith(".")), key=lambda p: natural_order(p.name)
    )


def _open_only_content(folder: Path, choice: _Choice) -> BaseSource:
    """Open the single movie, or the single subfolder with one, that a folder holds."""
    files = [p for p in folder.iterdir() if p.suffix.lower() in _OTHER_SUFFIXES]
    subfolders = [p for p in folder.iterdir() if p.is_dir() and _tiffs(p)]
    found = files + subfolders
    if len(found) == 1:
        return _open_file(files[0], choice) if files else _open_folder(subfolders[0], choice)
    if found:
        raise MovieError(
            f"{folder} holds {len(found)} movies: {', '.join(p.name for p in found[:5])}.",
            hint="Open one of them.",
        )
    raise MovieError(
        f"The folder {folder} holds no movie.",
        hint="Open a folder with TIFF files, or a movie file.",
    )


def _open_ndtiff(folder: Path, choice: _Choice) -> BaseSource:
    return NdTiffSource(folder, channel=choice.channel, z_slice=choice.z_slice)


def _chosen_images(folder: Path, choice: _Choice) -> list[Path]:
    """Return the TIFFs of a folder in order; of Micro-Manager images one channel and slice."""
    tiffs = _tiffs(folder)
    named = [(p, _IMAGE_2.fullmatch(p.name) or _IMAGE_14.fullmatch(p.name)) for p in tiffs]
    images = [(p, match.groupdict()) for p, match in named if match is not None]
    if len(images) != len(tiffs):
        return tiffs
    times = {facts["time"] for _, facts in images}
    for axis, index, word in (
        ("channel", choice.channel, "channels"),
        ("z", choice.z_slice, "z slices"),
        ("position", None, "positions"),
    ):
        values = sorted({facts.get(axis, "") for _, facts in images})
        if len(values) == 1 or (axis == "z" and len(times) == 1):
            continue
        if index is None or not 0 <= index < len(values):
            raise MovieError(
                f"{folder.name} has {len(values)} {word}: {', '.join(values[:8])}.",
                hint="Choose one, or move the images of each into a folder of its own.",
            )
        images = [(p, facts) for p, facts in images if facts.get(axis, "") == values[index]]
    images.sort(key=lambda image: (int(image[1]["time"]), int(image[1]["z"])))
    return [p for p, _ in images]


def _open_list(paths: list[Path], choice: _Choice) -> BaseSource:
    if not paths:
        raise MovieError("No movie was given.", hint="Name at least one file.")
    for path in paths:
        if not path.exists():
            raise MovieError(f"The movie {path} does not exist.", hint="Check the name.")
    if len(paths) == 1:
        path = paths[0]
        return _open_folder(path, choice) if path.is_dir() else _open_file(path, choice)

    def open_part(path: Path) -> BaseSource:
        return _tiff(path, choice) if file_type(path) == "tiff" else _open_file(path, choice)

    return SequenceSource(paths[0], lambda: paths, open_part)


def _with_metadata_text(source: BaseSource, path: Path) -> BaseSource:
    """Fill what the movie does not say from Micro-Manager's text file beside it."""
    stem = re.sub(r"\.ome\.tiff?$|\.tiff?$", "", path.name, flags=re.IGNORECASE)
    for name in (f"{stem}_metadata.txt", "metadata.txt"):
        text = path.with_name(name)
        if text.is_file():
            facts = read_metadata_text(text)
            missing = {
                f.name: facts[f.name]
                for f in fields(MovieMetadata)
                if f.name in facts and not getattr(source.metadata, f.name)
            }
            source._metadata = replace(source.metadata, **missing)
            announced = missing.get("announced_frames", 0)
            if announced > source.n_frames:
                source._metadata = add_warnings(
                    source.metadata,
                    f"{source.path.name} holds {source.n_frames} frames of the {announced} that "
                    f"{name} announces; {announced - source.n_frames} are missing.",
                )
            break
    return source
