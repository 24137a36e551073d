"""All jobs of the app: one warm engine for previews, one engine for each long job."""

from __future__ import annotations

from PySide6.QtCore import QObject, Signal

from app.models.job_state import JobState
from app.models.steps import Step
from decode_engine.contract.jobs import JobSpec

__all__ = ["JobCenter"]


class JobCenter(QObject):
    """Starts, steers and remembers jobs.

    Signals
    -------
    job_changed : str, JobState
        Anything new of a job (at most as often as the engine reports).
    job_event : str, EventBody
        Each event as it came: metrics, previews, artifacts.
    devices_changed : list of str
        What the warm engine can compute on.
    """

    job_changed = Signal(str, object)
    job_event = Signal(str, object)
    devices_changed = Signal(object)

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the engine, best first; empty until it said hello."""
        raise NotImplementedError

    def preview(self, kind: str, spec: JobSpec) -> str:
        """Run a short job in the warm engine; a newer one of the same kind replaces it."""
        raise NotImplementedError

    def start_run(self, step: Step, title: str, run_id: str, spec: JobSpec) -> str:
        """Run a long job in an engine of its own, recorded in the project; the id is the run's."""
        raise NotImplementedError

    def cancel(self, job_id: str) -> None:
        """Stop a job; what it did so far is kept."""
        raise NotImplementedError

    def finish(self, job_id: str) -> None:
        """Let a training stop now and keep its best model as its result."""
        raise NotImplementedError

    def pause(self, job_id: str) -> None:
        """Let a job wait."""
        raise NotImplementedError

    def resume(self, job_id: str) -> None:
        """Let a paused job go on."""
        raise NotImplementedError

    def state(self, job_id: str) -> JobState:
        """Return what is known of a job; an idle state for an unknown one."""
        raise NotImplementedError

    def running(self) -> tuple[str, ...]:
        """Return the ids of the long jobs that run or wait in a queue."""
        raise NotImplementedError
