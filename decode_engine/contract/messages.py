"""The typed JSON lines between the engine process and whoever drives it.

Commands arrive on the engine's standard input, events leave on its standard output; one JSON
object per line, UTF-8, at most `MAX_LINE_BYTES`. Bulk data go by file path.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import Field, TypeAdapter, ValidationError

from decode_engine.contract.base import Config
from decode_engine.contract.jobs import JobSpec
from decode_engine.errors import ProtocolError

__all__ = [
    "MAX_LINE_BYTES",
    "PROTOCOL_VERSION",
    "AcceptedEvent",
    "ArtifactEvent",
    "CancelCommand",
    "Command",
    "Event",
    "EventBody",
    "FailedEvent",
    "FinishedEvent",
    "HelloEvent",
    "LogEvent",
    "MetricEvent",
    "PauseCommand",
    "PreviewEvent",
    "ProgressEvent",
    "ResumeCommand",
    "ShutdownCommand",
    "StageEvent",
    "SubmitCommand",
    "SummaryValue",
    "decode_command",
    "decode_event",
    "encode_line",
]

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 64 * 1024
SummaryValue: TypeAlias = str | int | float | bool | list[str] | list[float] | None


class SubmitCommand(Config):
    """Run a job."""

    command: Literal["submit"] = "submit"
    job_id: str
    spec: JobSpec


class CancelCommand(Config):
    """Stop a job."""

    command: Literal["cancel"] = "cancel"
    job_id: str


class PauseCommand(Config):
    """Let a job wait."""

    command: Literal["pause"] = "pause"
    job_id: str


class ResumeCommand(Config):
    """Let a waiting job go on."""

    command: Literal["resume"] = "resume"
    job_id: str


class ShutdownCommand(Config):
    """Cancel what runs and exit."""

    command: Literal["shutdown"] = "shutdown"


Command: TypeAlias = Annotated[
    SubmitCommand | CancelCommand | PauseCommand | ResumeCommand | ShutdownCommand,
    Field(discriminator="command"),
]


class HelloEvent(Config):
    """First line of an engine."""

    event: Literal["hello"] = "hello"
    protocol: int
    version: str
    pid: int
    devices: list[str]


class AcceptedEvent(Config):
    """A job was taken and will run."""

    event: Literal["accepted"] = "accepted"


class StageEvent(Config):
    """A part of the job begins."""

    event: Literal["stage"] = "stage"
    name: str


class ProgressEvent(Config):
    """How far the job is."""

    event: Literal["progress"] = "progress"
    done: float
    total: float
    unit: str = ""
    eta_s: float | None = None


class MetricEvent(Config):
    """Numbers that belong to a step."""

    event: Literal["metric"] = "metric"
    step: int
    values: dict[str, float]


class PreviewEvent(Config):
    """An array on disk worth showing."""

    event: Literal["preview"] = "preview"
    path: str
    shape: tuple[int, ...]
    dtype: str


class LogEvent(Config):
    """Words for the user."""

    event: Literal["log"] = "log"
    level: Literal["info", "warning"] = "info"
    text: str


class ArtifactEvent(Config):
    """A file was written."""

    event: Literal["artifact"] = "artifact"
    kind: str
    path: str


class FailedEvent(Config):
    """The job ended with an error."""

    event: Literal["failed"] = "failed"
    code: str
    message: str
    hint: str = ""
    detail: str = ""


class FinishedEvent(Config):
    """The job ended as asked."""

    event: Literal["finished"] = "finished"
    reason: Literal["completed", "cancelled"]
    summary: dict[str, SummaryValue] = Field(default_factory=dict)


EventBody: TypeAlias = Annotated[
    HelloEvent
    | AcceptedEvent
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


class Event(Config):
    """An event with its envelope: which job, its number in the stream, engine time."""

    job_id: str | None
    seq: int
    t_s: float
    body: EventBody


_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)


def encode_line(message: Config) -> bytes:
    """Return one JSON line (with its newline); text is cut if the line would be too long."""
    line = message.model_dump_json().encode() + b"\n"
    if len(line) <= MAX_LINE_BYTES:
        return line
    raise ProtocolError(f"A message of {len(line)} bytes exceeds {MAX_LINE_BYTES}.")


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
