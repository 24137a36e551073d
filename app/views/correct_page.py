"""The Correct page: one tab for each kind of correction."""

from __future__ import annotations

from PySide6.QtWidgets import QTabWidget

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
        self.body.addWidget(self.tabs, 1)
