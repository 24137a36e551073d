"""The Correct page: one tab for each kind of correction."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QStackedWidget, QTabWidget

from app.models.steps import Step
from app.views.filter_panel import FilterPanel
from app.views.naming import named
from app.views.page import Page

__all__ = ["CorrectPage"]


class CorrectPage(Page):
    """Filters now; what follows (drift, grouping) becomes another tab."""

    def __init__(self) -> None:
        super().__init__(Step.CORRECT)
        self.filters = FilterPanel()
        self.tabs = named(QTabWidget(), "correct-tabs")
        self.tabs.addTab(self.filters, "Filter")
        self.tabs.setDocumentMode(True)
        self.tabs.tabBar().setVisible(self.tabs.count() > 1)  # one tab needs no name
        self._empty = named(
            QLabel(
                "There are no localizations yet. Fit a movie on the page Localize, or drop a "
                "table of localizations here."
            ),
            "correct-empty",
        )
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setWordWrap(True)
        self._empty.setProperty("muted", True)
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self.tabs)
        self.body.addWidget(self._stack, 1)

    def show_empty(self, empty: bool) -> None:
        """Show words instead of empty charts where there is nothing to correct."""
        self._stack.setCurrentIndex(0 if empty else 1)
