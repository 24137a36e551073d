"""The Qt-free part of the Movie page: list, reader with its cache, brightness over the movie."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from app.models import movie_list
from app.models.localize_job import frames_words, localize_spec
from app.models.movie_facts import NOT_IN_FILE, movie_facts
from app.models.movie_reader import MovieChoiceError, MovieReader, MovieUnavailableError
from app.models.movie_sample import sample_movie
from app.models.movie_traces import MovieTraces, measure_levels, saturation_level, scan_order
from app.models.project import MovieEntry, ProjectSettings
from decode_engine.errors import ConfigError, MovieError
from decode_engine.io.movies import write_movie

FRAMES = (np.arange(12 * 8 * 10).reshape(12, 8, 10) % 1000 + 100).astype(np.uint16)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    path = tmp_path / "movie.tif"
    write_movie(path, iter(FRAMES), FRAMES.shape, pixel_size_x_nm=100.0)
    return path


def test_later_parts_of_a_recording_are_no_movies_of_their_own(tmp_path: Path) -> None:
    names = ["a_MMStack_Pos0_1.ome.tif", "a_MMStack_Pos0.ome.tif", "b_MMStack_Pos0_1.ome.tif"]
    paths = [tmp_path / name for name in names]
    assert movie_list.without_parts(paths) == [paths[1], paths[2]]


def test_a_movie_is_added_once_and_keeps_its_part() -> None:
    first = MovieEntry(path="/d/a.tif", frames=(0, 5))
    movies = movie_list.add_movies((first,), [Path("/d/b.tif"), Path("/d/a.tif")])
    assert [m.path for m in movies] == ["/d/a.tif", "/d/b.tif"]
    assert movies[0] is first


def test_moving_stops_at_the_ends() -> None:
    movies = tuple(MovieEntry(path=p) for p in "abc")
    assert [m.path for m in movie_list.moved_index(movies, 0, 1)] == ["b", "a", "c"]
    assert movie_list.moved_index(movies, 0, -1) == movies
    assert movie_list.moved_index(movies, 2, 1) == movies


def test_relinking_brings_the_neighbours_along(tmp_path: Path) -> None:
    for name in ("a.tif", "b.tif"):
        (tmp_path / name).touch()
    movies = tuple(MovieEntry(path=f"/gone/{n}", roi_px=(0, 0, 4, 4)) for n in ("a.tif", "b.tif"))
    other = MovieEntry(path="/elsewhere/b.tif")
    found = movie_list.relinked((*movies, other), 0, tmp_path / "a.tif")
    assert [m.path for m in found] == [
        str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "/elsewhere/b.tif",
    ]  # fmt: skip
    assert found[1].roi_px == (0, 0, 4, 4)


@pytest.mark.parametrize(
    ("region", "expected"),
    [((0, 0, 64, 48), None), ((60, 0, 4, 48), (60, 0, 4, 48)), ((1, 2, 3, 4), (1, 2, 3, 4))],
)
def test_a_region_is_checked_against_the_frame(region: Any, expected: Any) -> None:
    assert movie_list.checked_roi(region, 64, 48) == expected


@pytest.mark.parametrize("region", [(61, 0, 4, 48), (0, 0, 0, 5), (0, 1, 64, 48)])
def test_a_region_beyond_the_frame_is_refused(region: Any) -> None:
    with pytest.raises(ConfigError):
        movie_list.checked_roi(region, 64, 48)


def test_frames_are_stored_with_their_end_excluded() -> None:
    assert movie_list.checked_frames(2, 2, 10) == (2, 3)
    assert movie_list.checked_frames(0, 9, 10) is None
    for first, last in ((3, 2), (0, 10)):
        with pytest.raises(ConfigError, match="0 to 9"):
            movie_list.checked_frames(first, last, 10)


def test_other_sizes_are_told() -> None:
    assert movie_list.size_warning({"a": (4, 4), "b": (4, 4)}) == ""
    assert "4 × 5 px" in movie_list.size_warning({"a": (4, 4), "b": (4, 5)})


def test_the_reader_keeps_no_more_than_its_cache(movie: Path) -> None:
    reader = MovieReader(movie, cache_bytes=3 * FRAMES[0].nbytes)
    for index in range(8):
        np.testing.assert_array_equal(reader.frame(index), FRAMES[index])
    assert reader.cached_bytes <= 3 * FRAMES[0].nbytes
    assert reader.cached(7) is not None
    assert reader.cached(0) is None
    reader.retire()


def test_retiring_does_not_wait_for_a_read(movie: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A drive that hangs must not hang the window; the file is closed by the thread that reads."""
    reader = MovieReader(movie)
    reading, go_on = threading.Event(), threading.Event()
    read: Callable[[int, int], NDArray[Any]] = reader._source.read
    closed = threading.Event()
    close = reader._source.close

    def slow(start: int, stop: int) -> NDArray[Any]:
        reading.set()
        assert go_on.wait(10)
        return read(start, stop)

    def noted_close() -> None:
        close()
        closed.set()

    monkeypatch.setattr(reader._source, "read", slow)
    monkeypatch.setattr(reader._source, "close", noted_close)
    thread = threading.Thread(target=reader.frame, args=(0,))
    thread.start()
    assert reading.wait(10)
    reader.retire()
    assert not closed.is_set()
    go_on.set()
    thread.join(10)
    assert closed.is_set()
    with pytest.raises(MovieError, match="closed"):
        reader.frame(1)


