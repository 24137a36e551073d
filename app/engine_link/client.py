"""One engine process: typed commands in, typed events out, and an honest word when it dies."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from app.engine_link import faults
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    CancelCommand,
    Command,
    Event,
    FailedEvent,
    FinishCommand,
    FinishedEvent,
    HelloEvent,
    PauseCommand,
    PingCommand,
    PongEvent,
    ResumeCommand,
    ShutdownCommand,
    SubmitCommand,
    decode_event,
    encode_line,
)
from decode_engine.errors import ProtocolError

__all__ = ["EngineClient", "Patience"]

_STDERR_LINES = 200
_KEEPS_WORK = frozenset({"train", "localize"})  # write a checkpoint or a chunk before they stop


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long an engine may be silent, and how long it may take to stop.

    Attributes
    ----------
    hello_s : float
        From start to hello; importing torch from a slow disk takes long.
    ping_every_s, pings : float, int
        While a job runs it is asked for a sign of life; so many unanswered ones in a row mean
        that it hangs. Counted, not timed: a computer that slept must not look like a hang.
    stuck_s : float
        How long a job of an engine that answers may neither report nor ask whether to stop.
    stop_s, stop_keeping_s : float
        From a cancel to the first force, for jobs without and with work to keep.
    kill_s : float
        From the first force to the last.
    restart_s : tuple of float
        Waits before the restarts of a crashed warm engine; after that it stays down until it is
        wanted again. A machine in trouble is not helped by restarts in a row.
    """

    hello_s: float = 60.0
    ping_every_s: float = 5.0
    pings: int = 4
    stuck_s: float = 180.0
    stop_s: float = 5.0
    stop_keeping_s: float = 60.0
    kill_s: float = 5.0
    restart_s: tuple[float, ...] = (0.5, 2.0, 8.0)


