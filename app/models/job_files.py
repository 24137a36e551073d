"""Files that a job needs from the project's settings, and what a result is called."""

from __future__ import annotations

import contextlib
from pathlib import Path

from decode_engine.contract.configs import CameraConfig
from decode_engine.io.cameras import camera_from_config, write_camera

__all__ = ["movie_stem", "remove_empty", "write_camera_file"]

_DOUBLE_SUFFIXES = (".ome.tif", ".ome.tiff", ".ome.btf")


def write_camera_file(config: CameraConfig, path: Path) -> str:
    """Write the project's camera as a camera file (maps beside it); return its path.

    Raises
    ------
    CameraError
        If the values make no camera, or a map cannot be read.
    OutputError
        If the file cannot be written.
    """
    camera = camera_from_config(config, path.parent)
    write_camera(camera, path, overwrite=True)
    return str(path)


def remove_empty(folder: Path) -> None:
    """Remove the folder of a run that could not start; files in it are left alone."""
    with contextlib.suppress(OSError):
        folder.rmdir()


def movie_stem(path: str) -> str:
    """Return a movie's name without the endings of its format; fit for a file name."""
    name = Path(path).name
    for suffix in _DOUBLE_SUFFIXES:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)] or name
    return Path(name).stem or name
