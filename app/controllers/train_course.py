"""The course of trainings: live from events, of earlier runs from their files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from app.controllers.background import Background
from app.models.problem import Problem
from app.models.project import RunRecord
from app.models.train_job import training_folder
from app.models.training_curves import TrainingCurves
from app.views.train_progress import TrainProgress
from decode_engine.contract.messages import EventBody, MetricEvent, PreviewEvent
from decode_engine.io.history import read_history
from decode_engine.io.training_sample import TrainingSample, read_training_sample

__all__ = ["TrainCourse"]

_SAMPLE = "train-sample"
_HISTORY = "history.jsonl"


class TrainCourse(QObject):
    """Keeps the curves of the runs that were looked at, and draws those that are compared.

    Attributes
    ----------
    shown : str
        Id of the run whose numbers and sample frame are shown; empty for none.
    compared : tuple of str
        Ids of the runs whose curves are drawn.

    Signals
    -------
    loaded
        The history of the shown run has been read.
    """

    loaded = Signal()

    def __init__(self, background: Background, view: TrainProgress, parent: QObject) -> None:
        super().__init__(parent)
        self._background = background
        self._view = view
        self._curves: dict[str, TrainingCurves] = {}
        self._records: dict[str, RunRecord] = {}
        self._key = "?"
        self.shown = ""
        self.compared: tuple[str, ...] = ()

    def show(self, run: RunRecord | None) -> None:
        """Show a run; read its history where it was not followed from its beginning."""
        key = "" if run is None else f"{run.run_id} {run.created}"
        if key == self._key:
            return
        self._key = key
        self.shown = "" if run is None else run.run_id
        self.compared = (self.shown,) if self.shown else ()
        self._curves.clear()
        self._view.sample.show_sample(None, waiting=run is not None and run.state == "running")
        self._view.show_metrics({})
        if run is not None:
            self._read(run)
            folder = training_folder(run)
            if folder is not None:
                self._read_sample(folder / "sample.npz")
        self._draw()

    def remember(self, runs: Sequence[RunRecord]) -> None:
        """Know the runs that may be compared."""
        self._records = {run.run_id: run for run in runs}

    def compare(self, run_ids: Sequence[str]) -> None:
        """Draw these runs; the shown one where there is none."""
        self.compared = tuple(run_ids) or (self.shown,)
        for run_id in self.compared:
            if run_id not in self._curves and run_id in self._records:
                self._read(self._records[run_id])
        self._draw()

    def best_metrics(self) -> Mapping[str, Any]:
        """Return the scores of the shown run's best model."""
        curves = self._curves.get(self.shown)
        return {} if curves is None else curves.best_validation

    def on_event(self, job_id: str, event: EventBody) -> None:
        """Follow a training."""
        if job_id != self.shown:
            return
        if isinstance(event, MetricEvent):
            curves = self._curves.setdefault(job_id, self._empty(job_id))
            if curves.add(event.step, event.values):
                self._view.show_metrics(curves.last_validation)
            self._draw()
        elif isinstance(event, PreviewEvent):
            self._read_sample(Path(event.path))

    def _empty(self, run_id: str) -> TrainingCurves:
        record = self._records.get(run_id)
        config = {} if record is None else record.spec.get("config", {})
        return TrainingCurves(batch_size=int(config.get("batch_size", 8)))

    def _read(self, run: RunRecord) -> None:
        folder = training_folder(run)
        if folder is None:
            return
        key, empty = self._key, self._empty(run.run_id)

        def work(_check: object) -> TrainingCurves:
            return TrainingCurves.from_history(
                read_history(folder / _HISTORY), batch_size=empty.batch_size
            )

        def done(curves: TrainingCurves) -> None:
            live = self._curves.get(run.run_id)
            # What came live meanwhile is newer than the file.
            if key != self._key or (live is not None and not live.is_empty):
                return
            self._curves[run.run_id] = curves
            self._draw()
            if run.run_id == self.shown:
                self._view.show_metrics(curves.best_validation)
                self.loaded.emit()

        self._background.run(f"train-history {run.run_id}", work, done, self._unreadable)

    def _read_sample(self, path: Path) -> None:
        def work(_check: object) -> TrainingSample | None:
            return read_training_sample(path) if path.is_file() else None

        def done(sample: TrainingSample | None) -> None:
            if sample is not None:
                self._view.sample.show_sample(sample)

        self._background.run(_SAMPLE, work, done, self._unreadable)

    def _unreadable(self, problem: Problem) -> None:
        """Leave out what cannot be read: the training itself does not depend on it."""

    def _draw(self) -> None:
        drawn = {run_id: self._curves[run_id] for run_id in self.compared if run_id in self._curves}
        self._view.show_curves(drawn)
