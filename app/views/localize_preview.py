"""One raw frame with the localizations that the model finds in it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QSpinBox,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.views.frame_view import FrameView
from app.views.naming import named
from decode_engine.domain.localizations import Localizations

__all__ = ["FramePreview"]

_NOTHING = "No movie yet. Add one on the Movie page; then test the model here on one frame."
_COLORS = (
    ("z", "z_nm", "nm"),
    ("lateral uncertainty", "sigma_x_nm", "nm"),
    ("photons", "photons", "photons"),
    ("probability", "probability", ""),
)


class FramePreview(QWidget):
    """Frame, overlay, and the controls that choose them.

    Signals
    -------
    preview_requested : int
        Localize this frame.
    frame_changed : int
        Another frame was chosen (its raw image is wanted).
    """

    preview_requested = Signal(int)
    frame_changed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._table: Localizations | None = None
        self._pixel_size_nm = (100.0, 100.0)
        self.view = FrameView()
        self.view.setObjectName("localize-frame")
        self.slider = named(QSlider(Qt.Orientation.Horizontal), "localize-frame-slider")
        self.slider.setAccessibleName("Frame")
        self.number = named(QSpinBox(), "localize-frame-number")
        self.number.setAccessibleName("Frame number")
        self.color = named(QComboBox(), "localize-overlay-color")
        self.color.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.color.setMinimumContentsLength(7)
        for text, column, _ in _COLORS:
            self.color.addItem(text, column)
        self.button = named(QPushButton("Find molecules in this frame"), "localize-preview")
        self.words = named(QLabel(), "localize-preview-words")
        self.words.setWordWrap(True)
        self._lay_out()
        self.slider.valueChanged.connect(self.number.setValue)
        self.number.valueChanged.connect(self._on_number)
        self.button.clicked.connect(lambda: self.preview_requested.emit(self.number.value()))
        self.color.currentIndexChanged.connect(lambda _index: self._draw())

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        label = QLabel("Frame")
        label.setBuddy(self.number)
        top.addWidget(label)
        top.addWidget(self.number)
        top.addWidget(self.slider, 1)
        bottom = QHBoxLayout()
        bottom.addWidget(self.button)
        label = QLabel("Colour by")
        label.setBuddy(self.color)
        bottom.addStretch()
        bottom.addWidget(label)
        bottom.addWidget(self.color)
        nothing = named(QLabel(_NOTHING), "localize-preview-nothing")
        nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        nothing.setWordWrap(True)
        nothing.setProperty("muted", True)
        self._stack = QStackedWidget()
        self._stack.addWidget(nothing)
        self._stack.addWidget(self.view)
        layout = QVBoxLayout(self)
        layout.addLayout(top)
        layout.addWidget(self._stack, 1)
        layout.addWidget(self.words)
        layout.addLayout(bottom)

    def set_enabled(self, on: bool, why_not: str) -> None:
        """Allow to localize a frame, or say why not."""
        self.button.setEnabled(on)
        self.button.setToolTip(
            why_not or "Runs the model on this frame; its neighbours in time help it."
        )

    def set_n_frames(self, n_frames: int) -> None:
        """Set how many frames the movie has; 0 clears the view."""
        for control in (self.slider, self.number):
            control.blockSignals(True)
            control.setRange(0, max(0, n_frames - 1))
            control.setEnabled(n_frames > 0)
            control.blockSignals(False)
        self._stack.setCurrentIndex(1 if n_frames else 0)
        self.number.setSuffix(f" of {n_frames - 1}" if n_frames else "")
        self.forget_result()
        if not n_frames:
            self.show_frame(None)

    def show_frame(self, frame: NDArray[Any] | None) -> None:
        """Show the raw frame whose number is set; (H, W) ADU. What was found in it stays."""
        self.view.set_frame(frame)

    def show_result(
        self, table: Localizations, pixel_size_nm: tuple[float, float], roi_px: Any = None
    ) -> None:
        """Draw the localizations over the frame that is shown."""
        self._table, self._pixel_size_nm = table, pixel_size_nm
        self.view.set_scale_bar(pixel_size_nm[0])
        self.view.set_roi(roi_px)
        self._draw()

    def _on_number(self, number: int) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(number)
        self.slider.blockSignals(False)
        self.forget_result()
        self.frame_changed.emit(number)

    def forget_result(self, why: str = "") -> None:
        """Take the overlay away: it belongs to another frame, or to other settings."""
        self._table = None
        self.view.clear_points()
        self.words.setText(why)

    def _draw(self) -> None:
        table = self._table
        if table is None:
            return
        text, column, unit = _COLORS[self.color.currentIndex()]
        values = table.columns().get(column)
        if values is not None and not np.isfinite(values).any():
            values = None
        self.view.clear_points()
        self.view.set_points(
            f"{text} ({unit})" if unit else text,
            table.x_nm / self._pixel_size_nm[0],
            table.y_nm / self._pixel_size_nm[1],
            values=values,
            colormap="viridis",
            size_px=11,
        )
        self.words.setText(_summary(table))


def _summary(table: Localizations) -> str:
    if not len(table):
        return "No molecule found in this frame."
    words = [f"{len(table):,} molecules", f"median {np.median(table.photons):,.0f} photons"]
    if table.sigma_x_nm is not None:
        words.append(f"lateral uncertainty {np.median(table.sigma_x_nm):.0f} nm")
    if table.sigma_z_nm is not None and np.isfinite(table.sigma_z_nm).any():
        words.append(f"axial {np.nanmedian(table.sigma_z_nm):.0f} nm")
    return ", ".join(words) + "."
