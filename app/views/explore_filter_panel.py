"""Histograms with cut lines beside the picture, one for each quantity to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from app.models.explore_filters import ColumnHistogram, FilterField
from app.views.charts import HistogramChart
from app.views.naming import named

__all__ = ["ExploreFilterPanel"]

_CHART_HEIGHT = 190


class ExploreFilterPanel(QWidget):
    """The filters of the project, as lines in histograms."""

    cuts_changed = Signal(str, float, float)  # key of the field, low, high
    reset_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._charts: dict[str, HistogramChart] = {}
        self._count = named(QLabel(), "explore-filter-count")
        self._count.setWordWrap(True)
        hint = QLabel("Drag a line, or type a number. Nothing is deleted.")
        hint.setWordWrap(True)
        self._reset = named(QPushButton("Show all again"), "explore-filter-reset")
        self._reset.setToolTip("Take all cuts away; Undo brings them back.")
        self._reset.clicked.connect(lambda: self.reset_requested.emit())
        self._column = QVBoxLayout()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        for part in (self._count, hint, self._reset):
            layout.addWidget(part)
        layout.addLayout(self._column)
        layout.addStretch()

    def set_fields(self, fields: Sequence[FilterField]) -> None:
        """Offer these quantities, all others not."""
        if list(self._charts) == [field.key for field in fields]:
            return
        for chart in self._charts.values():
            self._column.removeWidget(chart)
            chart.setParent(None)
            chart.deleteLater()
        self._charts = {}
        for field in fields:
            chart = named(
                HistogramChart(field.label, field.unit, with_cuts=True),
                f"explore-filter-{field.key.replace('_', '-')}",
            )
            chart.setFixedHeight(_CHART_HEIGHT)
            chart.setToolTip(field.tip)
            chart.setAccessibleName(f"Filter by {field.label}")
            chart.cuts_changed.connect(partial(self.cuts_changed.emit, field.key))
            self._charts[field.key] = chart
            self._column.addWidget(chart)

    def chart(self, key: str) -> HistogramChart:
        """Return the histogram of a field."""
        return self._charts[key]

    def set_histogram(self, key: str, histogram: ColumnHistogram) -> None:
        """Show how a quantity is distributed."""
        chart = self._charts.get(key)
        if chart is None:
            return
        chart.set_histogram("all", histogram.edges, histogram.counts)
        shown = histogram.counts if histogram.shown is None else histogram.shown
        chart.set_histogram("shown", histogram.edges, shown)

    def set_cuts(self, key: str, low: float, high: float) -> None:
        """Place the lines without emitting."""
        chart = self._charts.get(key)
        if chart is not None and chart.cuts != (low, high):
            chart.set_cuts(low, high)

    def set_count(self, text: str, *, can_reset: bool) -> None:
        """Say how many localizations are shown."""
        self._count.setText(text)
        self._reset.setEnabled(can_reset)
