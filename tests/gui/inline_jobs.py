"""A stand-in for `JobCenter` that runs the real jobs at once, in this process."""

from __future__ import annotations

import itertools

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.session import ProjectSession
from app.models.job_state import JobState, reduce_event
from app.models.project import RunRecord
from app.models.steps import Step
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import EventBody, FinishedEvent
from decode_engine.errors import EngineError
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import describe_failure, run_job

__all__ = ["InlineJobs"]


class InlineJobs(QObject):
    """Keeps what was asked for; answers in the next turn of the event loop, in order."""

    job_changed = Signal(str, object)
    job_event = Signal(str, object)
    devices_changed = Signal(object)

    devices = ("cpu",)

    def __init__(self, session: ProjectSession, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.specs: list[JobSpec] = []
        self.held = False  # jobs wait while true
        self.cancelled: list[str] = []
        self._session = session
        self._numbers = itertools.count(1)
        self._states: dict[str, JobState] = {}
        self._waiting: list[tuple[str, JobSpec]] = []

    def preview(self, kind: str, spec: JobSpec) -> str:
        return self._enqueue(f"{kind}#{next(self._numbers)}", spec)

    def start_run(self, step: Step, title: str, run_id: str, spec: JobSpec) -> str:
        record = RunRecord(
            run_id=run_id, step=step, title=title, created="", spec=spec.model_dump(mode="json")
        )
        self._session.record_run(record)
        return self._enqueue(run_id, spec)

    def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    def pause(self, job_id: str) -> None: ...

    def resume(self, job_id: str) -> None: ...

    def state(self, job_id: str) -> JobState:
        return self._states.get(job_id, JobState())

    def running(self) -> tuple[str, ...]:
        return tuple(job for job, state in self._states.items() if state.is_active)

    def release(self) -> None:
        """Run what was held back."""
        self.held = False
        QTimer.singleShot(0, self._run_all)

    def _enqueue(self, job_id: str, spec: JobSpec) -> str:
        self.specs.append(spec)
        self._states[job_id] = JobState(phase="running")
        self._waiting.append((job_id, spec))
        if not self.held:
            QTimer.singleShot(0, self._run_all)
        return job_id

    def _run_all(self) -> None:
        while self._waiting and not self.held:
            job_id, spec = self._waiting.pop(0)
            try:
                summary = run_job(spec, JobContext(emit=lambda e, j=job_id: self._take(j, e)))
                self._take(job_id, FinishedEvent(reason="completed", summary=summary))
            except (EngineError, OSError) as error:
                self._take(job_id, describe_failure(error))

    def _take(self, job_id: str, event: EventBody) -> None:
        state = reduce_event(self._states[job_id], event)
        self._states[job_id] = state
        self._write_down(job_id, state)
        self.job_changed.emit(job_id, state)

    def _write_down(self, job_id: str, state: JobState) -> None:
        for run in self._session.project.runs:
            if run.run_id == job_id and state.phase == "completed":
                outputs, summary = dict(state.artifacts), dict(state.summary)
                update = {"state": "completed", "outputs": outputs, "summary": summary}
                self._session.record_run(run.model_copy(update=update))
