"""Histograms with cut lines: which localizations stay."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.views.filter_charts import FilterCharts
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
        self.charts = FilterCharts("correct", kept="kept", columns=_COLUMNS)
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
        self._lay_out()
        self.charts.cuts_changed.connect(self.cuts_changed)
        self.suggest.clicked.connect(lambda: self.suggest_requested.emit())
        self.reset.clicked.connect(lambda: self.reset_requested.emit())

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
        column.setContentsMargins(0, 0, 8, 0)
        column.addWidget(self.charts)
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
