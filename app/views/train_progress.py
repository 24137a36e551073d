"""The right side of the Train page: the course of a training, a sample frame, the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.job_state import JobState
from app.models.training_curves import TrainingCurves
from app.models.training_verdict import TrainingVerdict
from app.views.form_fields import LightMark
from app.views.job_panel import JobPanel
from app.views.naming import named
from app.views.train_curves import TrainCurves
from app.views.train_runs import TrainRuns
from app.views.train_sample import TrainSample

__all__ = ["TrainProgress"]

_TILES = (
    ("recall", "found", "{:.0%}", "Share of the true molecules that were found."),
    ("precision", "true", "{:.0%}", "Share of what was found that is true."),
    (
        "rmse_over_crlb_robust",
        "the limit",
        "{:.1f}×",
        "Typical error relative to the best that the photons of a lone molecule allow (CRLB), "
        "worst axis. Near 1 is perfect.",
    ),
    ("rmse_lateral_nm", "error x, y", "{:.0f} nm", "Root mean square error in x and y."),
    ("rmse_axial_nm", "error z", "{:.0f} nm", "Root mean square error in z."),
    (
        "z_score",
        "error / sigma",
        "{:.2f}",
        "Spread of the errors relative to the stated uncertainty sigma, worst axis. 1: the "
        "uncertainties are true.",
    ),
)
_EMPTY = (
    "Nothing trained yet.\n\nPress Start training: here you will see how many molecules the "
    "network finds, how exactly, and what it makes of a simulated frame."
)


class TrainProgress(QWidget):
    """Shows one run: job, curves, sample frame and verdict; and the list of all runs."""

    resume_run_requested = Signal()
    use_model_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.job = JobPanel()
        self.curves = TrainCurves()
        self.runs = TrainRuns()
        self.curves.addTab(self.runs, "Earlier trainings")
        self.sample = TrainSample()
        self._verdict = _VerdictCard()
        self._ended = named(QLabel(), "train-ended")
        self._ended.setWordWrap(True)
        self._resume = named(QPushButton("Go on with this training"), "train-resume-run")
        self._resume.setToolTip("Goes on from the last state that was kept; nothing is repeated.")
        self._use = named(QPushButton("Use its best model"), "train-use-model")
        self._use.setToolTip("Localize with the best model of this training.")
        self._resume.clicked.connect(self.resume_run_requested)
        self._use.clicked.connect(self.use_model_requested)
        self._stack = QStackedWidget()
        empty = named(QLabel(_EMPTY), "train-empty")
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        empty.setWordWrap(True)
        empty.setContentsMargins(60, 0, 60, 0)
        empty.setProperty("muted", True)
        self._stack.addWidget(empty)
        self._stack.addWidget(self._dashboard())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self.show_metrics({})
        self.show_verdict(None)
        self.show_ended("", can_resume=False, can_use=False)

    def show_nothing(self) -> None:
        """Say that nothing was trained yet."""
        self._stack.setCurrentIndex(0)

    def show_job(self, state: JobState | None, *, can_finish: bool = False) -> None:
        """Show a job's progress; None where the run is over.

        ``can_finish`` tells whether there is a best model to keep: after the first validation.
        """
        self._stack.setCurrentIndex(1)
        self.job.setVisible(state is not None)
        if state is not None:
            self.job.show_state(state, can_pause=True, can_finish=can_finish)

    def show_curves(self, runs: Mapping[str, TrainingCurves]) -> None:
        """Draw the curves of runs by name."""
        self.curves.show_runs(runs)

    def show_metrics(self, metrics: Mapping[str, object]) -> None:
        """Show the newest scores as large numbers."""
        for (name, _, pattern, _), label in zip(_TILES, self._numbers, strict=True):
            axes = (metrics.get(f"{name}_{axis}") for axis in "xyz")
            # A summary has what is not finite as text.
            values = [
                v
                for v in (metrics.get(name), *axes)
                if isinstance(v, int | float) and math.isfinite(v)
            ]
            # Of three axes the worst: farthest from 1.
            worst = max(values, key=lambda v: abs(math.log(v)) if v > 0 else math.inf, default=None)
            label.setText("–" if worst is None else pattern.format(worst))

    def show_verdict(self, verdict: TrainingVerdict | None) -> None:
        """Say how good the model is; None while that is open."""
        self._verdict.show_verdict(verdict)
        self._verdict_area.setVisible(verdict is not None)

    def show_ended(self, text: str, *, can_resume: bool, can_use: bool) -> None:
        """Say how a run ended and what can be done with it."""
        self._ended.setText(text)
        self._resume.setVisible(can_resume)
        self._use.setVisible(can_use)
        self._ended_row.setVisible(bool(text) or can_resume or can_use)

    def _dashboard(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.job)
        self._ended_row = QWidget()
        row = QHBoxLayout(self._ended_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._ended, 1)
        row.addWidget(self._resume)
        row.addWidget(self._use)
        column.addWidget(self._ended_row)
        column.addLayout(self._tiles())
        column.addWidget(self.curves, 5)
        lower = QHBoxLayout()
        lower.addWidget(self.sample, 4)
        area = QScrollArea()
        area.setWidget(self._verdict)
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._verdict_area = area
        lower.addWidget(area, 5)
        column.addLayout(lower, 4)
        return page

    def _tiles(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setVerticalSpacing(0)
        self._numbers: list[QLabel] = []
        for i, (name, words, _, tooltip) in enumerate(_TILES):
            number = named(QLabel("–"), f"train-number-{name}")
            font = number.font()
            font.setPointSizeF(font.pointSizeF() * 1.5)
            font.setBold(True)
            number.setFont(font)
            number.setAccessibleName(words)
            number.setAccessibleDescription(tooltip)
            caption = QLabel(words)
            caption.setProperty("muted", True)
            for label in (number, caption):
                label.setToolTip(tooltip)
            grid.addWidget(number, 0, i)
            grid.addWidget(caption, 1, i)
            grid.setColumnStretch(i, 1)
            self._numbers.append(number)
        return grid


class _VerdictCard(QFrame):
    """A light, a headline, the reasons and what to do."""

    def __init__(self) -> None:
        super().__init__()
        named(self, "train-verdict")
        self.setProperty("card", True)
        self._mark = LightMark()
        self._headline = named(QLabel(), "train-verdict-headline")
        self._headline.setWordWrap(True)
        font = self._headline.font()
        font.setBold(True)
        self._headline.setFont(font)
        self._text = named(QLabel(), "train-verdict-text")
        self._text.setWordWrap(True)
        grid = QGridLayout(self)
        grid.addWidget(self._mark, 0, 0, Qt.AlignmentFlag.AlignTop)
        grid.addWidget(self._headline, 0, 1)
        grid.addWidget(self._text, 1, 1)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(2, 1)

    def show_verdict(self, verdict: TrainingVerdict | None) -> None:
        """Show a verdict; None hides the card."""
        self.setVisible(verdict is not None)
        if verdict is None:
            return
        self._mark.show_level(verdict.level, verdict.headline)
        self._headline.setText(verdict.headline)
        self._text.setText("\n".join((*verdict.sentences, verdict.advice)).strip())
