"""What jobs ask of a movie, checked in one place for `localize`, `preview` and `fit-mle`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from decode_engine.contract.configs import FitMleConfig, LocalizeConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.errors import CameraError, ConfigError
from decode_engine.io.movies import MovieMetadata, open_movie
from decode_engine.io.movies.writing import write_movie
from decode_engine.jobs.movie_checks import check_movie, em_warnings, frame_range, region_of

FRAMES, HEIGHT, WIDTH = 8, 20, 30


def camera(**values: Any) -> CameraModel:
    defaults = {"kind": "scmos", "pixel_size_x_nm": 100.0, "pixel_size_y_nm": 130.0}
    return CameraModel(**{**defaults, "offset_adu": 100.0, "read_noise_e": 2.0, **values})


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    """Write eight frames of 110 ADU, the last four of 90 ADU."""
    frames = np.full((FRAMES, HEIGHT, WIDTH), 110, np.uint16)
    frames[4:] = 90
    path = tmp_path / "movie.tif"
    write_movie(path, frames, frames.shape, pixel_size_x_nm=100.0, pixel_size_y_nm=130.0)
    return path


@pytest.mark.parametrize("config", [LocalizeConfig, FitMleConfig])
@pytest.mark.parametrize("frames", [(0, 9), (3, 3), (8, 9)])
def test_frames_beyond_the_movie_are_refused(movie: Path, config: Any, frames: Any) -> None:
    """Regression: `fit-mle` fitted what was there and said nothing about the rest."""
    with open_movie(movie) as source, pytest.raises(ConfigError, match=f"{frames[1]} were asked"):
        check_movie(source, camera(), config(frames=frames))


def test_regions_beyond_the_movie_are_refused(movie: Path) -> None:
    with open_movie(movie) as source:
        check_movie(source, camera(), LocalizeConfig(frames=(0, 4), roi=(10, 5, 20, 15)))
        with pytest.raises(ConfigError, match="beyond the frame"):
            check_movie(source, camera(), LocalizeConfig(frames=(0, 4), roi=(10, 5, 20, 16)))


def test_what_is_not_asked_is_everything(movie: Path) -> None:
    with open_movie(movie) as source:
        assert frame_range(source, FitMleConfig()) == (0, FRAMES)
    assert region_of(FitMleConfig()) is None
    wanted = region_of(FitMleConfig(roi=(1, 2, 3, 4)))
    assert wanted == Roi(x_px=1, y_px=2, width_px=3, height_px=4)


def test_the_offset_is_compared_with_the_frames_that_are_asked_for(movie: Path) -> None:
    with open_movie(movie) as source:
        check_movie(source, camera(), LocalizeConfig(frames=(0, 4)))
        check_movie(source, camera(read_noise_e=10.0), LocalizeConfig(frames=(4, 8)))
        with pytest.raises(CameraError, match=r"100 ADU .* 90 ADU"):
            check_movie(source, camera(), LocalizeConfig(frames=(4, 8)))


def test_an_offset_map_is_compared_pixel_by_pixel(movie: Path) -> None:
    """Some pixels may lie far above the movie; what counts is the median difference."""
    offsets = np.full((HEIGHT, WIDTH), 100.0)
    offsets[:, :10] = 500.0  # a third of the pixels
    with open_movie(movie) as source:
        check_movie(source, camera(offset_adu=offsets), LocalizeConfig(frames=(0, 4)))
        with pytest.raises(CameraError, match="offset"):
            check_movie(source, camera(offset_adu=offsets + 20), LocalizeConfig(frames=(0, 4)))
        with pytest.raises(CameraError, match="29 x 20"):
            check_movie(source, camera(offset_adu=offsets[:, 1:]), LocalizeConfig(frames=(0, 4)))


def test_pixel_sizes_that_differ_are_said_for_both_axes(movie: Path) -> None:
    """Regression: a movie whose pixels differ along y alone passed without a word."""
    asked = LocalizeConfig(frames=(0, 4))
    with open_movie(movie) as source:
        assert check_movie(source, camera(), asked) == ()
        (along_y,) = check_movie(source, camera(pixel_size_y_nm=100.0), asked)
        (along_x,) = check_movie(source, camera(pixel_size_x_nm=160.0), asked)
    assert "130 nm along y" in along_y
    assert "100 nm along x" in along_x


@pytest.mark.parametrize(
    ("metadata", "values", "words"),
    [
        ({"em_register_on": True}, {}, "read out with EM register, the camera describes one with"),
        ({"em_register_on": False}, {"kind": "emccd", "em_gain": 100.0}, "without EM register"),
        ({"em_register_on": True, "em_gain": 300.0}, {"kind": "emccd", "em_gain": 100.0},
         "EM gain was 300, the camera says 100"),
        ({"em_register_on": True, "em_gain": 100.5}, {"kind": "emccd", "em_gain": 100.0}, ""),
        ({"em_register_on": False, "em_gain": 300.0}, {}, ""),  # set, but not used
        ({}, {"kind": "emccd", "em_gain": 100.0}, ""),
    ],
)  # fmt: skip
def test_the_em_read_out_of_movie_and_camera_is_compared(
    metadata: dict[str, Any], values: dict[str, Any], words: str
) -> None:
    found = em_warnings(MovieMetadata(kind="TIFF", **metadata), camera(**values))
    assert len(found) == bool(words)
    assert words in " ".join(found)
