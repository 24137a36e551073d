"""The open project: changes with undo, autosave, runs and the states of the steps."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import JsonValue, ValidationError
from PySide6.QtCore import QObject, QTimer, Signal

import decode_engine
from app.controllers.background import Background
from app.models import runs as run_list
from app.models.fingerprints import FileStamp, spec_fingerprint
from app.models.problem import Problem
from app.models.project import Project, ProjectSettings, RunRecord
from app.models.project_lock import ProjectLock
from app.models.project_store import PROJECT_NAME, LoadedProject, ProjectFile, read_project
from app.models.step_states import step_states
from app.models.steps import Step, StepState
from app.models.undo import UndoHistory
from decode_engine.contract.jobs import JobSpec
from decode_engine.errors import ConfigError, EngineError, OutputError

__all__ = ["OpenMode", "ProjectSession"]

OpenMode = Literal["write", "read_only", "take_over"]

_AUTOSAVE_MS = 1000
_RETRY_MS = 30_000
_SAVE = "project-save"


class ProjectSession(QObject):
    """Holds the one open project; always has one (an unsaved, untitled one at first).

    In memory all paths are absolute; ``project.json`` has those inside the project's folder
    relative to it, so the folder may be moved.

    Parameters
    ----------
    background : Background, optional
        Where slow file work runs; an own one when left out.
    home : Path, optional
        Where untitled projects lie. One that was used is kept there when it is closed. When
        left out they lie in a temporary folder and end with the session.
    """

    project_changed = Signal()  # settings, runs or the whole project are other ones
    project_opened = Signal()  # another project is open (before its project_changed)
    states_changed = Signal()  # marks of the sidebar
    undo_changed = Signal()  # can_undo, can_redo or their texts
    saved = Signal()
    save_failed = Signal(object)  # Problem
    notice = Signal(object)  # Problem that hindered nothing: opened from the backup, …

    def __init__(
        self,
        background: Background | None = None,
        *,
        home: Path | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._background = background or Background(self)
        self._owns_background = background is None
        self._home = home
        self._project: Project
        self._file: ProjectFile
        self._untitled = True
        self._undo = UndoHistory()
        self._files: dict[str, FileStamp] = {}
        self._states: dict[Step, StepState] = {}
        self._generation = 0
        self._dirty = False
        self._lock: ProjectLock | None = None
        self._read_only = False
        self._last_problem: Problem | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._autosave)
        self._start_untitled()

    # What there is

    @property
    def project(self) -> Project:
        """The project as it is now."""
        return self._project

    @property
    def settings(self) -> ProjectSettings:
        """Short for ``project.settings``."""
        return self._project.settings

    @property
    def folder(self) -> Path:
        """The project's folder; for scratch files use `previews_folder`."""
        return self._file.folder

    @property
    def previews_folder(self) -> Path:
        """A folder for previews, made where it is missing; it may be wiped at any time."""
        folder = self.folder / "previews"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    @property
    def is_untitled(self) -> bool:
        """Whether the user has not named the project yet (`save_as` does)."""
        return self._untitled

    @property
    def read_only(self) -> bool:
        """Whether changes stay in memory because another window has the project."""
        return self._read_only

    @property
    def is_saved(self) -> bool:
        """Whether everything is on disk."""
        return not self._dirty

    @property
    def states(self) -> Mapping[Step, StepState]:
        """The state of every step."""
        return self._states

    # Settings and undo

    def update(self, text: str, **changes: Any) -> None:
        """Change settings as one undo step named ``text``; equal texts in a row merge.

        Raises
        ------
        ConfigError
            If a value cannot be; the settings stay as they were.
        """
        before = self.settings
        try:
            after = ProjectSettings.model_validate({**dict(before), **changes})
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = " ".join(str(part) for part in first["loc"])
            raise ConfigError(
                f"{where}: {first['msg']}.", hint="Choose another value.", detail=str(error)
            ) from error
        if after == before:
            return
        self._undo.push(text, before, after)
        self._change(settings=after)
        self.undo_changed.emit()

    def undo(self) -> None:
        """Take the last change of settings back."""
        self._apply(self._undo.undo())

    def redo(self) -> None:
        """Make the change again that was taken back last."""
        self._apply(self._undo.redo())

    @property
    def can_undo(self) -> bool:
        """Whether there is a change to take back."""
        return bool(self._undo.undo_text)

    @property
    def can_redo(self) -> bool:
        """Whether there is a change to make again."""
        return bool(self._undo.redo_text)

    @property
    def undo_text(self) -> str:
        """Name of the change that `undo` takes back."""
        return self._undo.undo_text

    @property
    def redo_text(self) -> str:
        """Name of the change that `redo` makes again."""
        return self._undo.redo_text

    def _apply(self, settings: ProjectSettings | None) -> None:
        if settings is not None:
            self._change(settings=settings)
            self.undo_changed.emit()

    # What is remembered without undo

    def set_page(self, step: Step) -> None:
        """Remember which page is shown."""
        self._undo.seal()
        if step != self._project.page:
            self._project = self._project.model_copy(update={"page": step})
            self._touch()

    def remember(self, key: str, value: JsonValue) -> None:
        """Remember the state of a widget; see `recall`."""
        if self._project.ui.get(key) != value:
            ui = {**self._project.ui, key: value}
            self._project = self._project.model_copy(update={"ui": ui})
            self._touch()

    def recall(self, key: str, default: JsonValue = None) -> JsonValue:
        """Return what was remembered of a widget."""
        return self._project.ui.get(key, default)

    # Runs

    def begin_run(self, step: Step, title: str) -> tuple[str, Path]:
        """Reserve a run id and make its folder below ``runs``.

        Raises
        ------
        OutputError
            If the folder cannot be made, or the project is open to look only.
        """
        if self._read_only:
            raise OutputError(
                f"{title} cannot start: the project is open to look only.",
                hint="Save it under another name first (File > Save as).",
            )
        taken = [run.run_id for run in self._project.runs]
        folder = run_list.new_run_folder(self.folder, step, taken)
        return folder.name, folder

    def record_run(self, record: RunRecord) -> None:
        """Add a run, or replace the one with the same id."""
        self._change(runs=run_list.with_run(self._project.runs, record))

    def runs_of(self, step: Step) -> tuple[RunRecord, ...]:
        """Return the runs of a step, oldest first."""
        return run_list.runs_of(self._project, step)

    def run(self, run_id: str) -> RunRecord | None:
        """Return a run by its id."""
        return next((run for run in self._project.runs if run.run_id == run_id), None)

    def fingerprint(self, spec: JobSpec) -> str:
        """Return the fingerprint of a job's settings and input files."""
        return spec_fingerprint(spec, self._files)

    # Opening and saving

    def new(self, folder: Path) -> Problem | None:
        """Make a project in a folder and open it; return why not, then nothing changed."""
        if (folder / PROJECT_NAME).exists():
            return Problem(
                message=f"{folder} holds a project already.",
                hint="Open it, or choose another folder.",
                code="project_exists",
            )
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = ProjectLock(folder)
        except (EngineError, OSError) as error:
            return Problem.from_error(error)
        self._leave()
        self._adopt(LoadedProject(project=_fresh(folder.name)), folder, lock)
        return self.save_now()

    def open(self, folder: Path, mode: OpenMode = "write") -> Problem | None:
        """Open a project; return why not, then the one before stays open.

        The code of the problem is "project_locked" where another window has it: open it with
        the mode "read_only", or, if the problem's action says so, with "take_over".
        """
        folder = folder.absolute()
        if folder.name == PROJECT_NAME and folder.is_file():
            folder = folder.parent
        lock: ProjectLock | None = None
        try:
            loaded = read_project(folder)
            if mode != "read_only":
                lock = ProjectLock(folder, take_over=mode == "take_over")
        except (EngineError, OSError) as error:
            return Problem.from_error(error)
        self._leave()
        self._adopt(loaded, folder, lock)
        return None

    def save_now(self) -> Problem | None:
        """Write the project at once; return what was in the way."""
        self._timer.stop()
        if self._read_only:
            return None
        self._generation += 1
        try:
            self._file.save(self._project, self._generation)
        except (EngineError, OSError) as error:
            problem = Problem.from_error(error)
            self._on_save_failed(problem)
            return problem
        self._on_saved(self._generation)
        return None

    def emergency_save(self) -> None:
        """Write the project while the app crashes: no Qt, no exception."""
        if not self._read_only and self._dirty:
            with contextlib.suppress(Exception):
                self._generation += 1
                self._file.save(self._project, self._generation)

    def close(self) -> None:
        """Save, and give the project back; an untitled one that was not used is removed."""
        self._leave()
        if self._owns_background:
            self._background.close()

    # Inside

    def _start_untitled(self) -> None:
        if self._home is None:
            folder = Path(tempfile.mkdtemp(prefix="decode-desktop-"))
            weakref.finalize(self, shutil.rmtree, folder, True)
        else:
            folder = _untitled_folder(self._home)
        self._adopt(LoadedProject(project=_fresh("Untitled")), folder, ProjectLock(folder))
        self._untitled = True

    def _adopt(self, loaded: LoadedProject, folder: Path, lock: ProjectLock | None) -> None:
        self._lock = lock
        self._read_only = lock is None
        self._untitled = False
        self._dirty = False
        self._file = ProjectFile(folder)
        self._generation = 0
        self._project = loaded.project
        self._undo = UndoHistory()
        self.project_opened.emit()
        self.undo_changed.emit()
        if loaded.damage:
            message = f"{loaded.damage}; the project was opened from its backup."
            self.notice.emit(Problem(message=message, code="opened_from_backup"))
        if lock is not None:
            self._project = run_list.interrupted(loaded.project)
        self._refresh()

    def _leave(self) -> None:
        self._timer.stop()
        if self._dirty:
            self.save_now()
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _change(self, **changes: Any) -> None:
        self._project = self._project.model_copy(update=changes)
        self._touch()
        self._refresh()

    def _refresh(self) -> None:
        self.project_changed.emit()
        states = step_states(self._project, self._files)
        if states != self._states:
            self._states = states
            self.states_changed.emit()

    def _touch(self) -> None:
        self._dirty = True
        if not self._read_only:
            self._timer.start(_AUTOSAVE_MS)

    def _autosave(self) -> None:
        self._generation += 1
        generation, project, file = self._generation, self._project, self._file

        def write(_check: Callable[[], None]) -> int:
            file.save(project, generation)
            return generation

        self._background.run(_SAVE, write, self._on_saved, self._on_save_failed)

    def _on_saved(self, generation: int) -> None:
        if generation == self._generation and not self._timer.isActive():
            self._dirty = False
        self._last_problem = None
        self.saved.emit()

    def _on_save_failed(self, problem: Problem) -> None:
        self._dirty = True
        self._timer.start(_RETRY_MS)
        if problem != self._last_problem:
            self._last_problem = problem
            self.save_failed.emit(problem)


def _fresh(name: str) -> Project:
    return Project(name=name, app_version=decode_engine.__version__)


def _untitled_folder(home: Path) -> Path:
    home.mkdir(parents=True, exist_ok=True)
    stem = f"Untitled {datetime.now():%Y-%m-%d}"
    number = 1
    while True:
        folder = home / (stem if number == 1 else f"{stem} ({number})")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder
