"""The session: undo, autosave, full disks, runs, and the files on which marks depend."""

from __future__ import annotations

import json
import os
import shutil
import threading
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.controllers import file_watch
from app.models.fingerprints import FileStamp
from app.models.problem import Problem
from app.models.project_store import BACKUP_NAME
from app.models.steps import Step, StepStatus
from decode_engine.contract.configs import SimulationConfig
from decode_engine.errors import ConfigError, OutputError
from tests.gui.session_samples import (
    MakeSession,
    full_disk,
    on_disk,
    ready,
    record,
    settle,
    trained,
)

# Settings and undo


def test_undo_and_redo_of_settings(qtbot: QtBot, make_session: MakeSession) -> None:
    session = make_session()
    with qtbot.waitSignals([session.project_changed, session.undo_changed]):
        session.update("Change photons", simulation=SimulationConfig(flux_mean=900.0))
    session.update("Change photons", simulation=SimulationConfig(flux_mean=950.0))
    session.update("Choose model", model="/m.decode")
    assert session.undo_text == "Choose model"
    session.undo()
    assert (session.settings.model, session.settings.simulation.flux_mean) == (None, 950.0)
    session.undo()
    assert session.settings.simulation == SimulationConfig()
    assert not session.can_undo
    assert session.redo_text == "Change photons"
    session.redo()
    session.redo()
    assert session.settings.model == "/m.decode"
    assert not session.can_redo


def test_impossible_value_changes_nothing(make_session: MakeSession) -> None:
    session = make_session()
    for changes in ({"movies": 3}, {"no_such_setting": 1}, {"current_movie": "many"}):
        with pytest.raises(ConfigError):
            session.update("Break it", **changes)
    assert not session.can_undo
    assert not session.is_used


def test_equal_value_is_no_change(qtbot: QtBot, make_session: MakeSession) -> None:
    session = make_session()
    with qtbot.assertNotEmitted(session.project_changed):
        session.update("Nothing", simulation=SimulationConfig())
    assert not session.can_undo


