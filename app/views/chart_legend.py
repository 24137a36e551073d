"""Which curve is which: a line of signs and names above a chart, where it hides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QLabel, QWidget

__all__ = ["ChartLegend"]

# Of pyqtgraph's symbols; a line and a dashed line have signs, too: never colour alone.
_SIGNS = {
    "o": "●", "s": "■", "t": "▼", "d": "◆", "+": "✚", "x": "✖", "line": "━━", "dashed": "╍╍",
    "dotted": "┉┉",
}  # fmt: skip


class ChartLegend(QLabel):
    """Names of the curves with their signs, wrapped where they need more than one line."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("chart-legend")
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.setContentsMargins(8, 4, 8, 0)
        # Of one ground with the chart below it.
        self.setBackgroundRole(QPalette.ColorRole.Base)
        self.setAutoFillBackground(True)
        self.hide()

    def show_entries(self, entries: Sequence[tuple[str, str, QColor]]) -> None:
        """Show (name, sign, colour) of each curve; a single one needs no legend."""
        words = [
            f'<span style="color:{color.name()}">{_SIGNS.get(sign, "━━")}</span>&nbsp;'
            + escape(name).replace(" ", "&nbsp;")
            for name, sign, color in entries
        ]
        self.setText(" &nbsp; ".join(words))
        self.setVisible(len(entries) > 1)
