"""Long jobs: an engine for each, started one after the other."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from app.engine_link.client import EngineClient
from app.engine_link.lane import EngineSetup, explain
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import Event, FailedEvent, FinishedEvent
from decode_engine.errors import EngineError

__all__ = ["RunLane"]


class RunLane(QObject):
    """A queue of long jobs; each gets a process of its own, which frees all memory at its end.

    Parameters
    ----------
    setup : EngineSetup
    at_once : int
        Jobs that run at the same time; two trainings on one machine starve each other.

    Signals
    -------
    started : str
        A job left the queue.
    reported : str, EventBody, float
        Job, event (local paths) and engine time.
    silence : str, FailedEvent or None
        A job's engine seems to hang, or does not any more.
    ended :
        The last engine is gone and none waits.
    """

    started = Signal(str)
    reported = Signal(str, object, float)
    silence = Signal(str, object)
    ended = Signal()

    def __init__(
        self, setup: EngineSetup, parent: QObject | None = None, *, at_once: int = 1
    ) -> None:
        super().__init__(parent)
        self._setup = setup
        self._at_once = at_once
        self._queue: dict[str, JobSpec] = {}
        self._clients: dict[str, EngineClient] = {}
        self._leaving: set[EngineClient] = set()
        self._closing = False

    @property
    def jobs(self) -> tuple[str, ...]:
        """The jobs that run, then those that wait."""
        return (*self._clients, *self._queue)

    @property
    def is_alive(self) -> bool:
        """Whether a process is there."""
        return bool(self._clients or self._leaving)

    def use(self, setup: EngineSetup) -> None:
        """Change to another engine; jobs that run keep theirs."""
        self._setup = setup

    def submit(self, job_id: str, spec: JobSpec) -> None:
        """Run a job when its turn comes."""
        self._queue[job_id] = spec
        if self._closing:
            self.cancel(job_id)
        self._pump()

    def tell(self, job_id: str, say: Callable[[EngineClient], None]) -> bool:
        """Speak to the engine of a running job; return whether there is one.

        An engine that is still starting hears it right behind its job.
        """
        client = self._clients.get(job_id)
        if client is None:
            return False
        if client.is_ready:
            say(client)
        else:
            client.hello.connect(lambda _hello: say(client))  # after the one that submits
        return True

    def cancel(self, job_id: str) -> None:
        """Stop a job, or take it out of the queue."""
        if self._queue.pop(job_id, None) is not None:
            self.reported.emit(job_id, FinishedEvent(reason="cancelled"), 0.0)
        elif (client := self._clients.get(job_id)) is not None:
            if client.is_ready:
                client.cancel(job_id)
            else:
                client.close()  # it has not begun: nothing to keep

    def close(self) -> None:
        """Empty the queue and stop all jobs; they keep their work. `ended` follows if any."""
        self._closing = True
        for job_id in list(self._queue):
            self.cancel(job_id)
        for client in self._clients.values():
            client.close()

    def kill(self) -> None:
        """End all engines at once, waiting for them."""
        self._closing = True
        self._queue.clear()
        for client in (*self._clients.values(), *self._leaving):
            client.kill()

    def _pump(self) -> None:
        while self._queue and len(self._clients) < self._at_once:
            job_id = next(iter(self._queue))
            spec = self._queue.pop(job_id)
            try:
                remote = self._setup.path_map.spec_to_remote(spec)
            except EngineError as error:
                self.reported.emit(job_id, explain(error), 0.0)
                continue
            self._launch(job_id, remote)

    def _launch(self, job_id: str, spec: JobSpec) -> None:
        setup = self._setup
        client = setup.make_client()
        client.setParent(self)
        self._clients[job_id] = client

        def take(message: Event) -> None:
            if message.job_id == job_id:
                self._take(job_id, client, message, setup)

        client.hello.connect(lambda _hello: client.submit(job_id, spec))
        client.job_event.connect(take)
        client.lost.connect(lambda failure: self._on_lost(job_id, client, failure))
        client.silent.connect(lambda failure: self.silence.emit(job_id, failure))
        client.spoke.connect(lambda: self.silence.emit(job_id, None))
        client.ended.connect(lambda: self._on_ended(job_id, client))
        self.started.emit(job_id)
        client.start()

    def _take(self, job_id: str, client: EngineClient, message: Event, setup: EngineSetup) -> None:
        body = setup.path_map.event_to_local(message.body)
        if isinstance(body, FailedEvent | FinishedEvent):
            self._release(job_id, client)
        self.reported.emit(job_id, body, message.t_s)

    def _on_lost(self, job_id: str, client: EngineClient, failure: FailedEvent) -> None:
        if self._release(job_id, client):  # it ended before its job was submitted
            self.reported.emit(job_id, failure, 0.0)

    def _release(self, job_id: str, client: EngineClient) -> bool:
        """Let the engine of an ended job go; say whether it was still the job's."""
        if self._clients.get(job_id) is not client:  # the job may run again in another one
            return False
        del self._clients[job_id]
        if not client.has_ended:
            self._leaving.add(client)
            client.close()
        return True

    def _on_ended(self, job_id: str, client: EngineClient) -> None:
        if self._release(job_id, client):  # closed before its job was submitted
            self.reported.emit(job_id, FinishedEvent(reason="cancelled"), 0.0)
        self._leaving.discard(client)
        client.deleteLater()
        self._pump()
        if not self.is_alive and not self._queue:
            self.ended.emit()
