"""The project file: readable, portable, never half-written, and what happens when it is hurt."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from app.models import project_store
from app.models.project import CalibrationChoice, MovieEntry, Project, ProjectSettings, RunRecord
from app.models.project_store import (
    BACKUP_NAME,
    PROJECT_NAME,
    DamagedProjectError,
    NewerProjectError,
    NoProjectError,
    ProjectFile,
    read_project,
)
from app.models.steps import Step
from decode_engine.contract.configs import RenderConfig
from decode_engine.errors import DiskFullError, InputError, OutputError


def _project(folder: Path, name: str = "Tubulin") -> Project:
    run = RunRecord(
        run_id="train-001",
        step=Step.TRAIN,
        title="Train",
        created="2026-11-25T10:00:00+00:00",
        state="completed",
        spec={"job": "train", "out": str(folder / "runs" / "train-001" / "model.decode")},
        outputs={"model": str(folder / "runs" / "train-001" / "model.decode")},
        summary={"jaccard": float("nan")},
    )
    settings = ProjectSettings(
        movies=(MovieEntry(path="/data/µ-tubule 微管.tif", roi_px=(1, 2, 3, 4)),),
        calibration=CalibrationChoice(mode="file", path=str(folder / "beads.h5")),
        render=RenderConfig(sigma_max_nm=float("inf")),
    )
    return Project(name=name, settings=settings, runs=(run,), page=Step.TRAIN, ui={"frame": 7})


def test_project_comes_back_as_it_was(tmp_path: Path) -> None:
    project = _project(tmp_path)
    ProjectFile(tmp_path).save(project, 1)
    loaded = read_project(tmp_path)
    assert loaded.damage == ""
    assert loaded.project.settings == project.settings
    assert loaded.project.runs[0].outputs == project.runs[0].outputs
    assert loaded.project.page is Step.TRAIN
    assert loaded.project.ui == {"frame": 7}


def test_file_is_readable_and_has_relative_paths(tmp_path: Path) -> None:
    ProjectFile(tmp_path).save(_project(tmp_path), 1)
    text = (tmp_path / PROJECT_NAME).read_text(encoding="utf-8")
    assert '\n  "settings": {\n' in text
    assert '"./runs/train-001/model.decode"' in text
    assert "微管" in text
    assert text.count(str(tmp_path)) == 1, "only where it says in which folder it was"
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_moved_folder_finds_its_files(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new place"
    ProjectFile(old).save(_project(old), 1)
    shutil.move(old, new)
    project = read_project(new).project
    assert project.settings.calibration.path == str(new / "beads.h5")
    assert project.runs[0].outputs["model"] == str(new / "runs" / "train-001" / "model.decode")
    assert project.settings.movies[0].path == "/data/µ-tubule 微管.tif"


def test_folder_beside_with_the_same_beginning_is_not_inside(tmp_path: Path) -> None:
    inside = tmp_path / "p"
    movie = str(tmp_path / "p2" / "movie.tif")
    project = Project(settings=ProjectSettings(movies=(MovieEntry(path=movie),)))
    ProjectFile(inside).save(project, 1)
    assert read_project(inside).project.settings.movies[0].path == movie


def test_backup_is_the_state_before(tmp_path: Path) -> None:
    file = ProjectFile(tmp_path)
    file.save(_project(tmp_path, "first"), 1)
    file.save(_project(tmp_path, "second"), 2)
    assert json.loads((tmp_path / BACKUP_NAME).read_text())["name"] == "first"


def test_older_state_does_not_replace_a_later_one(tmp_path: Path) -> None:
    file = ProjectFile(tmp_path)
    file.save(_project(tmp_path, "later"), 5)
    file.save(_project(tmp_path, "earlier"), 4)
    assert read_project(tmp_path).project.name == "later"


DAMAGE = {
    "empty": b"",
    "zeros": b"\0" * 4096,
    "cut": b'{\n  "schema_version": 1,\n  "name": "Tu',
    "binary": bytes(range(256)) * 20,
    "latin-1": '{"schema_version": 1, "name": "Mikroröhrchen"}'.encode("latin-1"),
    "list": b"[1, 2, 3]",
    "no version": b'{"name": "x"}',
    "wrong version": b'{"schema_version": "one"}',
    "version zero": b'{"schema_version": 0}',
    "wrong value": b'{"schema_version": 1, "page": "kitchen"}',
    "deep": b'{"schema_version": 1, "ui": ' + b"[" * 100_000,
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_is_opened_from_the_backup(tmp_path: Path, damage: str) -> None:
    file = ProjectFile(tmp_path)
    file.save(_project(tmp_path, "first"), 1)
    file.save(_project(tmp_path, "second"), 2)
    (tmp_path / PROJECT_NAME).write_bytes(DAMAGE[damage])
    loaded = read_project(tmp_path)
    assert loaded.project.name == "first"
    assert PROJECT_NAME in loaded.damage


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_file_and_backup_are_refused_in_words(tmp_path: Path, damage: str) -> None:
    for name in (PROJECT_NAME, BACKUP_NAME):
        (tmp_path / name).write_bytes(DAMAGE[damage])
    with pytest.raises(DamagedProjectError) as caught:
        read_project(tmp_path)
    assert "runs" in caught.value.hint


def test_impossible_value_is_named(tmp_path: Path) -> None:
    ProjectFile(tmp_path).save(_project(tmp_path), 1)
    path = tmp_path / PROJECT_NAME
    tree = json.loads(path.read_text())
    tree["settings"]["simulation"]["flux_mean"] = -5
    path.write_text(json.dumps(tree))
    with pytest.raises(DamagedProjectError, match=r"settings\.simulation\.flux_mean"):
        read_project(tmp_path)


def test_damaged_file_is_put_aside_when_saving(tmp_path: Path) -> None:
    first = ProjectFile(tmp_path)
    first.save(_project(tmp_path, "first"), 1)
    first.save(_project(tmp_path, "second"), 2)
    (tmp_path / PROJECT_NAME).write_bytes(b"rubbish")
    loaded = read_project(tmp_path)
    ProjectFile(tmp_path).save(loaded.project, 1)
    assert (tmp_path / f"{PROJECT_NAME}.damaged-1").read_bytes() == b"rubbish"
    assert read_project(tmp_path).project.name == "first"
    assert json.loads((tmp_path / BACKUP_NAME).read_text())["name"] == "first"


def test_missing_file_is_opened_from_the_backup(tmp_path: Path) -> None:
    file = ProjectFile(tmp_path)
    file.save(_project(tmp_path, "first"), 1)
    file.save(_project(tmp_path, "second"), 2)
    (tmp_path / PROJECT_NAME).unlink()
    assert read_project(tmp_path).project.name == "first"


def test_folder_without_project_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NoProjectError):
        read_project(tmp_path)
    with pytest.raises(NoProjectError):
        read_project(tmp_path / "not there")


@pytest.mark.parametrize(
    "content",
    [
        b'{"schema_version": 99, "app_version": "7.0", "shape": "unheard of"}',
        b'{"schema_version": 1, "telepathy": true}',
    ],
)
def test_newer_project_is_refused_and_not_touched(tmp_path: Path, content: bytes) -> None:
    (tmp_path / BACKUP_NAME).write_text(json.dumps({"schema_version": 1}))
    (tmp_path / PROJECT_NAME).write_bytes(content)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(NewerProjectError) as caught:
        read_project(tmp_path)
    assert "Update" in caught.value.hint
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_older_project_is_upgraded_and_its_file_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade(tree: dict[str, Any]) -> dict[str, Any]:
        return {"schema_version": 1, "name": tree["title"]}

    # Versions begin with 1, so this one pretends that the app knows version 2.
    monkeypatch.setattr(project_store, "_VERSION", 2)
    monkeypatch.setitem(project_store.UPGRADES, 1, upgrade)
    old = b'{"schema_version": 1, "title": "From long ago"}'
    (tmp_path / PROJECT_NAME).write_bytes(old)
    loaded = read_project(tmp_path)
    assert (loaded.project.name, loaded.upgraded_from) == ("From long ago", 1)
    ProjectFile(tmp_path).save(loaded.project, 1)
    assert (tmp_path / f"{PROJECT_NAME}.v1-1").read_bytes() == old


def test_file_that_is_held_for_a_moment_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Windows a file that some other program has open cannot be replaced."""
    refusals = [PermissionError(errno.EACCES, "Access is denied")]
    really_replace = Path.replace

    def replace_in_the_end(self: Path, target: Path) -> Path:
        if refusals:
            raise refusals.pop()
        return really_replace(self, target)

    monkeypatch.setattr(Path, "replace", replace_in_the_end)
    ProjectFile(tmp_path).save(_project(tmp_path, "kept"), 1)
    assert read_project(tmp_path).project.name == "kept"


