"""The engine process: commands on standard input, events on standard output, one job at a time.

Standard output belongs to the protocol alone: the first act is to keep a private copy of file
descriptor 1 and to point descriptor 1 at standard error, so that stray prints, C libraries and
child processes cannot corrupt the stream. When standard input ends, the parent is gone: the
running job is cancelled and the process exits, by force if the job does not stop in time.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from dataclasses import dataclass, field
from typing import BinaryIO

import decode_engine
from decode_engine.contract.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AcceptedEvent,
    CancelCommand,
    Command,
    Event,
    EventBody,
    FailedEvent,
    FinishedEvent,
    HelloEvent,
    PauseCommand,
    ResumeCommand,
    ShutdownCommand,
    SubmitCommand,
    decode_command,
    encode_event,
)
from decode_engine.errors import CancelledError, ProtocolError
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.jobs.registry import describe_failure, run_job

__all__ = ["Server", "serve"]

_GRACE_S = 3.0  # a job that has not stopped this long after its parent's death is ended


def serve() -> int:
    """Take over the standard streams and serve until shutdown or end of input."""
    output = _claim_standard_output()
    server = Server(output)
    reader = threading.Thread(target=server.read_commands, args=(sys.stdin.buffer,), daemon=True)
    server.hello(_devices())
    reader.start()
    server.run()
    return 0


def _claim_standard_output() -> BinaryIO:
    private = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return os.fdopen(private, "wb", buffering=0)


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

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._start_s = time.monotonic()
        self._seq = 0
        self._pending: queue.Queue[_Job | None] = queue.Queue()
        self._jobs: dict[str, _Job] = {}
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

    def read_commands(self, stream: BinaryIO) -> None:
        """Handle commands until the stream ends or the server closes; force the exit if needed."""
        # Not read on after a shutdown: Python aborts if it exits while a thread waits in a read.
        while not self._closing.is_set() and (line := stream.readline(MAX_LINE_BYTES + 1)):
            if not line.strip():
                continue
            try:
                self._handle(decode_command(line))
            except ProtocolError as error:
                self.send(None, describe_failure(error))
        self._close()
        time.sleep(_GRACE_S)
        os._exit(0)

    def run(self) -> None:
        """Run submitted jobs one after another until the server closes."""
        while (job := self._pending.get()) is not None:
            ending = self._run_one(job)
            # Forgotten before the answer is sent: its reader may reuse the name at once.
            self._jobs.pop(job.command.job_id, None)
            self.send(job.command.job_id, ending)

    def _handle(self, command: Command) -> None:
        if isinstance(command, SubmitCommand):
            self._submit(command)
        elif isinstance(command, ShutdownCommand):
            self._close()
        elif isinstance(command, (CancelCommand, PauseCommand, ResumeCommand)):
            job = self._jobs.get(command.job_id)
            if job is None:
                return  # it ended already: the answer is on its way
            if isinstance(command, CancelCommand):
                job.token.cancel()
            elif isinstance(command, PauseCommand):
                job.token.pause()
            else:
                job.token.proceed()

    def _submit(self, command: SubmitCommand) -> None:
        if command.job_id in self._jobs:
            message = f"The job {command.job_id!r} is running already."
            # Without the job's name: it would read as the failure of the one that runs.
            self.send(None, FailedEvent(code="bad_protocol", message=message))
            return
        job = _Job(command)
        self._jobs[command.job_id] = job
        self.send(command.job_id, AcceptedEvent())
        self._pending.put(job)

    def _close(self) -> None:
        if not self._closing.is_set():
            self._closing.set()
            for job in list(self._jobs.values()):
                job.token.cancel()
            self._pending.put(None)

    def _run_one(self, job: _Job) -> FinishedEvent | FailedEvent:
        job_id = job.command.job_id
        context = JobContext(emit=lambda body: self.send(job_id, body), cancel=job.token)
        try:
            return FinishedEvent(reason="completed", summary=run_job(job.command.spec, context))
        except CancelledError:
            return FinishedEvent(reason="cancelled")
        except Exception as error:  # noqa: BLE001 - the process rim: becomes a failed event
            return describe_failure(error)
