"""The typed JSON lines between the engine process and whoever drives it.

Commands arrive on the engine's standard input, events leave on its standard output; one JSON
object per line, UTF-8, at most `MAX_LINE_BYTES`. Bulk data go by file path.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from decode_engine.contract.base import Config, Message, setting
from decode_engine.contract.jobs import JobSpec
from decode_engine.errors import ProtocolError

__all__ = [
    "MAX_LINE_BYTES",
    "PROTOCOL_VERSION",
    "SUMMARY_PATHS",
    "AcceptedEvent",
    "ArtifactEvent",
    "CancelCommand",
    "Command",
    "Event",
    "EventBody",
    "FailedEvent",
    "FinishCommand",
    "FinishedEvent",
    "HelloEvent",
    "LogEvent",
    "MetricEvent",
    "PauseCommand",
    "PausedEvent",
    "PingCommand",
    "PongEvent",
    "PreviewEvent",
    "ProgressEvent",
    "ResumeCommand",
    "ResumedEvent",
    "ShutdownCommand",
    "StageEvent",
    "SubmitCommand",
    "SummaryValue",
    "decode_command",
    "decode_event",
    "encode_event",
    "encode_line",
]

PROTOCOL_VERSION = 2  # 2: finish, ping and pong, paused and resumed
MAX_LINE_BYTES = 64 * 1024
_LONG_TEXT = 2_000  # characters that are kept of a text in a line that would be too long
# Entries of summaries that name files or folders.
SUMMARY_PATHS = frozenset(
    {
        "frame_file",
        "image",
        "image_tiff",
        "localizations",  # in some summaries a number, which stays as it is
        "localizations_file",
        "model",
        "movie",
        "movie_paths",
        "out",
        "outputs",
        "path",
        "psf_file",
        "report",
        "scores",
        "truth",
    }
)
SummaryValue: TypeAlias = str | int | float | bool | list[str] | list[float] | None


class SubmitCommand(Message):
    """Run a job."""

    command: Literal["submit"] = "submit"
    job_id: str
    spec: JobSpec


class CancelCommand(Message):
    """Stop a job."""

    command: Literal["cancel"] = "cancel"
    job_id: str


class PauseCommand(Message):
    """Let a job wait."""

    command: Literal["pause"] = "pause"
    job_id: str


class ResumeCommand(Message):
    """Let a waiting job go on."""

    command: Literal["resume"] = "resume"
    job_id: str


class FinishCommand(Message):
    """Let a training stop now and write its best model as its result; others ignore it."""

    command: Literal["finish"] = "finish"
    job_id: str


class PingCommand(Message):
    """Ask for a sign of life; `PongEvent` answers, also while a job runs or is paused."""

    command: Literal["ping"] = "ping"


class ShutdownCommand(Message):
    """Cancel what runs and exit."""

    command: Literal["shutdown"] = "shutdown"


Command: TypeAlias = Annotated[
    SubmitCommand
    | CancelCommand
    | PauseCommand
    | ResumeCommand
    | FinishCommand
    | PingCommand
    | ShutdownCommand,
    Field(discriminator="command"),
]


class HelloEvent(Message):
    """First line of an engine."""

    event: Literal["hello"] = "hello"
    protocol: int
    version: str
    pid: int
    devices: list[str]


class AcceptedEvent(Message):
    """A job was taken and will run."""

    event: Literal["accepted"] = "accepted"


class PongEvent(Message):
    """The answer to a ping.

    ``silent_s`` is how long the running job has neither reported nor asked whether to stop:
    0 while none runs or it is paused. An engine that answers with an ever growing silence is
    stuck in its job (a dead network drive, a hanging driver), one that does not answer is
    stuck as a whole.
    """

    event: Literal["pong"] = "pong"
    silent_s: float = 0.0


class PausedEvent(Message):
    """The job waits until it is resumed, cancelled or finished."""

    event: Literal["paused"] = "paused"


class ResumedEvent(Message):
    """The pause is over."""

    event: Literal["resumed"] = "resumed"


class StageEvent(Message):
    """A part of the job begins."""

    event: Literal["stage"] = "stage"
    name: str


class ProgressEvent(Message):
    """How far the job is."""

    event: Literal["progress"] = "progress"
    done: float
    total: float
    unit: str = ""
    eta_s: float | None = None


class MetricEvent(Message):
    """Numbers that belong to a step."""

    event: Literal["metric"] = "metric"
    step: int
    values: dict[str, float]


class PreviewEvent(Message):
    """An array on disk worth showing."""

    event: Literal["preview"] = "preview"
    path: str = setting(..., "File.", path=True)
    shape: tuple[int, ...]
    dtype: str


class LogEvent(Message):
    """Words for the user."""

    event: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    text: str


class ArtifactEvent(Message):
    """A file was written."""

    event: Literal["artifact"] = "artifact"
    kind: str
    path: str = setting(..., "File.", path=True)


class FailedEvent(Message):
    """The job ended with an error."""

    event: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str = ""
    detail: str = ""


class FinishedEvent(Message):
    """The job ended as asked."""

    event: Literal["finished"] = "finished"
    reason: Literal["completed", "cancelled"]
    summary: dict[str, SummaryValue] = Field(default_factory=dict)


EventBody: TypeAlias = Annotated[
    HelloEvent
    | AcceptedEvent
    | PongEvent
    | PausedEvent
    | ResumedEvent
    | StageEvent
    | ProgressEvent
    | MetricEvent
    | PreviewEvent
    | LogEvent
    | ArtifactEvent
    | FailedEvent
    | FinishedEvent,
    Field(discriminator="event"),
]


class Event(Message):
    """An event with its envelope: which job, its number in the stream, engine time."""

    job_id: str | None
    seq: int
    t_s: float
    body: EventBody


_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)


def encode_line(message: Config) -> bytes:
    """Return one JSON line (with its newline).

    Raises
    ------
    ProtocolError
        If it would be longer than `MAX_LINE_BYTES`.
    """
    line = message.model_dump_json().encode() + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    raise ProtocolError(f"A message of {len(line)} bytes exceeds {MAX_LINE_BYTES}.")


def encode_event(event: Event) -> bytes:
    """Return the line of an event; what would make it too long is cut or left out."""
    try:
        return encode_line(event)
    except (ProtocolError, PydanticSerializationError):
        body = event.body
        values = {name: _shortened(getattr(body, name)) for name in type(body).model_fields}
        return encode_line(event.model_copy(update={"body": type(body)(**values)}))


def _shortened(value: Any) -> Any:
    """Cut texts and leave out long entries; bytes of file names that are no text become ``?``."""
    if isinstance(value, str):
        text = value.encode("utf-8", "replace").decode()
        return (
            text
            if len(text) <= _LONG_TEXT
            else f"{text[: _LONG_TEXT // 2]} … {text[-_LONG_TEXT // 2 :]}"
        )
    if isinstance(value, dict):
        short = {_shortened(k): _shortened(v) for k, v in value.items()}
        return {k: v for k, v in short.items() if len(repr(v)) <= _LONG_TEXT + 10}
    if isinstance(value, list):
        return [_shortened(v) for v in value]
    return value


def decode_command(line: bytes) -> Command:
    """Parse one line of standard input; raise `ProtocolError` if it is not a command."""
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"A command line of {len(line)} bytes exceeds {MAX_LINE_BYTES}.")
    try:
        return _COMMANDS.validate_json(line)
    except ValidationError as error:
        raise ProtocolError(
            f"A command line is not valid: {error.errors()[0]['msg']}.", detail=str(error)
        ) from error


def decode_event(line: bytes) -> Event:
    """Parse one line of an engine's standard output."""
    try:
        return Event.model_validate_json(line)
    except ValidationError as error:
        raise ProtocolError(
            f"An event line is not valid: {error.errors()[0]['msg']}.", detail=str(error)
        ) from error
