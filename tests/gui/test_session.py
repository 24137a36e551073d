"""The session: undo, autosave, opening and moving projects, and bad luck with all of them."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from app.controllers.session import ProjectSession
from app.models.problem import Problem
from app.models.project import CalibrationChoice, MovieEntry, RunRecord
from app.models.project_store import BACKUP_NAME, PROJECT_NAME
from app.models.steps import Step, StepStatus
from decode_engine.contract.configs import CameraConfig, SimulationConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.errors import ConfigError, OutputError

MakeSession = Callable[..., ProjectSession]


@pytest.fixture
def make_session(qtbot: QtBot) -> Iterator[MakeSession]:
    made: list[ProjectSession] = []

    def make(**options: Any) -> ProjectSession:
        session = ProjectSession(**options)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()
        session.deleteLater()


def _settle(qtbot: QtBot, session: ProjectSession) -> None:
    """Wait until all files of a project were looked at."""
    qtbot.waitUntil(lambda: not session._watch.is_looking, timeout=20_000)


def _on_disk(folder: Path) -> dict[str, Any]:
    tree: dict[str, Any] = json.loads((folder / PROJECT_NAME).read_text(encoding="utf-8"))
    return tree


def _record(run_id: str, folder: Path, **fields: Any) -> RunRecord:
    spec = TrainSpec(calibration="c", camera="k", out=str(folder / "model.decode"))
    values = {
        "run_id": run_id,
        "step": Step.TRAIN,
        "title": "Train",
        "created": "",
        "spec": spec.model_dump(mode="json"),
    }
    return RunRecord(**{**values, **fields})


def _trained(session: ProjectSession) -> Path:
    run_id, folder = session.begin_run(Step.TRAIN, "Train")
    session.record_run(_record(run_id, folder))
    model = folder / "model.decode"
    model.write_bytes(b"a model")
    session.record_run(_record(run_id, folder, state="completed", outputs={"model": str(model)}))
    session.select_model(str(model))
    return model


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
    assert _on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"


def test_full_disk_is_told_once_and_retried_with_the_next_change(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    problems: list[Problem] = []
    session.save_failed.connect(problems.append)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_disk)
        session.update("Choose model", model="/m.decode")
        qtbot.waitUntil(lambda: bool(problems), timeout=20_000)
        assert session.save_now() is not None
        assert session.save_now() is not None
    assert [problem.code for problem in problems] == ["disk_full"]
    assert not session.is_saved
    assert _on_disk(tmp_path / "p")["settings"]["model"] is None, "the last good file stays"
    session.update("Choose device", localize_device="cpu")
    qtbot.waitUntil(lambda: session.is_saved, timeout=20_000)
    saved = _on_disk(tmp_path / "p")["settings"]
    assert (saved["model"], saved["localize_device"]) == ("/m.decode", "cpu")


def _full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


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
    assert _on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"
    session.update("Choose model", model="/n.decode")
    shutil.rmtree(tmp_path / "p")
    (tmp_path / "p").write_text("not a folder any more")
    rescued = session.emergency_save()
    assert rescued == tmp_path / "home" / "p (rescued)"
    assert _on_disk(rescued)["settings"]["model"] == "/n.decode"
    monkeypatch.setattr(os, "fsync", _full_disk)
    session.update("Choose model", model="/o.decode")
    assert session.emergency_save() is None
    monkeypatch.undo()
    shutil.rmtree(tmp_path / "home")


# Opening


def test_moved_project_opens_with_its_results(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "old")
    _trained(session)
    session.close_project()
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert session.open(tmp_path / "new" / PROJECT_NAME) is None
    model = tmp_path / "new" / "runs" / "train-001" / "model.decode"
    assert session.settings.model == str(model)
    assert session.project.name == "new"
    _settle(qtbot, session)
    assert session.states[Step.TRAIN].status is StepStatus.DONE


def test_files_that_moved_along_with_the_project_are_found(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    """The drive has another letter today: the movie lies beside the project as before."""
    session = make_session()
    drive = tmp_path / "E"
    session.new(drive / "analysis" / "p")
    (drive / "raw").mkdir()
    _ready(session, drive / "raw")
    other = tmp_path / "elsewhere.tif"
    other.write_bytes(b"stays")
    movies = (*session.settings.movies, MovieEntry(path=str(other)))
    session.update("Add movie", movies=movies)
    session.close_project()
    drive.rename(tmp_path / "F")
    assert session.open(tmp_path / "F" / "analysis" / "p") is None
    found = [entry.path for entry in session.settings.movies]
    assert found == [str(tmp_path / "F" / "raw" / "movie.tif"), str(other)]
    assert session.save_now() is None
    _settle(qtbot, session)
    assert session.states[Step.MOVIE].status is StepStatus.DONE


def test_opening_the_open_project_changes_nothing(
    tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.update("Choose model", model="/m.decode")
    assert session.open(tmp_path / "p" / PROJECT_NAME) is None
    assert session.can_undo


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary", b'{"schema_version": 1, "na'])
def test_damaged_project_is_opened_from_its_backup_and_says_so(
    tmp_path: Path, make_session: MakeSession, content: bytes
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.update("Choose model", model="/m.decode")
    session.save_now()
    session.update("Choose model", model="/n.decode")
    session.save_now()
    session.close_project()
    (tmp_path / "p" / PROJECT_NAME).write_bytes(content)
    notices: list[Problem] = []
    session.notice.connect(notices.append)
    assert session.open(tmp_path / "p") is None
    assert session.settings.model == "/m.decode"
    assert [notice.code for notice in notices] == ["opened_from_backup"]
    assert session.save_now() is None
    assert (tmp_path / "p" / f"{PROJECT_NAME}.damaged-1").read_bytes() == content
    assert _on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"


def test_refused_project_leaves_the_open_one(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    newer = tmp_path / "newer"
    newer.mkdir()
    content = '{"schema_version": 99, "app_version": "9.0"}'
    (newer / PROJECT_NAME).write_text(content)
    ruined = tmp_path / "ruined"
    ruined.mkdir()
    (ruined / PROJECT_NAME).write_bytes(b"\0\0\0")
    codes = []
    for folder in (newer, ruined, tmp_path, tmp_path / "nowhere", Path("no\0name")):
        problem = session.open(folder)
        assert problem is not None
        assert problem.hint
        codes.append(problem.code)
    assert codes[:4] == ["newer_project", "damaged_project", "no_project", "no_project"]
    assert session.folder == tmp_path / "p"
    assert session.save_now() is None
    assert [p.name for p in newer.iterdir()] == [PROJECT_NAME]
    assert (newer / PROJECT_NAME).read_text() == content


def test_new_project_does_not_overwrite_one(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    assert session.new(tmp_path / "p") is None
    session.close_project()
    problem = session.new(tmp_path / "p")
    assert problem is not None
    assert problem.code == "project_exists"


def test_slow_opening_arrives_later(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.close_project()
    outcomes: list[Problem | None] = []
    session.open_later(tmp_path / "p", "write", outcomes.append)
    assert session.is_untitled
    qtbot.waitUntil(lambda: bool(outcomes), timeout=20_000)
    assert outcomes == [None]
    assert session.folder == tmp_path / "p"


# Two windows


def test_second_window_is_told_and_may_look(tmp_path: Path, make_session: MakeSession) -> None:
    first, second = make_session(), make_session()
    first.new(tmp_path / "p")
    run_id, folder = first.begin_run(Step.TRAIN, "Train")
    first.record_run(_record(run_id, folder))
    first.save_now()
    problem = second.open(tmp_path / "p")
    assert problem is not None
    assert problem.code == "project_locked"
    assert str(os.getpid()) in problem.message
    assert second.open(tmp_path / "p", "read_only") is None
    assert second.read_only
    assert second.project.runs[0].state == "running", "it runs in the first window"
    before = (tmp_path / "p" / PROJECT_NAME).read_bytes()
    second.update("Choose model", model="/m.decode")
    assert second.settings.model == "/m.decode"
    assert second.save_now() is None
    assert not second.is_saved
    with pytest.raises(OutputError, match="look only"):
        second.begin_run(Step.TRAIN, "Train")
    assert (tmp_path / "p" / PROJECT_NAME).read_bytes() == before


_CRASH = """
import os, sys
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from app.controllers.session import ProjectSession
from app.models.project import RunRecord
from app.models.steps import Step

