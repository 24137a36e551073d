"""Saving by itself: a second after the last change, again after a failure, and on demand."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.background import Background
from app.models.problem import Problem
from app.models.project import Project
from app.models.project_copy import rescue
from app.models.project_store import ProjectFile
from decode_engine.errors import EngineError

__all__ = ["Autosave"]

_DELAY_MS = 1000
_RETRY_MS = 30_000
_KEY = "project-save"


class Autosave(QObject):
    """Brings the newest state of one project to disk; a failure loses nothing and is retried."""

    saved = Signal()
    failed = Signal(object)  # Problem; once for each new cause

    def __init__(self, background: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._file: ProjectFile | None = None
        self._project: Project | None = None
        self._generation = 0
        self._saved_generation = 0
        self._last_problem: Problem | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.timeout.connect(self._save_in_background)

    @property
    def is_saved(self) -> bool:
        """Whether the last change is on disk."""
        return self._saved_generation == self._generation

    def begin(self, file: ProjectFile | None) -> None:
        """Serve another project's file; None for a project that must not be written."""
        self._timer.stop()
        self._background.cancel(_KEY)
        self._file = file
        self._project = None
        self._generation = self._saved_generation = 0
        self._last_problem = None

    def touch(self, project: Project) -> None:
        """Take a changed project; it is saved soon."""
        self._project = project
        self._generation += 1
        if self._file is not None:
            self._timer.start(_DELAY_MS)

    def save_now(self) -> Problem | None:
        """Save at once; return what was in the way."""
        self._timer.stop()
        if self._file is None or self._project is None:
            return None
        try:
            self._file.save(self._project, self._generation)
        except (EngineError, OSError) as error:
            problem = Problem.from_error(error)
            self._on_failed(problem)
            return problem
        self._on_saved(self._generation)
        return None

    def emergency_save(self, rescue_homes: Sequence[Path]) -> Path | None:
        """Save while the app crashes: no Qt, no exception.

        Returns
        -------
        Path or None
            Where the last changes are; None where they could be written nowhere.
        """
        file, project = self._file, self._project
        if file is None or project is None:
            return None if file is None else file.folder
        try:
            file.save(project, self._generation)
        except Exception:  # noqa: BLE001 - the last chance to keep the user's work
            with contextlib.suppress(Exception):
                return rescue(project, rescue_homes)
            return None
        return file.folder

    def settle(self) -> None:
        """Take the last change for saved: it is kept elsewhere."""
        self._timer.stop()
        self._saved_generation = self._generation

    def stop(self) -> None:
        """Save no more."""
        self.begin(None)

    def _save_in_background(self) -> None:
        file, project, generation = self._file, self._project, self._generation
        if file is None or project is None:
            return

        def write(_check: Callable[[], None]) -> int:
            file.save(project, generation)
            return generation

        self._background.run(_KEY, write, self._on_saved, self._on_failed)

    def _on_saved(self, generation: int) -> None:
        self._saved_generation = max(self._saved_generation, generation)
        self._last_problem = None
        self.saved.emit()

    def _on_failed(self, problem: Problem) -> None:
        self._timer.start(_RETRY_MS)
        if problem.message != (self._last_problem.message if self._last_problem else None):
            self._last_problem = problem
            self.failed.emit(problem)
