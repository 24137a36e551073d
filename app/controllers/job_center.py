"""All jobs of the app: one warm engine for previews, one engine for each long job."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.run_book import RunBook
from app.controllers.session import ProjectSession
from app.engine_link.client import Patience
from app.engine_link.lane import EngineSetup
from app.engine_link.path_mapping import PathMap
from app.engine_link.preview_lane import PreviewLane
from app.engine_link.run_lane import RunLane
from app.models.job_state import JobState, reduce_event
from app.models.problem import Problem
from app.models.steps import Step
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    EventBody,
    FailedEvent,
    FinishedEvent,
    HelloEvent,
    ProgressEvent,
)

__all__ = ["JobCenter"]

_SHOW_EVERY_MS = 100
_PREVIEWS_REMEMBERED = 200


class JobCenter(QObject):
    """Starts, steers and remembers jobs.

    Parameters
    ----------
    session : ProjectSession
        Where runs are recorded.
    command : sequence of str
        The engine's command; see `app.settings.engine_command`.
    path_map : PathMap
        Names of our files on the engine's computer, where it is another one.
    patience : Patience or None
    runs_at_once : int
        Long jobs that run at the same time.

    Signals
    -------
    job_changed : str, JobState
        Anything new of a job; progress at most ten times a second.
    job_event : str, EventBody
        Each event as it came: metrics, previews, artifacts.
    devices_changed : list of str
        What the warm engine can compute on.
    engine_changed : Problem or None
        Why there is no warm engine; None when there is one.
    all_closed :
        After `shutdown`: no engine is left.
    """

    job_changed = Signal(str, object)
    job_event = Signal(str, object)
    devices_changed = Signal(object)
    engine_changed = Signal(object)
    all_closed = Signal()

    def __init__(
        self,
        session: ProjectSession,
        command: Sequence[str],
        parent: QObject | None = None,
        *,
        path_map: PathMap | None = None,
        patience: Patience | None = None,
        runs_at_once: int = 1,
    ) -> None:
        super().__init__(parent)
        self._setup = EngineSetup(
            command=tuple(command),
            path_map=path_map or PathMap(),
            patience=patience or Patience(),
        )
        self._states: dict[str, JobState] = {}
        self._numbers = itertools.count(1)
        self._old_previews: deque[str] = deque()
        self._unshown: dict[str, None] = {}
        self._foreign: set[str] = set()  # runs of a project that was left, until they end
        self._devices: tuple[str, ...] = ()
        self._version = ""
        self._closing = self._has_closed = False
        self._soon: deque[Callable[[], None]] = deque()
        self._soon_timer = self._single_shot(self._run_soon)
        self._show_timer = self._single_shot(self._show)
        self._book = RunBook(session)
        self._previews = PreviewLane(self._setup, self)
        self._runs = RunLane(self._setup, self, at_once=runs_at_once)
        self._connect(session)

    def _connect(self, session: ProjectSession) -> None:
        for lane in (self._previews, self._runs):
            lane.reported.connect(self._on_event)
            lane.silence.connect(self._on_silence)
            lane.ended.connect(self._on_lane_ended)
        self._runs.started.connect(self._on_started)
        session.project_opened.connect(self._on_project_opened)
        self._previews.hello.connect(self._on_hello)
        self._previews.trouble.connect(self._on_trouble)

    # The warm engine

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices of the engine, best first; empty until it said hello."""
        return self._devices

    @property
    def engine_version(self) -> str:
        """Version of the engine; empty until it said hello."""
        return self._version

    def start(self) -> None:
        """Warm the preview engine up; the first preview would do so too."""
        self._previews.start()

    def use_engine(self, command: Sequence[str], path_map: PathMap | None = None) -> None:
        """Change to another engine (new settings); jobs that run keep theirs."""
        self._setup = replace(self._setup, command=tuple(command), path_map=path_map or PathMap())
        self._previews.use(self._setup)
        self._runs.use(self._setup)

    # Starting

    def preview(self, kind: str, spec: JobSpec) -> str:
        """Run a short job in the warm engine; a newer one of the same kind replaces it.

        Its id is returned before anything of it is signalled.
        """
        job_id = f"{kind}#{next(self._numbers)}"
        self._states[job_id] = JobState(phase="queued")
        self._old_previews.append(job_id)
        while len(self._old_previews) > _PREVIEWS_REMEMBERED:
            self._states.pop(self._old_previews.popleft(), None)
        self._later(lambda: self._previews.submit(job_id, kind, spec))
        return job_id

    def start_run(self, step: Step, title: str, run_id: str, spec: JobSpec) -> str:
        """Run a long job in an engine of its own, recorded in the project; the id is the run's."""
        self._book.begin(step, title, run_id, spec)
        return self._enqueue(run_id, spec)

    def can_resume(self, run_id: str) -> bool:
        """Whether a run stopped half-way and can go on from what it kept."""
        return run_id not in self._runs.jobs and self._book.can_resume(run_id)

    def resume_run(self, run_id: str) -> str:
        """Let a stopped run go on from where it was."""
        return self._enqueue(run_id, self._book.reopen(run_id))

    def _enqueue(self, run_id: str, spec: JobSpec) -> str:
        self._states[run_id] = JobState(phase="queued")
        self._later(lambda: self._runs.submit(run_id, spec))
        self._publish(run_id)
        return run_id

    # Steering

    def cancel(self, job_id: str) -> None:
        """Stop a job; what it did so far is kept."""
        if not self.state(job_id).is_active:
            return
        self._request(job_id, "cancel")

        def stop() -> None:
            lane = self._runs if self._book.knows(job_id) else self._previews
            lane.cancel(job_id)

        # Later, behind a submission that is still on its way to its lane.
        self._later(stop)

    def finish(self, job_id: str) -> None:
        """Let a training stop now and keep its best model as its result."""
        if self._runs.tell(job_id, lambda client: client.finish(job_id)):
            self._request(job_id, "finish")

    def pause(self, job_id: str) -> None:
        """Let a job wait."""
        if self._runs.tell(job_id, lambda client: client.pause(job_id)):
            self._request(job_id, "pause")

    def resume(self, job_id: str) -> None:
        """Let a paused job go on."""
        if self.state(job_id).request == "pause":
            # It may not have noticed the pause, and then will not tell of its end.
            self._set(job_id, replace(self.state(job_id), request=""))
        self._runs.tell(job_id, lambda client: client.resume(job_id))

    def shutdown(self, policy: Literal["keep", "kill"] = "keep") -> None:
        """Stop everything; `all_closed` follows, at once if nothing runs.

        ``keep`` lets jobs write what they have (a training up to a minute); their runs are
        marked ``interrupted`` and can be resumed. ``kill`` waits for nothing; what was written
        before is there all the same.
        """
        if not self._closing:
            self._closing = True
            self._book.interrupt()
        self._previews.close()
        self._runs.close()
        if policy == "kill":
            self._previews.kill()
            self._runs.kill()
        self._later(self._on_lane_ended)

    # Looking

    def state(self, job_id: str) -> JobState:
        """Return what is known of a job; an idle state for an unknown one."""
        return self._states.get(job_id, JobState())

    def running(self) -> tuple[str, ...]:
        """Return the ids of the long jobs that run or wait in a queue."""
        return tuple(job for job in self._states if self._book.knows(job) and self._is_on(job))

    def _is_on(self, job_id: str) -> bool:
        return self._states[job_id].is_active

    # What the lanes say

    def _on_project_opened(self) -> None:
        """Forget the runs of the project before: another one uses the same ids.

        A run can still go on only where another window took its project over; it is stopped
        and keeps what it did.
        """
        self._foreign |= {*self._runs.jobs, *self.running()}
        for run_id in [job for job in self._states if self._book.knows(job)]:
            del self._states[run_id]
            self._unshown.pop(run_id, None)
        self._book.forget()
        for run_id in tuple(self._foreign):
            self._later(lambda run_id=run_id: self._runs.cancel(run_id))  # type: ignore[misc]

    def _on_started(self, job_id: str) -> None:
        if job_id in self._foreign:
            return
        self._set(job_id, JobState(phase="running", stage="Starting the engine"))

    def _on_event(self, job_id: str, body: EventBody, t_s: float) -> None:
        if job_id in self._foreign:
            if isinstance(body, FailedEvent | FinishedEvent):
                self._foreign.discard(job_id)
            return
        before = self.state(job_id)
        state = reduce_event(before, body, t_s)
        self._states[job_id] = state
        if state is not before:
            if self._book.knows(job_id):
                self._book.note(job_id, before, state)
            if isinstance(body, ProgressEvent):
                self._publish_soon(job_id)
            else:
                self._publish(job_id)
        self.job_event.emit(job_id, body)

    def _on_silence(self, job_id: str, failure: FailedEvent | None) -> None:
        if job_id not in self._foreign:
            self._set(job_id, replace(self.state(job_id), silence=failure))

    def _on_hello(self, hello: HelloEvent) -> None:
        self._devices = tuple(hello.devices)
        self._version = hello.version
        self.devices_changed.emit(list(hello.devices))

    def _on_trouble(self, failure: FailedEvent | None) -> None:
        self.engine_changed.emit(None if failure is None else Problem.from_failure(failure))

    def _on_lane_ended(self) -> None:
        if not self._closing or self._has_closed:
            return
        if not self._previews.is_alive and not self._runs.is_alive:
            self._has_closed = True
            self.all_closed.emit()

    def _request(self, job_id: str, request: Literal["pause", "cancel", "finish"]) -> None:
        if self.state(job_id).is_active:
            self._set(job_id, replace(self.state(job_id), request=request))

    # Telling others

    def _set(self, job_id: str, state: JobState) -> None:
        self._states[job_id] = state
        self._publish(job_id)

    def _publish(self, job_id: str) -> None:
        self._unshown.pop(job_id, None)
        self.job_changed.emit(job_id, self._states[job_id])

    def _publish_soon(self, job_id: str) -> None:
        self._unshown[job_id] = None
        if not self._show_timer.isActive():
            self._show_timer.start(_SHOW_EVERY_MS)

    def _show(self) -> None:
        for job_id in list(self._unshown):
            self._publish(job_id)

    def _later(self, action: Callable[[], None]) -> None:
        """Act once the caller has its answer: nobody hears of a job before they know its id."""
        self._soon.append(action)
        self._soon_timer.start(0)

    def _run_soon(self) -> None:
        while self._soon:
            self._soon.popleft()()

    def _single_shot(self, action: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.timeout.connect(action)
        return timer
