"""Opening, naming and leaving projects: damaged, locked, protected, moved, untitled."""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.controllers.session import ProjectSession
from app.models.problem import Problem
from app.models.project import MovieEntry
from app.models.project_lock import ProjectLock
from app.models.project_store import PROJECT_NAME
from app.models.steps import Step, StepStatus
from decode_engine.errors import OutputError
from tests.gui.session_samples import (
    MakeSession,
    on_disk,
    ready,
    record,
    settle,
    trained,
)

# Opening


def test_moved_project_opens_with_its_results(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    session.new(tmp_path / "old")
    trained(session)
    session.close_project()
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert session.open(tmp_path / "new" / PROJECT_NAME) is None
    model = tmp_path / "new" / "runs" / "train-001" / "model.decode"
    assert session.settings.model == str(model)
    assert session.project.name == "new"
    settle(qtbot, session)
    assert session.states[Step.TRAIN].status is StepStatus.DONE


def test_files_that_moved_along_with_the_project_are_found(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    """The drive has another letter today: the movie lies beside the project as before."""
    session = make_session()
    drive = tmp_path / "E"
    session.new(drive / "analysis" / "p")
    (drive / "raw").mkdir()
    ready(session, drive / "raw")
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
    settle(qtbot, session)
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
    assert on_disk(tmp_path / "p")["settings"]["model"] == "/m.decode"


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
    first.record_run(record(run_id, folder))
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
    model = trained(session)
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
    trained(session)
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
    assert on_disk(tmp_path / "named")["runs"][0]["outputs"] == {
        "model": "./runs/train-001/model.decode"
    }


def test_project_taken_while_it_was_moved_is_a_problem(
    tmp_path: Path, make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: an exception came out of `save_as` when another window took the lock."""
    session = make_session(home=tmp_path / "home")
    trained(session)
    source, locks = session.folder, []

    def other_drive(path: Path, _target: Path) -> Path:
        locks.append(ProjectLock(source))  # another window is quicker
        raise OSError(errno.EXDEV, "another drive", str(path))

    monkeypatch.setattr(Path, "rename", other_drive)
    problem = session.save_as(tmp_path / "named")
    assert problem is not None
    assert problem.code == "project_locked"
    assert problem.hint
    assert session.read_only
    assert session.settings.model is not None, "nothing is lost in memory"
    locks[0].release()


def test_named_project_is_copied(qtbot: QtBot, tmp_path: Path, make_session: MakeSession) -> None:
    session = make_session()
    session.new(tmp_path / "first")
    model = trained(session)
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
    assert on_disk(tmp_path / "second")["settings"]["localize_device"] == "cpu"
    other = make_session()
    assert other.open(tmp_path / "first") is None, "the first one is free again"


def test_project_can_be_saved_as_an_empty_folder_that_exists(
    qtbot: QtBot, tmp_path: Path, make_session: MakeSession
) -> None:
    session = make_session()
    for name in ("untitled moves", "named is copied"):
        (tmp_path / name).mkdir()
        with qtbot.waitSignal(session.project_opened, timeout=20_000):
            assert session.save_as(tmp_path / name) is None
        assert session.folder == tmp_path / name
        assert (tmp_path / name / PROJECT_NAME).is_file()


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
    assert on_disk(tmp_path / "copy")["settings"]["model"] == "/m.decode"
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
    session.record_run(record(run_id, folder))
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
    assert on_disk(tmp_path / "p")["runs"][0]["state"] == "interrupted"
