"""The Movie page: list, part that counts, viewer, brightness over the movie, what the file says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFileDialog,
    QFormLayout,
    QFrame,
    QGroupBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.movie_facts import Fact
from app.models.steps import Step
from app.views.charts import CurveChart
from app.views.movie_list import MovieList
from app.views.movie_part import MoviePart
from app.views.movie_player import MoviePlayer
from app.views.naming import named
from app.views.page import Page

__all__ = ["MoviePage"]

_LEFT_PX = 340
_INVITATION = (
    "<p style='font-size:x-large'>Drop a movie here</p>"
    "<p>TIFF, BigTIFF, OME-TIFF, ImageJ stack, Micro-Manager or NDTiff folder,<br>"
    "a folder of single images, Nikon .nd2, Picasso .raw with .yaml, .dax with .inf, .npy.</p>"
    "<p>It stays where it is and is read frame by frame: its size does not matter.</p>"
)


class MoviePage(Page):
    """Setters and request signals of the Movie step; its parts have signals of their own.

    Attributes
    ----------
    movies, part, player : MovieList, MoviePart, MoviePlayer
    """

    roi_drawn = Signal(object)  # (x, y, w, h) or None
    jump_requested = Signal(int)  # a frame, by a click on the traces
    scan_requested = Signal()
    scan_cancelled = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.MOVIE, parent)
        self.movies = MovieList()
        self.part = MoviePart()
        self.player = MoviePlayer()
        self._facts = QFormLayout()
        self._facts.setVerticalSpacing(3)
        self._chart = named(CurveChart("frame", "counts (ADU)"), "movie-traces")
        self._chart.setMinimumHeight(120)
        self._scan_text = named(QLabel(), "movie-scan-text")
        self._scan_text.setWordWrap(True)
        self._progress = named(QProgressBar(), "movie-scan-progress")
        self._progress.setRange(0, 1000)
        self._progress.setMaximumWidth(140)
        self._progress.setMaximumHeight(14)
        self._progress.setTextVisible(False)
        self._progress.setAccessibleName("Progress of measuring the brightness")
        self._cancel = named(QPushButton("Cancel"), "movie-scan-cancel")
        self._cancel.setToolTip("Stop measuring; what was measured stays.")
        self._scan = named(QPushButton("Go on measuring"), "movie-scan")
        self._scan.setToolTip("Measure the brightness of the frames that are left.")
        self._stack = QStackedWidget()
        self._stack.addWidget(self._invitation())
        self._stack.addWidget(self._content())
        self.body.addWidget(self._stack, 1)
        self.player.frame.roi_changed.connect(self.roi_drawn)
        self.part.draw_toggled.connect(self.player.frame.enable_roi)
        self._chart.x_clicked.connect(lambda x: self.jump_requested.emit(round(x)))
        self._cancel.clicked.connect(self.scan_cancelled)
        self._scan.clicked.connect(self.scan_requested)

    # -- layout

    def _invitation(self) -> QWidget:
        words = named(QLabel(_INVITATION), "movie-invitation")
        words.setAlignment(Qt.AlignmentFlag.AlignCenter)
        files = named(QPushButton("Add files…"), "movie-first-files")
        folder = named(QPushButton("Add folder…"), "movie-first-folder")
        files.setToolTip("Choose one or several movie files.")
        folder.setToolTip("Choose a folder that is one movie.")
        files.clicked.connect(self.movies.add_files_requested)
        folder.clicked.connect(self.movies.add_folder_requested)
        buttons = QHBoxLayout()
        buttons.addStretch()
        buttons.addWidget(files)
        buttons.addWidget(folder)
        buttons.addStretch()
        box = QFrame()
        box.setFrameShape(QFrame.Shape.StyledPanel)
        layout = QVBoxLayout(box)
        layout.addStretch()
        layout.addWidget(words, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addLayout(buttons)
        layout.addStretch()
        return box

    def _content(self) -> QWidget:
        self._facts_card = QGroupBox("What the file says")
        self._facts_card.setLayout(self._facts)
        self._facts_card.hide()
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 6, 0)
        column.addWidget(self.movies)
        column.addWidget(self.part)
        column.addWidget(self._facts_card)
        column.addStretch()
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        left.setMaximumWidth(_LEFT_PX - 16)  # a long name must not push the numbers out of sight
        scroll.setWidget(left)
        scroll.setFixedWidth(_LEFT_PX)
        scanning = QHBoxLayout()
        scanning.addWidget(self._scan_text, 1)
        for part in (self._progress, self._cancel, self._scan):
            scanning.addWidget(part)
        right = QVBoxLayout()
        right.addWidget(self.player, 3)
        right.addWidget(self._chart, 1)
        right.addLayout(scanning)
        content = QWidget()
        layout = QHBoxLayout(content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll)
        layout.addLayout(right, 1)
        return content

    # -- setters

    def show_content(self, on: bool) -> None:
        """Show the viewer, or the invitation to drop a movie."""
        self._stack.setCurrentIndex(1 if on else 0)

    def show_facts(self, facts: Sequence[Fact], warnings: Sequence[str] = ()) -> None:
        """Fill the metadata card."""
        self._facts_card.setVisible(bool(facts))
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for warning in warnings:
            label = QLabel(f"⚠ {warning}")
            label.setWordWrap(True)
            self._facts.addRow(label)
        for fact in facts:
            text = escape(fact.value) if fact.known else f"<i>{fact.value}</i>"
            value = QLabel(text)
            value.setTextFormat(Qt.TextFormat.RichText)
            value.setWordWrap(True)
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            value.setToolTip(fact.tip)
            name = QLabel(fact.name)
            name.setToolTip(fact.tip)
            self._facts.addRow(name, value)

    def show_traces(
        self,
        frames: NDArray[np.float64],
        curves: Mapping[str, NDArray[np.float64]],
        level_adu: float | None,
    ) -> None:
        """Draw brightness over the movie; ``level_adu`` is where pixels clip."""
        for name, values in curves.items():
            self._chart.set_curve(name, frames, values)
        if level_adu is None or not frames.size:
            self._chart.remove_curve("saturation")
        else:
            ends = [frames[0], frames[-1]]
            self._chart.set_curve("saturation", ends, [level_adu, level_adu], style="dashed")

    def clear_traces(self) -> None:
        """Take the curves away."""
        self._chart.clear()
        self._chart.set_marker(None)

    def mark_frame(self, index: int) -> None:
        """Show in the traces which frame is seen."""
        self._chart.set_marker(float(index))

    def show_scan(self, text: str, fraction: float | None, *, running: bool) -> None:
        """Say how far the measuring is; ``fraction`` None hides bar and buttons."""
        self._scan_text.setText(text)
        unfinished = fraction is not None and fraction < 1
        self._progress.setVisible(unfinished)
        self._progress.setValue(round(1000 * (fraction or 0.0)))
        self._cancel.setVisible(unfinished and running)
        self._scan.setVisible(unfinished and not running)

    def ask_channel_and_slice(self) -> tuple[int, int] | None:
        """Let the user choose channel and slice, shown from 1; from 0, or None when cancelled."""
        questions = (
            ("Channel", "Channel with the blinking molecules (1 = the first):"),
            ("Slice", "Slice, that is focal plane (1 = the first, also of one):"),
        )
        picked = []
        for title, words in questions:
            number, accepted = QInputDialog.getInt(self, title, words, 1, 1, 999)
            if not accepted:
                return None
            picked.append(number - 1)
        return picked[0], picked[1]

    def ask_where(self, name: str, folder: str) -> Path | None:
        """Let the user show where a movie is now; None when cancelled."""
        path, _ = QFileDialog.getOpenFileName(self, f"Where is {name} now?", folder)
        return Path(path) if path else None
