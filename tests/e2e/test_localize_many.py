"""Many movies, each a task of its own."""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import decode_engine as de
from decode_engine.errors import OutputError
from decode_engine.io.resources import resource_path
from decode_engine.jobs.many import MovieOutcome

MODEL = resource_path("example", "model.decode")
MOVIE = resource_path("example", "movie.tif")
SETTINGS = {"frames": (0, 4), "device": "cpu"}


@pytest.fixture
def movies(tmp_path: Path) -> list[Path]:
    """Two movies and one that is none."""
    made = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.tif"
        path.write_bytes(MOVIE.read_bytes())
        made.append(path)
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no movie")
    return [made[0], broken, made[1]]


def test_one_that_fails_leaves_the_others_alone(movies: list[Path], tmp_path: Path) -> None:
    told: list[MovieOutcome] = []
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as executor:
        outcomes = de.localize_many(
            movies, model=MODEL, out=tmp_path / "out", executor=executor, on_done=told.append,
            **SETTINGS,
        )  # fmt: skip
    assert [Path(o.movie).name for o in outcomes] == ["a.tif", "broken.tif", "b.tif"]
    assert sorted(o.movie for o in told) == sorted(o.movie for o in outcomes)
    assert "broken.tif" in outcomes[1].error
    alone = de.localize(movies[0], model=MODEL, out=tmp_path / "alone.h5", **SETTINGS)
    for outcome in (outcomes[0], outcomes[2]):
        assert not outcome.error
        assert outcome.summary["localizations"] == len(alone) > 0
        np.testing.assert_array_equal(de.read_localizations(Path(outcome.out)).x_nm, alone.x_nm)


def test_the_same_call_goes_on(movies: list[Path], tmp_path: Path) -> None:
    def call(resume: bool) -> list[MovieOutcome]:
        with ThreadPoolExecutor(1) as executor:
            return de.localize_many(
                [movies[0], movies[2]], model=MODEL, out=tmp_path / "out", executor=executor,
                resume=resume, **SETTINGS,
            )  # fmt: skip

    assert not any(o.error for o in call(resume=False))
    before = (tmp_path / "out" / "a.h5").stat().st_mtime_ns
    assert all("exists" in o.error for o in call(resume=False))
    assert not any(o.error for o in call(resume=True))
    assert (tmp_path / "out" / "a.h5").stat().st_mtime_ns == before


def test_a_worker_that_dies_is_told_of(movies: list[Path], tmp_path: Path) -> None:
    class Dying(ThreadPoolExecutor):
        def submit(self, *_: object, **__: object) -> Future:  # type: ignore[override, type-arg]
            future: Future[MovieOutcome] = Future()
            future.set_exception(RuntimeError("the machine went away"))
            return future

    with Dying(1) as executor:
        (outcome,) = de.localize_many(
            movies[:1], model=MODEL, out=tmp_path / "out", executor=executor, **SETTINGS
        )
    assert "the machine went away" in outcome.error


def test_results_of_one_name_are_refused(movies: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as executor, pytest.raises(OutputError, match="Two movies"):
        de.localize_many(
            [movies[0], movies[0]], model=MODEL, out=tmp_path / "out", executor=executor
        )
