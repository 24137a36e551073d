"""How far a job is, in words, and the buttons that steer it."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.models.job_state import JobState
from app.views.naming import named

__all__ = ["JobPanel", "duration_words", "rate_words"]

_BAR_STEPS = 1000
_UNIT_WORDS = {"step": "steps", "frame": "frames"}
_ASKED = {
    "pause": "Pausing after the present piece of work …",
    "cancel": "Stopping …",
    "finish": "Stopping and keeping the best …",
}
_ENDED = {
    "completed": "Done",
    "cancelled": "Stopped",
    "failed": "Failed",
    "idle": "Not started",
}


def duration_words(seconds: float) -> str:
    """Return a time as people say it: "less than 10 s", "about 3 min", "about 2 h 10 min"."""
    if seconds < 10:
        return "less than 10 s"
    if seconds < 55:
        return f"about {round(seconds / 5) * 5} s"
    minutes = max(1, round(seconds / 60))
    if minutes < 60:
        return f"about {minutes} min"
    if minutes < 48 * 60:
        hours, rest = divmod(5 * round(minutes / 5), 60)
        return f"about {hours} h {rest} min" if rest else f"about {hours} h"
    return f"about {round(minutes / 1440)} days"


def rate_words(rate_per_s: float, unit: str) -> str:
    """Return a speed with the unit that gives a handy number: "4,200 frames/s"."""
    words = _UNIT_WORDS.get(unit, unit)
    if rate_per_s >= 1 or rate_per_s <= 0:
        digits = 0 if rate_per_s >= 10 else 1
        return f"{rate_per_s:,.{digits}f} {words}/s"
    return f"{rate_per_s * 60:,.1f} {words}/min"


class JobPanel(QWidget):
    """Stage, bar, percent, speed, time left; pause, resume, stop; the job's messages."""

    cancel_requested = Signal()
    pause_requested = Signal()
    resume_requested = Signal()
    finish_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("job-panel")
        self._stage = named(QLabel(), "job-stage")
        self._stage.setWordWrap(True)
        self._bar = named(QProgressBar(), "job-bar")
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        self._bar.setFixedHeight(14)
        self._bar.setMinimumWidth(40)
        self._facts = named(QLabel(), "job-facts")
        self._facts.setAccessibleName("Progress in words")
        self._facts.setWordWrap(True)
        self._facts.setProperty("muted", True)
        self._pause = self._button("Pause", "job-pause", "Let the job wait; nothing is lost.")
        self._resume = self._button("Resume", "job-resume", "Go on where the job waits.")
        self._finish = self._button(
            "Stop and keep the best",
            "job-finish",
            "End now; the best result so far becomes the result.",
        )
        self._cancel = self._button(
            "Cancel", "job-cancel", "Stop; what was done so far is kept and can be resumed."
        )
        self._more = named(QToolButton(), "job-more")
        self._more.setCheckable(True)
        self._more.setAutoRaise(True)
        self._more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._more.setToolTip("What the job had to say.")
        self._log = named(QPlainTextEdit(), "job-messages")
        self._log.setReadOnly(True)
        self._log.setAccessibleName("Messages of the job")
        self._log.setMaximumHeight(90)
        self._shown: tuple[str, ...] = ()
        self._lay_out()
        self._connect()
        self.show_state(JobState())

    def show_state(
        self, state: JobState, *, can_pause: bool = True, can_finish: bool = False
    ) -> None:
        """Show a job.

        Parameters
        ----------
        state : JobState
        can_pause : bool
            The job knows how to wait.
        can_finish : bool
            The job has a best result that it can keep when it ends early.
        """
        running, paused = state.phase == "running", state.phase == "paused"
        asked = bool(state.request)
        self._stage.setText(self._stage_words(state))
        if state.fraction is None and running:
            self._bar.setRange(0, 0)  # busy, without a measure
        else:
            self._bar.setRange(0, _BAR_STEPS)
            self._bar.setValue(round(_BAR_STEPS * (state.fraction or 0.0)))
        self._bar.setVisible(state.is_active)  # a full bar says no more than "Done"
        facts = self._fact_words(state)
        self._facts.setText(facts)
        self._facts.setVisible(bool(facts))
        self._bar.setAccessibleDescription(facts)
        self._pause.setVisible(can_pause and running)
        self._resume.setVisible(paused)
        self._finish.setVisible(can_finish and (running or paused))
        self._cancel.setVisible(state.is_active)
        for button in (self._pause, self._resume, self._finish):
            button.setEnabled(not asked)
        self._cancel.setEnabled(state.request != "cancel")
        self._show_messages(state.messages)

    def _lay_out(self) -> None:
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        line = QHBoxLayout()
        line.addWidget(self._bar, 1)
        for button in (self._pause, self._resume, self._finish, self._cancel):
            line.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addWidget(self._stage)
        layout.addLayout(line)
        layout.addWidget(self._facts)
        layout.addWidget(self._more)
        layout.addWidget(self._log)

    def _connect(self) -> None:
        self._pause.clicked.connect(self.pause_requested)
        self._resume.clicked.connect(self.resume_requested)
        self._finish.clicked.connect(self.finish_requested)
        self._cancel.clicked.connect(self.cancel_requested)
        self._more.toggled.connect(self._unfold)
        self._unfold(False)

    def _unfold(self, on: bool) -> None:
        self._log.setVisible(on)
        arrow = Qt.ArrowType.DownArrow if on else Qt.ArrowType.RightArrow
        self._more.setArrowType(arrow)

    @staticmethod
    def _button(text: str, name: str, tooltip: str) -> QPushButton:
        button = named(QPushButton(text), name)
        button.setToolTip(tooltip)
        return button

    @staticmethod
    def _stage_words(state: JobState) -> str:
        if state.silence is not None:
            return f"{state.silence.message} {state.silence.hint}".strip()
        if state.request:
            return _ASKED[state.request]
        if state.phase == "paused":
            return f"Paused: {state.stage}" if state.stage else "Paused"
        if state.phase == "queued":
            return "Waiting for its turn"
        if state.phase == "running":
            return state.stage or "Starting the engine"
        if state.phase == "failed" and state.failure is not None:
            return f"Failed: {state.failure.message}"
        return _ENDED[state.phase]

    @staticmethod
    def _fact_words(state: JobState) -> str:
        if state.phase not in ("running", "paused") or state.fraction is None:
            return ""
        facts = [f"{100 * state.fraction:.0f} %"]
        if state.unit and state.unit not in ("s", "min"):
            words = _UNIT_WORDS.get(state.unit, state.unit)
            facts.append(f"{state.done:,.0f} of {state.total:,.0f} {words}")
            if state.rate_per_s:
                facts.append(rate_words(state.rate_per_s, state.unit))
        if state.eta_s is not None and state.phase == "running":
            facts.append(f"{duration_words(state.eta_s)} left")
        return " · ".join(facts)

    def _show_messages(self, messages: tuple[str, ...]) -> None:
        self._more.setVisible(bool(messages))
        self._log.setVisible(bool(messages) and self._more.isChecked())
        if messages == self._shown:
            return
        self._shown = messages
        count = f"{len(messages)} messages: " if len(messages) > 1 else ""
        last = messages[-1] if messages else ""
        short = last if len(last) <= 100 else f"{last[:99]}…"
        self._more.setText(f"{count}{short}")
        self._log.setPlainText("\n".join(messages))
        bar = self._log.verticalScrollBar()
        bar.setValue(bar.maximum())
