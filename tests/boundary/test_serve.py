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
from decode_engine.contract.jobs import InspectSpec, LocalizeSpec, TrainSpec
from decode_engine.contract.messages import (
    MAX_LINE_BYTES,
    PROTOCOL_VERSION,
    AcceptedEvent,
    CancelCommand,
    Command,
    Event,
    FailedEvent,
    FinishCommand,
    FinishedEvent,
    HelloEvent,
    LogEvent,
    MetricEvent,
    PauseCommand,
    PausedEvent,
    PingCommand,
    PongEvent,
    PreviewEvent,
    ProgressEvent,
    ResumeCommand,
    ResumedEvent,
    ShutdownCommand,
    SubmitCommand,
    decode_event,
    encode_line,
)
from decode_engine.io.checkpoints import read_latest_checkpoint
from decode_engine.io.models import read_model
from decode_engine.serve import grace_s
from tests.training_samples import train_spec, write_inputs

FAKE = Path(__file__).with_name("fake_jobs_engine.py")
# Tells an engine that never ends from a busy machine, where the end of Python alone takes
# seconds; an engine gives its job 5 s by itself, a training 60 s.
_ENDS_WITHIN_S = 90.0


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


@pytest.fixture(scope="module")
def lasting() -> Iterator[Engine]:
    engine = Engine(sys.executable, str(FAKE))
    engine.read_until(HelloEvent)
    yield engine
    engine.close()


@pytest.fixture
def engine(lasting: Engine) -> Engine:
    """Return an idle engine that went through other tests: it must survive them all."""
    for job_id in ("job", "running", "queued"):
        lasting.send(CancelCommand(job_id=job_id))  # a test that failed may have left it
    lasting.submit("settle", job_id="settle")
    while (event := lasting.read()).job_id != "settle" or not isinstance(event.body, FinishedEvent):
        pass
    return lasting


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
    _, errors = engine.process.communicate(timeout=_ENDS_WITHIN_S)
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


def test_cancel_ends_a_running_job_within_a_second(engine: Engine) -> None:
    engine.submit("wait")
    engine.read_until(AcceptedEvent)
    began = time.monotonic()
    engine.send(CancelCommand(job_id="job"))
    assert engine.read().body == FinishedEvent(reason="cancelled")
    assert time.monotonic() - began < 1.0  # the bar of the protocol, 14 ms when idle
    engine.submit("after")
    assert isinstance(engine.read_until(FinishedEvent).body, FinishedEvent)


def test_cancel_reaches_a_job_that_still_waits_in_the_queue(engine: Engine) -> None:
    engine.submit("wait", job_id="running")
    engine.submit("never", job_id="queued")
    engine.send(CancelCommand(job_id="queued"))
    engine.send(CancelCommand(job_id="running"))
    ends = [engine.read_until(FinishedEvent) for _ in range(2)]
    assert [(e.job_id, e.body.reason) for e in ends] == [  # type: ignore[union-attr]
        ("running", "cancelled"),
        ("queued", "cancelled"),
    ]


def test_pause_holds_and_resume_lets_go(engine: Engine) -> None:
    engine.submit("wait")
    engine.send(PauseCommand(job_id="job"))
    engine.send(ResumeCommand(job_id="job"))
    engine.send(PauseCommand(job_id="job"))
    engine.send(CancelCommand(job_id="job"))
    assert engine.read_until(FinishedEvent).body == FinishedEvent(reason="cancelled")


@pytest.mark.parametrize(
    ("behaviour", "code"), [("defect", "internal_error"), ("memory", "out_of_memory")]
)
def test_failures_are_told_and_survived(engine: Engine, behaviour: str, code: str) -> None:
    engine.submit(behaviour)
    failed = engine.read_until(FailedEvent).body
    assert isinstance(failed, FailedEvent)
    assert failed.code == code
    assert "Traceback" in failed.detail
    engine.submit("after")
    assert isinstance(engine.read_until(FinishedEvent).body, FinishedEvent)