application = QCoreApplication([])
session = ProjectSession()
assert session.new(Path(sys.argv[1])) is None
run_id, folder = session.begin_run(Step.TRAIN, "Train")
spec = {"job": "train", "calibration": "c", "camera": "k", "out": str(folder / "m.decode")}
session.record_run(RunRecord(run_id=run_id, step=Step.TRAIN, title="Train", created="", spec=spec))
session.save_now()
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_window_leaves_an_interrupted_run(tmp_path: Path, make_session: MakeSession) -> None:
    """The window that trained was killed: the project opens, the run can go on."""
    subprocess.run([sys.executable, "-c", _CRASH, str(tmp_path / "p")], check=False)
    session = make_session()
    assert session.open(tmp_path / "p") is None
    run = session.project.runs[0]
    assert run.state == "interrupted"
    assert run.spec["out"] == str(tmp_path / "p" / "runs" / "train-001" / "m.decode")
    state = session.states[Step.TRAIN]
    assert state.status is StepStatus.ATTENTION
    assert "go on where it stopped" in state.reason


def test_window_whose_project_was_taken_over_stops_writing(
    tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    other = {"host": "microscope-2", "pid": 17, "since": "2026-11-25T10:00:00+00:00"}
    (tmp_path / "p" / "project.lock").write_bytes(b"\0" + json.dumps(other).encode())
    before = (tmp_path / "p" / PROJECT_NAME).read_bytes()
    session.update("Choose model", model="/m.decode")
    problem = session.save_now()
    assert problem is not None
    assert "microscope-2" in problem.message
    assert session.read_only
    assert (tmp_path / "p" / PROJECT_NAME).read_bytes() == before


def test_protected_project_opens_to_look_only(
    tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    session.close_project()
    real_open = os.open

    def protected(path: Any, flags: int, *rest: int) -> int:
        if str(path).startswith(str(tmp_path)):
            raise OSError(errno.EACCES, "Permission denied")
        return real_open(path, flags, *rest)

    monkeypatch.setattr(os, "open", protected)
    problem = session.open(tmp_path / "p")
    assert problem is not None
    assert problem.code == "project_protected"
    assert session.open(tmp_path / "p", "read_only") is None
    assert session.read_only


# Untitled projects


def test_unused_untitled_project_leaves_nothing(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session(home=tmp_path / "home")
    assert session.is_untitled
    session.set_page(Step.MOVIE)
    session.save_now()
    assert list((tmp_path / "home").iterdir())
    session.close_project()
    session.close()
    assert not list((tmp_path / "home").iterdir())


def test_used_untitled_project_is_kept_and_told(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session(home=tmp_path / "home")
    kept: list[Path] = []
    session.untitled_kept.connect(kept.append)
    folder = session.folder
    model = _trained(session)
    session.close_project()
    assert kept == [folder]
    assert session.unnamed_projects() == (folder,)
    assert session.open(folder) is None
    assert session.settings.model == str(model)


def test_temporary_untitled_project_ends_with_the_session(qtbot: QtBot) -> None:
    session = ProjectSession()
    folder = session.folder
    assert folder.is_relative_to(tempfile.gettempdir())
    session.update("Choose model", model="/m.decode")
    session.close()
    session.deleteLater()
    del session
    gc.collect()
    assert not folder.exists()


def test_home_that_cannot_be_written_is_no_obstacle(
    tmp_path: Path, make_session: MakeSession
) -> None:
    (tmp_path / "home").write_text("a file is in the way")
    session = make_session(home=tmp_path / "home")
    assert session.is_untitled
    assert session.folder.is_dir()
    shutil.rmtree(session.folder)


# Another folder


def test_untitled_project_moves_when_it_is_named(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session(home=tmp_path / "home")
    old = session.folder
    _trained(session)
    session.update("Choose device", localize_device="cpu")
    assert session.save_as(tmp_path / "named") is None
    assert not old.exists()
    assert not session.is_untitled
    assert session.project.name == "named"
    model = tmp_path / "named" / "runs" / "train-001" / "model.decode"
    assert model.read_bytes() == b"a model"
    assert session.settings.model == str(model)
    session.undo()
    session.undo()
    session.redo()
    assert session.settings.model == str(model), "undo knows the new folder too"
    assert _on_disk(tmp_path / "named")["runs"][0]["outputs"] == {
        "model": "./runs/train-001/model.decode"
    }


def test_named_project_is_copied(qtbot: QtBot, tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "first")
    model = _trained(session)
    outcomes: list[Problem | None] = []
    assert session.save_as(tmp_path / "second", outcomes.append) is None
    with pytest.raises(OutputError, match="copied"):
        session.begin_run(Step.TRAIN, "Train")
    session.update("Choose device", localize_device="cpu")
    qtbot.waitUntil(lambda: bool(outcomes), timeout=20_000)
    assert outcomes == [None]
    assert session.folder == tmp_path / "second"
    assert model.exists()
    assert Path(session.settings.model or "").read_bytes() == b"a model"
    assert _on_disk(tmp_path / "second")["settings"]["localize_device"] == "cpu"
    other = make_session()
    assert other.open(tmp_path / "first") is None, "the first one is free again"


def test_look_only_project_can_be_saved_elsewhere(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    first, second = make_session(), make_session()
    first.new(tmp_path / "p")
    second.open(tmp_path / "p", "read_only")
    second.update("Choose model", model="/m.decode")
    with qtbot.waitSignal(second.project_opened, timeout=20_000):
        second.save_as(tmp_path / "copy")
    assert not second.read_only
    assert _on_disk(tmp_path / "copy")["settings"]["model"] == "/m.decode"
    assert first.save_now() is None


def test_save_as_refuses_a_folder_in_use(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.docx").write_text("precious")
    problem = session.save_as(tmp_path / "full")
    assert problem is not None
    assert "not empty" in problem.message
    assert session.folder == tmp_path / "p"


def test_project_with_a_run_going_on_is_not_left(tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    run_id, folder = session.begin_run(Step.TRAIN, "Train")
    session.record_run(_record(run_id, folder))
    for problem in (
        session.close_project(),
        session.new(tmp_path / "q"),
        session.open(tmp_path / "q"),
        session.save_as(tmp_path / "q"),
    ):
        assert problem is not None
        assert problem.code in ("runs_active", "no_project")
    assert session.folder == tmp_path / "p"
    session.close()
    assert _on_disk(tmp_path / "p")["runs"][0]["state"] == "interrupted"


# Runs and files


def test_runs_are_kept_and_can_be_deleted(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    first, second = _trained(session), _trained(session)
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
    session.record_run(_record(run_id, folder))
    with pytest.raises(OutputError, match="Stop it first"):
        session.delete_run(run_id)
    assert folder.exists()


def _ready(session: ProjectSession, folder: Path) -> Path:
    calibration, movie = folder / "c.h5", folder / "movie.tif"
    calibration.write_bytes(b"calibration")
    movie.write_bytes(b"movie")
    session.update(
        "Set up",
        movies=(MovieEntry(path=str(movie)),),
        calibration=CalibrationChoice(mode="file", path=str(calibration)),
        camera=CameraConfig(pixel_size_x_nm=100.0),
    )
    return calibration


def test_model_is_out_of_date_when_its_calibration_file_changes(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "p")
    calibration = _ready(session, tmp_path)
    _trained(session)  # recorded before anybody looked at the file
    qtbot.waitUntil(lambda: not session._incomplete or bool(session.files), timeout=20_000)
    _settle(qtbot, session)
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
    _ready(session, drive)
    _settle(qtbot, session)
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
