"""Previews, runs, queue, records, interruption, against scripted and real engines."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot

from app.controllers.job_center import JobCenter
from app.controllers.session import ProjectSession
from app.engine_link.path_mapping import PathMap
from app.models.job_state import JobState
from app.models.project import RunRecord
from app.models.steps import Step
from decode_engine.contract.jobs import (
    InspectSpec,
    JobSpec,
    LocalizeSpec,
    PreviewSpec,
    SimulateSpec,
    TrainSpec,
)
from decode_engine.contract.messages import (
    MetricEvent,
    PreviewEvent,
    ProgressEvent,
    ResumedEvent,
)
from decode_engine.io.training_sample import read_training_sample
from tests.gui.engines import IMPATIENT, real_command, scripted_command
from tests.training_samples import train_spec, write_inputs

WAIT_MS = 30_000


class Bench:
    """A session, its job center, and all that was signalled."""

    def __init__(self, session: ProjectSession, command: tuple[str, ...], **options: Any) -> None:
        self.session = session
        self.center = JobCenter(session, command, patience=IMPATIENT, **options)
        self.states: dict[str, list[JobState]] = {}
        self.events: list[tuple[str, Any]] = []
        self.problems: list[Any] = []
        self.closed = 0
        self.center.job_changed.connect(
            lambda job, state: self.states.setdefault(job, []).append(state)
        )
        self.center.job_event.connect(lambda job, body: self.events.append((job, body)))
        self.center.engine_changed.connect(self.problems.append)
        self.center.all_closed.connect(self._on_closed)

    def _on_closed(self) -> None:
        self.closed += 1

    def phases(self, job_id: str) -> list[str]:
        phases = [state.phase for state in self.states.get(job_id, [])]
        return [p for i, p in enumerate(phases) if i == 0 or phases[i - 1] != p]

    def localize(self, title: str = "Localize movie.tif") -> str:
        run_id, folder = self.session.begin_run(Step.LOCALIZE, title)
        spec = LocalizeSpec(movies=("m.tif",), model="m.decode", out=str(folder / "movie.h5"))
        return self.center.start_run(Step.LOCALIZE, title, run_id, spec)

    def train(self) -> str:
        run_id, folder = self.session.begin_run(Step.TRAIN, "Train")
        spec = TrainSpec(calibration="c.h5", camera="c.json", out=str(folder / "model.decode"))
        return self.center.start_run(Step.TRAIN, "Train", run_id, spec)

    def record(self, run_id: str) -> RunRecord:
        record = self.session.run(run_id)
        assert record is not None
        return record


@pytest.fixture
def session(tmp_path: Path, qtbot: QtBot) -> Iterator[ProjectSession]:
    session = ProjectSession(home=tmp_path / "projects")
    yield session
    session.close()
    session.deleteLater()


@pytest.fixture
def bench(session: ProjectSession) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(command: str | tuple[str, ...] = "complete", **options: Any) -> Bench:
        words = scripted_command(command) if isinstance(command, str) else command
        made.append(Bench(session, words, **options))
        return made[-1]

    yield make
    for one in made:
        one.center.shutdown("kill")
        one.center.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def _preview(frame: int, out: Path) -> PreviewSpec:
    return PreviewSpec(movie="m.tif", model="m.decode", frame=frame, out=str(out))


# Previews


def test_a_preview_runs_in_the_warm_engine_and_tells_its_devices(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench()
    devices: list[list[str]] = []
    b.center.devices_changed.connect(devices.append)
    job = b.center.preview("localize", _preview(1, tmp_path / "out"))
    assert not b.states  # the caller knows the id before anything is said of it
    qtbot.waitUntil(lambda: b.center.state(job).phase == "completed", timeout=WAIT_MS)
    assert devices == [["cpu"]]
    assert b.center.devices == ("cpu",)
    assert b.problems == [None]
    assert (tmp_path / "out" / "frame.npy").is_file()
    assert [r.run_id for r in b.session.project.runs] == []


def test_a_newer_preview_of_a_kind_replaces_the_waiting_and_stops_the_running(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench("slow,psf-preview=wait")
    first = b.center.preview("localize", _preview(1, tmp_path / "a"))
    qtbot.waitUntil(lambda: b.center.state(first).phase == "running", timeout=WAIT_MS)
    second = b.center.preview("localize", _preview(2, tmp_path / "a"))
    other = b.center.preview("look", InspectSpec(file=str(tmp_path)))
    third = b.center.preview("localize", _preview(3, tmp_path / "a"))
    done = ("completed", "cancelled", "failed")
    qtbot.waitUntil(
        lambda: all(b.center.state(j).phase in done for j in (first, second, other, third)),
        timeout=WAIT_MS,
    )
    phases = [b.center.state(job).phase for job in (first, second, other, third)]
    assert phases == ["cancelled", "cancelled", "failed", "completed"]


def test_a_crashed_warm_engine_is_started_again(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench("complete,preview=crash")
    crashed = b.center.preview("localize", _preview(1, tmp_path / "out"))
    waiting = b.center.preview("look", InspectSpec(file=__file__))
    qtbot.waitUntil(lambda: not b.center.state(waiting).is_active, timeout=WAIT_MS)
    failure = b.center.state(crashed).failure
    assert failure is not None
    assert failure.code == "crashed"
    problem = b.problems[1]
    assert (problem.code, b.problems[-1]) == ("crashed", None)


def test_an_engine_that_crashes_again_and_again_stays_down_until_it_is_wanted(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench("crash-at-start")
    job = b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(job).phase == "failed", timeout=WAIT_MS)
    crashes = [p for p in b.problems if p is not None]
    assert [p.code for p in crashes] == ["crashed"] * (1 + len(IMPATIENT.restart_s))
    b.center.use_engine(scripted_command("complete"))
    again = b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(again).phase == "completed", timeout=WAIT_MS)


@pytest.mark.parametrize(("behaviour", "code"), [("other-version", "wrong_version"),
                                                 ("exit", "did_not_start")])  # fmt: skip
def test_an_engine_that_cannot_work_fails_previews_and_is_not_tried_in_a_row(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path, behaviour: str, code: str
) -> None:
    b = bench(behaviour)
    job = b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(job).phase == "failed", timeout=WAIT_MS)
    failure = b.center.state(job).failure
    assert failure is not None
    assert failure.code == code
    assert [p.code for p in b.problems] == [code]
    b.center.use_engine(scripted_command("complete"))  # the user mends the settings
    again = b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(again).phase == "completed", timeout=WAIT_MS)


def test_a_preview_that_cannot_be_stopped_takes_its_engine_along_not_its_successor(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench("complete,preview=hang")
    stuck = b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(stuck).phase == "running", timeout=WAIT_MS)
    waiting = b.center.preview("look", InspectSpec(file=__file__))
    b.center.cancel(stuck)
    qtbot.waitUntil(lambda: not b.center.state(waiting).is_active, timeout=WAIT_MS)
    assert b.center.state(stuck).phase == "cancelled"
    assert not [p for p in b.problems if p is not None]  # it was asked for


# Runs


def test_a_run_is_recorded_from_begin_to_end(qtbot: QtBot, bench: Callable[..., Bench]) -> None:
    b = bench()
    run = b.localize()
    assert b.record(run).state == "running"
    assert b.center.running() == (run,)
    qtbot.waitUntil(lambda: b.center.state(run).phase == "completed", timeout=WAIT_MS)
    record = b.record(run)
    out = str(b.session.folder / "runs" / run / "movie.h5")
    assert record.state == "completed"
    assert record.step == Step.LOCALIZE
    assert record.outputs == {"localizations": out}
    assert Path(out).is_file()
    assert record.summary["frames"] == 60
    assert record.spec["movies"] == ["m.tif"]
    assert record.inputs_fingerprint
    assert b.center.running() == ()
    assert b.phases(run) == ["queued", "running", "completed"]


def test_long_jobs_wait_for_each_other_in_order(qtbot: QtBot, bench: Callable[..., Bench]) -> None:
    b = bench()
    runs = [b.localize(f"movie {n}") for n in range(3)]
    assert b.center.running() == tuple(runs)
    assert [b.center.state(run).phase for run in runs] == ["queued"] * 3
    qtbot.waitUntil(lambda: not b.center.running(), timeout=WAIT_MS)
    order: list[str] = []
    for job, _ in b.events:
        if job not in order:
            order.append(job)
    assert order == runs
    # One at a time: the events of the runs do not mix.
    jobs = [job for job, _ in b.events]
    assert jobs == sorted(jobs, key=runs.index)


def test_a_queued_run_can_be_cancelled(qtbot: QtBot, bench: Callable[..., Bench]) -> None:
    b = bench("wait")
    first, second = b.localize("one"), b.localize("two")
    qtbot.waitUntil(lambda: b.center.state(first).stage != "", timeout=WAIT_MS)
    b.center.cancel(second)
    qtbot.waitUntil(lambda: b.center.state(second).phase == "cancelled", timeout=WAIT_MS)
    assert b.record(second).state == "cancelled"
    assert b.center.running() == (first,)


def test_a_run_that_is_cancelled_at_once_never_starts(
    qtbot: QtBot, bench: Callable[..., Bench]
) -> None:
    """Regression: the cancellation was looked for among the previews and forgotten."""
    b = bench("wait")
    run = b.localize()
    b.center.cancel(run)
    qtbot.waitUntil(lambda: b.center.state(run).phase == "cancelled", timeout=WAIT_MS)
    assert b.record(run).state == "cancelled"


def test_pause_resume_cancel_are_shown_and_recorded(
    qtbot: QtBot, bench: Callable[..., Bench]
) -> None:
    b = bench("wait")
    run = b.localize()
    qtbot.waitUntil(lambda: b.center.state(run).done > 0, timeout=WAIT_MS)
    b.center.pause(run)
    b.center.resume(run)
    assert b.center.state(run).request == ""  # it need not have noticed
    qtbot.waitUntil(lambda: (run, ResumedEvent()) in b.events, timeout=WAIT_MS)
    b.center.pause(run)
    assert b.center.state(run).request == "pause"
    qtbot.waitUntil(lambda: b.center.state(run).phase == "paused", timeout=WAIT_MS)
    assert b.center.state(run).request == ""
    assert b.record(run).state == "paused"
    b.center.resume(run)
    qtbot.waitUntil(lambda: b.center.state(run).phase == "running", timeout=WAIT_MS)
    assert b.record(run).state == "running"
    b.center.cancel(run)
    assert b.center.state(run).request == "cancel"
    qtbot.waitUntil(lambda: b.center.state(run).phase == "cancelled", timeout=WAIT_MS)
    assert b.record(run).state == "cancelled"
    assert b.center.can_resume(run)


def test_a_training_finishes_early_with_its_model(
    qtbot: QtBot, bench: Callable[..., Bench]
) -> None:
    b = bench("wait")
    run = b.train()
    qtbot.waitUntil(lambda: b.center.state(run).done > 0, timeout=WAIT_MS)
    b.center.finish(run)
    assert b.center.state(run).request == "finish"
    qtbot.waitUntil(lambda: b.center.state(run).phase == "completed", timeout=WAIT_MS)
    assert b.record(run).state == "completed"
    assert Path(b.record(run).outputs["model"]).is_file()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        ("fail", "disk_full"),
        ("crash", "crashed"),
        ("oom-kill", "out_of_memory"),
        ("oom", "out_of_memory"),
        ("exit", "did_not_start"),
    ],
)
def test_a_failed_run_says_why_and_can_be_resumed(
    qtbot: QtBot, bench: Callable[..., Bench], behaviour: str, code: str
) -> None:
    b = bench(behaviour)
    run = b.localize()
    qtbot.waitUntil(lambda: b.center.state(run).phase == "failed", timeout=WAIT_MS)
    record = b.record(run)
    assert record.state == "failed"
    assert record.failure is not None
    assert (record.failure["code"], bool(record.failure["message"])) == (code, True)
    assert set(record.failure) == {"code", "message", "hint", "detail"}
    assert b.center.can_resume(run)
    b.center.use_engine(scripted_command("complete"))
    assert b.center.resume_run(run) == run
    qtbot.waitUntil(lambda: b.center.state(run).phase == "completed", timeout=WAIT_MS)
    assert b.record(run).state == "completed"
    assert b.record(run).failure is None
    assert not b.center.can_resume(run)


def test_a_hang_is_shown_and_the_run_can_be_stopped(
    qtbot: QtBot, bench: Callable[..., Bench]
) -> None:
    b = bench("hang")
    run = b.localize()
    qtbot.waitUntil(lambda: b.center.state(run).silence is not None, timeout=WAIT_MS)
    silence = b.center.state(run).silence
    assert silence is not None
    assert silence.code == "not_responding"
    assert b.center.state(run).phase == "running"  # the user may wait
    b.center.cancel(run)
    qtbot.waitUntil(lambda: b.center.state(run).phase == "cancelled", timeout=WAIT_MS)
    assert b.center.state(run).silence is None


def test_quitting_during_jobs_marks_them_interrupted_and_leaves_no_engine(
    qtbot: QtBot, bench: Callable[..., Bench], tmp_path: Path
) -> None:
    b = bench("wait")
    running, queued = b.localize("one"), b.localize("two")
    b.center.preview("localize", _preview(1, tmp_path / "out"))
    qtbot.waitUntil(lambda: b.center.state(running).done > 0, timeout=WAIT_MS)
    b.center.shutdown("keep")
    qtbot.waitUntil(lambda: b.closed > 0, timeout=WAIT_MS)
    assert [b.record(r).state for r in (running, queued)] == ["interrupted", "interrupted"]
    assert b.closed == 1


def test_shutting_down_without_jobs_is_told_too(qtbot: QtBot, bench: Callable[..., Bench]) -> None:
    b = bench()
    b.center.shutdown("keep")
    qtbot.waitUntil(lambda: b.closed == 1, timeout=WAIT_MS)
    b.center.shutdown("kill")
    late = (b.localize(), b.center.preview("look", InspectSpec(file=__file__)))
    qtbot.waitUntil(
        lambda: all(b.center.state(job).phase == "cancelled" for job in late), timeout=WAIT_MS
    )
    assert b.closed == 1
    assert b.record(late[0]).state == "interrupted"


def test_an_interrupted_run_is_found_and_resumed_by_the_next_app(
    qtbot: QtBot, bench: Callable[..., Bench], session: ProjectSession, tmp_path: Path
) -> None:
    b = bench("wait")
    session.new(tmp_path / "project")
    run = b.localize()
    qtbot.waitUntil(lambda: b.center.state(run).done > 0, timeout=WAIT_MS)
    b.center.shutdown("kill")
    session.save_now()
    session.open(tmp_path / "project")
    later = bench("complete")
    assert later.center.can_resume(run)
    later.center.resume_run(run)
    qtbot.waitUntil(lambda: later.center.state(run).phase == "completed", timeout=WAIT_MS)
    assert later.record(run).state == "completed"


def test_progress_is_shown_seldom_and_its_rate_is_known(
    qtbot: QtBot, bench: Callable[..., Bench]
) -> None:
    b = bench()
    run = b.train()
    qtbot.waitUntil(lambda: b.center.state(run).phase == "completed", timeout=WAIT_MS)
    n_progress = sum(isinstance(body, ProgressEvent) for _, body in b.events)
    shown = [s for s in b.states[run] if s.phase == "running"]
    assert n_progress > 50
    assert len(shown) < n_progress
    assert b.center.state(run).rate_per_s is not None
    assert any(isinstance(body, MetricEvent) for _, body in b.events)


# The engine on another computer, over a local loop


_WRAPPER = """#!/bin/sh
# Stands for 'ssh host decode-engine serve': another folder, another name for the files.
cd "{elsewhere}"
exec {command}
"""


@pytest.fixture
def remote(tmp_path: Path) -> tuple[tuple[str, ...], PathMap, Path]:
    """Return an engine that knows the files in ``local`` as ``mounted``, the map, ``local``."""
    local, mounted, elsewhere = (tmp_path / n for n in ("local", "mounted", "elsewhere"))
    for folder in (local, elsewhere):
        folder.mkdir()
    mounted.symlink_to(local, target_is_directory=True)
    script = tmp_path / "engine.sh"
    command = " ".join(f"'{word}'" for word in real_command())
    script.write_text(_WRAPPER.format(elsewhere=elsewhere, command=command))
    script.chmod(0o755)
    return ("/bin/sh", str(script)), PathMap.of([(str(local), str(mounted))]), local


@pytest.mark.skipif(os.name == "nt", reason="needs a shell and symbolic links")
def test_a_remote_engine_gets_its_own_paths_and_we_get_ours(
    qtbot: QtBot,
    bench: Callable[..., Bench],
    session: ProjectSession,
    remote: tuple[tuple[str, ...], PathMap, Path],
) -> None:
    command, path_map, local = remote
    write_inputs(local)
    session.new(local / "project")
    b = bench(command, path_map=path_map)
    run, folder = session.begin_run(Step.SIMULATION, "Simulate")
    spec = SimulateSpec(
        calibration=str(local / "cal.h5"),
        camera=str(local / "cam.json"),
        out=str(folder / "simulated"),
        frames=3,
        size_px=(32, 32),
    )
    b.center.start_run(Step.SIMULATION, "Simulate", run, spec)
    look = b.center.preview("look", InspectSpec(file=str(local / "cal.h5")))
    outside = b.center.preview("out", InspectSpec(file="/somewhere/else.tif"))
    jobs = (run, look, outside)
    qtbot.waitUntil(
        lambda: all(b.center.state(job).phase in ("completed", "failed") for job in jobs),
        timeout=WAIT_MS,
    )
    assert b.record(run).state == "completed", b.record(run).failure
    assert b.record(run).summary["movie"] == str(folder / "simulated" / "movie.tif")
    assert b.record(run).spec["calibration"] == str(local / "cal.h5")  # ours, not the remote one
    outputs = list(b.record(run).outputs.values())
    assert outputs
    assert all(path.startswith(str(local)) for path in outputs)
    job = (folder / "simulated" / "job.json").read_text()
    assert "mounted" in job  # the engine really knew it by its own name
    assert str(local / "cal.h5") not in job
    assert b.center.state(look).summary["path"] == str(local / "cal.h5")
    failure = b.center.state(outside).failure
    assert failure is not None
    assert failure.code == "path_not_mapped"
    assert "/somewhere/else.tif" in failure.message
    assert str(local) in failure.hint


# The real engine


@pytest.mark.slow
def test_a_real_training_is_previewed_interrupted_resumed_and_finished(
    qtbot: QtBot, bench: Callable[..., Bench], session: ProjectSession, tmp_path: Path
) -> None:
    write_inputs(tmp_path)
    b = bench(real_command())
    run, folder = session.begin_run(Step.TRAIN, "Train")
    out = str(folder / "model.decode")
    spec: JobSpec = train_spec(tmp_path, out=out, steps=1_000_000, validate_every_steps=20)
    b.center.start_run(Step.TRAIN, "Train", run, spec)
    samples: Callable[[], list[PreviewEvent]] = lambda: [  # noqa: E731 - read twice below
        body for _, body in b.events if isinstance(body, PreviewEvent)
    ]
    qtbot.waitUntil(lambda: bool(samples()), timeout=WAIT_MS)
    assert read_training_sample(Path(samples()[0].path)).frames.ndim == 3
    began = time.monotonic()
    b.center.shutdown("keep")
    assert time.monotonic() - began < 1.0  # the window does not wait
    qtbot.waitUntil(lambda: b.closed == 1, timeout=WAIT_MS)
    assert b.record(run).state == "interrupted"

    again = bench(real_command())
    again.center.resume_run(run)
    qtbot.waitUntil(lambda: again.center.state(run).done > 20, timeout=WAIT_MS)
    again.center.finish(run)
    qtbot.waitUntil(lambda: again.center.state(run).phase == "completed", timeout=WAIT_MS)
    record = again.record(run)
    assert (record.state, record.outputs["model"]) == ("completed", out)
    assert record.summary["ended_by"] == "request"
