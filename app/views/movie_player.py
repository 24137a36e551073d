"""The viewer of a movie: frame, slider, play, keys and contrast."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QGraphicsView,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from app.views.frame_view import FrameView
from app.views.naming import named

__all__ = ["MoviePlayer"]

_PAGES = 20  # steps of PgUp/PgDn over the movie


class MoviePlayer(QWidget):
    """Shows one frame and asks for others; what is shown is always a frame that has been read."""

    frame_requested = Signal(int)
    play_toggled = Signal(bool)
    rate_changed = Signal(float)  # frames per second

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.frame = named(FrameView(), "movie-frame")
        self._status = named(QLabel(self.frame), "movie-status")
        self._status.setAutoFillBackground(True)
        self._status.setMargin(6)
        self._status.move(8, 8)
        self._status.hide()
        self._play = named(QPushButton("Play"), "movie-play")
        self._play.setCheckable(True)
        self._play.setToolTip("Play the movie, or stop (Space). Frames are skipped, never late.")
        self._slider = named(QSlider(Qt.Orientation.Horizontal), "movie-slider")
        self._slider.setAccessibleName("Frame")
        self._slider.setToolTip("Frame; keys ← → one frame, PgUp PgDn a twentieth of the movie.")
        self._spin = named(QSpinBox(), "movie-frame-number")
        self._spin.setKeyboardTracking(False)
        self._spin.setAccessibleName("Frame number")
        self._spin.setToolTip("Number of the frame that is shown, counted from 0.")
        self._total = named(QLabel(), "movie-total")
        self._rate = named(QDoubleSpinBox(), "movie-rate")
        self._rate.setRange(0.5, 60.0)
        self._rate.setDecimals(1)
        self._rate.setValue(15.0)
        self._rate.setSuffix(" /s")
        self._rate.setToolTip("Frames per second while playing (0.5 to 60).")
        self._rate.setAccessibleName("Frames per second")
        self._low = _level("movie-contrast-low", "Counts drawn black, in ADU.", "Darkest")
        self._high = _level("movie-contrast-high", "Counts drawn white, in ADU.", "Brightest")
        self._auto = named(QPushButton("Auto"), "movie-contrast-auto")
        self._auto.setToolTip("Choose the contrast by the frame that is shown, and keep it.")
        self._lay_out()
        self._connect()
        self.set_frames(0)

    def _lay_out(self) -> None:
        transport, contrast = QHBoxLayout(), QHBoxLayout()
        transport.addWidget(self._play)
        transport.addWidget(self._slider, 1)
        for part in (self._spin, self._total, self._rate):
            transport.addWidget(part)
        for text, spin in (("Contrast", self._low), ("to", self._high)):
            label = QLabel(text)
            label.setBuddy(spin)
            contrast.addWidget(label)
            contrast.addWidget(spin)
        contrast.addWidget(QLabel("ADU"))
        contrast.addWidget(self._auto)
        contrast.addStretch()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.frame, 1)
        layout.addLayout(transport)
        layout.addLayout(contrast)

    def _connect(self) -> None:
        self._slider.valueChanged.connect(self._ask)
        self._spin.valueChanged.connect(self._ask)
        self._play.toggled.connect(self._play_changed)
        self._rate.valueChanged.connect(self.rate_changed)
        self._auto.clicked.connect(self.frame.auto_levels)
        self._low.valueChanged.connect(self._levels_typed)
        self._high.valueChanged.connect(self._levels_typed)
        self.frame.levels_changed.connect(self._show_levels)
        for watched in (self._slider, *self.frame.findChildren(QGraphicsView)):
            watched.installEventFilter(self)

    # -- setters

    def set_frames(self, n_frames: int) -> None:
        """Say how many frames there are; 0 turns the controls off."""
        for control in (self._slider, self._spin):
            control.blockSignals(True)
            control.setRange(0, max(0, n_frames - 1))
            control.blockSignals(False)
        self._slider.setPageStep(max(1, n_frames // _PAGES))
        self._total.setText(f"of {n_frames - 1:,}" if n_frames else "")
        for part in (self._play, self._slider, self._spin, self._low, self._high, self._auto):
            part.setEnabled(n_frames > 0)
        self._play.setEnabled(n_frames > 1)

    def show_frame(self, index: int, image: NDArray[Any], *, first: bool) -> None:
        """Show a frame; ``first`` of a movie chooses contrast and zoom."""
        self.frame.set_frame(image, keep_view=not first)
        self.set_position(index)

    def show_nothing(self) -> None:
        """Take the frame away."""
        self.frame.set_frame(None)
        self.set_frames(0)

    def set_position(self, index: int) -> None:
        """Move slider and number without asking for a frame."""
        for control in (self._slider, self._spin):
            control.blockSignals(True)
            control.setValue(index)
            control.blockSignals(False)

    def set_playing(self, on: bool) -> None:
        """Show whether the movie plays, without emitting."""
        self._play.blockSignals(True)
        self._play.setChecked(on)
        self._play.blockSignals(False)
        self._play.setText("Stop" if on else "Play")

    def set_status(self, text: str) -> None:
        """Say what is going on (opening, waiting for a drive); empty for nothing."""
        self._status.setText(text)
        self._status.adjustSize()
        self._status.setVisible(bool(text))

    @property
    def rate(self) -> float:
        """Frames per second chosen for playing."""
        return self._rate.value()

    # -- keys

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Step, page or play by keys."""
        if not self.handle_key(event.key()):
            super().keyPressEvent(event)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Give the frame and the slider the same keys."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self.handle_key(event.key())
        return super().eventFilter(watched, event)

    def handle_key(self, key: int) -> bool:
        """Act on a key; say whether it is one of ours."""
        page, last = self._slider.pageStep(), self._slider.maximum()
        steps = {
            Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_PageUp: -page,
            Qt.Key.Key_PageDown: page, Qt.Key.Key_Home: -last, Qt.Key.Key_End: last,
        }  # fmt: skip
        if key == Qt.Key.Key_Space and self._play.isEnabled():
            self._play.toggle()
            return True
        if key in steps and self._slider.isEnabled():
            self._slider.setValue(self._slider.value() + steps[Qt.Key(key)])
            return True
        return False

    # -- reactions

    def _ask(self, index: int) -> None:
        self.set_position(index)
        self.frame_requested.emit(index)

    def _play_changed(self, on: bool) -> None:
        self._play.setText("Stop" if on else "Play")
        self.play_toggled.emit(on)

    def _levels_typed(self) -> None:
        low, high = self._low.value(), self._high.value()
        self.frame.set_levels(low, max(high, low + 1))

    def _show_levels(self, low: float, high: float) -> None:
        for spin, value in ((self._low, low), (self._high, high)):
            spin.blockSignals(True)
            spin.setValue(value)
            spin.blockSignals(False)


def _level(name: str, tip: str, accessible: str) -> QDoubleSpinBox:
    spin = named(QDoubleSpinBox(), name)
    spin.setRange(-1e9, 1e9)
    spin.setDecimals(0)
    spin.setSingleStep(10)
    spin.setMinimumWidth(76)  # not for the longest number there could be
    spin.setKeyboardTracking(False)
    spin.setToolTip(tip)
    spin.setAccessibleName(accessible)
    return spin
