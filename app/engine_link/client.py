"""One engine process: typed commands in, typed events out, and an honest word when it dies."""

from __future__ import annotations

from PySide6.QtCore import QObject, QProcess, QTimer, Signal

from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    PROTOCOL_VERSION,
    CancelCommand,
    Command,
    Event,
    FailedEvent,
    HelloEvent,
    ShutdownCommand,
    SubmitCommand,
    decode_event,
    encode_line,
)
from decode_engine.errors import ProtocolError

__all__ = ["EngineClient"]

_STDERR_LINES = 200
_SHUTDOWN_MS = 3000


class EngineClient(QObject):
    """Starts an engine and speaks its protocol.

    Signals
    -------
    hello : HelloEvent
        The engine is there and speaks our version.
    job_event : Event
        Any event of a job.
    lost : FailedEvent
        The engine did not start, crashed, or is of another version; running jobs are lost.
    """

    hello = Signal(object)
    job_event = Signal(object)
    lost = Signal(object)

    def __init__(self, command: list[str], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._buffer = b""
        self._stderr: list[str] = []
        self._closing = False
        self._process = QProcess(self)
        self._process.setProgram(command[0])
        self._process.setArguments(command[1:])
        self._process.readyReadStandardOutput.connect(self._read_output)
        self._process.readyReadStandardError.connect(self._read_errors)
        self._process.errorOccurred.connect(self._on_error)
        self._process.finished.connect(self._on_finished)

    def start(self) -> None:
        """Start the process; `hello` or `lost` follows."""
        self._process.start()

    def submit(self, job_id: str, spec: JobSpec) -> None:
        """Run a job."""
        self._send(SubmitCommand(job_id=job_id, spec=spec))

    def cancel(self, job_id: str) -> None:
        """Stop a job."""
        self._send(CancelCommand(job_id=job_id))

    def close(self) -> None:
        """Ask the engine to exit; end it by force if it does not in time."""
        if self._closing or self._process.state() == QProcess.ProcessState.NotRunning:
            return
        self._closing = True
        self._send(ShutdownCommand())
        self._process.closeWriteChannel()
        if not self._process.waitForFinished(_SHUTDOWN_MS):
            self._process.kill()
            self._process.waitForFinished(_SHUTDOWN_MS)

    def _send(self, command: Command) -> None:
        self._process.write(encode_line(command))

    def _read_output(self) -> None:
        self._buffer += bytes(self._process.readAllStandardOutput().data())
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            try:
                self._dispatch(decode_event(line))
            except ProtocolError as error:
                self._fail("bad_protocol", error.message, error.detail)

    def _dispatch(self, message: Event) -> None:
        if not isinstance(message.body, HelloEvent):
            self.job_event.emit(message)
        elif message.body.protocol == PROTOCOL_VERSION:
            self.hello.emit(message.body)
        else:
            self._fail(
                "wrong_version",
                f"The engine speaks version {message.body.protocol} of the protocol, "
                f"the app version {PROTOCOL_VERSION}.",
                "",
            )
            QTimer.singleShot(0, self.close)

    def _read_errors(self) -> None:
        text = bytes(self._process.readAllStandardError().data()).decode(errors="replace")
        self._stderr = [*self._stderr, *text.splitlines()][-_STDERR_LINES:]

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._fail(
                "did_not_start", "The engine could not be started.", self._process.errorString()
            )

    def _on_finished(self, code: int, status: QProcess.ExitStatus) -> None:
        if self._closing:
            return
        how = f"code {code}" if status == QProcess.ExitStatus.NormalExit else f"signal {code}"
        self._fail("crashed", f"The engine stopped unexpectedly ({how}).", "\n".join(self._stderr))

    def _fail(self, code: str, message: str, detail: str) -> None:
        hint = (
            "Close the app and open it again; finished results are safe."
            if code == "crashed"
            else ""
        )
        self.lost.emit(FailedEvent(code=code, message=message, hint=hint, detail=detail))
