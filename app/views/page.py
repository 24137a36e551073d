"""The frame that all pages share: heading, notice, problem card and the page's own body."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QToolButton, QVBoxLayout, QWidget

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
    help_requested = Signal()

    def __init__(self, step: Step, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.step = step
        self.setObjectName(f"page-{step.value}")
        info = STEP_INFO[step]
        title = named(QLabel(info.title), "page-title")
        font = title.font()
        font.setPointSizeF(font.pointSizeF() * 1.6)
        title.setFont(font)
        self._help = named(QToolButton(), "page-help")
        self._help.setText("?  Help")
        self._help.setToolTip("Explain this page, beside it (F1)")
        self._help.setAccessibleName("Help for this page")
        self._help.clicked.connect(self.help_requested)
        head = QHBoxLayout()
        head.addWidget(title, 1)
        head.addWidget(self._help)
        subtitle = named(QLabel(info.subtitle), "page-subtitle")
        self._notice = named(QLabel(), "page-notice")
        self._notice.setWordWrap(True)
        self._notice.hide()
        self._card = ProblemCard()
        self._card.action.connect(self.problem_action)
        self._card.dismissed.connect(lambda: self.show_problem(None))
        self.body = QVBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(20, 12, 20, 10)
        layout.setSpacing(4)
        layout.addLayout(head)
        for part in (subtitle, self._notice, self._card):
            layout.addWidget(part)
        layout.addSpacing(6)
        layout.addLayout(self.body, 1)

    def offer_help(self, offered: bool) -> None:
        """Show the button that opens the help, unless the help is open already."""
        self._help.setVisible(offered)

    def show_problem(self, problem: Problem | None) -> None:
        """Show what went wrong on top of the page; None takes it away."""
        self._card.show_problem(problem)

    def show_notice(self, text: str) -> None:
        """Show one line of advice under the heading (say, why the step is out of date)."""
        self._notice.setText(text)
        self._notice.setVisible(bool(text))