class EngineClient(QObject):
    """Starts an engine and speaks its protocol; never waits.

    Each submitted job ends with exactly one `FailedEvent` or `FinishedEvent`, also when the
    engine dies.

    Signals
    -------
    hello : HelloEvent
        The engine is there and speaks our version.
    job_event : Event
        Any event of a job.
    silent : FailedEvent
        It seems to hang (code ``not_responding``); `spoke` follows if it comes back.
    spoke :
        The silence is over.
    lost : FailedEvent
        It did not start, crashed, or is of another version.
    ended :
        The process is gone, asked for or not; always the last signal.
    """

    hello = Signal(object)
    job_event = Signal(object)
    silent = Signal(object)
    spoke = Signal()
    lost = Signal(object)
    ended = Signal()

    def __init__(
        self,
        command: Sequence[str],
        parent: QObject | None = None,
        *,
        patience: Patience | None = None,
    ) -> None:
        super().__init__(parent)
        self._command = list(command)
        self._patience = patience or Patience()
        self._buffer = b""
        self._stderr: list[str] = []
        self._jobs: dict[str, JobSpec] = {}
        self._ready = self._closing = self._is_silent = self._has_ended = False
        self._reported: FailedEvent | None = None
        self._unanswered = 0
        self._began_s = time.monotonic()
        self._heartbeat = self._timer(self._watch)
        self._terminate_timer = self._timer(self._terminate, once=True)
        self._kill_timer = self._timer(self._kill, once=True)
        self._process = QProcess(self)
        self._process.setProgram(self._command[0])
        self._process.setArguments(self._command[1:])
        self._process.readyReadStandardOutput.connect(self._read_output)
        self._process.readyReadStandardError.connect(self._read_errors)
        self._process.errorOccurred.connect(self._on_error)
        self._process.finished.connect(self._on_finished)

    @property
    def is_ready(self) -> bool:
        """Whether the engine said hello and has not been asked to go."""
        return self._ready and not self._closing and not self._has_ended

    @property
    def has_ended(self) -> bool:
        """Whether the process is gone."""
        return self._has_ended

    @property
    def stderr(self) -> tuple[str, ...]:
        """The last lines that the engine wrote besides the protocol."""
        return tuple(self._stderr)

    def start(self) -> None:
        """Start the process; `hello` or `lost` follows."""
        self._began_s = time.monotonic()
        self._heartbeat.start(round(1000 * self._patience.ping_every_s))
        self._process.start()

    def submit(self, job_id: str, spec: JobSpec) -> None:
        """Run a job."""
        self._jobs[job_id] = spec
        try:
            self._send(SubmitCommand(job_id=job_id, spec=spec))
        except ProtocolError as error:
            failure = FailedEvent(
                code="too_long",
                message="This job names more files than the engine can be told at once.",
                hint="Split it into several jobs.",
                detail=error.message,
            )
            QTimer.singleShot(0, self, lambda: self._end_job(job_id, failure))

    def cancel(self, job_id: str) -> None:
        """Stop a job: by asking, after a while by force (then the engine ends too)."""
        spec = self._jobs.get(job_id)
        if spec is None:
            return
        self._send(CancelCommand(job_id=job_id))
        wait_s = 0.0 if self._is_silent else self._stop_s(spec)
        self._force_after(wait_s)

    def pause(self, job_id: str) -> None:
        """Let a job wait."""
        self._send(PauseCommand(job_id=job_id))

    def resume(self, job_id: str) -> None:
        """Let a paused job go on."""
        self._send(ResumeCommand(job_id=job_id))

    def finish(self, job_id: str) -> None:
        """Let a training end now with its best model."""
        self._send(FinishCommand(job_id=job_id))

    def close(self) -> None:
        """Ask the engine to stop its job, keep the work and exit; `ended` follows."""
        if self._closing or self._process.state() == QProcess.ProcessState.NotRunning:
            return
        self._closing = True
        self._send(ShutdownCommand())
        self._process.closeWriteChannel()
        self._force_after(
            max(map(self._stop_s, self._jobs.values()), default=self._patience.stop_s)
        )

    def kill(self, wait_ms: int = 2000) -> None:
        """End the process at once and wait for that; for the very end of the app."""
        self._closing = True
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.kill()
            self._process.waitForFinished(wait_ms)

    def _timer(self, action: Callable[[], None], *, once: bool = False) -> QTimer:
        timer = QTimer(self)  # a child: dies with us, so it never fires into a deleted object
        timer.setSingleShot(once)
        timer.timeout.connect(action)
        return timer

    def _stop_s(self, spec: JobSpec) -> float:
        keeps = spec.job in _KEEPS_WORK
        return self._patience.stop_keeping_s if keeps else self._patience.stop_s

    def _send(self, command: Command) -> None:
        line = encode_line(command)
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.write(line)

    def _force_after(self, seconds: float) -> None:
        self._terminate_timer.start(round(1000 * seconds))

    def _terminate(self) -> None:
        self._closing = True  # what follows was asked for
        self._process.terminate()
        self._kill_timer.start(round(1000 * self._patience.kill_s))

    def _kill(self) -> None:
        self._process.kill()

    def _watch(self) -> None:
        """Ask for a sign of life, or notice that none comes."""
        patience = self._patience
        if not self._ready:
            waited_s = time.monotonic() - self._began_s
            if waited_s >= patience.hello_s:
                self._set_silent(faults.silent_start(waited_s))
        elif self._jobs and not self._closing:
            if self._unanswered >= patience.pings:
                waited_s = self._unanswered * patience.ping_every_s
                self._set_silent(faults.silent_engine(waited_s))
            self._unanswered += 1
            self._send(PingCommand())

    def _set_silent(self, failure: FailedEvent) -> None:
        if not self._is_silent:
            self._is_silent = True
            self.silent.emit(failure)

    def _set_spoke(self) -> None:
        if self._is_silent:
            self._is_silent = False
            self.spoke.emit()

    def _read_output(self) -> None:
        self._buffer += bytes(self._process.readAllStandardOutput().data())
        *lines, self._buffer = self._buffer.split(b"\n")
        if len(self._buffer) > 2 * MAX_LINE_BYTES:  # no engine talks like that
            lines, self._buffer = [*lines, self._buffer[:200]], b""
        for line in lines:
            try:
                event = decode_event(line)
            except ProtocolError:
                # A greeting of a remote shell, or an event of the future: kept for the details.
                self._note(line.decode(errors="replace"))
            else:
                self._dispatch(event)

    def _dispatch(self, message: Event) -> None:
        self._unanswered = 0
        body = message.body
        if isinstance(body, PongEvent):
            if body.silent_s >= self._patience.stuck_s:
                self._set_silent(faults.stuck_job(body.silent_s))
            else:
                self._set_spoke()
            return
        self._set_spoke()
        if isinstance(body, HelloEvent):
            self._greet(body)
        elif message.job_id is not None:
            if isinstance(body, FailedEvent | FinishedEvent):
                self._forget(message.job_id)
            self.job_event.emit(message)
        elif isinstance(body, FailedEvent):
            self._note(f"{body.code}: {body.message} {body.detail}")

    def _greet(self, hello: HelloEvent) -> None:
        if hello.protocol == PROTOCOL_VERSION:
            self._ready = True
            self.hello.emit(hello)
            return
        self._reported = faults.wrong_version(hello.protocol, hello.version)
        self._process.closeWriteChannel()  # whatever it speaks, this ends it
        self._force_after(self._patience.stop_s)
        self._lose(self._reported)

    def _note(self, text: str) -> None:
        self._stderr = [*self._stderr, *text.splitlines()][-_STDERR_LINES:]

    def _read_errors(self) -> None:
        data = bytes(self._process.readAllStandardError().data())
        self._note(data.decode(errors="replace"))

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._lose(faults.did_not_start(self._command, self._process.errorString()))
            self._end()

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        self._read_output()
        self._read_errors()
        was_ready, self._ready = self._ready, False
        if self._closing:
            for job_id in list(self._jobs):
                self._end_job(job_id, FinishedEvent(reason="cancelled"))
        elif self._reported is None:
            by_signal = status == QProcess.ExitStatus.CrashExit
            if was_ready or by_signal:
                failure = faults.describe_end(
                    self._command, code, by_signal=by_signal, stderr=self._stderr
                )
            else:
                failure = faults.gone_before_hello(self._command, code, self._stderr)
            self._lose(failure)
        self._end()

    def _lose(self, failure: FailedEvent) -> None:
        """Tell why the engine is of no use any more, first to the jobs it had."""
        for job_id in list(self._jobs):
            self._end_job(job_id, failure)
        self.lost.emit(failure)

    def _end_job(self, job_id: str, body: FailedEvent | FinishedEvent) -> None:
        if self._forget(job_id):
            self.job_event.emit(Event(job_id=job_id, seq=-1, t_s=0.0, body=body))

    def _forget(self, job_id: str) -> bool:
        found = self._jobs.pop(job_id, None) is not None
        if not self._jobs and not self._closing:
            self._terminate_timer.stop()  # it did stop
        return found

    def _end(self) -> None:
        for timer in (self._heartbeat, self._terminate_timer, self._kill_timer):
            timer.stop()
        self._has_ended = True
        self.ended.emit()
