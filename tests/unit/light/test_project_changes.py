"""Undo, runs, and copying of project folders."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from app.models import project_copy
from app.models.project import MovieEntry, Project, ProjectSettings, RunRecord, RunState
from app.models.project_copy import (
    copy_project,
    make_untitled_folder,
    remove_if_unused,
    rescue,
    unnamed_projects,
)
from app.models.project_lock import ProjectLock
from app.models.project_store import ProjectFile, read_project
from app.models.runs import (
    can_resume,
    interrupted,
    new_run_folder,
    resumed_spec,
    run_that_made,
    with_run,
)
from app.models.steps import Step
from app.models.undo import UndoHistory
from decode_engine.contract.jobs import JobSpec, LocalizeSpec, RenderSpec, TrainSpec
from decode_engine.errors import DiskFullError, OutputError


class _Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def _settings(current_movie: int, model: str | None = None) -> ProjectSettings:
    return ProjectSettings(current_movie=current_movie, model=model)


def test_equal_texts_in_a_row_are_one_step() -> None:
    history = UndoHistory(_Clock())
    for number in range(5):
        history.push("Move", _settings(number), _settings(number + 1))
    assert history.undo() == _settings(0)
    assert history.undo() is None
    assert history.redo() == _settings(5)


def test_other_text_other_setting_seal_and_rest_begin_a_step() -> None:
    clock = _Clock()
    history = UndoHistory(clock)
    history.push("Move", _settings(0), _settings(1))
    history.push("Jump", _settings(1), _settings(2))
    history.push("Jump", _settings(2), _settings(2, "m"))
    history.push("Jump", _settings(2, "m"), _settings(2, "n"))
    history.seal()
    history.push("Jump", _settings(2, "n"), _settings(2, "o"))
    clock.now_s += 60.0
    history.push("Jump", _settings(2, "o"), _settings(2, "p"))
    found = [history.undo() for _ in range(6)]
    assert found == [
        _settings(2, "o"),
        _settings(2, "n"),
        _settings(2),
        _settings(1),
        _settings(0),
        None,
    ]


def test_change_after_undo_ends_redo_and_is_a_step_of_its_own() -> None:
    history = UndoHistory(_Clock())
    history.push("Move", _settings(0), _settings(1))
    history.push("Jump", _settings(1), _settings(2))
    history.undo()
    history.push("Move", _settings(1), _settings(9))
    assert history.redo() is None
    assert history.undo() == _settings(1)
    assert history.undo() == _settings(0)


def test_slider_that_came_back_is_no_step() -> None:
    history = UndoHistory(_Clock())
    history.push("Move", _settings(0), _settings(1))
    history.push("Move", _settings(1), _settings(0))
    assert history.undo_text == ""


def _record(run_id: str, state: RunState = "running", **fields: object) -> RunRecord:
    values = {"run_id": run_id, "step": Step.TRAIN, "title": "Train", "created": "", "spec": {}}
    return RunRecord.model_validate({**values, "state": state, **fields})


def test_run_numbers_are_never_used_twice(tmp_path: Path) -> None:
    assert new_run_folder(tmp_path, Step.TRAIN, []).name == "train-001"
    assert new_run_folder(tmp_path, Step.TRAIN, []).name == "train-002", "a folder is there"
    assert new_run_folder(tmp_path, Step.TRAIN, ["train-003"]).name == "train-004"
    assert new_run_folder(tmp_path, Step.LOCALIZE, ["train-003"]).name == "localize-001"


def test_run_is_replaced_in_its_place() -> None:
    runs = with_run(with_run((), _record("a")), _record("b"))
    runs = with_run(runs, _record("a", "completed"))
    assert [(run.run_id, run.state) for run in runs] == [("a", "completed"), ("b", "running")]


def test_run_of_a_file_is_found_however_the_path_is_spelled() -> None:
    project = Project(runs=(_record("a", outputs={"model": "/p/runs/a/m.decode"}), _record("b")))
    found = run_that_made(project, "/p/runs/../runs/a/m.decode")
    assert found is not None
    assert found.run_id == "a"
    assert run_that_made(project, "/p/m.decode") is None


def test_unended_runs_of_a_dead_window_are_interrupted() -> None:
    states: tuple[RunState, ...] = ("running", "paused", "completed", "failed", "cancelled")
    project = Project(runs=tuple(_record(state, state) for state in states))
    after = [run.state for run in interrupted(project).runs]
    assert after == ["interrupted", "interrupted", "completed", "failed", "cancelled"]


def test_training_and_localization_can_go_on() -> None:
    train = TrainSpec(calibration="c", camera="k", out="m")
    localize = LocalizeSpec(movies=("m",), model="n", out="o")
    render = RenderSpec(localizations="l", out="o")

    def record(spec: JobSpec, state: RunState = "interrupted") -> RunRecord:
        return _record("a", state, spec=spec.model_dump(mode="json"))

    resumed = resumed_spec(record(train))
    assert isinstance(resumed, TrainSpec)
    assert resumed.resume
    again = resumed_spec(record(localize))
    assert isinstance(again, LocalizeSpec)
    assert again.config.resume
    assert resumed_spec(record(render)) is None
    assert can_resume(record(train))
    assert not can_resume(record(train, "completed"))
    assert not can_resume(record(render))
    assert not can_resume(_record("a", "interrupted", spec={"job": "from the future"}))


def _fill(folder: Path) -> None:
    ProjectFile(folder).save(Project(name="x"), 1)
    for name in ("runs/train-001/model.decode", "exports/figure.png", "previews/scratch.npy"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    (folder / "project.lock").write_bytes(b"\0")


def _nothing() -> None:
    pass


def test_copy_takes_results_and_leaves_scratch(tmp_path: Path) -> None:
    _fill(tmp_path / "a")
    copy_project(tmp_path / "a", tmp_path / "b", _nothing)
    found = {p.relative_to(tmp_path / "b").as_posix() for p in (tmp_path / "b").rglob("*.*")}
    assert found == {"runs/train-001/model.decode", "exports/figure.png"}
    content = (tmp_path / "b" / "exports" / "figure.png").read_bytes()
    assert content == b"exports/figure.png"


def test_copy_into_a_folder_with_something_in_it_is_refused(tmp_path: Path) -> None:
    _fill(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.docx").write_text("precious")
    with pytest.raises(OutputError, match="not empty"):
        copy_project(tmp_path / "a", tmp_path / "b", _nothing)
    with pytest.raises(OutputError, match="inside the project"):
        copy_project(tmp_path / "a", tmp_path / "a" / "copy", _nothing)
    assert [p.name for p in (tmp_path / "b").iterdir()] == ["thesis.docx"]


def test_copy_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path / "a")

    def interrupt() -> None:
        raise InterruptedError("stop")

    with pytest.raises(OutputError):
        copy_project(tmp_path / "a", tmp_path / "b", interrupt)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a"]
    usage = type("usage", (), {"free": 5})
    monkeypatch.setattr(project_copy.shutil, "disk_usage", lambda _path: usage)
    with pytest.raises(DiskFullError, match="free"):
        copy_project(tmp_path / "a", tmp_path / "b", _nothing)


def test_untitled_folders_do_not_meet(tmp_path: Path) -> None:
    folders = {make_untitled_folder(tmp_path / "home") for _ in range(3)}
    assert len(folders) == 3


def test_unused_untitled_project_is_removed_but_nothing_of_the_user(tmp_path: Path) -> None:
    unused, used = make_untitled_folder(tmp_path), make_untitled_folder(tmp_path)
    ProjectFile(unused).save(Project(), 1)
    ProjectFile(used).save(Project(), 1)
    (used / "notes.txt").write_text("mine")
    remove_if_unused(unused)
    remove_if_unused(used)
    assert not unused.exists()
    assert (used / "notes.txt").read_text() == "mine"


def test_untitled_projects_that_survived_a_crash_are_listed(tmp_path: Path) -> None:
    empty, crashed, open_now = (make_untitled_folder(tmp_path) for _ in range(3))
    (empty / "project.lock").write_bytes(b"\0")
    for folder in (crashed, open_now):
        ProjectFile(folder).save(Project(), 1)
    lock = ProjectLock(open_now)
    assert unnamed_projects(tmp_path) == (crashed,)
    assert empty.exists()  # another window may be about to begin a project there
    os.utime(empty, (0, time.time() - 60))
    assert unnamed_projects(tmp_path) == (crashed,)
    assert not empty.exists()
    lock.release()


def test_rescued_project_can_be_opened(tmp_path: Path) -> None:
    (tmp_path / "no folder").write_text("a file is in the way")
    settings = ProjectSettings(movies=(MovieEntry(path="/d/movie.tif"),))
    project = Project(name="Tubulin", settings=settings)
    folder = rescue(project, (tmp_path / "no folder", tmp_path / "home"))
    assert folder == tmp_path / "home" / "Tubulin (rescued)"
    assert folder is not None
    assert read_project(folder).project.settings == settings
    assert rescue(project, (tmp_path / "home",)) == tmp_path / "home" / "Tubulin (rescued 2)"
    assert rescue(project, (tmp_path / "no folder" / os.devnull,)) is None
