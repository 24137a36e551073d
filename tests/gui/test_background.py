"""Work beside the window's thread: latest wins, and what hangs holds nothing up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.controllers import background as module
from app.controllers.background import Background
from app.models.problem import Problem


@pytest.fixture
def drive() -> Iterator[threading.Event]:
    """Stand in for a network drive that answers once the event is set."""
    event = threading.Event()
    yield event
    event.set()


def _ignore(_value: Any) -> None:
    pass


def test_the_latest_of_a_key_arrives(qtbot: QtBot, drive: threading.Event) -> None:
    background, found = Background(), []
    background.run("key", lambda _: drive.wait() and "old", found.append, _ignore)
    background.run("key", lambda _: "new", found.append, _ignore)
    drive.set()
    qtbot.waitUntil(lambda: not background.busy)
    assert found == ["new"]
    assert background.close()


def test_an_error_becomes_a_problem(qtbot: QtBot) -> None:
    background, found = Background(), []

    def work(_check: object) -> None:
        raise OSError(28, "No space left on device")

    background.run("key", work, _ignore, found.append)
    qtbot.waitUntil(lambda: bool(found))
    assert isinstance(found[0], Problem)
    assert background.close()


def test_other_work_goes_on_while_reads_hang(
    qtbot: QtBot, drive: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: two reads from a drive that hung took both threads; nothing was saved."""
    monkeypatch.setattr(module, "_STUCK_AFTER_S", 0.0)
    monkeypatch.setattr(module, "_LOOK_EVERY_MS", 10)
    background, found = Background(), []
    for number in range(4):
        background.run(f"read-{number}", lambda _: drive.wait(), _ignore, _ignore)
    background.run("save", lambda _: "saved", found.append, _ignore)
    qtbot.waitUntil(lambda: found == ["saved"])
    drive.set()
    assert background.close()


def test_closing_does_not_wait_for_a_drive_that_hangs(qtbot: QtBot, drive: threading.Event) -> None:
    """Regression: the app could not quit while a network drive did not answer."""
    background, begun, found = Background(), threading.Event(), []
    threads = set(threading.enumerate())

    def read(_check: object) -> str:
        begun.set()
        drive.wait()
        return "late"

    background.run("read", read, found.append, found.append)
    assert begun.wait(10.0)
    (worker,) = set(threading.enumerate()) - threads
    assert not background.close(patience_s=0.01)
    background.deleteLater()
    del background
    drive.set()
    worker.join(10.0)  # it finds nobody to tell, and ends
    assert not worker.is_alive()
    assert found == []


def test_results_that_come_too_late_are_given_back(qtbot: QtBot, drive: threading.Event) -> None:
    """Regression: a movie opened for a page that had chosen another one stayed open."""
    background, taken, given_back = Background(), [], []
    begun = threading.Event()

    def slow(_check: Any) -> str:
        begun.set()
        drive.wait(10.0)
        return "slow"

    def give_back(result: str) -> None:
        given_back.append(result)

    background.run("open", slow, taken.append, _ignore, unwanted=give_back)
    assert begun.wait(10.0)
    background.run("open", lambda _check: "fast", taken.append, _ignore, unwanted=give_back)
    qtbot.waitUntil(lambda: taken == ["fast"])
    drive.set()
    qtbot.waitUntil(lambda: given_back == ["slow"])
    # Not even when it is on its way to the window while everything is closed.
    background.run("open", lambda _check: "last", taken.append, _ignore, unwanted=give_back)
    background.close()
    background.deleteLater()
    assert taken == ["fast"]
    assert given_back in (["slow"], ["slow", "last"])  # "last" may not have begun
