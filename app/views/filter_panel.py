"""Histograms with cut lines: which localizations stay."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.explore_filters import ColumnHistogram, FilterField
from app.views.charts import HistogramChart
from app.views.localize_live import LivePicture
from app.views.naming import named

__all__ = ["FilterPanel"]

_COLUMNS = 2


class FilterPanel(QWidget):
    """One chart for each quantity, the picture of what stays and of what is left out.

    Signals
    -------
    cuts_changed : str, float, float
        Key of the field and its new limits; infinite for none.
    """

    cuts_changed = Signal(str, float, float)
    suggest_requested = Signal()
    reset_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.charts: dict[str, HistogramChart] = {}
        self.words = named(QLabel(), "correct-words")
        self.words.setWordWrap(True)
        self.kept = LivePicture()
        self.left_out = LivePicture()
        self.pictures = named(QTabWidget(), "correct-pictures")
        self.pictures.addTab(self.kept, "Kept")
        self.pictures.addTab(self.left_out, "Left out")
        self.suggest = named(QPushButton("Suggest limits"), "correct-suggest")
        self.suggest.setToolTip(
            "Cuts the tail of the least precise localizations, beyond three times the median. "
            "Undo takes it back."
        )
        self.reset = named(QPushButton("Keep everything"), "correct-reset")
        self.reset.setToolTip("Takes all limits away. Undo brings them back.")
        self._grid = QGridLayout()
        self._grid.setContentsMargins(0, 0, 8, 0)
        self._lay_out()
        self.suggest.clicked.connect(lambda: self.suggest_requested.emit())
        self.reset.clicked.connect(lambda: self.reset_requested.emit())

    def set_fields(self, fields: Sequence[FilterField]) -> None:
        """Make one chart for each field; none clears the panel."""
        if [f.key for f in fields] == list(self.charts):
            return
        for chart in self.charts.values():
            self._grid.removeWidget(chart)
            chart.setParent(None)
            chart.deleteLater()
        self.charts = {}
        for number, field in enumerate(fields):
            chart = HistogramChart(field.label, field.unit, with_cuts=True)
            chart.setObjectName(f"correct-{field.key}")
            chart.setToolTip(field.tip)
            chart.setMinimumHeight(190)
            chart.cuts_changed.connect(
                lambda low, high, key=field.key: self.cuts_changed.emit(key, low, high)
            )
            self._grid.addWidget(chart, number // _COLUMNS, number % _COLUMNS)
            self.charts[field.key] = chart

    def set_histogram(self, key: str, histogram: ColumnHistogram) -> None:
        """Show the counts of one quantity, all and kept."""
        chart = self.charts.get(key)
        if chart is None:
            return
        chart.set_histogram("all", histogram.edges, histogram.counts)
        shown = histogram.counts if histogram.shown is None else histogram.shown
        chart.set_histogram("kept", histogram.edges, shown)

    def set_cuts(self, key: str, low: float, high: float) -> None:
        """Put the cut lines of one quantity; does not emit."""
        chart = self.charts.get(key)
        if chart is not None and chart.cuts != (low, high):
            chart.set_cuts(low, high)

    def set_words(self, text: str) -> None:
        """Say how many stay and what that does to the precision."""
        self.words.setText(text)

    def set_enabled(self, on: bool) -> None:
        """Enable the buttons when there is something to filter."""
        self.suggest.setEnabled(on)
        self.reset.setEnabled(on)

    def _lay_out(self) -> None:
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._grid)
        column.addStretch()
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setWidget(inner)
        side = QVBoxLayout()
        side.addWidget(self.pictures, 1)
        side.addWidget(self.words)
        row = QHBoxLayout()
        row.addWidget(self.suggest)
        row.addWidget(self.reset)
        row.addStretch()
        side.addLayout(row)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 8, 0, 0)
        layout.addWidget(area, 3)
        layout.addLayout(side, 2)