def test_full_disk_leaves_the_last_good_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = ProjectFile(tmp_path)
    file.save(_project(tmp_path, "good"), 1)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full_disk)
        with pytest.raises(DiskFullError) as caught:
            file.save(_project(tmp_path, "lost?"), 2)
    assert "Free space" in caught.value.hint
    assert read_project(tmp_path).project.name == "good"
    assert not list(tmp_path.glob(".project*"))
    file.save(_project(tmp_path, "kept"), 2)
    assert read_project(tmp_path).project.name == "kept"


def _full_disk(_descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a file system of its own")
def test_really_full_disk(tmp_path: Path) -> None:
    """A tmpfs of 256 KiB is filled up; saving fails in words and works after space is freed."""
    drive = tmp_path / "drive"
    drive.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(drive)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no right to mount")
    try:
        file = ProjectFile(drive / "project")
        file.save(_project(tmp_path, "good"), 1)
        ballast = drive / "ballast"
        with pytest.raises(OSError, match="No space"):
            _fill(ballast)
        with pytest.raises(DiskFullError):
            file.save(_project(tmp_path, "lost?"), 2)
        assert read_project(drive / "project").project.name == "good"
        ballast.unlink()
        file.save(_project(tmp_path, "kept"), 2)
        assert read_project(drive / "project").project.name == "kept"
    finally:
        subprocess.run(["umount", str(drive)], check=True)


def _fill(path: Path) -> None:
    with path.open("wb", buffering=0) as handle:
        while True:
            handle.write(b"x" * 4096)


def test_folder_that_cannot_be_made_is_a_problem_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        ProjectFile(tmp_path / "file" / "project").save(Project(), 1)


def test_project_file_that_is_a_folder_is_a_problem_in_words(tmp_path: Path) -> None:
    (tmp_path / PROJECT_NAME).mkdir()
    with pytest.raises(InputError):
        read_project(tmp_path)


_KILLED = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from app.models.project import Project
    from app.models.project_store import ProjectFile

    file = ProjectFile(Path(sys.argv[1]))
    print("ready", flush=True)
    number = 0
    while True:
        number += 1
        file.save(Project(name=f"{number:06d}", ui={"ballast": "x" * 20000}), number)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_kill_while_saving_leaves_a_good_project(tmp_path: Path) -> None:
    """Processes are killed early and late in their writing; each leaves a good file."""
    for round_number in range(6):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with process.stdout:
            process.stdout.readline()
            # Waits for the temporary file of a write under way, not for a time.
            while not any(tmp_path.glob(".project*")) or not (tmp_path / PROJECT_NAME).exists():
                pass
            for _ in range(400 * round_number):
                tmp_path.exists()
            process.send_signal(signal.SIGKILL)
            process.wait()
        loaded = read_project(tmp_path)
        assert loaded.damage == ""
        assert loaded.project.name.isdigit()
    ProjectFile(tmp_path).save(Project(), 1)
    assert not list(tmp_path.glob(".project*")), "remains of killed processes are removed"
