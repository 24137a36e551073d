"""The user's frames beside simulated ones, always with the same contrast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.views.frame_view import FrameView
from app.views.naming import named

__all__ = ["FramePair"]

_MIDDLE = 50
_KINDS = (
    ("typical", "Typical", "The middle of the density and background ranges."),
    ("low", "Lowest", "The lower ends of the density and background ranges."),
    ("high", "Highest", "The upper ends of the density and background ranges."),
)


class FramePair(QWidget):
    """Two films that run in step."""

    another_requested = Signal()
    kind_chosen = Signal(str)  # typical, low, high

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._films: dict[str, NDArray[np.float32] | None] = {"own": None, "simulated": None}
        self._numbers: NDArray[np.intp] = np.empty(0, np.intp)
        self._views = {"own": FrameView(), "simulated": FrameView()}
        self._titles = {"own": QLabel("Your frames"), "simulated": QLabel("Simulated")}
        self._busy = named(QLabel(), "simulation-busy")
        titles, films = QHBoxLayout(), QHBoxLayout()
        titles.setSpacing(12)
        films.setSpacing(12)
        for name, view in self._views.items():
            view.setAccessibleName(self._titles[name].text())
            # Halves, whatever stands above them: the same field must have the same size.
            view.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
            titles.addWidget(self._title(name), 1)
            films.addWidget(named(view, f"simulation-{name}-view"), 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(titles)
        layout.addLayout(films, 1)
        layout.addLayout(self._make_controls())
        self.set_busy(busy=False)

    @property
    def levels(self) -> tuple[float, float] | None:
        """The contrast of both."""
        return self._views["own"].levels

    @property
    def frame(self) -> int:
        """Place in the films."""
        return self._slider.value()

    def show_own(
        self,
        photons: NDArray[np.float32] | None,
        numbers: NDArray[np.intp],
        pixel_size_nm: float | None,
    ) -> None:
        """Show frames of the movie (F, H, W); ``numbers`` are theirs in the movie."""
        self._films["own"] = photons
        self._numbers = numbers
        self._set_film("own", pixel_size_nm)
        self._slider.setRange(0, max(len(numbers) - 1, 0))
        self._set_contrast()

    def show_simulated(
        self, photons: NDArray[np.float32] | None, pixel_size_nm: float | None
    ) -> None:
        """Show simulated frames (F, H, W)."""
        self._films["simulated"] = photons
        self._set_film("simulated", pixel_size_nm)
        self._set_contrast()

    def set_busy(self, *, busy: bool) -> None:
        """Say that new frames are being simulated."""
        self._busy.setText("simulating …" if busy else "")

    def _title(self, name: str) -> QWidget:
        """Return title and choices of one film."""
        part = QWidget()
        row = QHBoxLayout(part)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._titles[name])
        row.addStretch()
        if name == "simulated":
            self._add_choices(row)
        return part

    def _make_controls(self) -> QHBoxLayout:
        self._slider = named(QSlider(Qt.Orientation.Horizontal), "simulation-frame")
        self._slider.setAccessibleName("Frame")
        self._slider.setToolTip("Step through the frames looked at.")
        self._slider.valueChanged.connect(lambda _value: self._draw())
        self._number = QLabel()
        self._number.setMinimumWidth(80)
        self._contrast = named(QSlider(Qt.Orientation.Horizontal), "simulation-contrast")
        self._contrast.setRange(0, 100)
        self._contrast.setValue(_MIDDLE)
        self._contrast.setMaximumWidth(90)
        self._contrast.setAccessibleName("Contrast of both")
        self._contrast.setToolTip("Contrast, the same for both: right for dim, left for bright.")
        self._contrast.valueChanged.connect(lambda _value: self._set_contrast())
        frame, contrast = QLabel("&Frame"), QLabel("&Contrast")
        frame.setBuddy(self._slider)
        contrast.setBuddy(self._contrast)
        row = QHBoxLayout()
        for part in (frame, self._slider, self._number, contrast, self._contrast):
            row.addWidget(part)
        row.setStretch(1, 1)
        return row

    def _add_choices(self, row: QHBoxLayout) -> None:
        self._kind = named(QComboBox(), "simulation-kind")
        self._kind.setAccessibleName("Which frames are simulated")
        for index, (name, words, tip) in enumerate(_KINDS):
            self._kind.addItem(words, name)
            self._kind.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self._kind.setToolTip("Training draws from the whole ranges; look at their ends, too.")
        self._kind.activated.connect(lambda _i: self.kind_chosen.emit(self._kind.currentData()))
        self._another = named(QPushButton("&Another"), "simulation-another")
        self._another.setAccessibleName("Another sample")
        self._another.setToolTip("Simulate other frames with the same settings.")
        self._another.clicked.connect(self.another_requested)
        for part in (self._busy, self._kind, self._another):
            row.addWidget(part)

    def _set_film(self, name: str, pixel_size_nm: float | None) -> None:
        film = self._films[name]
        if film is None:
            self._views[name].set_frame(None)
        self._views[name].set_scale_bar(pixel_size_nm if film is not None else None)
        self._draw()

    def _set_contrast(self) -> None:
        """Take the contrast from the own frames, else from the simulated ones, for both."""
        film = self._films["own"] if self._films["own"] is not None else self._films["simulated"]
        if film is None:
            return
        low, high = np.quantile(film[:: max(1, len(film) // 10)], [0.01, 0.997]).tolist()
        high = low + max(high - low, 1.0) * 4.0 ** ((_MIDDLE - self._contrast.value()) / _MIDDLE)
        for view in self._views.values():
            view.set_levels(low, high)

    def _draw(self) -> None:
        index = self._slider.value()
        if index < len(self._numbers):
            self._number.setText(f"frame {self._numbers[index]}")
        for name, film in self._films.items():
            if film is not None and len(film):
                self._views[name].set_frame(film[min(index, len(film) - 1)], unit="photons")
