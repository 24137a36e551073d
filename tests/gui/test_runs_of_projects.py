"""Jobs do not outlive what they belong to: their project, their engine's names of files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot

from app.controllers.job_center import JobCenter
from app.controllers.session import ProjectSession
from app.engine_link.lane import EngineSetup
from app.engine_link.path_mapping import PathMap
from app.engine_link.preview_lane import PreviewLane
from app.models.job_state import JobState
from app.models.steps import Step
from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.contract.messages import ArtifactEvent, Event
from tests.gui.engines import IMPATIENT, scripted_command

WAIT_MS = 30_000
MakeSession = Callable[..., ProjectSession]


@pytest.fixture
def make_center(make_session: MakeSession) -> Iterator[Callable[..., JobCenter]]:
    made: list[JobCenter] = []

    def make(behaviour: str, session: ProjectSession) -> JobCenter:
        made.append(JobCenter(session, scripted_command(behaviour), patience=IMPATIENT))
        return made[-1]

    yield make
    for center in made:
        center.shutdown("kill")
        center.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


def _localize(center: JobCenter, session: ProjectSession) -> str:
    run_id, folder = session.begin_run(Step.LOCALIZE, "Localize")
    spec = LocalizeSpec(movies=("m.tif",), model="m.decode", out=str(folder / "m.h5"))
    return center.start_run(Step.LOCALIZE, "Localize", run_id, spec)


def test_another_project_does_not_show_the_states_of_the_one_before(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession, make_center: Callable[..., JobCenter]
) -> None:
    """Regression: both projects have a run "localize-001"; the new one seemed to be done."""
    session = make_session()
    center = make_center("complete", session)
    assert session.new(tmp_path / "first") is None
    run = _localize(center, session)
    qtbot.waitUntil(lambda: center.state(run).phase == "completed", timeout=WAIT_MS)
    assert session.new(tmp_path / "second") is None
    assert center.state(run) == JobState()
    assert center.running() == ()
    assert _localize(center, session) == run
    qtbot.waitUntil(lambda: center.state(run).phase == "completed", timeout=WAIT_MS)
    record = session.run(run)
    assert record is not None
    assert record.outputs["localizations"].startswith(str(tmp_path / "second"))


def test_a_run_whose_project_was_taken_over_is_stopped_and_not_shown(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession, make_center: Callable[..., JobCenter]
) -> None:
    """Regression: it was shown, and written down, as the run of the same id of the new project."""
    session = make_session()
    center = make_center("wait", session)
    assert session.new(tmp_path / "first") is None
    run = _localize(center, session)
    qtbot.waitUntil(lambda: center.state(run).done > 0, timeout=WAIT_MS)
    session._lock.release()  # type: ignore[union-attr]
    other = make_session()
    assert other.open(tmp_path / "first", "take_over") is None
    session._lock = None  # as `_on_save_failed` does when it finds the lock taken
    assert session.new(tmp_path / "second") is None
    changes: list[tuple[str, Any]] = []
    center.job_changed.connect(lambda job, state: changes.append((job, state)))
    assert not center.state(run).is_active
    assert _localize(center, session) == run  # waits until the former one has stopped
    qtbot.waitUntil(lambda: center.state(run).done > 0, timeout=WAIT_MS)
    assert {state.phase for _, state in changes} == {"queued", "running"}
    record = session.run(run)
    assert record is not None
    assert record.state == "running"
    center.cancel(run)
    qtbot.waitUntil(lambda: center.state(run).phase == "cancelled", timeout=WAIT_MS)


def test_an_engine_s_paths_are_read_by_its_own_map(qtbot: QtBot) -> None:
    """Regression: after a change of settings, events of the old engine kept remote paths."""
    path_map = PathMap.of((("/here", "/there"),))
    command = scripted_command("complete")
    lane = PreviewLane(EngineSetup(command=command, path_map=path_map, patience=IMPATIENT))
    said: list[Any] = []
    lane.reported.connect(lambda _job, body, _t_s: said.append(body))
    lane.start()
    client = lane._client
    assert client is not None
    lane.use(EngineSetup(command=command, patience=IMPATIENT))
    body = ArtifactEvent(kind="frame", path="/there/frame.npy")
    client.job_event.emit(Event(job_id="job", seq=1, t_s=0.0, body=body))
    assert said == [ArtifactEvent(kind="frame", path="/here/frame.npy")]
    lane.kill()
    qtbot.waitUntil(lambda: not lane.is_alive, timeout=WAIT_MS)
    lane.deleteLater()
