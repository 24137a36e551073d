"""Local and remote names of files, and which fields they stand in."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine_link.path_mapping import PathMap, PathNotMappedError
from decode_engine.contract import jobs
from decode_engine.contract.base import Config
from decode_engine.contract.jobs import CalibrateSpec, LocalizeSpec, TrainSpec
from decode_engine.contract.messages import (
    SUMMARY_PATHS,
    ArtifactEvent,
    FinishedEvent,
    LogEvent,
    PreviewEvent,
    decode_event,
)
from tests.gui.engines import RECORDINGS
from tests.unit.engine.bead_fields import CONFIG

POSIX = PathMap.of([("/home/ann/data", "/mnt/lab"), ("/home/ann/data/fast", "/scratch")])
WINDOWS = PathMap.of([("C:\\Users\\Ann", "/mnt/ann"), ("\\\\nas\\lab", "/nas/lab")])

NO_PATHS = {"job", "device", "format", "name"}


@pytest.mark.parametrize(
    "spec", typing.get_args(typing.get_args(jobs.JobSpec)[0]), ids=lambda s: s.__name__
)
def test_every_text_of_a_job_is_declared_a_path_or_known_not_to_be_one(spec: type[Config]) -> None:
    """A new text setting must be decided on: a remote engine cannot guess."""
    for name, info in spec.model_fields.items():
        extra = info.json_schema_extra
        is_path = isinstance(extra, dict) and bool(extra.get("path"))
        is_text = str in (info.annotation, *_inner(info.annotation))
        assert is_path or not is_text or name in NO_PATHS, f"{spec.__name__}.{name}"
        assert is_text or not is_path, f"{spec.__name__}.{name}"


def _inner(annotation: Any) -> list[Any]:
    found = []
    for inner in typing.get_args(annotation):
        found += [inner, *_inner(inner)]
    return found


def test_every_path_of_a_job_is_translated_and_nothing_else() -> None:
    spec = TrainSpec(
        calibration="/home/ann/data/cal.h5",
        camera="/home/ann/data/fast/cam.json",
        out="/home/ann/data/models/a.decode",
        device="cuda:1",
    )
    remote = POSIX.spec_to_remote(spec)
    assert remote.calibration == "/mnt/lab/cal.h5"
    assert remote.camera == "/scratch/cam.json"  # the longest beginning counts
    assert remote.out == "/mnt/lab/models/a.decode"
    assert (remote.init, remote.device, remote.config) == (None, "cuda:1", spec.config)
    for start in ("auto", "starter", "starter:2d"):  # the engine's own, no files of ours
        named = spec.model_copy(update={"init": start})
        assert POSIX.spec_to_remote(named).init == start
    beads = CalibrateSpec(
        beads=("/home/ann/data/1.tif", "/home/ann/data/2.tif"),
        out="/home/ann/data/o.h5",
        config=CONFIG,
    )
    assert POSIX.spec_to_remote(beads).beads == ("/mnt/lab/1.tif", "/mnt/lab/2.tif")


@pytest.mark.parametrize(
    ("local", "remote"),
    [
        ("C:\\Users\\Ann\\movie 1.tif", "/mnt/ann/movie 1.tif"),
        ("c:/users/ann/sub/movie.tif", "/mnt/ann/sub/movie.tif"),
        ("\\\\NAS\\lab\\Zellen für Müller\\m.tif", "/nas/lab/Zellen für Müller/m.tif"),
    ],
)
def test_windows_here_and_posix_there(local: str, remote: str) -> None:
    assert WINDOWS.to_remote(local) == remote


def test_posix_here_and_windows_there() -> None:
    path_map = PathMap.of([("/mnt/d", "D:\\data")])
    assert path_map.to_remote("/mnt/d/a/b.tif") == "D:\\data\\a\\b.tif"
    assert path_map.to_local("D:\\data\\a\\b.tif") == "/mnt/d/a/b.tif"
    assert path_map.to_local("d:/Data/a/b.tif") == "/mnt/d/a/b.tif"


def test_a_path_outside_all_pairs_is_refused_by_name_with_a_way_out() -> None:
    spec = LocalizeSpec(movies=("/home/ann/database/m.tif",), model="/home/ann/data/m", out="o")
    with pytest.raises(PathNotMappedError, match=r"/home/ann/database/m\.tif") as caught:
        POSIX.spec_to_remote(spec)
    assert "path map in the settings" in caught.value.hint
    assert "/home/ann/data" in caught.value.hint


def test_events_come_back_with_our_paths() -> None:
    assert POSIX.event_to_local(ArtifactEvent(kind="model", path="/mnt/lab/a")) == ArtifactEvent(
        kind="model", path="/home/ann/data/a"
    )
    preview = PreviewEvent(path="/scratch/s.npz", shape=(1, 2), dtype="float32")
    assert POSIX.event_to_local(preview).path == "/home/ann/data/fast/s.npz"  # type: ignore[union-attr]
    finished = FinishedEvent(
        reason="completed",
        summary={"out": "/mnt/lab/o", "outputs": ["/mnt/lab/1", "/else/2"], "frames": 3,
                 "lines": ["/mnt/lab/x"]},
    )  # fmt: skip
    assert POSIX.event_to_local(finished).summary == {  # type: ignore[union-attr]
        "out": "/home/ann/data/o",
        "outputs": ["/home/ann/data/1", "/else/2"],
        "frames": 3,
        "lines": ["/mnt/lab/x"],  # words for people, not a path
    }
    log = LogEvent(text="/mnt/lab/o is finished already.")
    assert POSIX.event_to_local(log) == log


@pytest.mark.parametrize(
    "recording", sorted(RECORDINGS.glob("*.jsonl")), ids=lambda path: path.stem
)
def test_every_path_in_a_recorded_event_is_declared(recording: Path) -> None:
    """In recordings a path stands as ``{out}…``: what would not be translated shows."""
    _, *lines = recording.read_text("utf-8").splitlines()
    for line in lines:
        body = decode_event(line.encode()).body
        if isinstance(body, FinishedEvent):
            paths = {key for key, value in body.summary.items() if "{" in str(value)}
            assert paths <= SUMMARY_PATHS
        elif "{" in line.replace('{"', "").replace('":{', ""):
            assert isinstance(body, ArtifactEvent | PreviewEvent), line


def test_without_pairs_nothing_changes() -> None:
    spec = LocalizeSpec(movies=("m.tif",), model="m", out="o")
    assert PathMap().spec_to_remote(spec) is spec
    assert PathMap.of([("", "/x"), ("/y", "")]).pairs == ()


@given(st.lists(st.sampled_from(["a", "b c", "ü", "fast", "x.tif"]), min_size=1, max_size=5))
def test_there_and_back_is_the_same(parts: list[str]) -> None:
    path = "/".join(["/home/ann/data", *parts])
    assert POSIX.to_local(POSIX.to_remote(path)) == path
