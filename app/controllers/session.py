"""The open project: changes with undo, autosave, runs and the states of the steps."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication

import decode_engine
from app.controllers.background import Background
from app.controllers.project_editor import ProjectEditor
from app.models import runs as run_list
from app.models.portable_paths import moved_along, relocated
from app.models.problem import Problem
from app.models.project import Project, ProjectSettings
from app.models.project_copy import (
    copy_project,
    make_untitled_folder,
    remove_if_unused,
    require_empty,
    rescue,
    unnamed_projects,
)
from app.models.project_lock import ProjectLock
from app.models.project_store import PROJECT_NAME, LoadedProject, ProjectFile, read_project
from app.models.undo import UndoHistory
from decode_engine.errors import EngineError
from decode_engine.io.atomic import explain_os_error

__all__ = ["OpenMode", "ProjectSession"]

OpenMode = Literal["write", "read_only", "take_over"]
Outcome = Callable[[Problem | None], None]

_OPEN, _COPY = "project-open", "project-copy"


@dataclass(frozen=True, slots=True)
class _Opened:
    loaded: LoadedProject
    folder: Path
    lock: ProjectLock | None


class ProjectSession(ProjectEditor):
    """Holds the one open project; always has one (an unsaved, untitled one at first).

    In memory all paths are absolute; ``project.json`` has those inside the project's folder
    relative to it, so the folder may be moved.

    Parameters
    ----------
    background : Background, optional
        Where slow file work runs; an own one when left out.
    home : Path, optional
        Where untitled projects lie; one that was used is kept there when it is closed. When
        left out they lie in a temporary folder and end with the session.
    """

    project_opened = Signal()  # another project, or the same in another folder
    saved = Signal()
    save_failed = Signal(object)  # Problem
    untitled_kept = Signal(object)  # Path of an untitled project that was closed and kept

    def __init__(
        self,
        background: Background | None = None,
        *,
        home: Path | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(background, parent)
        self._owns_background = background is None
        self._home = home
        self._untitled = True
        self._closed = False
        self._autosave.saved.connect(self.saved)
        self._autosave.failed.connect(self._on_save_failed)
        application = QGuiApplication.instance()
        if isinstance(application, QGuiApplication):
            application.applicationStateChanged.connect(self._on_application_state)
        self._start_untitled()

    # What there is

    @property
    def previews_folder(self) -> Path:
        """A folder for previews, made where it is missing; it may be wiped at any time."""
        return self._subfolder("previews")

    @property
    def is_untitled(self) -> bool:
        """Whether the user has not named the project yet (`save_as` does)."""
        return self._untitled

    @property
    def is_used(self) -> bool:
        """Whether there is anything in the project."""
        return bool(self._project.runs) or self.settings != ProjectSettings()

    @property
    def is_saved(self) -> bool:
        """Whether everything is on disk."""
        return self._autosave.is_saved

    @property
    def has_active_runs(self) -> bool:
        """Whether a run of this project is going on."""
        active = any(run.state in ("running", "paused") for run in self._project.runs)
        return active and not self.read_only

    # Opening and saving

    def new(self, folder: Path) -> Problem | None:
        """Make a project in a folder and open it; return why not, then nothing changed."""
        folder = folder.absolute()
        if (folder / PROJECT_NAME).exists():
            return Problem(
                message=f"{folder} holds a project already.",
                hint="Open it, or choose another folder.",
                code="project_exists",
            )
        if problem := self._in_the_way():
            return problem
        try:
            folder.mkdir(parents=True, exist_ok=True)
            lock = ProjectLock(folder)
        except EngineError as error:
            return Problem.from_error(error)
        except OSError as error:
            return Problem.from_error(explain_os_error(error, folder))
        self._leave()
        self._adopt(_Opened(LoadedProject(project=_fresh()), folder, lock))
        self._autosave.touch(self._project)
        return self._autosave.save_now()

    def close_project(self) -> Problem | None:
        """Leave the project for a new one without a name; return why not."""
        if problem := self._in_the_way():
            return problem
        self._leave()
        self._start_untitled()
        return None

    def open(self, folder: Path, mode: OpenMode = "write") -> Problem | None:
        """Open a project; return why not, then the one before stays open.

        The codes "project_locked" (another window has it) and "project_protected" (nothing can
        be written there) say that the mode "read_only" opens it nevertheless. Where the
        problem's action is not empty, the other window may be dead, and "take_over" opens it.
        """
        if self._has_open(folder, mode):
            return None
        if problem := self._in_the_way():
            return problem
        try:
            opened = _open(folder, mode)
        except (EngineError, OSError) as error:
            return _open_problem(error)
        self._leave()
        self._adopt(opened)
        return None

    def open_later(self, folder: Path, mode: OpenMode, done: Outcome) -> None:
        """Open a project as `open` does, but without waiting for a slow drive."""

        def work(_check: Callable[[], None]) -> _Opened | Problem:
            try:
                return _open(folder, mode)
            except (EngineError, OSError) as error:
                return _open_problem(error)

        def take(result: _Opened | Problem) -> None:
            problem = result if isinstance(result, Problem) else self._in_the_way()
            if problem is None and isinstance(result, _Opened):
                self._leave()
                self._adopt(result)
            else:
                _unlock(result)
            done(problem)

        if self._has_open(folder, mode):
            done(None)
            return
        self._background.run(_OPEN, work, take, done, unwanted=_unlock)

    def save_as(self, folder: Path, done: Outcome | None = None) -> Problem | None:
        """Go on in another folder: an untitled project moves there, any other is copied.

        Returns
        -------
        Problem or None
            What was in the way at once. Copying goes on in the background; its end is told to
            ``done`` and, if it went well, by `project_opened`. If not, the project stays where
            it was (without ``done``, `notice` says why).
        """
        target, source = folder.absolute(), self._folder
        tell = done or self._notice_problem
        try:
            require_empty(target)
        except (EngineError, OSError) as error:
            return Problem.from_error(error)
        if problem := self._busy():
            return problem
        if self._untitled:
            moved, problem = self._move_to(target)
            if moved:
                tell(problem)
                return None
            if problem is not None:
                return problem
        self._is_copying = True

        def finish(result: Problem | None) -> None:
            self._is_copying = False
            tell(result if result is not None else self._settle_in(target, leave=source))

        self._background.run(
            _COPY, lambda check: copy_project(source, target, check), finish, finish
        )
        return None

    def save_now(self) -> Problem | None:
        """Write the project at once; return what was in the way."""
        return self._autosave.save_now()

    def emergency_save(self) -> Path | None:
        """Write the project while the app crashes: no Qt, no exception.

        Returns the folder that has the last changes: the project's, or another one (that can
        be opened as a project) where the project's own cannot be written.
        """
        return self._autosave.emergency_save(self._rescue_homes())

    def unnamed_projects(self) -> tuple[Path, ...]:
        """Return untitled projects of earlier sessions, the newest first."""
        return unnamed_projects(self._home) if self._home and self._home.is_dir() else ()

    def close(self) -> None:
        """Save, and give the project back; an untitled one that was not used is removed.

        Runs that are still going on count as interrupted.
        """
        if self._closed:
            return
        self._closed = True
        application = QGuiApplication.instance()
        if isinstance(application, QGuiApplication):
            application.applicationStateChanged.disconnect(self._on_application_state)
        if not self.read_only:
            interrupted = run_list.interrupted(self._project)
            if interrupted is not self._project:
                self._project = interrupted
                self._autosave.touch(interrupted)
        self._leave()
        self._autosave.stop()
        if self._owns_background:
            self._background.close()

    # Inside

    def _subfolder(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _start_untitled(self) -> None:
        folder = None
        if self._home is not None:
            try:
                folder = make_untitled_folder(self._home)
            except OSError as error:
                self.notice.emit(Problem.from_error(explain_os_error(error, self._home)))
        if folder is None:
            folder = Path(tempfile.mkdtemp(prefix="decode-desktop-"))
            if self._home is None:
                weakref.finalize(self, shutil.rmtree, folder, True)
        lock = ProjectLock(folder)
        self._adopt(_Opened(LoadedProject(project=_fresh()), folder, lock), untitled=True)

    def _adopt(self, opened: _Opened, *, untitled: bool = False) -> None:
        loaded, self._folder, self._lock = opened.loaded, opened.folder, opened.lock
        self._untitled = untitled
        self._undo = UndoHistory()
        self._incomplete.clear()
        self._watch.forget()
        name = "Untitled" if untitled else self._folder.name
        project = loaded.project.model_copy(update={"name": name})
        file = None
        if self._lock is not None:
            file = ProjectFile(self._folder, self._lock)
            project = run_list.interrupted(project)
        self._project = project
        self._autosave.begin(file)
        if project != loaded.project or loaded.damage:
            self._autosave.touch(project)
        self.project_opened.emit()
        self.undo_changed.emit()
        self._refresh()
        if loaded.damage:
            hint = "Changes of the last seconds before may be missing; please look them over."
            message = f"{loaded.damage}. The project was opened from its backup."
            self.notice.emit(Problem(message=message, hint=hint, code="opened_from_backup"))

    def _leave(self) -> None:
        """Save the project and give it back."""
        if not self._autosave.is_saved and self._autosave.save_now() is not None:
            self._rescue()
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        if self._untitled and not self.is_used:
            remove_if_unused(self._folder)
        elif self._untitled and self._home is not None:
            self.untitled_kept.emit(self._folder)
        elif self._untitled:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _move_to(self, target: Path) -> tuple[bool, Problem | None]:
        """Rename the untitled project's folder, and return whether that was done.

        It cannot be done across drives; a problem is what also hinders copying.
        """
        source = self._folder
        try:
            require_empty(target)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                target.rmdir()
            if self._lock is not None:
                self._lock.release()  # Windows moves no folder with an open file
                self._lock = None
            source.rename(target)
        except (OSError, EngineError):
            return False, self._relock(source) if self._lock is None else None
        return True, self._settle_in(target, leave=source)

    def _relock(self, folder: Path) -> Problem | None:
        try:
            self._lock = ProjectLock(folder)
        except (EngineError, OSError) as error:  # another window was quicker
            self._autosave.begin(None)
            self.project_changed.emit()
            return Problem.from_error(error)
        self._autosave.begin(ProjectFile(folder, self._lock))
        self._autosave.touch(self._project)
        return None

    def _settle_in(self, target: Path, *, leave: Path) -> Problem | None:
        """Let the open project live in ``target``, which holds its files already."""
        try:
            lock = ProjectLock(target)
        except (EngineError, OSError) as error:
            return Problem.from_error(error)
        if self._lock is not None:
            if not self._untitled:
                self._autosave.save_now()
            self._lock.release()
        if self._untitled and leave.exists():
            shutil.rmtree(leave, ignore_errors=True)
        project = relocated(self._project, leave, target)
        self._project = project.model_copy(update={"name": target.name})
        self._undo.map(lambda settings: relocated(settings, leave, target))
        self._folder, self._lock, self._untitled = target, lock, False
        self._watch.forget()
        self._autosave.begin(ProjectFile(target, lock))
        self._autosave.touch(self._project)
        problem = self._autosave.save_now()
        self.project_opened.emit()
        self._refresh()
        return problem

    def _notice_problem(self, problem: Problem | None) -> None:
        if problem is not None:
            self.notice.emit(problem)

    def _rescue_homes(self) -> tuple[Path, ...]:
        temporary = Path(tempfile.gettempdir())
        return (temporary,) if self._home is None else (self._home, temporary)

    def _rescue(self) -> Path | None:
        """Write the project elsewhere because its own folder cannot be written."""
        folder = rescue(self._project, self._rescue_homes())
        if folder is not None:
            message = f"{self._project.name} could not be saved in {self._folder}."
            hint = f"Its last state is in {folder}, which can be opened as a project."
            self.notice.emit(Problem(message=message, hint=hint, code="rescued"))
        return folder

    def _in_the_way(self) -> Problem | None:
        """Return why the project cannot be left: runs, or changes that can be saved nowhere."""
        if problem := self._busy():
            return problem
        if self._autosave.is_saved or self.read_only or not self.is_used:
            return None
        problem = self._autosave.save_now()
        if problem is None or self._rescue() is not None:
            self._autosave.settle()
            return None
        return problem

    def _has_open(self, folder: Path, mode: OpenMode) -> bool:
        return self._folder == _project_folder(folder) and (self.read_only == (mode == "read_only"))

    def _busy(self) -> Problem | None:
        if self._is_copying:
            return Problem(
                message="The project is being copied.",
                hint="Wait until the copy is finished.",
                code="copying",
            )
        if self.has_active_runs:
            return Problem(
                message="A run of this project is still going on.",
                hint="Wait for it, or stop it; what it did so far is kept.",
                code="runs_active",
            )
        return None

    def _on_save_failed(self, problem: Problem) -> None:
        if problem.code == "project_locked":
            # Another window took the project over; writing on would undo its work.
            if self._lock is not None:
                self._lock.release()
                self._lock = None
            self._autosave.stop()
        self.save_failed.emit(problem)

    def _on_application_state(self, state: Qt.ApplicationState) -> None:
        if state == Qt.ApplicationState.ApplicationActive:
            self.recheck()


def _fresh() -> Project:
    return Project(app_version=decode_engine.__version__)


def _open(folder: Path, mode: OpenMode) -> _Opened:
    folder = _project_folder(folder)
    loaded = read_project(folder)
    if mode == "read_only":
        return _Opened(_with_files_found(loaded, folder), folder, None)
    lock = ProjectLock(folder, take_over=mode == "take_over")
    # Read again: the window that had it may have saved until now.
    return _Opened(_with_files_found(read_project(folder), folder), folder, lock)


def _unlock(result: _Opened | Problem) -> None:
    if isinstance(result, _Opened) and result.lock is not None:
        result.lock.release()


def _project_folder(folder: Path) -> Path:
    folder = folder.absolute()
    return folder.parent if folder.name == PROJECT_NAME else folder


def _with_files_found(loaded: LoadedProject, folder: Path) -> LoadedProject:
    saved_in = loaded.project.saved_in
    if not saved_in or Path(saved_in) == folder:
        return loaded
    project = moved_along(loaded.project, Path(saved_in), folder)
    return replace(loaded, project=project.model_copy(update={"saved_in": str(folder)}))


def _open_problem(error: BaseException) -> Problem:
    uncertain = getattr(error, "certain", True) is False
    return Problem.from_error(error, action="Open anyway" if uncertain else "")
