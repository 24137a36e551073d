"""The list of movies and what can be done with it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from app.views.naming import named

__all__ = ["MovieList", "MovieRow", "ask_for_files", "ask_for_folder"]

# The endings that are known; what is inside is told by the content.
_FILTER = "Movies (*.tif *.tiff *.btf *.tf8 *.raw *.dax *.npy *.nd2 *.stk);;All files (*)"
_MOST_ROWS = 5


class MovieRow(NamedTuple):
    """One line of the list."""

    name: str
    detail: str
    tip: str
    missing: bool = False


def ask_for_files(parent: QWidget, folder: str) -> list[Path]:
    """Let the user choose movie files; empty when cancelled."""
    paths, _ = QFileDialog.getOpenFileNames(parent, "Add movies", folder, _FILTER)
    return [Path(path) for path in paths]


def ask_for_folder(parent: QWidget, folder: str) -> Path | None:
    """Let the user choose a folder that is one movie; None when cancelled."""
    path = QFileDialog.getExistingDirectory(parent, "Add a folder of images as one movie", folder)
    return Path(path) if path else None


class MovieList(QWidget):
    """Movies of the project, one of them current."""

    chosen = Signal(int)
    add_files_requested = Signal()
    add_folder_requested = Signal()
    remove_requested = Signal(int)
    move_requested = Signal(int, int)  # row, -1 up or +1 down

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._list = named(QListWidget(), "movie-list")
        self._list.setAccessibleName("Movies")
        self._list.setToolTip("The movies of this project; the chosen one is shown.")
        self._list.setUniformItemSizes(True)
        self._list.setSpacing(1)
        self._list.setTextElideMode(Qt.TextElideMode.ElideMiddle)
        self._list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._warning = named(QLabel(), "movie-size-warning")
        self._warning.setWordWrap(True)
        self._warning.hide()
        self._files = _button("Add files…", "movie-add-files", "Add one or several movie files.")
        self._folder = _button(
            "Add folder…",
            "movie-add-folder",
            "Add a folder of single images, or a Micro-Manager or NDTiff folder, as one movie.",
        )
        self._remove = _button(
            "Remove", "movie-remove", "Take the movie off the list. The file stays where it is."
        )
        self._up = _button("↑", "movie-up", "Move the movie up: the order of the queue.")
        self._down = _button("↓", "movie-down", "Move the movie down: the order of the queue.")
        self._up.setAccessibleName("Move up")
        self._down.setAccessibleName("Move down")
        for arrow in (self._up, self._down):
            arrow.setMaximumWidth(36)
        self._lay_out()
        self._list.currentRowChanged.connect(self._row_changed)
        self._files.clicked.connect(self.add_files_requested)
        self._folder.clicked.connect(self.add_folder_requested)
        self._remove.clicked.connect(lambda: self.remove_requested.emit(self._list.currentRow()))
        self._up.clicked.connect(lambda: self.move_requested.emit(self._list.currentRow(), -1))
        self._down.clicked.connect(lambda: self.move_requested.emit(self._list.currentRow(), 1))

    def _lay_out(self) -> None:
        adding, changing = QHBoxLayout(), QHBoxLayout()
        for button in (self._files, self._folder):
            adding.addWidget(button)
        for button in (self._remove, self._up, self._down):
            changing.addWidget(button)
        changing.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._list, 1)
        layout.addLayout(adding)
        layout.addLayout(changing)
        layout.addWidget(self._warning)

    def set_rows(self, rows: Sequence[MovieRow], current: int) -> None:
        """Show the movies without emitting."""
        self._list.blockSignals(True)
        # Items are kept: this may be the answer to a click that the list is still handling.
        while self._list.count() > len(rows):
            self._list.takeItem(self._list.count() - 1)
        while self._list.count() < len(rows):
            self._list.addItem(QListWidgetItem())
        for i, row in enumerate(rows):
            mark = "⚠ " if row.missing else ""
            item = self._list.item(i)
            item.setText(f"{mark}{row.name}\n{row.detail}")
            item.setToolTip(row.tip)
        self._list.setCurrentRow(current if 0 <= current < len(rows) else -1)
        if self._list.currentItem() is not None:
            self._list.scrollToItem(self._list.currentItem())
        self._list.blockSignals(False)
        self._fit_height()
        self._update_buttons()

    def set_warning(self, text: str) -> None:
        """Say what is odd about the list as a whole."""
        self._warning.setText(f"⚠ {text}" if text else "")
        self._warning.setVisible(bool(text))

    def _fit_height(self) -> None:
        """Take the room of two to five movies; more are scrolled."""
        row_px = self._list.sizeHintForRow(0) + 2 * self._list.spacing()
        rows = min(max(self._list.count(), 2), _MOST_ROWS)
        self._list.setFixedHeight(rows * max(row_px, 1) + 2 * self._list.frameWidth() + 2)

    def _row_changed(self, row: int) -> None:
        self._update_buttons()
        if row >= 0:
            self.chosen.emit(row)

    def _update_buttons(self) -> None:
        row, count = self._list.currentRow(), self._list.count()
        self._remove.setEnabled(row >= 0)
        self._up.setEnabled(row > 0)
        self._down.setEnabled(0 <= row < count - 1)


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = named(QPushButton(text), name)
    button.setToolTip(tip)
    return button
