"""The engine process as a real process: its streams, its answers, its end."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import decode_engine
from decode_engine.contract.jobs import InspectSpec
from decode_engine.contract.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AcceptedEvent,
    CancelCommand,
    Command,
    Event,
    FailedEvent,
    FinishedEvent,
    HelloEvent,
    MetricEvent,
    PauseCommand,
    ResumeCommand,
    ShutdownCommand,
    SubmitCommand,
    decode_event,
    encode_line,
)

FAKE = Path(__file__).with_name("fake_jobs_engine.py")


class Engine:
    """One engine process under test."""

    def __init__(self, *command: str) -> None:
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def send(self, command: Command) -> None:
        self.stdin.write(encode_line(command))
        self.stdin.flush()

    def submit(self, behaviour: str, job_id: str = "job") -> None:
        self.send(SubmitCommand(job_id=job_id, spec=InspectSpec(file=behaviour)))

    def read(self) -> Event:
        line = self.stdout.readline()
        assert line, "the engine closed its output"
        return decode_event(line)

    def read_until(self, kind: type) -> Event:
        while not isinstance((event := self.read()).body, kind):
            pass
        return event

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(OSError):  # unsent bytes of a dead engine
                stream.close()  # type: ignore[union-attr]


@pytest.fixture
def start() -> Iterator[Callable[..., Engine]]:
    engines: list[Engine] = []

    def start_engine(*command: str) -> Engine:
        engines.append(Engine(*(command or (sys.executable, str(FAKE)))))
        return engines[-1]

    yield start_engine
    for engine in engines:
        engine.close()


def test_hello_names_protocol_version_and_devices(start: Callable[..., Engine]) -> None:
    engine = start(sys.executable, "-m", "decode_engine", "serve")
    hello = engine.read().body
    assert isinstance(hello, HelloEvent)
    assert hello.protocol == PROTOCOL_VERSION
    assert hello.version == decode_engine.__version__
    assert hello.pid == engine.process.pid
    assert "cpu" in hello.devices


def test_stray_output_never_reaches_the_stream(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("stray")
    assert isinstance(engine.read().body, AcceptedEvent)
    finished = engine.read().body
    assert finished == FinishedEvent(reason="completed", summary={"file": "stray"})
    engine.send(ShutdownCommand())
    _, errors = engine.process.communicate(timeout=10)
    for text in (b"a stray print", b"a stray write", b"a stray child", b"a stray line from C"):
        assert text in errors


def test_sequence_numbers_have_no_gap_and_carry_the_job(start: Callable[..., Engine]) -> None:
    engine = start()
    events = [engine.read()]
    for name in ("first", "second"):
        engine.submit(name, job_id=name)
        events += [engine.read(), engine.read()]
    assert [e.seq for e in events] == list(range(5))
    assert [e.job_id for e in events] == [None, "first", "first", "second", "second"]


def test_cancel_ends_a_running_job_within_a_second(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("wait")
    engine.read_until(AcceptedEvent)
    began = time.monotonic()
    engine.send(CancelCommand(job_id="job"))
    assert engine.read().body == FinishedEvent(reason="cancelled")
    assert time.monotonic() - began < 1.0  # the bar of the protocol, 14 ms when idle
    engine.submit("after")
    assert isinstance(engine.read_until(FinishedEvent).body, FinishedEvent)


def test_cancel_reaches_a_job_that_still_waits_in_the_queue(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("wait", job_id="running")
    engine.submit("never", job_id="queued")
    engine.send(CancelCommand(job_id="queued"))
    engine.send(CancelCommand(job_id="running"))
    ends = [engine.read_until(FinishedEvent) for _ in range(2)]
    assert [(e.job_id, e.body.reason) for e in ends] == [  # type: ignore[union-attr]
        ("running", "cancelled"),
        ("queued", "cancelled"),
    ]


def test_pause_holds_and_resume_lets_go(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("wait")
    engine.send(PauseCommand(job_id="job"))
    engine.send(ResumeCommand(job_id="job"))
    engine.send(PauseCommand(job_id="job"))
    engine.send(CancelCommand(job_id="job"))
    assert engine.read_until(FinishedEvent).body == FinishedEvent(reason="cancelled")


@pytest.mark.parametrize(
    ("behaviour", "code"), [("defect", "internal_error"), ("memory", "out_of_memory")]
)
def test_failures_are_told_and_survived(
    start: Callable[..., Engine], behaviour: str, code: str
) -> None:
    engine = start()
    engine.submit(behaviour)
    failed = engine.read_until(FailedEvent).body
    assert isinstance(failed, FailedEvent)
    assert failed.code == code
    assert "Traceback" in failed.detail
    engine.submit("after")
    assert isinstance(engine.read_until(FinishedEvent).body, FinishedEvent)


def test_nan_survives_the_protocol(start: Callable[..., Engine]) -> None:
    """Regression: pydantic writes NaN as null by default and then refuses to read it."""
    engine = start()
    engine.submit("nan")
    metric = engine.read_until(MetricEvent).body
    assert isinstance(metric, MetricEvent)
    assert math.isnan(metric.values["loss"])
    assert metric.values["best"] == math.inf


def test_a_failure_with_a_huge_text_still_fits_a_line(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("long")
    engine.read_until(AcceptedEvent)
    line = engine.stdout.readline()
    assert len(line) <= MAX_LINE_BYTES
    assert isinstance(decode_event(line).body, FailedEvent)


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b'{"command": "dance"}\n',
        b'{"command": "submit", "job_id": "x", "spec": {"job": "inspect", "fil": "a"}}\n',
        b'{"command": "submit", "job_id": "x", "spec": {"job": "inspect"}}\n',
        b"\xff\xfe\n",
        b"x" * (MAX_LINE_BYTES + 10) + b"\n",
    ],
)
def test_malformed_lines_are_answered_and_survived(
    start: Callable[..., Engine], line: bytes
) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.stdin.write(line)
    engine.stdin.flush()
    failed = engine.read().body
    assert isinstance(failed, FailedEvent)
    assert failed.code == "bad_protocol"
    engine.submit("after")
    assert isinstance(engine.read_until(FinishedEvent).body, FinishedEvent)


def test_shutdown_ends_the_engine_while_its_input_stays_open(
    start: Callable[..., Engine],
) -> None:
    """Regression: Python aborted because a thread still waited for the next command."""
    engine = start()
    engine.read()
    engine.send(ShutdownCommand())
    assert engine.process.wait(timeout=15) == 0


def test_a_name_in_use_does_not_fail_its_job(start: Callable[..., Engine]) -> None:
    """Regression: the refusal carried the name of the running job and read as its failure."""
    engine = start()
    engine.submit("wait")
    engine.read_until(AcceptedEvent)
    engine.submit("wait")
    refused = engine.read_until(FailedEvent)
    assert refused.job_id is None
    engine.send(CancelCommand(job_id="job"))
    assert engine.read_until(FinishedEvent).job_id == "job"


def test_end_of_input_ends_an_idle_engine(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.stdin.close()
    assert engine.process.wait(timeout=10) == 0


def test_end_of_input_ends_even_a_job_that_never_checks(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("stubborn")
    engine.read_until(AcceptedEvent)
    engine.stdin.close()
    assert engine.process.wait(timeout=15) == 0


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_an_engine_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    script = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, {str(FAKE)!r}], stdin=subprocess.PIPE,"
        " stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)\n"
        "p.stdout.readline()\n"
        f"open({str(pid_file)!r} + '.part', 'w').write(str(p.pid))\n"
        f"import os; os.rename({str(pid_file)!r} + '.part', {str(pid_file)!r})\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-W", "ignore", "-c", script]) as parent:
        deadline = time.monotonic() + 30
        while not pid_file.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        pid = int(pid_file.read_text())
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    while time.monotonic() < deadline and _is_alive(pid):
        time.sleep(0.02)
    assert not _is_alive(pid)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # an orphan that nobody reaps is dead all the same


def test_a_crash_closes_the_stream_with_the_signal(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("segfault")
    engine.read_until(AcceptedEvent)
    assert engine.stdout.readline() == b""
    assert engine.process.wait(timeout=10) == -signal.SIGSEGV


def test_paths_with_spaces_and_umlauts(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    name = str(tmp_path / "Zellen für Müller 細胞.tif")
    engine.submit(name)
    finished = engine.read_until(FinishedEvent).body
    assert isinstance(finished, FinishedEvent)
    assert finished.summary["file"] == name
