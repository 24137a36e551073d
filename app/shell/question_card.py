"""A question below the page: a sentence and a few buttons, without stopping anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QWidget

from app.views.naming import named

__all__ = ["Choice", "QuestionCard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One button and what it does."""

    text: str
    chosen: Callable[[], None]
    tooltip: str = ""


class QuestionCard(QFrame):
    """Asks one question at a time; further ones wait until it is answered."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("question-card")
        self.setProperty("card", True)
        self._waiting: list[tuple[str, tuple[Choice, ...]]] = []
        self._text = named(QLabel(), "question-text")
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setWordWrap(True)
        self._buttons: list[QPushButton] = []
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(14, 10, 14, 10)
        self._row.setSpacing(8)
        self._row.addWidget(self._text, 1)
        self.hide()

    def ask(self, text: str, choices: Sequence[Choice]) -> None:
        """Ask, with a Dismiss button after the choices."""
        dismiss = Choice(text="Dismiss", chosen=lambda: None)
        self._waiting.append((text, (*choices, dismiss)))
        if len(self._waiting) == 1:
            self._show_first()

    def _show_first(self) -> None:
        self.setVisible(bool(self._waiting))
        for button in self._buttons:
            self._row.removeWidget(button)
            button.deleteLater()
        self._buttons = []
        if not self._waiting:
            return
        text, choices = self._waiting[0]
        self._text.setText(text)
        for number, choice in enumerate(choices):
            button = named(QPushButton(choice.text), f"question-{number}")
            button.setToolTip(choice.tooltip)
            button.setFlat(number == len(choices) - 1)
            button.clicked.connect(lambda _checked=False, c=choice: self._answer(c))
            self._row.addWidget(button)
            self._buttons.append(button)

    def _answer(self, choice: Choice) -> None:
        self._waiting.pop(0)
        self._show_first()
        choice.chosen()
