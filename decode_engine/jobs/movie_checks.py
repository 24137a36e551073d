"""What is asked of a movie and whether the movie has it: frames, region, level, pixel size."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from decode_engine.contract.base import Config
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.errors import CameraError, ConfigError
from decode_engine.io.movies import FrameSource, MovieMetadata, open_movie

__all__ = [
    "MovieSelection",
    "check_movie",
    "em_warnings",
    "frame_range",
    "open_chosen",
    "pixel_size_warnings",
    "recorded_settings",
    "region_of",
]

_SAMPLED_FRAMES = 5  # of a movie, to compare its level with the camera's offset
_EM_GAIN_TOLERANCE = 0.02
_PIXEL_SIZE_TOLERANCE = 0.02  # what metadata may differ by without a word


class MovieSelection(Protocol):
    """The part of a movie that a configuration asks for."""

    @property
    def frames(self) -> tuple[int, int] | None:
        """First frame and end (exclusive), all if None."""
        ...

    @property
    def roi(self) -> tuple[int, int, int, int] | None:
        """Left, top, width and height in pixels, the whole frame if None."""
        ...

    @property
    def movie_channel(self) -> int | None:
        """Channel, where the movie has several."""
        ...

    @property
    def z_slice(self) -> int | None:
        """Slice, where the movie has several at each time."""
        ...


def open_chosen(path: Path | str, wanted: MovieSelection) -> FrameSource:
    """Open the channel and slice of a movie that a configuration asks for."""
    return open_movie(Path(path), channel=wanted.movie_channel, z_slice=wanted.z_slice)


def check_movie(movie: FrameSource, camera: CameraModel, wanted: MovieSelection) -> tuple[str, ...]:
    """Check that a movie has what is asked of it and suits its camera; return what is odd.

    Raises
    ------
    CameraError
        If the camera's maps have another size than the frames, or its offset lies above the
        movie's level.
    ConfigError
        If the range or the region reaches beyond the movie.
    """
    camera.require_frame_size(movie.height_px, movie.width_px)
    region = region_of(wanted)
    if region is not None:
        region.require_inside(movie.width_px, movie.height_px)
    start, stop = frame_range(movie, wanted)
    _require_offset(movie, camera, start, stop)
    size_nm = (camera.pixel_size_x_nm, camera.pixel_size_y_nm)
    return (
        *movie.metadata.warnings,
        *pixel_size_warnings(movie, size_nm, "the camera"),
        *em_warnings(movie.metadata, camera),
    )


def region_of(wanted: MovieSelection) -> Roi | None:
    """Return the region that is asked for, None for the whole frame."""
    if wanted.roi is None:
        return None
    x_px, y_px, width_px, height_px = wanted.roi
    return Roi(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)


def frame_range(movie: FrameSource, wanted: MovieSelection) -> tuple[int, int]:
    """Return the frames that are asked for and there (end exclusive)."""
    start, stop = wanted.frames if wanted.frames is not None else (0, movie.n_frames)
    if not 0 <= start < stop <= movie.n_frames:
        raise ConfigError(
            f"The frames {start}:{stop} were asked of {movie.path.name}, which has "
            f"{movie.n_frames}.",
            hint=f"Choose a first frame and an end (exclusive) within 0:{movie.n_frames}.",
        )
    return start, stop


def _require_offset(movie: FrameSource, camera: CameraModel, start: int, stop: int) -> None:
    """Raise `CameraError` if the movie's median lies below the camera's offset.

    A dark movie may lie below by its read noise; a wrong offset lies below by far more.
    """
    picks = np.unique(np.linspace(start, stop - 1, _SAMPLED_FRAMES).astype(int))
    frames = np.concatenate([movie.read(int(i), int(i) + 1) for i in picks])
    above = float(np.median(frames - np.asarray(camera.offset_adu, np.float32)))
    noise_adu = float(np.median(np.asarray(camera.read_noise_e) / np.asarray(camera.e_per_adu)))
    if above < -max(1.0, noise_adu):
        raise CameraError(
            f"The camera's offset of {np.median(camera.offset_adu):g} ADU lies above the median "
            f"of {movie.path.name}, {np.median(frames):g} ADU.",
            hint="Photons would be negative: measure the offset from frames without light.",
        )


def recorded_settings(movie: FrameSource, config: Config) -> dict[str, Any]:
    """Return a job's settings for the provenance, with where the frame lies on the chip.

    Programs that count from the chip's corner (SMAP) need it; it is left out where it is (0, 0).
    """
    origin = movie.metadata.roi_origin_px
    place = {"roi_origin_px": list(origin)} if origin is not None and any(origin) else {}
    return {**config.model_dump(mode="json"), **place}


def em_warnings(metadata: MovieMetadata, camera: CameraModel) -> list[str]:
    """Say where a movie's EM register was used otherwise than its camera is described."""
    on, described = metadata.em_register_on, camera.kind == "emccd"
    if on is not None and on != described:
        words = ("with", "without") if on else ("without", "with")
        return [
            f"The movie says that it was read out {words[0]} EM register, the camera describes "
            f"one {words[1]}: photons, and left and right, may be wrong."
        ]
    gain = metadata.em_gain
    if described and gain and abs(gain / camera.em_gain - 1) > _EM_GAIN_TOLERANCE:
        return [
            f"The movie says that the EM gain was {gain:g}, the camera says {camera.em_gain:g}, "
            "which is used: photons follow it."
        ]
    return []


def pixel_size_warnings(movie: FrameSource, size_nm: tuple[float, float], owner: str) -> list[str]:
    """Say along which axes a file states another pixel size than the one that is used.

    Parameters
    ----------
    movie : FrameSource
    size_nm : (float, float)
        What is used, along x and y.
    owner : str
        Who says so, in words.
    """
    pairs = (
        ("x", movie.metadata.pixel_size_x_nm, size_nm[0]),
        ("y", movie.metadata.pixel_size_y_nm, size_nm[1]),
    )
    return [
        f"{movie.path.name} says that its pixels measure {stated_nm:.4g} nm along {axis}, {owner} "
        f"says {used_nm:g} nm, which is used."
        for axis, stated_nm, used_nm in pairs
        if stated_nm and abs(stated_nm / used_nm - 1) > _PIXEL_SIZE_TOLERANCE
    ]