def test_a_movie_that_is_gone_has_its_own_code(tmp_path: Path) -> None:
    with pytest.raises(MovieUnavailableError, match="not there"):
        MovieReader(tmp_path / "gone.tif")


def test_a_hyperstack_is_refused_with_the_way_to_split_it(tmp_path: Path) -> None:
    path = tmp_path / "two.tif"
    stack = np.zeros((5, 2, 8, 9), np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TCYX"})
    with pytest.raises(MovieChoiceError, match="2 channels") as caught:
        MovieReader(path)
    assert "Split Channels" in caught.value.hint
    with pytest.raises(MovieChoiceError, match="which has 2"):
        MovieReader(path, channel=2)


def test_one_channel_of_a_hyperstack_goes_to_all_that_read_the_movie(tmp_path: Path) -> None:
    """Regression: the engine could choose a channel, the window could not."""
    path = tmp_path / "two.tif"
    stack = np.zeros((5, 2, 8, 9), np.uint16)
    stack[:, 1] = 7
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TCYX"})
    entry = MovieEntry(path=str(path), movie_channel=1, z_slice=0)
    assert (sample_movie(entry, lambda: None).first == 7).all()
    spec = localize_spec(ProjectSettings(movies=(entry,)), entry, camera=None, folder=tmp_path)
    assert (spec.config.movie_channel, spec.config.z_slice) == (1, 0)
    assert frames_words(entry) == "channel 2, slice 1"


def test_the_card_says_what_is_not_in_the_file(movie: Path) -> None:
    reader = MovieReader(movie)
    facts = {fact.name: fact for fact in movie_facts(reader.info)}
    reader.retire()
    assert facts["Frames"].value.startswith("12")
    assert facts["Frame size"].value == "10 × 8 px"
    assert facts["Camera"].value == NOT_IN_FILE
    assert not facts["Camera"].known


@pytest.mark.parametrize(("n", "most"), [(1, 10), (5, 10), (1000, 64), (100_000_000, 33)])
def test_the_scan_spans_the_movie_from_the_start(n: int, most: int) -> None:
    order = scan_order(n, most)
    assert len(order) == len(set(order)) == min(n, most)
    assert min(order) == 0
    assert max(order) == n - 1
    if n > 8 * most:
        early = sorted(order[:8])
        assert early[-1] - early[0] > 0.7 * n


def test_traces_are_in_the_order_of_frames_and_each_once() -> None:
    traces = MovieTraces(wanted=4)
    traces.add([measure_levels(2, FRAMES[2]), measure_levels(0, FRAMES[0])])
    traces.add([measure_levels(2, FRAMES[2]), measure_levels(1, FRAMES[1])])
    assert traces.frames.tolist() == [0, 1, 2]
    assert traces.fraction == 0.75
    np.testing.assert_allclose(traces.curve("mean"), FRAMES[:3].mean(axis=(1, 2)))
    assert traces.curve("highest").tolist() == FRAMES[:3].max(axis=(1, 2)).tolist()


def test_saturation_is_found_below_sixteen_bits() -> None:
    frame = np.full((4, 4), 200, np.uint16)
    traces = MovieTraces(wanted=2)
    traces.add([measure_levels(0, frame)])
    assert saturation_level(traces, "uint16") == 65535
    frame = frame.copy()
    frame[0, :3] = 4095
    traces.add([measure_levels(1, frame)])
    level = saturation_level(traces, "uint16")
    assert level == 4095
    assert traces.saturated_frames(level) == 1
    assert traces.levels[1].n_highest == 3
    assert saturation_level(traces, "uint16", camera_adu=3000.0) == 3000
    assert saturation_level(traces, "float32") is None
