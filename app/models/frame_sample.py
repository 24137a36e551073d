"""Frames of a movie, or simulated ones, with what they measure like; read in the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.models.project import MovieEntry
from decode_engine.analysis.frame_statistics import BLOCK_FRAMES, FrameStatistics, measure_frames
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.errors import InputError
from decode_engine.io.cameras import camera_from_config, write_camera
from decode_engine.io.movies import FrameSource, open_movie

__all__ = [
    "FIELD_PX",
    "SAMPLE_FRAMES",
    "FrameSample",
    "blocks",
    "field_of",
    "read_own",
    "read_simulated",
]

FIELD_PX = 128
SAMPLE_FRAMES = 80
_LEAST_PX = 16


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameSample:
    """Some frames of one small field.

    Attributes
    ----------
    frame_numbers : (F,) int
        Their numbers in the movie.
    photons : (F, H, W) float32, photons
    field : Roi
        Part of the movie's frames.
    camera : CameraModel
        Of exactly this field.
    statistics : FrameStatistics
    camera_file : str
        The camera of the field, as a file for the engine.
    """

    frame_numbers: NDArray[np.intp]
    photons: NDArray[np.float32]
    field: Roi
    camera: CameraModel
    statistics: FrameStatistics
    camera_file: str


def blocks(first: int, end: int, frames: int = SAMPLE_FRAMES) -> list[tuple[int, int]]:
    """Return ranges of consecutive frames, spread evenly over ``first..end-1``."""
    available = end - first
    if available <= frames:
        return [(s, min(s + BLOCK_FRAMES, end)) for s in range(first, end, BLOCK_FRAMES)]
    number = frames // BLOCK_FRAMES
    starts = np.linspace(first, end - BLOCK_FRAMES, number).astype(int)
    return [(int(start), int(start) + BLOCK_FRAMES) for start in starts]


def field_of(roi: tuple[int, int, int, int] | None, width_px: int, height_px: int) -> Roi:
    """Return the middle of the region (or of the frame), at most 128 px wide and high.

    Raises
    ------
    InputError
        If it is too small to compare anything.
    """
    left, top, width, height = roi or (0, 0, width_px, height_px)
    right, bottom = min(left + width, width_px), min(top + height, height_px)
    left, top = max(left, 0), max(top, 0)
    w, h = min(right - left, FIELD_PX), min(bottom - top, FIELD_PX)
    if min(w, h) < _LEAST_PX:
        raise InputError(
            f"The region of {max(w, 0)} x {max(h, 0)} px is too small to compare frames.",
            hint=f"Choose a region of at least {_LEAST_PX} x {_LEAST_PX} px on the Movie page.",
        )
    x, y = left + (right - left - w) // 2, top + (bottom - top - h) // 2
    return Roi(x_px=x, y_px=y, width_px=w, height_px=h)


def read_own(
    entry: MovieEntry,
    camera: CameraConfig,
    folder: Path,
    scratch: Path,
    check: Callable[[], None],
) -> FrameSample:
    """Read and measure frames of the user's movie.

    Parameters
    ----------
    folder : Path
        What relative paths of camera maps refer to.
    scratch : Path
        Where the camera of the field is written.

    Raises
    ------
    InputError
        If movie or camera cannot be used.
    """
    model = camera_from_config(camera, folder)
    with open_movie(entry.path, channel=entry.movie_channel, z_slice=entry.z_slice) as movie:
        field = field_of(entry.roi_px, movie.width_px, movie.height_px)
        model.require_frame_size(movie.height_px, movie.width_px)
        first, end = entry.frames or (0, movie.n_frames)
        ranges = blocks(first, min(end, movie.n_frames))
        if not ranges:
            raise InputError(
                f"{movie.path.name} has no frames from {first} on.",
                hint="Choose other frames on the Movie page.",
            )
        adu = _read(movie, ranges, field, check)
    cropped = model.crop(field)
    scratch.mkdir(parents=True, exist_ok=True)
    camera_file = scratch / "field_camera.json"
    write_camera(cropped, camera_file, overwrite=True)
    return FrameSample(
        frame_numbers=np.concatenate([np.arange(start, stop) for start, stop in ranges]),
        photons=cropped.adu_to_photons(adu),
        field=field,
        camera=cropped,
        statistics=measure_frames(adu, cropped, check=check),
        camera_file=str(camera_file),
    )


def read_simulated(path: Path, own: FrameSample, check: Callable[[], None]) -> FrameSample:
    """Read and measure simulated frames, made for the field of ``own``."""
    with open_movie(path) as movie:
        whole = Roi(x_px=0, y_px=0, width_px=movie.width_px, height_px=movie.height_px)
        adu = _read(movie, [(0, movie.n_frames)], whole, check)
    return FrameSample(
        frame_numbers=np.arange(len(adu)),
        photons=own.camera.adu_to_photons(adu),
        field=whole,
        camera=own.camera,
        statistics=measure_frames(adu, own.camera, check=check),
        camera_file=own.camera_file,
    )


def _read(
    movie: FrameSource,
    ranges: list[tuple[int, int]],
    field: Roi,
    check: Callable[[], None],
) -> NDArray[np.float32]:
    rows = slice(field.y_px, field.y_px + field.height_px)
    columns = slice(field.x_px, field.x_px + field.width_px)
    parts = []
    for start, stop in ranges:
        check()
        parts.append(np.asarray(movie.read(start, stop)[:, rows, columns], np.float32))
    return np.concatenate(parts)
