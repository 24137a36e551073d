"""Simulated test frames of a training: the true molecules and what the network finds."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.views.frame_view import FrameView
from app.views.naming import named
from decode_engine.io.training_sample import TrainingSample

__all__ = ["TrainSample"]

_WAITING = (
    "Here follows a simulated frame with the true molecules and those that the network finds, "
    "after its first test."
)
_NONE = "No test frame was kept of this training."
# Bright at both ends on a dark frame, and told apart by colour-blind readers.
_MAPS = {"z": "cool", "sigma": "viridis"}


class TrainSample(QWidget):
    """One of the test frames: circles are true molecules, crosses what the network found."""

    frame_changed = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sample: TrainingSample | None = None
        self._index = 0
        self.frame = FrameView()
        self.frame.setToolTip(
            "A simulated test frame, which the network has not learned from. Circles: where "
            "molecules truly are. Crosses: where the network finds them."
        )
        self._hint = named(QLabel(), "train-sample-hint")
        self._hint.setProperty("muted", True)
        self._hint.setWordWrap(True)
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._legend = self._controls()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.frame, 1)
        layout.addWidget(self._hint, 1)
        layout.addWidget(self._legend)
        self.show_sample(None, waiting=False)

    def show_sample(self, sample: TrainingSample | None, *, waiting: bool = True) -> None:
        """Show test frames; None where there are none (yet, if ``waiting``)."""
        self._sample = sample
        self._hint.setText(_WAITING if waiting else _NONE)
        self._hint.setVisible(sample is None)
        self.frame.setVisible(sample is not None)
        self._legend.setVisible(sample is not None)
        if sample is None:
            self.frame.set_frame(None)
            self.frame.clear_points()
            return
        if self._index >= len(sample.frames):
            self._index = 0
        self._next.setVisible(len(sample.frames) > 1)
        self._draw()

    def set_waiting(self, waiting: bool) -> None:
        """Say whether a frame is still to come."""
        self._hint.setText(_WAITING if waiting else _NONE)

    def _controls(self) -> QWidget:
        self._colour = named(QComboBox(), "train-sample-colour")
        self._colour.addItem("z (nm)", "z")
        self._colour.addItem("sigma (nm)", "sigma")
        self._colour.setAccessibleName("Colour of the crosses")
        self._colour.setToolTip(
            "What colours the crosses: the height z, or the uncertainty sigma that the network "
            "states sideways."
        )
        self._colour.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._colour.currentIndexChanged.connect(self._draw)
        self._next = named(QToolButton(), "train-sample-next")
        self._next.setText("Next")
        self._next.setToolTip("Show another test frame.")
        self._next.clicked.connect(self._show_next)
        controls = QWidget()
        row = QHBoxLayout(controls)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("○ true  × found"))
        row.addWidget(self._colour)
        row.addWidget(self._next)
        row.addStretch()
        return controls

    def _show_next(self) -> None:
        if self._sample is not None:
            self._index = (self._index + 1) % len(self._sample.frames)
            self._draw()
            self.frame_changed.emit(self._index)

    def _draw(self) -> None:
        sample = self._sample
        if sample is None:
            return
        self.frame.clear_points()
        self.frame.set_frame(sample.frames[self._index], unit="photons")
        self.frame.set_scale_bar(sample.pixel_size_nm[0])
        truth, found = sample.truth_of(self._index), sample.found_in(self._index)
        self.frame.set_points(
            "true", truth["x_px"], truth["y_px"], symbol="o", size_px=15, color="#ffffff"
        )
        name = str(self._colour.currentData())
        value_range = None
        if name == "z":
            values = found["z_nm"]
            heights = sample.truth["z_nm"]
            heights = heights[np.isfinite(heights)]
            # Of the truth of all frames, so that colours stay while the network learns.
            if heights.size and float(np.ptp(heights)) > 0:
                value_range = (float(heights.min()), float(heights.max()))
        else:
            values = np.hypot(found["sigma_x_nm"], found["sigma_y_nm"]) / np.sqrt(2.0)
        self.frame.set_points(
            "z (nm)" if name == "z" else "sigma (nm)",
            found["x_px"],
            found["y_px"],
            symbol="x",
            size_px=10,
            values=values,
            value_range=value_range,
            colormap=_MAPS[name],
        )
