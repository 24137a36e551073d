"""What the user sees when the app itself failed: words, never a traceback."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from app.views.naming import named

__all__ = ["CrashDialog"]


class CrashDialog(QDialog):
    """Says that the app made a mistake, what is safe, and what can be done.

    Parameters
    ----------
    what : str
        The error in one line, for whoever helps.
    saved_in : Path or None
        Folder in which the project is safe; None where it could not be saved.
    """

    copy_requested = Signal()
    quit_requested = Signal()

    def __init__(self, what: str, saved_in: Path | None, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("crash-dialog")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle("Something went wrong")
        self.setMinimumWidth(480)
        title = named(QLabel("The app made a mistake."), "crash-title")
        font = title.font()
        font.setBold(True)
        title.setFont(font)
        words = named(QLabel(_words(saved_in)), "crash-words")
        short = named(QLabel(f"For the report: {what[:200]}"), "crash-what")
        short.setProperty("muted", True)
        column = QVBoxLayout(self)
        column.setSpacing(10)
        column.addWidget(title)
        for label in (words, short):
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            column.addWidget(label)
        column.addLayout(self._buttons())

    def _buttons(self) -> QHBoxLayout:
        copy = named(QPushButton("Copy diagnostics"), "crash-copy")
        leave = named(QPushButton("Quit"), "crash-quit")
        go_on = named(QPushButton("Continue"), "crash-continue")
        go_on.setDefault(True)
        copy.clicked.connect(self.copy_requested)
        go_on.clicked.connect(self.close)
        leave.clicked.connect(self.quit_requested)
        leave.clicked.connect(self.close)
        row = QHBoxLayout()
        row.addWidget(copy)
        row.addStretch()
        row.addWidget(leave)
        row.addWidget(go_on)
        return row


def _words(saved_in: Path | None) -> str:
    safe = (
        "Your last changes could not be saved; everything before is safe."
        if saved_in is None
        else f"Your project is saved in {saved_in}."
    )
    return (
        f"{safe} Jobs that run are not affected.\n\n"
        "You can go on. If the window behaves oddly, quit and open the app again. Please send us "
        "the diagnostics; they hold no data of yours."
    )