def test_nan_survives_the_protocol(engine: Engine) -> None:
    """Regression: pydantic writes NaN as null by default and then refuses to read it."""
    engine.submit("nan")
    metric = engine.read_until(MetricEvent).body
    assert isinstance(metric, MetricEvent)
    assert math.isnan(metric.values["loss"])
    assert metric.values["best"] == math.inf


def test_a_failure_with_a_huge_text_still_fits_a_line(engine: Engine) -> None:
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
def test_malformed_lines_are_answered_and_survived(engine: Engine, line: bytes) -> None:
    engine.stdin.write(line)
    engine.stdin.flush()
    answer = engine.read()
    assert isinstance(answer.body, FailedEvent)
    assert answer.body.code == "bad_protocol"
    assert answer.job_id == ("x" if b'"job_id"' in line else None)
    engine.submit("after")
    # At once: the rest of a long line was not taken for commands.
    assert isinstance(engine.read().body, AcceptedEvent)


def test_a_submission_that_is_too_long_fails_its_own_job(engine: Engine) -> None:
    """Regression: the refusal named no job, so whoever submitted it waited forever."""
    spec = LocalizeSpec(movies=("/data/movie.tif",) * 8000, model="m.decode", out="out")
    command = SubmitCommand(job_id="long one", spec=spec)
    engine.stdin.write(command.model_dump_json().encode() + b"\n")
    engine.stdin.flush()
    answer = engine.read()
    assert (answer.job_id, type(answer.body)) == ("long one", FailedEvent)
    engine.submit("after")
    assert isinstance(engine.read().body, AcceptedEvent)


def test_a_bad_command_that_names_a_running_job_does_not_fail_it(
    engine: Engine,
) -> None:
    engine.submit("wait")
    engine.read_until(AcceptedEvent)
    engine.stdin.write(b'{"command": "dance", "job_id": "job"}\n')
    engine.stdin.flush()
    assert engine.read_until(FailedEvent).job_id is None
    engine.send(CancelCommand(job_id="job"))
    assert engine.read_until(FinishedEvent).job_id == "job"


def test_a_ping_is_answered_while_a_job_runs_and_tells_how_long_it_has_been_silent(
    start: Callable[..., Engine],
) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.send(PingCommand())
    assert engine.read().body == PongEvent(silent_s=0.0)
    engine.submit("stubborn")
    engine.read_until(AcceptedEvent)
    silences: list[float] = []
    while len(silences) < 2 or silences[-1] < 0.2:
        engine.send(PingCommand())
        pong = engine.read_until(PongEvent).body
        assert isinstance(pong, PongEvent)
        silences.append(pong.silent_s)
    assert silences == sorted(silences)


def test_a_pause_is_told_and_is_no_silence(engine: Engine) -> None:
    engine.submit("wait")
    engine.send(PauseCommand(job_id="job"))
    engine.read_until(PausedEvent)
    engine.send(PingCommand())
    assert engine.read().body == PongEvent(silent_s=0.0)
    engine.send(ResumeCommand(job_id="job"))
    assert isinstance(engine.read().body, ResumedEvent)
    engine.send(CancelCommand(job_id="job"))
    assert engine.read().body == FinishedEvent(reason="cancelled")


def test_only_a_training_can_finish_early(engine: Engine) -> None:
    engine.submit("wait")
    engine.read_until(AcceptedEvent)
    engine.send(FinishCommand(job_id="job"))
    answer = engine.read().body
    assert isinstance(answer, LogEvent)
    assert "inspect" in answer.text
    engine.send(CancelCommand(job_id="job"))
    assert engine.read().body == FinishedEvent(reason="cancelled")


def test_shutdown_ends_the_engine_while_its_input_stays_open(
    start: Callable[..., Engine],
) -> None:
    """Regression: Python aborted because a thread still waited for the next command."""
    engine = start()
    engine.read()
    engine.send(ShutdownCommand())
    assert engine.process.wait(timeout=_ENDS_WITHIN_S) == 0


