"""The job panel: progress in words and the buttons that fit the state."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPlainTextEdit, QProgressBar, QPushButton, QToolButton
from pytestqt.qtbot import QtBot

from app.models.job_state import JobState
from app.views.job_panel import JobPanel, duration_words, rate_words
from decode_engine.contract.messages import FailedEvent

RUNNING = JobState(
    phase="running",
    stage="Localizing",
    fraction=0.25,
    done=1000,
    total=4000,
    unit="frames",
    rate_per_s=420.0,
    eta_s=185.0,
)


@pytest.fixture
def panel(qtbot: QtBot) -> JobPanel:
    panel = JobPanel()
    qtbot.addWidget(panel)
    panel.show()
    return panel


def _text(panel: JobPanel, name: str) -> str:
    label = panel.findChild(QLabel, name)
    assert label is not None
    return label.text()


def _buttons(panel: JobPanel) -> set[str]:
    return {b.objectName() for b in panel.findChildren(QPushButton) if b.isVisible()}


def test_progress_is_told_in_words(panel: JobPanel) -> None:
    panel.show_state(RUNNING)
    assert _text(panel, "job-stage") == "Localizing"
    facts = _text(panel, "job-facts")
    assert facts == "25 % · 1,000 of 4,000 frames · 420 frames/s · about 3 min left"
    bar = panel.findChild(QProgressBar, "job-bar")
    assert bar is not None
    assert bar.value() / bar.maximum() == 0.25
    assert bar.accessibleDescription() == facts


def test_a_stage_without_measure_shows_a_busy_bar(panel: JobPanel) -> None:
    panel.show_state(JobState(phase="running", stage="Reading"))
    bar = panel.findChild(QProgressBar, "job-bar")
    assert bar is not None
    assert bar.maximum() == 0
    panel.show_state(JobState(phase="completed"))
    assert bar.maximum() > 0
    assert _text(panel, "job-stage") == "Done"


@pytest.mark.parametrize(
    ("state", "options", "expected"),
    [
        (JobState(), {}, set()),
        (JobState(phase="queued"), {}, {"job-cancel"}),
        (RUNNING, {}, {"job-pause", "job-cancel"}),
        (RUNNING, {"can_pause": False}, {"job-cancel"}),
        (RUNNING, {"can_finish": True}, {"job-pause", "job-finish", "job-cancel"}),
        (
            JobState(phase="paused", stage="Training"),
            {"can_finish": True},
            {"job-resume", "job-finish", "job-cancel"},
        ),
        (JobState(phase="completed"), {"can_finish": True}, set()),
        (JobState(phase="cancelled"), {}, set()),
    ],
)
def test_only_buttons_that_fit_are_there(
    panel: JobPanel, state: JobState, options: dict[str, bool], expected: set[str]
) -> None:
    panel.show_state(state, **options)
    assert _buttons(panel) == expected


@pytest.mark.parametrize("what", ["cancel", "pause", "finish"])
def test_buttons_ask(qtbot: QtBot, panel: JobPanel, what: str) -> None:
    panel.show_state(RUNNING, can_finish=True)
    button = panel.findChild(QPushButton, f"job-{what}")
    assert button is not None
    with qtbot.waitSignal(getattr(panel, f"{what}_requested")):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_resume_asks(qtbot: QtBot, panel: JobPanel) -> None:
    panel.show_state(JobState(phase="paused", stage="Training"))
    assert _text(panel, "job-stage") == "Paused: Training"
    button = panel.findChild(QPushButton, "job-resume")
    assert button is not None
    with qtbot.waitSignal(panel.resume_requested):
        qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def test_what_was_asked_and_not_done_yet_is_said_once(panel: JobPanel) -> None:
    panel.show_state(JobState(phase="running", stage="Training", request="finish"), can_finish=True)
    assert "keeping the best" in _text(panel, "job-stage")
    for name, enabled in (("finish", False), ("pause", False), ("cancel", True)):
        button = panel.findChild(QPushButton, f"job-{name}")
        assert button is not None
        assert button.isEnabled() is enabled


def test_a_silent_engine_is_told(panel: JobPanel) -> None:
    silence = FailedEvent(code="silent", message="The engine is silent.", hint="Wait or cancel.")
    panel.show_state(JobState(phase="running", stage="Training", silence=silence))
    assert _text(panel, "job-stage") == "The engine is silent. Wait or cancel."


def test_messages_unfold(qtbot: QtBot, panel: JobPanel) -> None:
    panel.show_state(JobState(phase="running", messages=("first", "second")))
    more = panel.findChild(QToolButton, "job-more")
    log = panel.findChild(QPlainTextEdit, "job-messages")
    assert more is not None
    assert log is not None
    assert "second" in more.text()
    assert not log.isVisible()
    qtbot.mouseClick(more, Qt.MouseButton.LeftButton)
    assert log.isVisible()
    assert log.toPlainText() == "first\nsecond"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "less than 10 s"),
        (31, "about 30 s"),
        (58, "about 1 min"),
        (185, "about 3 min"),
        (3600, "about 1 h"),
        (7800, "about 2 h 10 min"),
        (5 * 86400, "about 5 days"),
    ],
)
def test_times_are_said_as_people_do(seconds: float, words: str) -> None:
    assert duration_words(seconds) == words


def test_slow_speeds_are_said_by_the_minute() -> None:
    assert rate_words(4200, "frames") == "4,200 frames/s"
    assert rate_words(2.25, "step") == "2.2 steps/s"
    assert rate_words(0.1, "frame") == "6.0 frames/min"
