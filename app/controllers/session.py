"""The open project: changes with undo, autosave, runs and the states of the steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.models.project import Project, ProjectSettings, RunRecord
from app.models.steps import Step, StepState
from decode_engine.contract.jobs import JobSpec

__all__ = ["ProjectSession"]


class ProjectSession(QObject):
    """Holds the one open project; always has one (an unsaved, temporary one at first)."""

    project_changed = Signal()  # settings, runs or the whole project are other ones
    states_changed = Signal()  # marks of the sidebar
    save_failed = Signal(object)  # Problem

    @property
    def project(self) -> Project:
        """The project as it is now."""
        raise NotImplementedError

    @property
    def settings(self) -> ProjectSettings:
        """Short for ``project.settings``."""
        raise NotImplementedError

    @property
    def folder(self) -> Path:
        """The project's folder."""
        raise NotImplementedError

    @property
    def states(self) -> Mapping[Step, StepState]:
        """The state of every step."""
        raise NotImplementedError

    def update(self, text: str, **changes: Any) -> None:
        """Change settings as one undo step named ``text``; equal texts in a row merge."""
        raise NotImplementedError

    def begin_run(self, step: Step, title: str) -> tuple[str, Path]:
        """Reserve a run id and make its folder below ``runs``."""
        raise NotImplementedError

    def record_run(self, record: RunRecord) -> None:
        """Add a run, or replace the one with the same id."""
        raise NotImplementedError

    def fingerprint(self, spec: JobSpec) -> str:
        """Return the fingerprint of a job's settings and input files."""
        raise NotImplementedError