def test_page_and_widgets_are_remembered_without_undo(
    tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.set_page(Step.EXPLORE)
    session.remember("explore-view", {"x_nm": 1.5, "columns": ["z", "photons"]})
    session.close_project()
    assert session.recall("explore-view") is None
    assert session.open(tmp_path / "p") is None
    assert session.project.page is Step.EXPLORE
    assert session.recall("explore-view") == {"x_nm": 1.5, "columns": ["z", "photons"]}
    assert not session.can_undo


# Saving


def test_change_is_saved_by_itself(qtbot: QtBot, tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.update("Choose model", model="/m.decode")
    assert not session.is_saved
    qtbot.waitUntil(lambda: session.is_saved, timeout=20_000)
    assert on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"


def test_full_disk_is_told_once_and_retried_with_the_next_change(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    problems: list[Problem] = []
    session.save_failed.connect(problems.append)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        session.update("Choose model", model="/m.decode")
        qtbot.waitUntil(lambda: bool(problems), timeout=20_000)
        assert session.save_now() is not None
        assert session.save_now() is not None
    assert [problem.code for problem in problems] == ["disk_full"]
    assert not session.is_saved
    assert on_disk(tmp_path / "p")["settings"]["model"] is None, "the last good file stays"
    session.update("Choose device", localize_device="cpu")
    qtbot.waitUntil(lambda: session.is_saved, timeout=20_000)
    saved = on_disk(tmp_path / "p")["settings"]
    assert (saved["model"], saved["localize_device"]) == ("/m.decode", "cpu")


def test_project_whose_drive_is_gone_is_rescued(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session(home=tmp_path / "home")
    notices: list[Problem] = []
    session.notice.connect(notices.append)
    session.new(tmp_path / "drive" / "p")
    shutil.rmtree(tmp_path / "drive")
    (tmp_path / "drive").write_text("not a folder any more")
    session.update("Choose model", model="/m.decode")
    assert session.close_project() is None
    assert [notice.code for notice in notices] == ["rescued"]
    assert session.open(tmp_path / "home" / "p (rescued)") is None
    assert session.settings.model == "/m.decode"


def test_crash_saves_or_rescues(
    tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session(home=tmp_path / "home")
    session.new(tmp_path / "p")
    session.update("Choose model", model="/m.decode")
    assert session.emergency_save() == tmp_path / "p"
    assert on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"
    session.update("Choose model", model="/n.decode")
    shutil.rmtree(tmp_path / "p")
    (tmp_path / "p").write_text("not a folder any more")
    rescued = session.emergency_save()
    assert rescued == tmp_path / "home" / "p (rescued)"
    assert on_disk(rescued)["settings"]["model"] == "/n.decode"
    monkeypatch.setattr(os, "fsync", full_disk)
    session.update("Choose model", model="/o.decode")
    assert session.emergency_save() is None
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "home")


# Runs and files


def test_runs_are_kept_and_can_be_deleted(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    first, second = trained(session), trained(session)
    assert [run.run_id for run in session.runs_of(Step.TRAIN)] == ["train-001", "train-002"]
    found = session.run_of_file(str(first))
    assert found is not None
    assert found.run_id == "train-001"
    session.delete_run("train-002")
    assert session.settings.model is None
    qtbot.waitUntil(lambda: not second.parent.exists(), timeout=20_000)
    assert first.exists()
    assert session.begin_run(Step.TRAIN, "Train")[0] != "train-001"


def test_running_run_is_not_deleted(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    run_id, folder = session.begin_run(Step.TRAIN, "Train")
    session.record_run(record(run_id, folder))
    with pytest.raises(OutputError, match="Stop it first"):
        session.delete_run(run_id)
    assert folder.exists()


def test_model_is_out_of_date_when_its_calibration_file_changes(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    calibration = ready(session, tmp_path)
    trained(session)  # recorded before anybody looked at the file
    qtbot.waitUntil(lambda: not session._incomplete or bool(session.files), timeout=20_000)
    settle(qtbot, session)
    assert session.states[Step.TRAIN].status is StepStatus.DONE
    run = session.run("train-001")
    assert run is not None
    assert not run.inputs["calibration"].startswith("?")
    calibration.write_bytes(b"another one")
    with qtbot.waitSignal(session.states_changed, timeout=20_000):
        session._on_application_state(Qt.ApplicationState.ApplicationActive)
    state = session.states[Step.TRAIN]
    assert state.status is StepStatus.STALE
    assert state.reason == "Changed since this model was trained: calibration."
    calibration.write_bytes(b"calibration")
    with qtbot.waitSignal(session.states_changed, timeout=20_000):
        session.recheck()
    assert session.states[Step.TRAIN].status is StepStatus.DONE


def test_file_that_went_away_is_noticed_and_comes_back(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    drive = tmp_path / "drive"
    drive.mkdir()
    ready(session, drive)
    settle(qtbot, session)
    assert session.states[Step.MOVIE].status is StepStatus.DONE
    drive.rename(tmp_path / "unplugged")
    with qtbot.waitSignal(session.states_changed, timeout=20_000):
        session.recheck()
    state = session.states[Step.MOVIE]
    assert state.status is StepStatus.ATTENTION
    assert "Is its drive connected?" in state.reason
    (tmp_path / "unplugged").rename(drive)
    with qtbot.waitSignal(session.states_changed, timeout=20_000):
        session.recheck()
    assert session.states[Step.MOVIE].status is StepStatus.DONE


def test_hanging_drive_takes_one_thread_and_stops_nothing(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network drive does not answer: the session goes on, and asks it only once."""
    answers = threading.Event()
    asked: list[Path] = []

    def hang(path: Path, *_rest: object) -> FileStamp:
        asked.append(path)
        answers.wait(30.0)  # not for ever: a failing test must end
        return FileStamp(status="away")

    monkeypatch.setattr(file_watch, "stamp_file", hang)
    session = make_session()
    session.new(tmp_path / "p")
    ready(session, tmp_path)
    qtbot.waitUntil(lambda: bool(asked))
    for _ in range(5):
        session.recheck()
    session.update("Choose device", localize_device="cpu")
    qtbot.waitUntil(lambda: session.is_saved, timeout=20_000)
    assert len(asked) == 1
    assert session.states[Step.MOVIE].status is StepStatus.DONE, "not known to be missing"
    answers.set()
    qtbot.waitUntil(
        lambda: session.states[Step.MOVIE].status is StepStatus.ATTENTION, timeout=20_000
    )


def test_looking_at_results_marks_their_steps(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.set_page(Step.EXPLORE)
    assert session.states[Step.EXPLORE].status is StepStatus.NOT_YET
    table = tmp_path / "l.h5"
    table.write_bytes(b"table")
    session.select_localizations(str(table))
    assert session.states[Step.EXPLORE].status is StepStatus.NOT_YET
    session.set_page(Step.EXPLORE)
    session.mark_done(Step.EXPORT)
    assert session.states[Step.EXPLORE].status is StepStatus.DONE
    assert session.states[Step.EXPORT].status is StepStatus.DONE
    assert session.states[Step.CORRECT].status is StepStatus.NOT_YET


def test_backup_is_beside_the_project(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.update("Choose model", model="/m.decode")
    session.save_now()
    assert json.loads((tmp_path / "p" / BACKUP_NAME).read_text())["settings"]["model"] is None
