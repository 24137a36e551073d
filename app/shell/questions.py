"""Questions below the page: a sentence and a few buttons each, without stopping anything."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.views.naming import named

__all__ = ["Choice", "Questions"]

_SHOWN = 2  # further questions wait until one is answered


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One button and what it does."""

    text: str
    chosen: Callable[[], None]
    tooltip: str = ""


class Questions(QWidget):
    """Shows questions until they are answered or dismissed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("questions")
        self._cards: list[_Card] = []
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(20, 0, 20, 8)
        self._column.setSpacing(6)
        self.hide()

    def ask(self, text: str, choices: Sequence[Choice]) -> Callable[[], None]:
        """Ask, with a Dismiss button after the choices; return what withdraws the question."""
        dismiss = Choice(text="Dismiss", chosen=lambda: None)
        card = _Card(text, (*choices, dismiss))
        card.answered.connect(lambda choice: self._answer(card, choice))
        self._cards.append(card)
        self._column.addWidget(card)
        self._show()
        return lambda: self._close(card)

    def _answer(self, card: _Card, choice: Choice) -> None:
        self._close(card)
        choice.chosen()

    def _close(self, card: _Card) -> None:
        if card not in self._cards:
            return
        self._cards.remove(card)
        self._column.removeWidget(card)
        card.hide()
        card.setParent(None)
        card.deleteLater()
        self._show()

    def _show(self) -> None:
        for number, card in enumerate(self._cards):
            card.setVisible(number < _SHOWN)
        self.setVisible(bool(self._cards))


class _Card(QFrame):
    answered = Signal(object)  # Choice

    def __init__(self, text: str, choices: Sequence[Choice]) -> None:
        super().__init__()
        self.setObjectName("question-card")
        self.setProperty("card", True)
        label = named(QLabel(text), "question-text")
        label.setTextFormat(Qt.TextFormat.PlainText)
        label.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(14, 10, 14, 10)
        row.setSpacing(8)
        row.addWidget(label, 1)
        for number, choice in enumerate(choices):
            button = named(QPushButton(choice.text), f"question-{number}")
            button.setToolTip(choice.tooltip)
            button.setFlat(number == len(choices) - 1)
            button.clicked.connect(lambda _checked=False, c=choice: self.answered.emit(c))
            row.addWidget(button)
