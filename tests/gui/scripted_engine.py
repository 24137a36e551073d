"""A stand-in engine that replays recorded events; see `tests.gui.engines` for how to use it."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import queue
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import (
    PROTOCOL_VERSION,
    AcceptedEvent,
    ArtifactEvent,
    CancelCommand,
    Command,
    Event,
    EventBody,
    FailedEvent,
    FinishCommand,
    FinishedEvent,
    HelloEvent,
    PauseCommand,
    PausedEvent,
    PingCommand,
    PongEvent,
    PreviewEvent,
    ProgressEvent,
    ResumeCommand,
    ResumedEvent,
    ShutdownCommand,
    StageEvent,
    SubmitCommand,
    decode_command,
    decode_event,
    encode_line,
)

RECORDINGS = Path(__file__).with_name("recordings")
# These need no torch and depend on the very file: the real job answers in no time.
LIVE = frozenset({"inspect", "render", "export", "evaluate"})
HALF_WAY = frozenset({"fail", "crash", "hang", "stuck", "wait", "oom-kill", "oom"})


class Cancelled(Exception):
    pass


class Finishing(Exception):
    pass


class Engine:
    def __init__(self, arguments: argparse.Namespace) -> None:
        default, *special = arguments.behaviour.split(",")
        self.default = default
        self.special = dict(entry.split("=") for entry in special)
        self.delay_s = arguments.delay_ms / 1000
        self.code = arguments.code
        self.image = arguments.image
        self.recordings = Path(arguments.recordings)
        self.seq = 0
        self.silent_s = 0.0
        self.commands: queue.Queue[Command | None] = queue.Queue()
        self.jobs: list[SubmitCommand] = []

    def send(self, job_id: str | None, body: EventBody) -> None:
        event = Event(job_id=job_id, seq=self.seq, t_s=round(0.1 * self.seq, 3), body=body)
        sys.stdout.buffer.write(encode_line(event))
        sys.stdout.buffer.flush()
        self.seq += 1

    def read(self) -> None:
        for line in sys.stdin.buffer:
            command = decode_command(line)
            if isinstance(command, PingCommand):
                if not self.silent_s < 0:
                    self.send(None, PongEvent(silent_s=self.silent_s))
            else:
                self.commands.put(command)
        self.commands.put(None)

    def run(self) -> None:
        if self.default == "exit":
            print("no module named decode_engine", file=sys.stderr, flush=True)
            raise SystemExit(3)
        if self.default == "crash-at-start":
            os.abort()
        if self.default == "no-hello":
            threading.Event().wait()
        protocol = 99 if self.default == "other-version" else PROTOCOL_VERSION
        self.send(
            None, HelloEvent(protocol=protocol, version="test", pid=os.getpid(), devices=["cpu"])
        )
        threading.Thread(target=self.read, daemon=True).start()
        while True:
            command = self.commands.get()
            if command is None or isinstance(command, ShutdownCommand):
                return
            if isinstance(command, SubmitCommand):
                self.jobs.append(command)
            while self.jobs:
                self.run_job(self.jobs.pop(0))

    def run_job(self, job: SubmitCommand) -> None:
        job_id, spec = job.job_id, job.spec
        behaviour = self.special.get(spec.job, self.default)
        self.send(job_id, AcceptedEvent())
        events = list(self.events(spec))
        if behaviour in HALF_WAY:
            events = events[: max(len(events) // 2, min(2, len(events) - 1))]
        delay_s = self.delay_s or (0.05 if behaviour in ("slow", "pauseable") else 0.0)
        try:
            for body in events:
                self.pause_or_stop(job_id, delay_s)
                self.send(job_id, body)
            self.end(job_id, behaviour)
        except Cancelled:
            self.send(job_id, FinishedEvent(reason="cancelled"))
        except Finishing:
            for body in self.events(spec):
                if isinstance(body, ArtifactEvent | FinishedEvent):
                    self.send(job_id, body)

    def end(self, job_id: str, behaviour: str) -> None:
        """Do what a behaviour does half-way; the others have ended already."""
        if behaviour == "fail":
            hint = "Free it." if self.code == "disk_full" else "Do something about it."
            message = "The disk is full." if self.code == "disk_full" else f"It is {self.code}."
            self.send(job_id, FailedEvent(code=self.code, message=message, hint=hint))
        elif behaviour == "oom":
            message = "The memory of this computer or of its graphics card is not large enough."
            self.send(
                job_id,
                FailedEvent(code="out_of_memory", message=message, hint="Choose smaller tiles."),
            )
        elif behaviour == "crash":
            sys.stderr.write("the last words\n")
            sys.stderr.flush()
            os.abort()
        elif behaviour == "oom-kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif behaviour == "hang":
            self.silent_s = -1.0  # no pong any more
            with contextlib.suppress(AttributeError, ValueError):
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            threading.Event().wait()
        elif behaviour in ("wait", "stuck"):
            self.silent_s = 1e4 if behaviour == "stuck" else 0.0
            while True:
                self.pause_or_stop(job_id, 3600.0)

    def pause_or_stop(self, job_id: str, seconds: float) -> None:
        """Handle commands for a while; a pause lasts until it is ended."""
        paused = False
        while True:
            try:
                command = self.commands.get(timeout=None if paused else seconds or 1e-4)
            except queue.Empty:
                return
            if command is None or isinstance(command, ShutdownCommand):
                self.commands.put(command)
                raise Cancelled
            if isinstance(command, SubmitCommand):
                self.jobs.append(command)
                continue
            if command.job_id != job_id:  # type: ignore[union-attr]
                self.jobs = [j for j in self.jobs if j.job_id != command.job_id]  # type: ignore[union-attr]
                continue
            if isinstance(command, CancelCommand):
                raise Cancelled
            if isinstance(command, FinishCommand):
                raise Finishing
            if isinstance(command, PauseCommand):
                paused = True
                self.send(job_id, PausedEvent())
            if isinstance(command, ResumeCommand) and paused:
                paused = False
                self.send(job_id, ResumedEvent())

    def events(self, spec: JobSpec) -> Iterator[EventBody]:
        recording = self.recordings / f"{spec.job}.jsonl"
        if self.image and spec.job == "example":
            yield from _example(self.image)
        elif spec.job in LIVE:
            yield from _live(spec)
        elif recording.is_file():
            yield from _recorded(recording, spec)
        else:
            yield StageEvent(name="Working")
            yield ProgressEvent(done=1, total=2, unit="steps")
            yield FinishedEvent(reason="completed")


def _example(image: str) -> Iterator[EventBody]:
    yield StageEvent(name="Localizing the example movie")
    yield ProgressEvent(done=100, total=400, unit="frames")
    yield ArtifactEvent(kind="image", path=image)
    summary = {"image": image, "n_localizations": 12345, "jaccard": 0.83, "rmse_lateral_nm": 21.5}
    yield FinishedEvent(reason="completed", summary=summary)


def _live(spec: JobSpec) -> Iterator[EventBody]:
    from decode_engine.jobs.context import JobContext
    from decode_engine.jobs.registry import describe_failure, run_job

    events: list[EventBody] = []
    try:
        summary = run_job(spec, JobContext(emit=events.append))
        events.append(FinishedEvent(reason="completed", summary=summary))
    except Exception as error:  # noqa: BLE001 - as the real engine does
        events.append(describe_failure(error))
    yield from events


def _recorded(recording: Path, spec: JobSpec) -> Iterator[EventBody]:
    header, *lines = recording.read_text("utf-8").splitlines()
    files: dict[str, str] = json.loads(header)["files"]
    names = {f"{{{key}}}": value for key, value in path_values(spec).items()}

    def fill(text: str, *, as_json: bool) -> str:
        for key, value in names.items():
            text = text.replace(key, json.dumps(value)[1:-1] if as_json else value)
        return text

    for line in lines:
        body = decode_event(fill(line, as_json=True).encode()).body
        if isinstance(body, ArtifactEvent | PreviewEvent):
            for place, stored in files.items():
                _copy(recording.parent / recording.stem / stored, Path(fill(place, as_json=False)))
        yield body


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def path_values(spec: JobSpec) -> dict[str, str]:
    """Return the paths of a specification by field; of several movies the first.

    ``folder`` is the one in which the output lies, for files beside it.
    """
    values: dict[str, str] = {}
    for name, info in type(spec).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("path"):
            value = getattr(spec, name)
            value = value[0] if isinstance(value, tuple) else value
            if value is not None:
                values[name] = value
    if "out" in values:
        values["folder"] = str(Path(values["out"]).parent)
    return values


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("behaviour")
    parser.add_argument("image", nargs="?", default="")
    parser.add_argument("--recordings", default=str(RECORDINGS))
    parser.add_argument("--delay-ms", type=float, default=0.0)
    parser.add_argument("--code", default="disk_full")
    Engine(parser.parse_args()).run()
