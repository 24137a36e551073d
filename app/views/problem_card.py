"""A card that says what went wrong and what to do next."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.models.problem import Problem
from app.views.naming import named

__all__ = ["ProblemCard"]


class ProblemCard(QFrame):
    """Message, way out, details on demand and at most one button for the next step."""

    action = Signal(str)  # the text of the button
    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("problem-card")
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._message = named(QLabel(), "problem-message")
        self._hint = named(QLabel(), "problem-hint")
        self._detail = named(QLabel(), "problem-detail")
        selectable = Qt.TextInteractionFlag.TextSelectableByMouse
        for label in (self._message, self._hint, self._detail):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(selectable)
        font = self._message.font()
        font.setBold(True)
        self._message.setFont(font)
        self._action = named(QPushButton(), "problem-action")
        self._more = named(QPushButton("Details", flat=True), "problem-more")
        self._more.setCheckable(True)
        self._close = named(QPushButton("Dismiss", flat=True), "problem-dismiss")
        words = QVBoxLayout()
        words.setSpacing(2)
        for part in (self._message, self._hint, self._detail):
            words.addWidget(part)
        # Beside the words: a card that comes must not squeeze the page below it.
        layout = QHBoxLayout(self)
        layout.setContentsMargins(12, 8, 8, 8)
        layout.addLayout(words, 1)
        for button in (self._action, self._more, self._close):
            layout.addWidget(button, 0, Qt.AlignmentFlag.AlignTop)
        self._more.toggled.connect(self._detail.setVisible)
        self._action.clicked.connect(lambda: self.action.emit(self._action.text()))
        self._close.clicked.connect(self.dismissed)
        self.show_problem(None)

    def show_problem(self, problem: Problem | None) -> None:
        """Show a problem; None hides the card."""
        self.setVisible(problem is not None)
        if problem is None:
            return
        self._message.setText(problem.message)
        self._hint.setText(problem.hint)
        self._hint.setVisible(bool(problem.hint))
        self._detail.setText(problem.detail)
        self._more.setVisible(bool(problem.detail))
        self._more.setChecked(False)
        self._detail.setVisible(False)
        self._action.setText(problem.action)
        self._action.setVisible(bool(problem.action))
