"""Which part of a movie counts: a region of the frame and a range of frames, in numbers."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import (
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.views.naming import named

__all__ = ["MoviePart"]

_MOST = 2_000_000_000
_REGION = (
    ("x", "Left", "First column of the region, counted from 0 at the left edge (px)."),
    ("y", "Top", "First row of the region, counted from 0 at the upper edge (px)."),
    ("w", "Width", "Columns of the region (px). Usual: the whole frame."),
    ("h", "Height", "Rows of the region (px). Usual: the whole frame."),
)


class MoviePart(QGroupBox):
    """Region and frames of the chosen movie."""

    region_entered = Signal(object)  # (x, y, w, h)
    draw_toggled = Signal(bool)
    whole_frame_requested = Signal()
    frames_entered = Signal(int, int)  # first, last (inclusive)
    first_here_requested = Signal()
    last_here_requested = Signal()
    all_frames_requested = Signal()
    apply_to_all_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Part that is analysed", parent)
        self._region = {key: _number(f"movie-roi-{key}", tip) for key, _, tip in _REGION}
        self.draw = _button(
            "Draw on the frame",
            "movie-roi-draw",
            "Drag a rectangle on the frame; drag its edges to change it, Delete removes it.",
        )
        self.draw.setCheckable(True)
        self._whole = _button("Whole frame", "movie-roi-whole", "Analyse the whole frame.")
        self._first = _number("movie-first", "First frame that is analysed, counted from 0.")
        self._last = _number("movie-last", "Last frame that is analysed (it is included).")
        self._first_here = _button(
            "Here", "movie-first-here", "Begin with the frame that is shown."
        )
        self._last_here = _button("Here", "movie-last-here", "End with the frame that is shown.")
        self._first_here.setAccessibleName("Use the shown frame as the first")
        self._last_here.setAccessibleName("Use the shown frame as the last")
        self._all = _button("All frames", "movie-all-frames", "Analyse all frames.")
        self._apply = _button(
            "Apply to all movies",
            "movie-apply-all",
            "Give every movie of the list this region and these frames.",
        )
        self._error = named(QLabel(), "movie-part-error")
        self._error.setWordWrap(True)
        self._error.hide()
        self._lay_out()
        self._connect()

    def _lay_out(self) -> None:
        grid = QGridLayout()
        for i, (key, text, _) in enumerate(_REGION):
            label = QLabel(text)
            label.setBuddy(self._region[key])
            row, column = divmod(i, 2)
            grid.addWidget(label, row, 2 * column)
            grid.addWidget(self._region[key], row, 2 * column + 1)
        region_buttons = QHBoxLayout()
        region_buttons.addWidget(self.draw)
        region_buttons.addWidget(self._whole)
        frames = QGridLayout()
        rows = (("First frame", self._first, self._first_here),
                ("Last frame", self._last, self._last_here))  # fmt: skip
        for row, (text, spin, here) in enumerate(rows):
            label = QLabel(text)
            label.setBuddy(spin)
            frames.addWidget(label, row, 0)
            frames.addWidget(spin, row, 1)
            frames.addWidget(here, row, 2)
        frames.setColumnStretch(1, 1)
        last_buttons = QHBoxLayout()
        last_buttons.addWidget(self._all)
        last_buttons.addWidget(self._apply)
        layout = QVBoxLayout(self)
        layout.setSpacing(6)
        layout.addLayout(grid)
        layout.addLayout(region_buttons)
        layout.addLayout(frames)
        layout.addLayout(last_buttons)
        layout.addWidget(self._error)

    def _connect(self) -> None:
        for spin in self._region.values():
            spin.valueChanged.connect(lambda _: self.region_entered.emit(self.region))
        for spin in (self._first, self._last):
            spin.valueChanged.connect(
                lambda _: self.frames_entered.emit(self._first.value(), self._last.value())
            )
        self.draw.toggled.connect(self.draw_toggled)
        self._whole.clicked.connect(self.whole_frame_requested)
        self._first_here.clicked.connect(self.first_here_requested)
        self._last_here.clicked.connect(self.last_here_requested)
        self._all.clicked.connect(self.all_frames_requested)
        self._apply.clicked.connect(self.apply_to_all_requested)

    @property
    def region(self) -> tuple[int, int, int, int]:
        """The region as typed."""
        x, y, w, h = (self._region[key].value() for key in ("x", "y", "w", "h"))
        return x, y, w, h

    def set_region(self, region: tuple[int, int, int, int]) -> None:
        """Show a region without emitting."""
        for key, value in zip(("x", "y", "w", "h"), region, strict=True):
            _set_quietly(self._region[key], value)

    def set_frames(self, first: int, last: int) -> None:
        """Show a range of frames (both included) without emitting."""
        _set_quietly(self._first, first)
        _set_quietly(self._last, last)

    def set_several(self, several: bool) -> None:
        """Offer 'apply to all' only where there are others."""
        self._apply.setEnabled(several)

    def show_error(self, text: str) -> None:
        """Say beside the numbers why they are not used; empty takes it away."""
        self._error.setText(f"✕ {text}" if text else "")
        self._error.setVisible(bool(text))


def _number(name: str, tip: str) -> QSpinBox:
    spin = named(QSpinBox(), name)
    spin.setRange(0, _MOST)
    spin.setKeyboardTracking(False)  # one change when the number is finished
    spin.setToolTip(tip)
    spin.setMinimumWidth(64)
    return spin


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = named(QPushButton(text), name)
    button.setToolTip(tip)
    return button


def _set_quietly(spin: QSpinBox, value: int) -> None:
    spin.blockSignals(True)
    spin.setValue(value)
    spin.blockSignals(False)
