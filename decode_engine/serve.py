"""The engine process: commands on standard input, events on standard output, one job at a time.

Standard output belongs to the protocol alone: the first act is to keep a private copy of file
descriptor 1 and to point descriptor 1 at standard error, so that stray prints, C libraries and
child processes cannot corrupt the stream. When standard input ends, the parent is gone: the
running job is cancelled and the process exits, by force if the job does not stop in time.
A job that keeps its work for a later resumption gets the time for that; a request to terminate
(the user logs out) is answered in the same way.
"""

from __future__ import annotations

import os
import queue
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, BinaryIO

import decode_engine
from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AcceptedEvent,
    CancelCommand,
    Command,
    Event,
    EventBody,
    FailedEvent,
    FinishCommand,
    FinishedEvent,
    HelloEvent,
    LogEvent,
    PauseCommand,
    PingCommand,
    PongEvent,
    ResumeCommand,
    ShutdownCommand,
    SubmitCommand,
    decode_command,
    encode_event,
)
from decode_engine.errors import CancelledError, ProtocolError
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.jobs.registry import describe_failure, run_job

__all__ = ["Server", "grace_s", "serve"]

# A job that has not stopped this long after its parent's death is ended by force. One that can
# be resumed first ends its step (seconds, with a large batch on a busy machine) and then writes
# its checkpoint and best model or its last chunk, perhaps to a slow network drive.
_GRACE_S = 5.0
_GRACE_OF_RESUMABLE_S = 60.0
_RESUMABLE = frozenset({"train", "localize"})
_NICENESS = 5  # the window and everything else that the user does goes first


def grace_s(spec: JobSpec | None) -> float:
    """Return how long a job may take to stop once its parent is gone."""
    return _GRACE_OF_RESUMABLE_S if spec is not None and spec.job in _RESUMABLE else _GRACE_S


def serve() -> int:
    """Take over the standard streams and serve until shutdown or end of input."""
    output = _claim_standard_output()
    _give_way()
    server = Server(output)
    _follow_signals(server)
    # Unbuffered: Python aborts if it exits while a thread waits in a buffered read.
    commands = os.fdopen(os.dup(0), "rb", buffering=0)
    reader = threading.Thread(target=server.read_commands, args=(commands,), daemon=True)
    server.hello(_devices())
    reader.start()
    server.run()
    return 0


def _claim_standard_output() -> BinaryIO:
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(private, "wb", buffering=0)


def _give_way() -> None:
    if hasattr(os, "nice"):
        os.nice(_NICENESS)


def _follow_signals(server: Server) -> None:
    """End in order when asked to terminate; leave Ctrl-C to the parent, whose end ends us."""
    signal.signal(signal.SIGTERM, lambda _number, _frame: server.terminate())
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _devices() -> list[str]:
    from decode_engine.network.device import available_devices

    return available_devices()


@dataclass
class _Job:
    command: SubmitCommand
    token: CancelToken = field(default_factory=CancelToken)


