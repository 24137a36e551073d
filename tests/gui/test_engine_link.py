"""The client of one engine: every way in which an engine can end, told apart."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot

from app.engine_link import faults
from app.engine_link.client import EngineClient, Patience
from decode_engine.contract.jobs import JobSpec, LocalizeSpec, TrainSpec
from decode_engine.contract.messages import (
    AcceptedEvent,
    Event,
    FailedEvent,
    FinishedEvent,
    PausedEvent,
    ProgressEvent,
    ResumedEvent,
)
from decode_engine.io.checkpoints import read_latest_checkpoint
from tests.gui.engines import IMPATIENT, real_command, scripted_command
from tests.training_samples import train_spec, write_inputs

WAIT_MS = 30_000


class Heard:
    """A client and all that it said."""

    def __init__(self, command: tuple[str, ...], patience: Patience, out: Path) -> None:
        self.spec = LocalizeSpec(movies=("m.tif",), model="m.decode", out=str(out))
        self.client = EngineClient(command, patience=patience)
        self.events: list[Event] = []
        self.order: list[str] = []
        self.lost: list[FailedEvent] = []
        self.silent: list[FailedEvent] = []
        self.client.hello.connect(lambda _hello: self.order.append("hello"))
        self.client.job_event.connect(self.events.append)
        self.client.lost.connect(self.lost.append)
        self.client.silent.connect(self.silent.append)
        self.client.spoke.connect(lambda: self.order.append("spoke"))
        self.client.ended.connect(lambda: self.order.append("ended"))

    def run(self, spec: JobSpec | None = None) -> None:
        chosen = spec or self.spec
        self.client.hello.connect(lambda _hello: self.client.submit("job", chosen))
        self.client.start()

    def bodies(self, kind: type) -> list[Any]:
        return [e.body for e in self.events if isinstance(e.body, kind)]

    @property
    def endings(self) -> list[FailedEvent | FinishedEvent]:
        return [*self.bodies(FailedEvent), *self.bodies(FinishedEvent)]

    @property
    def ended(self) -> bool:
        return "ended" in self.order


@pytest.fixture
def hear(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[..., Heard]]:
    made: list[Heard] = []

    def make(behaviour: str | tuple[str, ...], patience: Patience = IMPATIENT) -> Heard:
        command = scripted_command(behaviour) if isinstance(behaviour, str) else behaviour
        made.append(Heard(command, patience, tmp_path / "out.h5"))
        return made[-1]

    yield make
    for heard in made:
        heard.client.kill()
        heard.client.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)


@pytest.mark.parametrize(
    ("behaviour", "code", "words"),
    [
        ("crash", "crashed", "signal 6"),
        ("oom-kill", "out_of_memory", "memory was full"),
        ("exit", "did_not_start", "code 3"),
        ("other-version", "wrong_version", "version 99"),
        (("no-such-program",), "did_not_start", "no-such-program"),
    ],
)
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_each_way_to_end_has_its_code_and_words(
    qtbot: QtBot, hear: Callable[..., Heard], behaviour: Any, code: str, words: str
) -> None:
    heard = hear(behaviour)
    heard.run()
    qtbot.waitUntil(lambda: heard.ended, timeout=WAIT_MS)
    (lost,) = heard.lost
    assert lost.code == code
    assert words in lost.message
    assert lost.hint
    if behaviour == "crash":
        assert "the last words" in lost.detail
    if behaviour in ("crash", "oom-kill"):
        assert heard.endings == [lost]  # the job hears it too, once


def test_a_failure_of_the_job_leaves_the_engine_alive(
    qtbot: QtBot, hear: Callable[..., Heard]
) -> None:
    heard = hear("fail")
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.endings), timeout=WAIT_MS)
    assert heard.endings[0].code == "disk_full"  # type: ignore[union-attr]
    assert heard.client.is_ready
    assert not heard.lost


def test_an_engine_that_answers_nothing_any_more_is_a_hang_and_can_be_stopped(
    qtbot: QtBot, hear: Callable[..., Heard]
) -> None:
    """It ignores cancel and SIGTERM; the job still ends, as cancelled."""
    heard = hear("hang")
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.silent), timeout=WAIT_MS)
    assert heard.silent[0].code == "not_responding"
    assert not heard.endings
    heard.client.cancel("job")
    qtbot.waitUntil(lambda: heard.ended, timeout=WAIT_MS)
    assert heard.endings == [FinishedEvent(reason="cancelled")]
    assert not heard.lost


def test_a_job_without_sign_of_life_is_a_hang_though_the_engine_answers(
    qtbot: QtBot, hear: Callable[..., Heard]
) -> None:
    heard = hear("stuck")
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.silent), timeout=WAIT_MS)
    assert "job" in heard.silent[0].message
    heard.client.cancel("job")
    qtbot.waitUntil(lambda: bool(heard.endings), timeout=WAIT_MS)
    assert heard.endings == [FinishedEvent(reason="cancelled")]


def test_waiting_and_pausing_are_no_hang(qtbot: QtBot, hear: Callable[..., Heard]) -> None:
    heard = hear("wait")
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.bodies(AcceptedEvent)), timeout=WAIT_MS)
    heard.client.pause("job")
    qtbot.waitUntil(lambda: bool(heard.bodies(PausedEvent)), timeout=WAIT_MS)
    for _ in range(3 * IMPATIENT.pings):  # many pings, each of them answered
        heard.client._watch()
        qtbot.waitUntil(lambda: heard.client._unanswered == 0, timeout=WAIT_MS)
    assert not heard.silent
    heard.client.resume("job")
    qtbot.waitUntil(lambda: bool(heard.bodies(ResumedEvent)), timeout=WAIT_MS)
    heard.client.cancel("job")
    qtbot.waitUntil(lambda: bool(heard.endings), timeout=WAIT_MS)
    assert heard.client.is_ready  # it obeyed, so no force was used


def test_an_engine_that_never_says_hello_is_told(qtbot: QtBot, hear: Callable[..., Heard]) -> None:
    heard = hear("no-hello", replace(IMPATIENT, hello_s=0.2))
    heard.client.start()
    qtbot.waitUntil(lambda: bool(heard.silent), timeout=WAIT_MS)
    assert heard.silent[0].code == "not_responding"
    assert "start" in heard.silent[0].message


def test_closing_never_waits_in_the_window(qtbot: QtBot, hear: Callable[..., Heard]) -> None:
    heard = hear("hang", replace(IMPATIENT, stop_keeping_s=1.0))
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.bodies(AcceptedEvent)), timeout=WAIT_MS)
    heard.client.close()
    assert not heard.ended  # it returned although the engine is deaf
    qtbot.waitUntil(lambda: heard.ended, timeout=WAIT_MS)
    assert heard.endings == [FinishedEvent(reason="cancelled")]
    assert not heard.lost


def test_a_submission_that_is_too_long_fails_its_job(
    qtbot: QtBot, hear: Callable[..., Heard]
) -> None:
    heard = hear("complete")
    heard.run(heard.spec.model_copy(update={"movies": ("/data/movie.tif",) * 8000}))
    qtbot.waitUntil(lambda: bool(heard.endings), timeout=WAIT_MS)
    (failure,) = heard.bodies(FailedEvent)
    assert failure.code == "too_long"
    assert "Split" in failure.hint


def test_a_greeting_before_the_hello_is_forgiven(qtbot: QtBot, hear: Callable[..., Heard]) -> None:
    """A remote shell may print a message of the day."""
    script = "import runpy, sys; print('Welcome to node 7', flush=True); sys.argv = sys.argv[1:]; "
    script += "runpy.run_path(sys.argv[0], run_name='__main__')"
    python, *rest = scripted_command("complete")
    heard = hear((python, "-c", script, *rest))
    heard.run()
    qtbot.waitUntil(lambda: bool(heard.endings), timeout=WAIT_MS)
    assert "Welcome to node 7" in heard.client.stderr
    assert not heard.lost


@pytest.mark.parametrize(
    ("code", "by_signal", "stderr", "expected"),
    [
        (9, True, [], "out_of_memory"),
        (137, False, [], "out_of_memory"),  # a shell between us and it
        (-1073741801, False, [], "out_of_memory"),  # Windows: 0xC0000017
        (1, False, ["torch.OutOfMemoryError: CUDA out of memory."], "out_of_memory"),
        (1, False, ["MemoryError"], "out_of_memory"),
        (11, True, [], "crashed"),
        (139, False, [], "crashed"),
        (-1073741819, False, [], "crashed"),  # Windows: 0xC0000005
        (1, False, ["some other error"], "crashed"),
    ],
)
def test_exit_codes_of_all_systems_are_understood(
    code: int, by_signal: bool, stderr: list[str], expected: str
) -> None:
    failure = faults.describe_end(("engine",), code, by_signal=by_signal, stderr=stderr)
    assert failure.code == expected
    assert "resumed" in failure.hint


def test_no_memory_even_to_begin_is_told_as_such() -> None:
    failure = faults.gone_before_hello(("engine",), 1, ["Exception ignored in", "MemoryError", ""])
    assert failure.code == "out_of_memory"
    # Regression: what the loader says of a library for which there is no room was no memory.
    last = "ImportError: libtorch_cpu.so: failed to map segment from shared object"
    assert faults.gone_before_hello(("engine",), 1, [last]).code == "out_of_memory"


def test_a_lost_ssh_connection_is_not_a_crash() -> None:
    command = ("/usr/bin/ssh", "host", "decode-engine", "serve")
    lost = faults.describe_end(command, 255, by_signal=False, stderr=["Connection reset"])
    refused = faults.gone_before_hello(command, 255, ["Permission denied (publickey)."])
    assert (lost.code, refused.code) == ("connection_lost", "connection_lost")
    assert refused.detail == "Permission denied (publickey)."


@pytest.fixture
def training(tmp_path: Path) -> TrainSpec:
    write_inputs(tmp_path)
    return train_spec(tmp_path, steps=1_000_000, validate_every_steps=10)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_real_engine_killed_in_training_is_told_and_the_training_goes_on(
    qtbot: QtBot, hear: Callable[..., Heard], training: TrainSpec
) -> None:
    config = training.config.model_copy(update={"checkpoint_every_s": 0.01})
    training = training.model_copy(update={"config": config})
    folder = Path(training.out + ".training")
    heard = hear(real_command())
    heard.run(training)
    qtbot.waitUntil(lambda: read_latest_checkpoint(folder) is not None, timeout=WAIT_MS)
    os.kill(heard.client._process.processId(), signal.SIGKILL)
    qtbot.waitUntil(lambda: heard.ended, timeout=WAIT_MS)
    assert heard.endings[0].code == "out_of_memory"  # type: ignore[union-attr]
    kept = read_latest_checkpoint(folder)
    assert kept is not None

    again = hear(real_command())
    again.run(training.model_copy(update={"resume": True}))
    qtbot.waitUntil(lambda: bool(again.bodies(ProgressEvent)), timeout=WAIT_MS)
    assert again.bodies(ProgressEvent)[0].done > kept.step
    again.client.finish("job")
    qtbot.waitUntil(lambda: bool(again.endings), timeout=WAIT_MS)
    assert again.endings[0].reason == "completed"  # type: ignore[union-attr]


_PARENT = """
import sys
from pathlib import Path
from PySide6.QtCore import QCoreApplication
from app.engine_link.client import EngineClient
from decode_engine.contract.jobs import TrainSpec
from decode_engine.contract.messages import PreviewEvent

