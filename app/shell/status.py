"""Keeps the status bar true to the job center."""

from __future__ import annotations

import logging

from PySide6.QtCore import QObject

from app.controllers.page_controller import AppContext
from app.models.job_state import JobState
from app.models.problem import Problem
from app.shell.jobs_bar import JobLine, JobsBar
from decode_engine.contract.messages import EventBody, LogEvent

__all__ = ["Status"]

_log = logging.getLogger(__name__)
_DEVICE_WORDS = {"cpu": "Processor (CPU)", "mps": "Apple GPU"}


class Status(QObject):
    """Follows jobs, engine and device of a context."""

    def __init__(self, context: AppContext, bar: JobsBar) -> None:
        super().__init__(bar)
        self._context = context
        self._bar = bar
        self.engine_problem: Problem | None = None
        self._greeted = False
        self._phases: dict[str, str] = {}
        jobs = context.jobs
        jobs.job_changed.connect(self._on_job)
        jobs.job_event.connect(self._on_event)
        jobs.devices_changed.connect(self._on_devices)
        jobs.engine_changed.connect(self._on_engine)
        context.session.project_changed.connect(self._show_jobs)
        self._show_jobs()

    def _on_job(self, job_id: str, state: JobState) -> None:
        if self._phases.get(job_id) != state.phase:
            self._phases[job_id] = state.phase
            why = "" if state.failure is None else f": {state.failure.code} {state.failure.message}"
            _log.info("job %s: %s%s", job_id, state.phase, why)
            if state.failure is not None and state.failure.detail:
                _log.info("job %s: %s", job_id, state.failure.detail)
        self._show_jobs()

    def _on_event(self, job_id: str, body: EventBody) -> None:
        if isinstance(body, LogEvent):
            _log.info("job %s: %s", job_id, body.text)

    def _show_jobs(self) -> None:
        jobs, session = self._context.jobs, self._context.session
        lines = []
        for job_id in jobs.running():
            state, run = jobs.state(job_id), session.run(job_id)
            if run is None:
                continue
            lines.append(
                JobLine(
                    job_id=job_id,
                    step=run.step,
                    title=run.title,
                    fraction=state.fraction,
                    eta_s=state.eta_s,
                    words="waits for its turn"
                    if state.phase == "queued"
                    else "paused"
                    if state.phase == "paused"
                    else "",
                )
            )
        self._bar.show_jobs(lines)

    def _on_devices(self, devices: list[str]) -> None:
        wanted = self._context.settings.value.device
        device = wanted if wanted in devices else (devices[0] if devices else "cpu")
        self._bar.show_device(
            _DEVICE_WORDS.get(device, f"NVIDIA GPU ({device})"),
            f"The engine can compute on: {', '.join(devices)}. Tools > Settings chooses.",
        )
        self._on_engine(None)

    def _on_engine(self, problem: Problem | None) -> None:
        known, self.engine_problem = self.engine_problem, problem
        if problem is None and known is None and self._greeted:
            return
        self._greeted = problem is None
        _log.info("engine: %s", "ready" if problem is None else f"{problem.code} {problem.detail}")
        if problem is None:
            self._bar.show_engine("ready", f"Version {self._context.jobs.engine_version}")
        else:
            self._bar.show_engine("! not there", f"{problem.message} {problem.hint}".strip())
