"""Histograms with cut lines, one for each quantity to choose by."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from app.models.explore_filters import ColumnHistogram, FilterField
from app.views.charts import HistogramChart
from app.views.naming import named

__all__ = ["FilterCharts"]

_CHART_HEIGHT = 190


class FilterCharts(QWidget):
    """The charts of the project's filters, in a grid.

    Parameters
    ----------
    prefix : str
        Of the charts' object names.
    kept : str
        What the localizations that stay are called in the legend.
    columns : int
        Of the grid.

    Signals
    -------
    cuts_changed : str, float, float
        Key of the field and its new limits; infinite for none.
    """

    cuts_changed = Signal(str, float, float)

    def __init__(
        self, prefix: str, *, kept: str, columns: int = 1, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._prefix, self._kept, self._columns = prefix, kept, columns
        self.charts: dict[str, HistogramChart] = {}
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)

    def set_fields(self, fields: Sequence[FilterField]) -> None:
        """Offer these quantities, all others not."""
        if [field.key for field in fields] == list(self.charts):
            return
        for chart in self.charts.values():
            self._grid.removeWidget(chart)
            chart.setParent(None)
            chart.deleteLater()
        self.charts = {}
        for number, field in enumerate(fields):
            chart = self._make(field)
            self._grid.addWidget(chart, number // self._columns, number % self._columns)
            self.charts[field.key] = chart

    def set_histogram(self, key: str, histogram: ColumnHistogram) -> None:
        """Show how a quantity is distributed, all and kept."""
        chart = self.charts.get(key)
        if chart is None:
            return
        chart.set_histogram("all", histogram.edges, histogram.counts)
        kept = histogram.counts if histogram.shown is None else histogram.shown
        chart.set_histogram(self._kept, histogram.edges, kept)

    def set_cuts(self, key: str, low: float, high: float) -> None:
        """Put the cut lines of one quantity; does not emit."""
        chart = self.charts.get(key)
        if chart is not None and chart.cuts != (low, high):
            chart.set_cuts(low, high)

    def _make(self, field: FilterField) -> HistogramChart:
        chart = named(
            HistogramChart(field.label, field.unit, with_cuts=True),
            f"{self._prefix}-{field.key.replace('_', '-')}",
        )
        chart.setFixedHeight(_CHART_HEIGHT)
        chart.setToolTip(field.tip)
        chart.setAccessibleName(f"Filter by {field.label}")
        chart.cuts_changed.connect(partial(self.cuts_changed.emit, field.key))
        return chart