app = QCoreApplication([])
command = [sys.executable, "-m", "decode_engine", "serve"]
client, warm = EngineClient(command), EngineClient(command)
spec = TrainSpec.model_validate_json(Path(sys.argv[1]).read_text())
warm.hello.connect(lambda hello: (print(hello.pid, flush=True), client.start()))
client.hello.connect(lambda hello: (print(hello.pid, flush=True), client.submit("job", spec)))
client.job_event.connect(
    lambda e: print("seen", flush=True) if isinstance(e.body, PreviewEvent) else None
)
warm.start()
app.exec()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="reads /proc")
def test_no_orphan_is_left_when_the_app_is_killed_and_the_training_is_kept(
    training: TrainSpec, tmp_path: Path
) -> None:
    (tmp_path / "spec.json").write_text(training.model_dump_json())
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT, str(tmp_path / "spec.json")], stdout=subprocess.PIPE
    )
    with parent:
        assert parent.stdout is not None
        # Two: one must not hold the other's standard input open.
        pids = [int(parent.stdout.readline()) for _ in range(2)]
        assert parent.stdout.readline() == b"seen\n"
        parent.kill()
    deadline = time.monotonic() + 60
    while any(map(_is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_alive, pids))
    checkpoint = read_latest_checkpoint(Path(training.out + ".training"))
    assert checkpoint is not None
    assert checkpoint.step >= 10


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


_EMITS = """
from PySide6.QtCore import QCoreApplication, QObject, Signal

class Emitter(QObject):
    tick = Signal(object)

app = QCoreApplication([])
emitter, received = Emitter(), []
emitter.tick.connect(lambda value: received.append(value) if len(received) < 3 else None)
for number in range(200_000):
    emitter.tick.emit(number)
    emitter.parent()
    emitter.setObjectName("name")
assert received == [0, 1, 2]
print("survived")
"""


def test_this_pyside_survives_many_signals() -> None:
    """Regression: PySide6 6.12 loses references to None on Python 3.11 and aborts."""
    done = subprocess.run(
        [sys.executable, "-c", _EMITS], capture_output=True, text=True, check=False
    )
    assert done.stdout == "survived\n", done.stderr
