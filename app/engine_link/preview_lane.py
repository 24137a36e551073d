"""Short jobs in one engine that is kept warm: torch is loaded, the answer comes at once."""

from __future__ import annotations

from PySide6.QtCore import QObject, QTimer, Signal

from app.engine_link.client import EngineClient
from app.engine_link.lane import EngineSetup, explain
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    Event,
    EventBody,
    FailedEvent,
    FinishedEvent,
    HelloEvent,
)
from decode_engine.errors import EngineError

__all__ = ["PreviewLane"]

_HOPELESS = frozenset({"did_not_start", "wrong_version"})  # the next start would end the same


class PreviewLane(QObject):
    """Runs previews one at a time; of each kind only the newest counts.

    The engine is started with `start` and again after a crash, a few times; when that does not
    help, the next preview tries anew.

    Signals
    -------
    reported : str, EventBody, float
        Job, event (local paths) and engine time. Replaced previews end as cancelled.
    hello : HelloEvent
    silence : str, FailedEvent or None
        The running job's engine seems to hang, or does not any more.
    trouble : FailedEvent or None
        Why there is no engine; None when there is one again.
    ended :
        The engine is gone after `close`.
    """

    reported = Signal(str, object, float)
    hello = Signal(object)
    silence = Signal(str, object)
    trouble = Signal(object)
    ended = Signal()

    def __init__(self, setup: EngineSetup, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._setup = setup
        self._client: EngineClient | None = None
        self._client_setup = setup  # of the engine that is there; `use` is for the next one
        self._waiting: dict[str, tuple[str, JobSpec]] = {}  # by kind, in order of arrival
        self._running: tuple[str, str] | None = None  # kind, job
        self._failures = 0
        self._closing = False
        self._failure: FailedEvent | None = None
        self._restart = QTimer(self)
        self._restart.setSingleShot(True)
        self._restart.timeout.connect(self.start)

    @property
    def is_alive(self) -> bool:
        """Whether a process is there."""
        return self._client is not None

    def start(self) -> None:
        """Start the engine unless it is there."""
        if self._client is not None or self._closing:
            return
        self._restart.stop()
        self._failure = None
        setup = self._setup
        client = setup.make_client()
        client.setParent(self)
        client.hello.connect(self._on_hello)
        client.job_event.connect(lambda message: self._on_event(message, setup))
        client.lost.connect(self._on_lost)
        client.silent.connect(self._on_silent)
        client.spoke.connect(self._on_spoke)
        client.ended.connect(self._on_ended)
        self._client, self._client_setup = client, setup
        client.start()

    def use(self, setup: EngineSetup) -> None:
        """Change to another engine; what runs in the old one is cancelled."""
        self._setup = setup
        self._failures = 0
        if self._client is not None:
            self._client.close()  # the new one starts when it is gone
        else:
            self.start()

    def submit(self, job_id: str, kind: str, spec: JobSpec) -> None:
        """Run a preview as soon as possible, in the place of older ones of its kind."""
        if self._closing:
            self._cancelled(job_id)
            return
        replaced = self._waiting.pop(kind, None)
        self._waiting[kind] = (job_id, spec)
        if replaced is not None:
            self._cancelled(replaced[0])
        if self._running is not None and self._running[0] == kind and self._client is not None:
            self._client.cancel(self._running[1])
        if self._client is None and not self._restart.isActive():
            self._failures = 0
            self.start()
        self._pump()

    def cancel(self, job_id: str) -> None:
        """Stop a preview, or take it out of the queue."""
        if self._running is not None and self._running[1] == job_id:
            if self._client is not None:
                self._client.cancel(job_id)
            return
        for kind, (waiting, _) in list(self._waiting.items()):
            if waiting == job_id:
                del self._waiting[kind]
                self._cancelled(job_id)

    def close(self) -> None:
        """Let the engine go; `ended` follows if there is one."""
        self._closing = True
        self._restart.stop()
        for job_id, _ in list(self._waiting.values()):
            self._cancelled(job_id)
        self._waiting.clear()
        if self._client is not None:
            self._client.close()

    def kill(self) -> None:
        """End the engine at once, waiting for it."""
        self._closing = True
        self._restart.stop()
        if self._client is not None:
            self._client.kill()

    def _cancelled(self, job_id: str) -> None:
        self.reported.emit(job_id, FinishedEvent(reason="cancelled"), 0.0)

    def _pump(self) -> None:
        """Submit the next preview if the engine is free."""
        client = self._client
        while client is not None and client.is_ready and self._running is None and self._waiting:
            kind = next(iter(self._waiting))
            job_id, spec = self._waiting.pop(kind)
            try:
                remote = self._client_setup.path_map.spec_to_remote(spec)
            except EngineError as error:
                self.reported.emit(job_id, explain(error), 0.0)
                continue
            self._running = (kind, job_id)
            client.submit(job_id, remote)

    def _on_hello(self, hello: HelloEvent) -> None:
        self.trouble.emit(None)
        self.hello.emit(hello)
        self._pump()

    def _on_event(self, message: Event, setup: EngineSetup) -> None:
        body: EventBody = setup.path_map.event_to_local(message.body)
        if isinstance(body, FailedEvent | FinishedEvent):
            self._running = None
            if isinstance(body, FinishedEvent) and body.reason == "completed":
                self._failures = 0
        assert message.job_id is not None
        self.reported.emit(message.job_id, body, message.t_s)
        self._pump()

    def _on_silent(self, failure: FailedEvent) -> None:
        if self._running is not None:
            self.silence.emit(self._running[1], failure)
        else:
            self.trouble.emit(failure)

    def _on_spoke(self) -> None:
        if self._running is not None:
            self.silence.emit(self._running[1], None)

    def _on_lost(self, failure: FailedEvent) -> None:
        self._failure = failure

    def _on_ended(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.deleteLater()
        if self._closing:
            self.ended.emit()
            return
        waits_s = self._setup.patience.restart_s
        failure, self._failure = self._failure, None
        if failure is None:  # asked for: a stubborn preview was stopped, or the command changed
            self.start()
        elif failure.code in _HOPELESS or self._failures >= len(waits_s):
            self._give_up(failure)
        else:
            self.trouble.emit(failure)
            self._restart.start(round(1000 * waits_s[self._failures]))
            self._failures += 1

    def _give_up(self, failure: FailedEvent) -> None:
        waiting = list(self._waiting.values())
        self._waiting.clear()
        for job_id, _ in waiting:
            self.reported.emit(job_id, failure, 0.0)
        self.trouble.emit(failure)
