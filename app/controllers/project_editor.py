"""The project in memory: settings with undo, what widgets remember, runs, marks of the steps."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError
from PySide6.QtCore import QObject, Signal

from app.controllers.autosave import Autosave
from app.controllers.background import Background
from app.controllers.file_watch import FileWatch
from app.models import runs as run_list
from app.models.fingerprints import FileStamp, input_paths, is_pending, spec_fingerprint
from app.models.input_parts import recorded_parts, watched_paths
from app.models.project import Project, ProjectSettings, RunRecord
from app.models.project_lock import ProjectLock
from app.models.step_states import step_states
from app.models.steps import Step, StepState
from app.models.undo import UndoHistory
from decode_engine.contract.jobs import JobSpec
from decode_engine.errors import ConfigError, OutputError
from decode_engine.io.atomic import explain_os_error

__all__ = ["ProjectEditor"]

_LOOKED_AT = (Step.CORRECT, Step.EXPLORE)  # done once they were seen


class ProjectEditor(QObject):
    """Changes the open project; each change is saved soon and told to all who follow.

    `ProjectSession` adds the folder on disk: opening, naming, locking.
    """

    project_changed = Signal()  # settings, runs or the whole project are other ones
    states_changed = Signal()  # marks of the sidebar
    files_changed = Signal()  # what is known of the project's files
    undo_changed = Signal()  # can_undo, can_redo or their texts
    notice = Signal(object)  # Problem that hindered nothing: opened from the backup, …

    def __init__(self, background: Background | None, parent: QObject | None) -> None:
        super().__init__(parent)
        self._background = background or _own_background(self)
        self._project = Project()
        self._folder = Path()
        self._lock: ProjectLock | None = None
        self._is_copying = False
        self._states: dict[Step, StepState] = {}
        self._undo = UndoHistory()
        # Runs whose input files were not looked at yet, with the settings they started from.
        self._incomplete: dict[str, ProjectSettings] = {}
        self._autosave = Autosave(self._background, self)
        self._watch = FileWatch(self._background, self)
        self._watch.changed.connect(self._on_files_changed)

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
        return self._folder

    @property
    def read_only(self) -> bool:
        """Whether changes stay in memory because another window has the project."""
        return self._lock is None

    @property
    def states(self) -> Mapping[Step, StepState]:
        """The state of every step."""
        return self._states

    @property
    def files(self) -> Mapping[str, FileStamp]:
        """Path -> what is known of a file; without those that were not looked at yet."""
        return self._watch.stamps

    # Settings and undo

    def update(self, text: str, **changes: Any) -> None:
        """Change settings as one undo step named ``text``; equal texts in a row merge.

        Raises
        ------
        ConfigError
            If a value cannot be; the settings stay as they were.
        """
        before, after = self.settings, _changed(self.settings, changes)
        if after != before:
            self._undo.push(text, before, after)
            self._change(settings=after)
            self.undo_changed.emit()

    def settle(self, **changes: Any) -> None:
        """Change settings without an undo step: what the app does by itself, not the user.

        Undo and redo keep it, except where they bring back another choice of the user.
        """
        before, after = self.settings, _changed(self.settings, changes)
        if after != before:
            self._undo.accept(before, after)
            self._change(settings=after)
            self.undo_changed.emit()

    def select_model(self, path: str | None) -> None:
        """Choose the model that Localize uses: of a run, or loaded."""
        self.update("Choose model", model=path)

    def select_localizations(self, path: str | None) -> None:
        """Choose the table that Correct, Explore and Export show."""
        self.update("Choose localizations", localizations=path)

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

    # What is remembered without undo

    def set_page(self, step: Step) -> None:
        """Remember which page is shown; Correct and Explore are done once they were seen."""
        self._undo.seal()
        if step != self._project.page:
            self._project = self._project.model_copy(update={"page": step})
            self._autosave.touch(self._project)
        if step in _LOOKED_AT:
            self.mark_done(step)

    def mark_done(self, step: Step) -> None:
        """Mark Correct, Explore or Export as done with the chosen localizations."""
        table = self.settings.localizations
        if table is not None and self._project.visited.get(step) != table:
            self._change(visited={**self._project.visited, step: table})

    def remember(self, key: str, value: JsonValue) -> None:
        """Remember the state of a widget; see `recall`."""
        if key not in self._project.ui or self._project.ui[key] != value:
            ui = {**self._project.ui, key: value}
            self._project = self._project.model_copy(update={"ui": ui})
            self._autosave.touch(self._project)

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
        if self.read_only:
            raise OutputError(
                f"{title} cannot start: the project is open to look only.",
                hint="Save it under another name first (File > Save as).",
            )
        if self._is_copying:
            raise OutputError(
                f"{title} cannot start while the project is being copied.",
                hint="Wait until the copy is finished.",
            )
        taken = [run.run_id for run in self._project.runs]
        try:
            folder = run_list.new_run_folder(self._folder, step, taken)
        except OSError as error:
            raise explain_os_error(error, self._folder / "runs") from error
        return folder.name, folder

    def record_run(self, record: RunRecord) -> None:
        """Add a run, or replace the one with the same id.

        What a new run is made from (``inputs``, ``inputs_fingerprint``) is filled in from the
        settings of this moment.
        """
        known = self.run(record.run_id)
        if known is not None and not record.inputs:
            kept = {
                "inputs": known.inputs,
                "inputs_fingerprint": record.inputs_fingerprint or known.inputs_fingerprint,
            }
            record = record.model_copy(update=kept)
        elif known is None and not record.inputs:
            self._incomplete[record.run_id] = self.settings
            record = self._completed(record)
        self._change(runs=run_list.with_run(self._project.runs, record))
        if record.state not in ("running", "paused") and record.outputs:
            self._watch.recheck(tuple(record.outputs.values()))

    def runs_of(self, step: Step) -> tuple[RunRecord, ...]:
        """Return the runs of a step, oldest first."""
        return run_list.runs_of(self._project, step)

    def run(self, run_id: str) -> RunRecord | None:
        """Return a run by its id."""
        return next((run for run in self._project.runs if run.run_id == run_id), None)

    def run_of_file(self, path: str) -> RunRecord | None:
        """Return the run that wrote a file; None for a file from elsewhere."""
        return run_list.run_that_made(self._project, path)

    def delete_run(self, run_id: str) -> None:
        """Delete a run with its files, which no undo brings back: ask the user before.

        Raises
        ------
        OutputError
            If it is going on, or the project is open to look only.
        """
        run = self.run(run_id)
        if run is None:
            return
        if self.read_only or run.state in ("running", "paused"):
            raise OutputError(f"{run.title} cannot be deleted now.", hint="Stop it first.")
        gone = set(run.outputs.values())
        for name in ("model", "localizations"):
            if getattr(self.settings, name) in gone:
                self.update(f"Delete {run.title}", **{name: None})
        self._change(runs=tuple(r for r in self._project.runs if r.run_id != run_id))
        folder = self._folder / "runs" / run_id
        self._background.run(
            f"project-delete-{run_id}",
            lambda _check: shutil.rmtree(folder),
            lambda _none: None,
            self.notice.emit,
        )

    def fingerprint(self, spec: JobSpec) -> str:
        """Return the fingerprint of a job's settings and input files; never looks at a disk.

        It starts with "?" while some of the files were not looked at yet.
        """
        return spec_fingerprint(spec, self.files)

    def recheck(self) -> None:
        """Look at the project's files again (done by itself when the app comes to the front)."""
        self._watch.recheck()

    # Inside

    def _apply(self, settings: ProjectSettings | None) -> None:
        if settings is not None:
            self._change(settings=settings)
            self.undo_changed.emit()

    def _change(self, **changes: Any) -> None:
        self._project = self._project.model_copy(update=changes)
        self._autosave.touch(self._project)
        self._refresh()

    def _refresh(self) -> None:
        self._watch.watch((*watched_paths(self._project), *self._incomplete_paths()))
        states = step_states(self._project, self.files)
        marks_changed = states != self._states
        self._states = states
        self.project_changed.emit()
        if marks_changed:
            self.states_changed.emit()

    def _incomplete_paths(self) -> list[str]:
        specs = [
            run_list.spec_of(run) for run in self._project.runs if run.run_id in self._incomplete
        ]
        return [path for spec in specs if spec is not None for path in input_paths(spec)]

    def _completed(self, record: RunRecord) -> RunRecord:
        """Fill in what a run is made from, as far as its files were looked at.

        What is known stays: a file may change while the run goes on.
        """
        settings = self._incomplete[record.run_id]
        inputs = {
            **recorded_parts(record.step, settings, record.spec, self.files),
            **{name: part for name, part in record.inputs.items() if not is_pending(part)},
        }
        spec, whole = run_list.spec_of(record), record.inputs_fingerprint
        if spec is not None and (not whole or is_pending(whole)):
            whole = spec_fingerprint(spec, self.files)
        if not any(map(is_pending, (*inputs.values(), whole))):
            del self._incomplete[record.run_id]
        return record.model_copy(update={"inputs": inputs, "inputs_fingerprint": whole})

    def _on_files_changed(self) -> None:
        waiting = [run for run in self._project.runs if run.run_id in self._incomplete]
        runs = self._project.runs
        for run in waiting:
            runs = run_list.with_run(runs, self._completed(run))
        self.files_changed.emit()
        if runs != self._project.runs:
            self._change(runs=runs)
            return
        states = step_states(self._project, self.files)
        if states != self._states:
            self._states = states
            self.states_changed.emit()


def _changed(settings: ProjectSettings, changes: Mapping[str, Any]) -> ProjectSettings:
    try:
        return ProjectSettings.model_validate({**dict(settings), **changes})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = " ".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{where}: {first['msg']}.", hint="Choose another value.", detail=str(error)
        ) from error


def _own_background(owner: QObject) -> Background:
    background = Background(owner)
    # Its threads must be idle before Qt takes the owner's children apart.
    owner.destroyed.connect(lambda: background.close())
    return background
