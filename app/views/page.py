"""The frame that all pages share: heading, notice, problem card and the page's own body."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from app.models.problem import Problem
from app.models.steps import STEP_INFO, Step
from app.views.naming import named
from app.views.problem_card import ProblemCard

__all__ = ["Page"]


class Page(QWidget):
    """One step's page; subclasses add widgets to ``self.body``.

    Attributes
    ----------
    body : QVBoxLayout
        Below the heading and the cards; takes the rest of the page.
    """

    problem_action = Signal(str)  # text of the problem card's button

    def __init__(self, step: Step, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.step = step
        self.setObjectName(f"page-{step.value}")
        info = STEP_INFO[step]
        title = named(QLabel(info.title), "page-title")
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 1.6)
        title.setFont(font)
        subtitle = named(QLabel(info.subtitle), "page-subtitle")
        self._notice = named(QLabel(), "page-notice")
        self._notice.setWordWrap(True)
        self._notice.hide()
        self._card = ProblemCard()
        self._card.action.connect(self.problem_action)
        self._card.dismissed.connect(lambda: self.show_problem(None))
        self.body = QVBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 16, 20, 12)
        for part in (title, subtitle, self._notice, self._card):
            layout.addWidget(part)
        layout.addLayout(self.body, 1)

    def show_problem(self, problem: Problem | None) -> None:
        """Show what went wrong on top of the page; None takes it away."""
        self._card.show_problem(problem)

    def show_notice(self, text: str) -> None:
        """Show one line of advice under the heading (say, why the step is out of date)."""
        self._notice.setText(text)
        self._notice.setVisible(bool(text))
