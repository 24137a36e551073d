"""Histograms with cut lines beside the picture, one for each quantity to choose by."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.views.filter_charts import FilterCharts
from app.views.naming import named

__all__ = ["ExploreFilterPanel"]


class ExploreFilterPanel(QWidget):
    """The filters of the project, as lines in histograms."""

    cuts_changed = Signal(str, float, float)  # key of the field, low, high
    reset_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.charts = FilterCharts("explore-filter", kept="shown")
        self.charts.cuts_changed.connect(self.cuts_changed)
        self._count = named(QLabel(), "explore-filter-count")
        self._count.setWordWrap(True)
        hint = QLabel("Drag a line, or type a number. Nothing is deleted.")
        hint.setWordWrap(True)
        self._reset = named(QPushButton("Show all again"), "explore-filter-reset")
        self._reset.setToolTip("Take all cuts away; Undo brings them back.")
        self._reset.clicked.connect(lambda: self.reset_requested.emit())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        for part in (self._count, hint, self._reset, self.charts):
            layout.addWidget(part)
        layout.addStretch()

    def set_count(self, text: str, *, can_reset: bool) -> None:
        """Say how many localizations are shown."""
        self._count.setText(text)
        self._reset.setEnabled(can_reset)
