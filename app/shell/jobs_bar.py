"""The status bar: what runs, the engine and its device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QStatusBar, QToolButton, QWidget

from app.models.steps import Step
from app.views.naming import named

__all__ = ["JobLine", "JobsBar", "duration_words"]

_SHOWN = 3  # jobs with a button of their own


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLine:
    """What the status bar says of one job."""

    job_id: str
    step: Step
    title: str
    fraction: float | None
    eta_s: float | None
    words: str = ""  # instead of the remaining time

    @property
    def text(self) -> str:
        """Name, percent and remaining time in one line."""
        parts = [self.title]
        if self.fraction is not None:
            parts.append(f"{self.fraction:.0%}")
        if self.words:
            parts.append(self.words)
        elif self.eta_s is not None:
            parts.append(f"{duration_words(self.eta_s)} left")
        return " · ".join(parts)


class JobsBar(QStatusBar):
    """Shows jobs as buttons that lead to their pages.

    Signals
    -------
    step_requested : Step
        The page of a job was asked for.
    """

    step_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("status-bar")
        self.setSizeGripEnabled(False)
        self.setContentsMargins(10, 0, 10, 0)
        self._buttons = [named(QToolButton(), f"status-job-{i}") for i in range(_SHOWN)]
        self._steps: list[Step] = [Step.START] * _SHOWN
        for number, button in enumerate(self._buttons):
            button.setAutoRaise(True)
            button.hide()
            button.clicked.connect(
                lambda _checked=False, n=number: self.step_requested.emit(self._steps[n])
            )
            self.addWidget(button)
        self._idle = named(QLabel("No job is running"), "status-idle")
        self._idle.setProperty("muted", True)
        self._more = named(QLabel(), "status-more")
        self.addWidget(self._idle)
        self.addWidget(self._more)
        self._engine = named(QLabel("Engine: starting …"), "status-engine")
        self._device = named(QLabel(), "status-device")
        for label in (self._engine, self._device):
            label.setContentsMargins(8, 0, 8, 0)
            self.addPermanentWidget(label)

    def show_jobs(self, jobs: Sequence[JobLine]) -> None:
        """Show the jobs that run."""
        for number, button in enumerate(self._buttons):
            button.setVisible(number < len(jobs))
            if number < len(jobs):
                job = jobs[number]
                self._steps[number] = job.step
                if button.text() != f"▸ {job.text}":
                    button.setText(f"▸ {job.text}")
                button.setToolTip("Go to the page of this job")
                button.setAccessibleName(job.text)
        self._idle.setVisible(not jobs)
        hidden = len(jobs) - _SHOWN
        self._more.setText(f"and {hidden} more" if hidden > 0 else "")

    def show_engine(self, words: str, tooltip: str = "") -> None:
        """Say how the engine is."""
        self._engine.setText(f"Engine: {words}")
        self._engine.setToolTip(tooltip)

    def show_device(self, words: str, tooltip: str = "") -> None:
        """Say what it computes on."""
        self._device.setText(words)
        self._device.setToolTip(tooltip)


def duration_words(seconds: float) -> str:
    """Return a duration as a person would say it: 40 s, 3 min, 2 h 10 min."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"