def test_a_name_in_use_does_not_fail_its_job(engine: Engine) -> None:
    """Regression: the refusal carried the name of the running job and read as its failure."""
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
    assert engine.process.wait(timeout=_ENDS_WITHIN_S) == 0


def test_end_of_input_ends_even_a_job_that_never_checks(start: Callable[..., Engine]) -> None:
    engine = start()
    engine.read_until(HelloEvent)
    engine.submit("stubborn")
    engine.read_until(AcceptedEvent)
    engine.stdin.close()
    assert engine.process.wait(timeout=_ENDS_WITHIN_S) == 0


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
        deadline = time.monotonic() + _ENDS_WITHIN_S
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
    assert engine.process.wait(timeout=_ENDS_WITHIN_S) == -signal.SIGSEGV


def test_paths_with_spaces_and_umlauts(start: Callable[..., Engine], tmp_path: Path) -> None:
    engine = start()
    name = str(tmp_path / "Zellen für Müller 細胞.tif")
    engine.submit(name)
    finished = engine.read_until(FinishedEvent).body
    assert isinstance(finished, FinishedEvent)
    assert finished.summary["file"] == name


@pytest.fixture
def training(tmp_path: Path) -> TrainSpec:
    """Return an endless training that validates often."""
    write_inputs(tmp_path)
    return train_spec(tmp_path, steps=1_000_000, validate_every_steps=10)


REAL = (sys.executable, "-m", "decode_engine", "serve")


def test_a_training_finishes_when_asked_with_its_best_model(
    start: Callable[..., Engine], training: TrainSpec
) -> None:
    engine = start(*REAL)
    engine.send(SubmitCommand(job_id="job", spec=training))
    engine.read_until(PreviewEvent)
    engine.send(FinishCommand(job_id="job"))
    finished = engine.read_until(FinishedEvent).body
    assert isinstance(finished, FinishedEvent)
    assert (finished.reason, finished.summary["ended_by"]) == ("completed", "request")
    assert read_model(Path(training.out)).model_id == finished.summary["model_id"]


def test_a_paused_training_can_be_finished(
    start: Callable[..., Engine], training: TrainSpec
) -> None:
    engine = start(*REAL)
    engine.send(SubmitCommand(job_id="job", spec=training))
    engine.read_until(ProgressEvent)
    engine.send(PauseCommand(job_id="job"))
    engine.read_until(PausedEvent)
    engine.send(FinishCommand(job_id="job"))
    finished = engine.read_until(FinishedEvent).body
    assert isinstance(finished, FinishedEvent)
    assert finished.reason == "completed"


@pytest.mark.parametrize("how", ["end of input", "shutdown", "terminate"])
def test_a_training_whose_window_goes_away_keeps_its_work(
    start: Callable[..., Engine], training: TrainSpec, how: str
) -> None:
    if how == "terminate" and os.name == "nt":
        pytest.skip("signals are POSIX")
    engine = start(*REAL)
    engine.send(SubmitCommand(job_id="job", spec=training))
    engine.read_until(PreviewEvent)
    if how == "end of input":
        engine.stdin.close()
    elif how == "shutdown":
        engine.send(ShutdownCommand())
    else:
        engine.process.send_signal(signal.SIGTERM)
    assert engine.process.wait(timeout=_ENDS_WITHIN_S) == 0
    folder = Path(training.out + ".training")
    checkpoint = read_latest_checkpoint(folder)
    assert checkpoint is not None
    assert checkpoint.step >= 10
    assert not (folder / "lock").exists()


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_ctrl_c_in_the_terminal_of_the_window_is_left_to_the_window(
    start: Callable[..., Engine],
) -> None:
    engine = start(*REAL)
    engine.read_until(HelloEvent)
    engine.process.send_signal(signal.SIGINT)
    engine.send(PingCommand())
    assert isinstance(engine.read().body, PongEvent)


def test_jobs_that_can_be_resumed_get_the_time_to_keep_their_work(training: TrainSpec) -> None:
    assert grace_s(training) >= 30.0
    assert grace_s(InspectSpec(file="x")) <= 10.0
    assert grace_s(None) <= 10.0
