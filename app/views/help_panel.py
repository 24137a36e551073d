"""Help beside the page."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QLabel, QTextBrowser, QToolButton, QVBoxLayout, QWidget

from app.views.naming import named

__all__ = ["HelpPanel"]


class HelpPanel(QWidget):
    """Shows the help text of a page."""

    close_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("help-panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.setMinimumWidth(170)
        heading = named(QLabel("Help"), "help-heading")
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        close = named(QToolButton(), "help-close")
        close.setText("✕")
        close.setAutoRaise(True)
        close.setToolTip("Hide the help (F1 shows it again)")
        close.setAccessibleName("Hide the help")
        close.clicked.connect(self.close_requested)
        self._text = named(QTextBrowser(), "help-text")
        self._text.setOpenExternalLinks(True)
        self._text.setAccessibleName("Help for this page")
        self._text.viewport().setAutoFillBackground(False)
        top = QHBoxLayout()
        top.addWidget(heading, 1)
        top.addWidget(close)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 10, 8, 8)
        column.addLayout(top)
        column.addWidget(self._text, 1)

    def show_text(self, markdown: str) -> None:
        """Show a text in Markdown, from its beginning."""
        self._text.setMarkdown(markdown)
        self._text.document().setIndentWidth(14)
        self._text.verticalScrollBar().setValue(0)
