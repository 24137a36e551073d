"""The trainings of the project: compare them, use their models, go on with them."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.models.train_runs import RunRow
from app.views.naming import named

__all__ = ["TrainRuns"]

_COLUMNS = (
    ("Training", "Tick to draw its curves."),
    ("Begun", "When it began."),
    ("State", "What became of it; the model in use is marked."),
    ("Jaccard", "Jaccard index of its best model: 1 is perfect."),
    ("Error (nm)", "Error sideways / in height of its best model."),
    ("Time", "Computing time."),
)
_ID = Qt.ItemDataRole.UserRole


class TrainRuns(QWidget):
    """A table of trainings with ticks; the ticked ones are drawn over each other."""

    compared_changed = Signal(object)  # tuple of run ids that are ticked
    use_requested = Signal(str)
    resume_requested = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._rows: dict[str, RunRow] = {}
        self._table = named(QTreeWidget(), "train-runs")
        self._table.setAccessibleName("Trainings of this project")
        self._table.setRootIsDecorated(False)
        self._table.setHeaderLabels([title for title, _ in _COLUMNS])
        for column, (_, tooltip) in enumerate(_COLUMNS):
            self._table.headerItem().setToolTip(column, tooltip)
        self._table.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self._table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self._table.itemChanged.connect(self._ticked)
        self._table.currentItemChanged.connect(lambda *_: self._refresh_buttons())
        self._use = named(QPushButton("Use this model"), "train-runs-use")
        self._use.setToolTip("Localize with the model of the selected training.")
        self._use.clicked.connect(lambda: self.use_requested.emit(self._current()))
        self._resume = named(QPushButton("Go on with it"), "train-runs-resume")
        self._resume.setToolTip("Goes on from the last state that the training kept.")
        self._resume.clicked.connect(lambda: self.resume_requested.emit(self._current()))
        row = QHBoxLayout()
        words = QLabel("Tick trainings to draw their curves over each other.")
        words.setWordWrap(True)
        row.addWidget(words, 1)
        row.addWidget(self._resume)
        row.addWidget(self._use)
        layout = QVBoxLayout(self)
        layout.addWidget(self._table, 1)
        layout.addLayout(row)
        self._refresh_buttons()

    def set_rows(self, rows: Sequence[RunRow], compared: Sequence[str]) -> None:
        """Show trainings, newest first; ``compared`` are ticked."""
        selected = self._current()
        self._rows = {row.run_id: row for row in rows}
        self._table.blockSignals(True)
        self._table.clear()
        for row in rows:
            texts = [row.run_id, row.begun, row.state, row.jaccard, row.error, row.time]
            item = QTreeWidgetItem(texts)
            item.setData(0, _ID, row.run_id)
            checked = row.run_id in compared
            item.setCheckState(0, Qt.CheckState.Checked if checked else Qt.CheckState.Unchecked)
            self._table.addTopLevelItem(item)
            if row.run_id == selected:
                self._table.setCurrentItem(item)
        self._table.blockSignals(False)
        self._refresh_buttons()

    def _current(self) -> str:
        item = self._table.currentItem()
        return str(item.data(0, _ID)) if item is not None else ""

    def _refresh_buttons(self) -> None:
        row = self._rows.get(self._current())
        self._use.setEnabled(row is not None and row.can_use)
        self._resume.setEnabled(row is not None and row.can_resume)

    def _ticked(self) -> None:
        items = (self._table.topLevelItem(i) for i in range(self._table.topLevelItemCount()))
        ticked = tuple(
            str(item.data(0, _ID))
            for item in items
            if item is not None and item.checkState(0) is Qt.CheckState.Checked
        )
        self.compared_changed.emit(ticked)
