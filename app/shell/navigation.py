"""The bar under the page: Back, what is missing, Next."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from app.models.steps import STEP_INFO, Step, StepState, StepStatus
from app.views.naming import named

__all__ = ["NavigationBar"]


class NavigationBar(QWidget):
    """Leads from step to step; says what the present one still lacks."""

    back_requested = Signal()
    next_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("navigation")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self._back = named(QPushButton("Back"), "navigation-back")
        self._next = named(QPushButton("Next"), "navigation-next")
        self._next.setProperty("primary", False)
        self._words = named(QLabel(), "navigation-missing")
        self._words.setTextFormat(Qt.TextFormat.PlainText)
        self._words.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._words.setProperty("muted", True)
        self._words.setWordWrap(True)
        self._words.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        row = QHBoxLayout(self)
        row.setContentsMargins(20, 8, 20, 8)
        row.setSpacing(12)
        row.addWidget(self._back)
        row.addWidget(self._words, 1)
        row.addWidget(self._next)
        self._back.clicked.connect(self.back_requested)
        self._next.clicked.connect(self.next_requested)

    def show_step(self, step: Step, state: StepState) -> None:
        """Show where Back and Next lead from a step, and what it lacks."""
        steps = list(Step)
        place = steps.index(step)
        _lead(self._back, "← ", "", steps[place - 1] if place > 0 else None)
        _lead(self._next, "", " →", steps[place + 1] if place + 1 < len(steps) else None)
        missing = state.status in (StepStatus.NOT_YET, StepStatus.ATTENTION, StepStatus.STALE)
        self._words.setText(state.reason if missing else "")
        # One loud button at a time: Next becomes it when the page's own work is done.
        done = state.status is StepStatus.DONE and step is not Step.START
        if self._next.property("primary") != done:
            self._next.setProperty("primary", done)
            self._next.style().unpolish(self._next)
            self._next.style().polish(self._next)


def _lead(button: QPushButton, before: str, after: str, step: Step | None) -> None:
    button.setVisible(step is not None)
    if step is not None:
        button.setText(f"{before}{STEP_INFO[step].title}{after}")
        button.setToolTip(STEP_INFO[step].subtitle)