class Server:
    """The state of one engine process.

    Jobs run in the thread that calls `run`; commands are read in another one, so a cancel
    reaches a running job at its next check.
    """

    def __init__(
        self, output: BinaryIO, *, grace: Callable[[JobSpec | None], float] = grace_s
    ) -> None:
        self._output = output
        self._grace = grace
        self._lock = threading.Lock()
        self._start_s = time.monotonic()
        self._seq = 0
        self._pending: queue.Queue[_Job | None] = queue.Queue()
        self._jobs: dict[str, _Job] = {}
        self._running: _Job | None = None
        self._closing = threading.Event()

    def hello(self, devices: list[str]) -> None:
        """Say who this engine is and what it can compute on."""
        self.send(
            None,
            HelloEvent(
                protocol=PROTOCOL_VERSION,
                version=decode_engine.__version__,
                pid=os.getpid(),
                devices=devices,
            ),
        )

    def send(self, job_id: str | None, body: EventBody) -> None:
        """Write one event; a reader that is gone ends the process."""
        with self._lock:
            event = Event(
                job_id=job_id,
                seq=self._seq,
                t_s=round(time.monotonic() - self._start_s, 3),
                body=body,
            )
            self._seq += 1
            try:
                self._output.write(encode_event(event))
            except OSError:
                # Nobody listens any more, so nobody can be told; stop like at end of input.
                self._close()

    def read_commands(self, stream: IO[bytes]) -> None:
        """Handle commands until the stream ends or the server closes; force the exit if needed."""
        while not self._closing.is_set() and (line := stream.readline(MAX_LINE_BYTES + 1)):
            if not line.strip():
                continue
            if len(line) > MAX_LINE_BYTES:
                _skip_line(line, stream)
            try:
                self._handle(decode_command(line))
            except ProtocolError as error:
                self._refuse(_job_named_in(line), describe_failure(error))
        self._close_in_time()

    def terminate(self) -> None:
        """Cancel what runs and exit; may be called from a signal handler."""
        # In a thread: the handler interrupts this one anywhere, perhaps with a lock in its hand.
        threading.Thread(target=self._close_in_time, daemon=True).start()

    def run(self) -> None:
        """Run submitted jobs one after another until the server closes."""
        while (job := self._pending.get()) is not None:
            self._running = job
            job.token.touch()
            ending = self._run_one(job)
            self._running = None
            # Forgotten before the answer is sent: its reader may reuse the name at once.
            self._jobs.pop(job.command.job_id, None)
            self.send(job.command.job_id, ending)

    def _handle(self, command: Command) -> None:
        if isinstance(command, SubmitCommand):
            self._submit(command)
        elif isinstance(command, ShutdownCommand):
            self._close()
        elif isinstance(command, PingCommand):
            running = self._running
            silent_s = 0.0 if running is None else running.token.silent_s()
            self.send(None, PongEvent(silent_s=silent_s))
        else:
            job = self._jobs.get(command.job_id)
            if job is not None:  # otherwise it ended already: the answer is on its way
                self._steer(job, command)

    def _steer(
        self, job: _Job, command: CancelCommand | PauseCommand | ResumeCommand | FinishCommand
    ) -> None:
        if isinstance(command, CancelCommand):
            job.token.cancel()
        elif isinstance(command, PauseCommand):
            job.token.pause()
        elif isinstance(command, ResumeCommand):
            job.token.proceed()
        elif job.command.spec.job == "train":
            job.token.finish()
        else:
            text = f"Only a training can finish early; this {job.command.spec.job} job goes on."
            self.send(command.job_id, LogEvent(level="warning", text=text))

    def _submit(self, command: SubmitCommand) -> None:
        if command.job_id in self._jobs:
            message = f"The job {command.job_id!r} is running already."
            self._refuse(command.job_id, FailedEvent(code="bad_protocol", message=message))
            return
        job = _Job(command)
        self._jobs[command.job_id] = job
        self.send(command.job_id, AcceptedEvent())
        self._pending.put(job)

    def _refuse(self, job_id: str | None, failure: FailedEvent) -> None:
        """Answer a command that cannot be followed, to the job it speaks of."""
        # Not in the name of a job that runs: it would read as that one's failure.
        self.send(None if job_id in self._jobs else job_id, failure)

    def _close_in_time(self) -> None:
        self._close()
        running = self._running
        time.sleep(self._grace(None if running is None else running.command.spec))
        os._exit(0)

    def _close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            for job in list(self._jobs.values()):
                job.token.cancel()
            self._pending.put(None)

    def _run_one(self, job: _Job) -> FinishedEvent | FailedEvent:
        job_id = job.command.job_id

        def emit(body: EventBody) -> None:
            job.token.touch()
            self.send(job_id, body)

        context = JobContext(emit=emit, cancel=job.token)
        try:
            return FinishedEvent(reason="completed", summary=run_job(job.command.spec, context))
        except CancelledError:
            return FinishedEvent(reason="cancelled")
        except Exception as error:  # noqa: BLE001 - the process rim: becomes a failed event
            return describe_failure(error)


_JOB_ID = re.compile(rb'"job_id"\s*:\s*"((?:[^"\\]){1,200})"')


def _job_named_in(line: bytes) -> str | None:
    """Return the job of a command that cannot be read as a whole, if it names one."""
    found = _JOB_ID.search(line)
    return None if found is None else found.group(1).decode(errors="replace")


def _skip_line(line: bytes, stream: IO[bytes]) -> None:
    """Read on to the end of a line that is too long, lest its rest be taken for commands."""
    while line and not line.endswith(b"\n"):
        line = stream.readline(MAX_LINE_BYTES)
