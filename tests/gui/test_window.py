"""The window against a scripted engine: done, failed, cancelled, crashed, wrong, missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app.engine_link.client import EngineClient
from app.shell.main_window import MainWindow
from app.shell.picture import Picture
from decode_engine.contract.messages import AcceptedEvent, Event, FailedEvent

SCRIPTED = Path(__file__).with_name("scripted_engine.py")


@pytest.fixture
def open_window(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[[str], MainWindow]]:
    image = QImage(64, 48, QImage.Format.Format_RGB32)
    image.fill(QColor("orange"))
    image.save(str(tmp_path / "image.png"))
    windows: list[MainWindow] = []

    def open_with(behaviour: str) -> MainWindow:
        command = [sys.executable, str(SCRIPTED), behaviour, str(tmp_path / "image.png")]
        if behaviour == "missing":
            command = [str(tmp_path / "no-such-program")]
        client = EngineClient(command)
        window = MainWindow(client, tmp_path)
        client.setParent(window)
        qtbot.addWidget(window)
        window.show()
        client.start()
        windows.append(window)
        return window

    yield open_with
    for window in windows:
        window.close()


def _texts(window: MainWindow) -> str:
    return "\n".join(label.text() for label in window.findChildren(QLabel))


def _button(window: MainWindow, text: str) -> QPushButton:
    return next(b for b in window.findChildren(QPushButton) if b.text() == text)


def _run(qtbot: QtBot, window: MainWindow) -> None:
    button = _button(window, "Run the example")
    qtbot.waitUntil(button.isEnabled, timeout=20_000)
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_a_finished_example_shows_picture_and_numbers(
    qtbot: QtBot, open_window: Callable[[str], MainWindow]
) -> None:
    window = open_window("complete")
    _run(qtbot, window)
    qtbot.waitUntil(lambda: "12,345" in _texts(window), timeout=10_000)
    assert "83%" in _texts(window)
    assert "21.5 nm" in _texts(window)
    picture = window.findChildren(Picture)[0]
    assert picture.pixmap.width() == 64
    drawn = picture.grab().toImage()
    assert drawn.pixelColor(drawn.width() // 2, drawn.height() // 2) == QColor("orange")
    assert _button(window, "Run the example").isVisible()


def test_a_new_run_takes_the_last_result_away(
    qtbot: QtBot, open_window: Callable[[str], MainWindow]
) -> None:
    """Regression: after a second run failed, the first one's picture stood as its result."""
    window = open_window("complete")
    _run(qtbot, window)
    qtbot.waitUntil(lambda: "12,345" in _texts(window), timeout=10_000)
    client = window.findChildren(EngineClient)[0]
    failure = FailedEvent(code="disk_full", message="The disk is full.")
    for body in (AcceptedEvent(), failure):
        client.job_event.emit(Event(job_id="example", seq=0, t_s=0.0, body=body))
    assert "The disk is full." in _texts(window)
    assert "12,345" not in _texts(window)
    assert window.findChildren(Picture)[0].pixmap.isNull()


def test_a_failure_shows_the_words_and_the_way_out(
    qtbot: QtBot, open_window: Callable[[str], MainWindow]
) -> None:
    window = open_window("fail")
    _run(qtbot, window)
    qtbot.waitUntil(lambda: "The disk is full. Free it." in _texts(window), timeout=10_000)


def test_cancel_is_offered_while_the_job_runs(
    qtbot: QtBot, open_window: Callable[[str], MainWindow]
) -> None:
    window = open_window("hang")
    _run(qtbot, window)
    cancel = _button(window, "Cancel")
    qtbot.waitUntil(cancel.isVisible, timeout=10_000)
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "Cancelled" in _texts(window), timeout=10_000)


def test_a_double_click_runs_the_example_once(
    qtbot: QtBot, open_window: Callable[[str], MainWindow], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the second click's refusal was shown as the failure of the running job."""
    submitted: list[str] = []
    monkeypatch.setattr(
        EngineClient, "submit", lambda _self, job_id, _spec: submitted.append(job_id)
    )
    window = open_window("hang")
    _run(qtbot, window)
    window.run_example()
    assert submitted == ["example"]
    assert not _button(window, "Run the example").isVisible()


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ("crash", "stopped unexpectedly"),
        ("other-version", "speaks version 99"),
        ("missing", "could not be started"),
    ],
)
def test_a_lost_engine_is_told_in_words(
    qtbot: QtBot, open_window: Callable[[str], MainWindow], behaviour: str, words: str
) -> None:
    window = open_window(behaviour)
    if behaviour == "crash":
        _run(qtbot, window)
    qtbot.waitUntil(lambda: words in _texts(window), timeout=20_000)
    assert not _button(window, "Run the example").isEnabled()


def test_the_window_is_free_of_torch() -> None:
    code = "import sys, app.main; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


class _Emitter(QObject):
    tick = Signal(object)


def test_many_signals_do_not_kill_the_interpreter(qtbot: QtBot) -> None:
    """Regression: PySide6 6.12 loses a reference per emit on Python 3.11 and aborts."""
    emitter = _Emitter()
    count = 0

    def receive(_value: object) -> None:
        nonlocal count
        count += 1

    emitter.tick.connect(receive)
    for _ in range(200_000):
        emitter.tick.emit(True)
    assert count == 200_000
