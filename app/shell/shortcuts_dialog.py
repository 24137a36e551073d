"""All keys in one list."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QDialog,
    QHeaderView,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.shell.actions import ACTIONS
from app.views.naming import named

__all__ = ["ShortcutsDialog"]


class ShortcutsDialog(QDialog):
    """Shows the keys of the action table."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle("Keyboard shortcuts")
        self.resize(560, 560)
        keyed = [spec for spec in ACTIONS if spec.shortcut]
        table = named(QTableWidget(len(keyed), 3), "shortcuts-table")
        table.setHorizontalHeaderLabels(["Action", "Keys", "What it does"])
        table.verticalHeader().hide()
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setShowGrid(False)
        for row, spec in enumerate(keyed):
            form = QKeySequence.SequenceFormat.NativeText
            keys = QKeySequence(spec.shortcut).toString(form)
            name = spec.text.replace("&", "").rstrip("…")
            for column, text in enumerate((name, keys, spec.tooltip)):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                item.setToolTip(text)
                table.setItem(row, column, item)
        table.resizeColumnsToContents()
        table.horizontalHeader().setSectionResizeMode(2, QHeaderView.ResizeMode.Stretch)
        close = named(QPushButton("Close"), "shortcuts-close")
        close.clicked.connect(self.close)
        column_layout = QVBoxLayout(self)
        column_layout.addWidget(table, 1)
        column_layout.addWidget(close, 0, Qt.AlignmentFlag.AlignRight)
