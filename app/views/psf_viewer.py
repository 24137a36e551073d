"""The PSF from three sides, a slider for the height, and the precision over height."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.models.psf_volume import Normalisation, PsfVolume
from app.views.charts import CurveChart
from app.views.frame_view import FrameView
from app.views.naming import named

__all__ = ["PsfViewer"]

_VIEWS = (
    ("xy", "Across (x, y)", "The molecule as the camera sees it at the chosen height."),
    ("xz", "Side (x, height)", "Cut through the centre; the line is the height shown."),
    ("yz", "Side (y, height)", "Cut through the centre; the line is the height shown."),
)
_TALLEST = 6.0  # bounds above this many medians are not drawn
_SCALES = {
    "slice": "each on its own",
    "volume": "all together",
}


class PsfViewer(QWidget):
    """Shows a `PsfVolume`; asks for another one when photons or background are changed."""

    conditions_changed = Signal(float, float)  # photons, background in photons per px

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._psf: PsfVolume | None = None
        self._views: dict[str, FrameView] = {}
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 6, 8, 6)
        layout.addLayout(self._make_views(), 3)
        layout.addLayout(self._make_slider())
        layout.addLayout(self._make_conditions())
        self.chart = CurveChart("height z (nm)", "precision (nm)")
        self.chart.setAccessibleName("Best possible precision over height")
        self.chart.x_clicked.connect(self._go_to)
        layout.addWidget(named(self.chart, "calibration-crlb"), 2)
        self.show_psf(None)

    def show_psf(self, psf: PsfVolume | None) -> None:
        """Show a PSF; the height stays where it makes sense."""
        earlier = self._psf
        self._psf = psf
        self.setEnabled(psf is not None)
        if psf is None:
            for view in self._views.values():
                view.set_frame(None)
                view.set_scale_bar(None)
            self.chart.clear()
            self.chart.set_marker(None)
            self._height.setText("")
            return
        same = earlier is not None and earlier.n_slices == psf.n_slices
        self._slider.blockSignals(True)
        self._slider.setRange(0, psf.n_slices - 1)
        if not same:
            self._slider.setValue(psf.focus_index)
        self._slider.blockSignals(False)
        self._show_heights(on=psf.n_slices > 1)
        self._show_curves(psf)
        self._draw(keep_view=same)

    def _show_heights(self, *, on: bool) -> None:
        """Show or hide all that a 2D PSF has not."""
        for column, (name, _, _) in enumerate(_VIEWS[1:], start=1):
            self._views[name].setVisible(on)
            self._titles[name].setVisible(on)
            self._grid.setColumnStretch(column, int(on))
        for part in (self.chart, self._slider, self._slider_label, self._scale, self._scale_label):
            part.setVisible(on)

    def _make_views(self) -> QGridLayout:
        self._grid = grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        self._titles: dict[str, QLabel] = {}
        for column, (name, title, tip) in enumerate(_VIEWS):
            label, view = QLabel(title), FrameView()
            label.setToolTip(tip)
            view.setToolTip(tip)
            view.setAccessibleName(f"PSF, {title}")
            view.setMinimumSize(100, 120)
            view.set_colormap("viridis")
            view.set_levels(0.0, 1.0)
            grid.addWidget(label, 0, column)
            grid.addWidget(named(view, f"calibration-psf-{name}"), 1, column)
            grid.setColumnStretch(column, 1)
            self._views[name], self._titles[name] = view, label
        grid.setRowStretch(1, 1)
        return grid

    def _make_slider(self) -> QHBoxLayout:
        self._slider = named(QSlider(Qt.Orientation.Horizontal), "calibration-z")
        self._slider.setAccessibleName("Height of the slice shown")
        self._slider.setToolTip("Height of the slice shown, over the calibrated range.")
        self._slider.valueChanged.connect(lambda _value: self._draw(keep_view=True))
        self._height = named(QLabel(), "calibration-z-text")
        self._height.setMinimumWidth(84)
        self._scale = named(QComboBox(), "calibration-normalisation")
        self._scale.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._scale.setMinimumContentsLength(10)
        for value in get_args(Normalisation):
            self._scale.addItem(_SCALES[value], value)
        self._scale.setToolTip(
            "Brightness: each height scaled to its own maximum shows the shapes; all heights "
            "together show how the light spreads and dims away from the focus."
        )
        self._scale.currentIndexChanged.connect(lambda _index: self._draw(keep_view=True))
        self._slider_label = label = QLabel("&Height")
        label.setBuddy(self._slider)
        self._scale_label = scale = QLabel("&Brightness")
        scale.setBuddy(self._scale)
        row = QHBoxLayout()
        row.addWidget(label)
        row.addWidget(self._slider, 1)
        row.addWidget(self._height)
        row.addWidget(scale)
        row.addWidget(self._scale)
        return row

    def _make_conditions(self) -> QHBoxLayout:
        self._photons = _number("calibration-photons", 5000, 50, 1e6, " photons")
        self._photons.setToolTip(
            "Photons of the molecule in one frame; dSTORM dyes give about 500 to 10,000."
        )
        self._background = _number("calibration-background", 20, 0, 1e5, " photons/px")
        self._background.setToolTip("Background light; usually 5 to 100 photons per pixel.")
        row = QHBoxLayout()
        words = QLabel("Best precision for")
        words.setToolTip(
            "The Cramér-Rao lower bound: no method can locate a single molecule more precisely, "
            "on average, from one frame."
        )
        row.addWidget(words)
        row.addWidget(self._photons)
        row.addWidget(QLabel("on"))
        row.addWidget(self._background)
        row.addStretch()
        self._photons.setAccessibleName("Photons of the molecule")
        self._background.setAccessibleName("Background")
        for box in (self._photons, self._background):
            box.valueChanged.connect(
                lambda _value: self.conditions_changed.emit(
                    self._photons.value(), self._background.value()
                )
            )
        return row

    def _show_curves(self, psf: PsfVolume) -> None:
        curves = {"x": psf.crlb_x_nm, "y": psf.crlb_y_nm, "height z": psf.crlb_z_nm}
        for name, values in curves.items():
            # Where a PSF is cut off, bounds explode and would flatten all others.
            limit = _TALLEST * np.nanmedian(values) if np.isfinite(values).any() else np.inf
            self.chart.set_curve(name, psf.z_nm, np.where(values <= limit, values, np.nan))

    def _draw(self, *, keep_view: bool) -> None:
        psf = self._psf
        if psf is None:
            return
        index = min(self._slider.value(), psf.n_slices - 1)
        scale: Normalisation = "volume" if self._scale.currentData() == "volume" else "slice"
        x_nm = float(psf.pixel_size_nm[0])
        self._show("xy", psf.xy(index, scale), x_nm, keep_view=keep_view)
        if psf.n_slices > 1:
            row = psf.row_of(index)
            for name, axis in (("xz", "x"), ("yz", "y")):
                image = psf.side("x" if axis == "x" else "y", scale)
                self._show(name, image, psf.side_sample_nm, keep_view=keep_view)
                ends = [-0.5, image.shape[1] - 0.5]
                self._views[name].set_points("height", ends, [row, row], symbol="d", size_px=9)
            self.chart.set_marker(float(psf.z_nm[index]))
            # + 0 makes a rounded -0 plain.
            self._height.setText(f"z = {round(psf.z_nm[index]) + 0:d} nm")
        else:
            self.chart.set_marker(None)
            across = float(psf.crlb_x_nm[0])
            self._height.setText(
                f"2D: at best {across:.1f} nm across" if np.isfinite(across) else "2D"
            )

    def _show(
        self, name: str, image: NDArray[np.float32], sample_nm: float, *, keep_view: bool
    ) -> None:
        view = self._views[name]
        view.set_frame(image, unit="of the maximum", keep_view=keep_view)
        view.set_levels(0.0, 1.0)
        view.set_scale_bar(sample_nm if sample_nm > 0 else None)

    def _go_to(self, z_nm: float) -> None:
        """Follow a click into the chart."""
        if self._psf is not None:
            self._slider.setValue(int(abs(self._psf.z_nm - z_nm).argmin()))


def _number(name: str, value: float, low: float, high: float, suffix: str) -> QDoubleSpinBox:
    box = named(QDoubleSpinBox(), name)
    box.setRange(low, high)
    box.setDecimals(0)
    box.setGroupSeparatorShown(True)
    box.setSuffix(suffix)
    box.setValue(value)
    box.setKeyboardTracking(False)
    box.setMinimumWidth(90)
    box.setMaximumWidth(150)
    box.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)
    return box
