"""The log, as it grows."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtGui import QFontDatabase
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.shell.logs import LogBuffer
from app.views.naming import named

__all__ = ["LogWindow"]

_LINES = 2000


class LogWindow(QDialog):
    """Shows what the app and its engine did; helps to pass it on."""

    copy_requested = Signal()
    save_requested = Signal()

    def __init__(self, log: LogBuffer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Log")
        self.resize(820, 480)
        self._text = named(QPlainTextEdit(), "log-text")
        self._text.setReadOnly(True)
        self._text.setMaximumBlockCount(_LINES)
        self._text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._text.setAccessibleName("Log")
        self._text.setPlainText("\n".join(log.lines()))
        bar = self._text.verticalScrollBar()
        bar.setValue(bar.maximum())
        log.line_added.connect(self._text.appendPlainText)
        copy = named(QPushButton("Copy diagnostics"), "log-copy")
        copy.setToolTip("Versions, this log and job outcomes; no data of yours")
        save = named(QPushButton("Save diagnostics…"), "log-save")
        close = named(QPushButton("Close"), "log-close")
        copy.clicked.connect(self.copy_requested)
        save.clicked.connect(self.save_requested)
        close.clicked.connect(self.close)
        row = QHBoxLayout()
        row.addWidget(copy)
        row.addWidget(save)
        row.addStretch()
        row.addWidget(close)
        column = QVBoxLayout(self)
        column.addWidget(self._text, 1)
        column.addLayout(row)
