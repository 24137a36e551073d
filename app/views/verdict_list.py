"""Lines of a card: a light, what it is about, and words."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from app.models.verdict import Verdict
from app.views.form_fields import LightMark
from app.views.naming import named

__all__ = ["VerdictList"]


class VerdictList(QWidget):
    """Rows of light, title and wrapped text that can be selected and copied.

    Parameters
    ----------
    name : str
    stacked : bool
        The text stands under its title, for a narrow place.
    """

    def __init__(self, name: str, parent: QWidget | None = None, *, stacked: bool = False) -> None:
        super().__init__(parent)
        self._stacked = stacked
        named(self, name)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(8)
        self._grid.setColumnStretch(1 if stacked else 2, 1)
        if stacked:
            self._grid.setVerticalSpacing(2)
        self._rows: list[tuple[QWidget, QLabel, QLabel]] = []

    def show_lines(self, lines: Sequence[Verdict]) -> None:
        """Show one row for each line."""
        while len(self._rows) < len(lines):
            self._add_row()
        for row, (mark, title, text) in enumerate(self._rows):
            used = row < len(lines)
            for widget in (mark, title, text):
                widget.setVisible(used)
            if used and isinstance(mark, LightMark):
                line = lines[row]
                mark.show_level(line.level, line.text)
                title.setText(line.title)
                text.setText(line.text)

    @property
    def texts(self) -> list[str]:
        """Words of the lines that are shown."""
        return [text.text() for _, _, text in self._rows if not text.isHidden()]

    def _add_row(self) -> None:
        mark, title, text = LightMark(), QLabel(), QLabel()
        font = title.font()
        font.setBold(True)
        title.setFont(font)
        text.setWordWrap(True)
        text.setTextFormat(Qt.TextFormat.PlainText)
        text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        top = Qt.AlignmentFlag.AlignTop
        row = 2 * len(self._rows)
        self._grid.addWidget(mark, row, 0, top)
        self._grid.addWidget(title, row, 1, top)
        if self._stacked:
            text.setContentsMargins(0, 0, 0, 2)
            self._grid.addWidget(text, row + 1, 1, top)
        else:
            self._grid.addWidget(text, row, 2, top)
        self._rows.append((mark, title, text))
