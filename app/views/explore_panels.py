"""The side panels of the Explore page: colours and drawing, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QObject, QSignalBlocker, QSize, Qt, Signal
from PySide6.QtGui import QIcon, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGroupBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSlider,
    QVBoxLayout,
    QWidget,
)

from app.models.explore_look import (
    COLOR_SOURCES,
    ColorBy,
    Drawing,
    Look,
    maps_for,
)
from app.views.charts import CurveChart
from app.views.naming import named
from app.views.paint_surface import image_from_pixels
from decode_engine.analysis.hues import color_table, hue_scale

__all__ = ["LookPanel", "MeasurePanel"]

_DRAWINGS: tuple[tuple[Drawing, str, str], ...] = (
    ("auto", "Automatic", "Quick dots while you move, exact Gaussians when you rest."),
    ("gaussian", "Gaussians", "Exact Gaussians even while you move: slower on large tables."),
    ("histogram", "Counts", "Each pixel shows how many molecules fall into it, no blur."),
)
_BRIGHT_STEPS = 20  # of the slider for one doubling
_ICON = QSize(56, 12)


class LookPanel(QWidget):
    """Colour, drawing and contrast."""

    changed = Signal(object)  # Look
    auto_contrast_requested = Signal()
    overlays_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._look = Look()
        self._auto_range = (0.0, 1.0)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self._color_group())
        layout.addWidget(self._drawing_group())
        layout.addWidget(self._overlay_group())
        layout.addStretch()
        for kind in (QComboBox, QDoubleSpinBox, QSlider):
            for widget in self.findChildren(kind):
                widget.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                widget.installEventFilter(self)
        self.set_look(self._look)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Let the wheel scroll the panel, not change what it happens to pass over."""
        is_wheel = event.type() == QEvent.Type.Wheel
        if is_wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    @property
    def look(self) -> Look:
        """The choices as they are."""
        return self._look

    @property
    def shows_scale_bar(self) -> bool:
        """Whether the scale bar is wanted."""
        return self._scale_bar.isChecked()

    @property
    def shows_color_bar(self) -> bool:
        """Whether the colour bar is wanted."""
        return self._color_bar.isChecked()

    @property
    def shows_field(self) -> bool:
        """Whether the border of the field is wanted."""
        return self._field.isChecked()

    def set_sources(self, available: Sequence[ColorBy]) -> None:
        """Offer only the quantities that the table has."""
        with QSignalBlocker(self._color):
            self._color.clear()
            for key in available:
                source = COLOR_SOURCES[key]
                self._color.addItem(source.title, key)
                self._color.setItemData(
                    self._color.count() - 1, source.tip, Qt.ItemDataRole.ToolTipRole
                )
        self.set_look(self._look)

    def set_auto_range(self, low: float, high: float) -> None:
        """Say which range is used while the user has chosen none."""
        self._auto_range = (low, high)
        self.set_look(self._look)

    def set_look(self, look: Look) -> None:
        """Show choices without emitting."""
        self._look = look
        widgets = (
            self._color,
            self._map,
            self._low,
            self._high,
            self._drawing,
            self._sigma,
            self._bright,
            self._gamma,
        )
        blockers = [QSignalBlocker(widget) for widget in widgets]
        self._color.setCurrentIndex(self._color.findData(look.color_by))
        self._fill_maps(look)
        low, high = self._auto_range
        self._low.setValue(low if look.low is None else look.low)
        self._high.setValue(high if look.high is None else look.high)
        colored = look.color_by != "none"
        unit = " nm" if look.color_by in ("z", "sigma") else ""
        for edit in (self._low, self._high):
            edit.setSuffix(unit)
            edit.setEnabled(colored)
        self._range_auto.setEnabled(colored and (look.low is not None or look.high is not None))
        self._drawing.setCurrentIndex(self._drawing.findData(look.drawing))
        self._sigma.setValue(look.sigma_min_nm)
        self._sigma.setEnabled(look.drawing != "histogram")
        self._bright.setValue(round(_BRIGHT_STEPS * math.log2(max(look.brightness, 1e-6))))
        self._gamma.setValue(look.gamma)
        del blockers

    def _fill_maps(self, look: Look) -> None:
        names = maps_for(look.color_by)
        if [self._map.itemData(i) for i in range(self._map.count())] != list(names):
            self._map.clear()
            for name in names:
                icon = _map_icon(name, by_value=look.color_by != "none")
                self._map.addItem(icon, name.capitalize(), name)
        self._map.setCurrentIndex(self._map.findData(look.colormap))

    def _color_group(self) -> QGroupBox:
        group = QGroupBox("Colour")
        form = QFormLayout(group)
        self._color = named(QComboBox(), "explore-color-by")
        self._color.setToolTip("The quantity that the colour of each molecule says.")
        for key, source in COLOR_SOURCES.items():
            self._color.addItem(source.title, key)
        self._color.currentIndexChanged.connect(self._choose_color)
        self._map = named(QComboBox(), "explore-colormap")
        self._map.setIconSize(_ICON)
        self._map.setToolTip("Colour maps with even steps for every eye, colour-blind ones too.")
        self._map.currentIndexChanged.connect(
            lambda: self._change(colormap=self._map.currentData())
        )
        self._low = self._range_edit("explore-color-low", "Value that gets the first colour.")
        self._high = self._range_edit("explore-color-high", "Value that gets the last colour.")
        self._range_auto = named(QPushButton("Choose from data"), "explore-color-auto")
        self._range_auto.setToolTip("Spread the colours over the middle 98 % of the values.")
        self._range_auto.clicked.connect(lambda: self._change(low=None, high=None))
        form.addRow("Colour by", self._color)
        form.addRow("Map", self._map)
        form.addRow("From", self._low)
        form.addRow("To", self._high)
        form.addRow("", self._range_auto)
        return group

    def _range_edit(self, name: str, tip: str) -> QDoubleSpinBox:
        edit = named(QDoubleSpinBox(), name)
        edit.setRange(-1e7, 1e7)
        edit.setDecimals(1)
        edit.setSingleStep(10.0)
        edit.setKeyboardTracking(False)
        edit.setToolTip(f"{tip} In the unit of the quantity; z usually -600 to 600 nm.")
        edit.valueChanged.connect(self._choose_range)
        return edit

    def _drawing_group(self) -> QGroupBox:
        group = QGroupBox("Drawing")
        form = QFormLayout(group)
        self._drawing = named(QComboBox(), "explore-drawing")
        for key, title, tip in _DRAWINGS:
            self._drawing.addItem(title, key)
            self._drawing.setItemData(self._drawing.count() - 1, tip, Qt.ItemDataRole.ToolTipRole)
        self._drawing.setToolTip("How a molecule is drawn.")
        self._drawing.currentIndexChanged.connect(
            lambda: self._change(drawing=self._drawing.currentData())
        )
        self._sigma = named(QDoubleSpinBox(), "explore-sigma-min")
        self._sigma.setRange(0.0, 100.0)
        self._sigma.setSuffix(" nm")
        self._sigma.setDecimals(1)
        self._sigma.setKeyboardTracking(False)
        self._sigma.setToolTip(
            "Smallest width (standard deviation) of a drawn molecule, usually 2 to 10 nm. "
            "Raise it where single dots distract from the structure."
        )
        self._sigma.valueChanged.connect(lambda value: self._change(sigma_min_nm=value))
        self._bright = named(QSlider(Qt.Orientation.Horizontal), "explore-brightness")
        self._bright.setRange(-4 * _BRIGHT_STEPS, 4 * _BRIGHT_STEPS)
        self._bright.setPageStep(_BRIGHT_STEPS)
        self._bright.setToolTip("Brighter or darker, at most 16 times; the middle is as chosen.")
        self._bright.valueChanged.connect(
            lambda value: self._change(brightness=2.0 ** (value / _BRIGHT_STEPS))
        )
        self._gamma = named(QDoubleSpinBox(), "explore-gamma")
        self._gamma.setRange(0.1, 3.0)
        self._gamma.setSingleStep(0.1)
        self._gamma.setKeyboardTracking(False)
        self._gamma.setToolTip(
            "Exponent of the brightness, usually 0.5 to 1. Below 1 lifts what is dim; "
            "1 shows densities in proportion."
        )
        self._gamma.valueChanged.connect(lambda value: self._change(gamma=value))
        auto = named(QPushButton("Auto contrast"), "explore-auto-contrast")
        auto.setToolTip(
            "Choose the brightness from what is in view now. It then stays as it is while you "
            "move, so that places can be compared."
        )
        auto.clicked.connect(self.auto_contrast_requested)
        form.addRow("Draw as", self._drawing)
        form.addRow("Smallest width", self._sigma)
        form.addRow("Brightness", self._bright)
        form.addRow("Gamma", self._gamma)
        form.addRow("", auto)
        return group

    def _overlay_group(self) -> QGroupBox:
        group = QGroupBox("Shown with the picture")
        box = QVBoxLayout(group)
        self._scale_bar = named(QCheckBox("Scale bar"), "explore-show-scale-bar")
        self._color_bar = named(QCheckBox("Colour bar"), "explore-show-color-bar")
        self._field = named(QCheckBox("Border of the data"), "explore-show-field")
        self._scale_bar.setToolTip("A bar of known length, also in the saved picture.")
        self._color_bar.setToolTip("What the colours mean, also in the saved picture.")
        self._field.setToolTip("A dashed line around all localizations.")
        for check, on in ((self._scale_bar, True), (self._color_bar, True), (self._field, False)):
            check.setChecked(on)
            check.toggled.connect(lambda _on: self.overlays_changed.emit())
            box.addWidget(check)
        return group

    def _choose_color(self) -> None:
        key = self._color.currentData()
        if key is not None and key != self._look.color_by:
            self.set_look(self._look.colored_by(key))
            self.changed.emit(self._look)

    def _choose_range(self) -> None:
        low, high = self._low.value(), self._high.value()
        if low >= high:  # an empty range: the other end makes way by one step
            if self.sender() is self._low:
                high = low + 1.0
            else:
                low = high - 1.0
        self._change(low=low, high=high)

    def _change(self, **changes: object) -> None:
        look = replace(self._look, **changes)  # type: ignore[arg-type] # names are its fields
        if look != self._look:
            self.set_look(look)
            self.changed.emit(look)


def _map_icon(name: str, *, by_value: bool) -> QIcon:
    colors = hue_scale(name) if by_value else color_table(name)
    strip = np.rint(255 * colors).astype(np.uint8)[None].repeat(_ICON.height(), axis=0)
    pixmap = QPixmap.fromImage(image_from_pixels(strip))
    return QIcon(pixmap.scaled(_ICON, mode=Qt.TransformationMode.SmoothTransformation))


class MeasurePanel(QWidget):
    """Numbers of a box, or the profile along a line."""

    width_changed = Signal(float)  # of the strip along the line, nm

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._hint = named(QLabel(), "explore-measure-hint")
        self._hint.setWordWrap(True)
        self._title = named(QLabel(), "explore-measure-title")
        font = self._title.font()
        font.setBold(True)
        self._title.setFont(font)
        self._title.setWordWrap(True)
        self._form = QFormLayout()
        self._form.setHorizontalSpacing(16)
        self._chart = named(CurveChart("distance (nm)", "density (per µm²)"), "explore-profile")
        self._chart.setMinimumHeight(220)
        self._width = named(QDoubleSpinBox(), "explore-profile-width")
        self._width.setRange(1.0, 100_000.0)
        self._width.setValue(200.0)
        self._width.setSuffix(" nm")
        self._width.setDecimals(0)
        self._width.setSingleStep(50.0)
        self._width.setKeyboardTracking(False)
        self._width.setToolTip(
            "Localizations up to half of this to either side of the line count, usually 50 to "
            "500 nm. Wider is smoother, but blurs what is not at a right angle to the line."
        )
        self._width.valueChanged.connect(self.width_changed)
        self._width_row = QWidget()
        row = QHBoxLayout(self._width_row)
        row.setContentsMargins(0, 0, 0, 0)
        label = QLabel("Width of the strip")
        label.setBuddy(self._width)
        row.addWidget(label)
        row.addWidget(self._width, 1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(8, 8, 8, 8)
        layout.addWidget(self._title)
        layout.addLayout(self._form)
        layout.addWidget(self._width_row)
        layout.addWidget(self._chart)
        layout.addWidget(self._hint)
        layout.addStretch()
        self.show_nothing()

    @property
    def strip_width_nm(self) -> float:
        """Width of the strip along the line, nm."""
        return self._width.value()

    @property
    def numbers(self) -> dict[str, str]:
        """What is shown: number by name."""
        return dict(self._numbers)

    def show_nothing(self) -> None:
        """Say how to measure."""
        self._hint.setText(
            "Choose <b>Box</b> above the picture and drag over it: how many molecules, how "
            "dense, how precise.<br><br>Choose <b>Line</b> and drag across a structure: its "
            "profile and its width.<br><br>Escape takes them away."
        )
        self._hint.show()
        self._fill("", {})
        self._chart.hide()
        self._width_row.hide()

    def show_box(self, title: str, numbers: Mapping[str, str]) -> None:
        """Show the numbers of a box."""
        self._hint.hide()
        self._chart.hide()
        self._width_row.hide()
        self._fill(title, numbers)

    def show_profile(
        self,
        title: str,
        numbers: Mapping[str, str],
        curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    ) -> None:
        """Show a profile along a line and its numbers."""
        self._hint.setText("The fit finds one peak: draw across a single structure.")
        self._hint.show()
        self._chart.show()
        self._width_row.show()
        self._chart.clear()
        for name, (x, y) in curves.items():
            self._chart.set_curve(name, x, y, style="dashed" if name == "fit" else "line")
        self._fill(title, numbers)

    def _fill(self, title: str, numbers: Mapping[str, str]) -> None:
        self._numbers = dict(numbers)
        self._title.setText(title)
        self._title.setVisible(bool(title))
        while self._form.rowCount():
            self._form.removeRow(0)
        for name, value in numbers.items():
            label = QLabel(value)
            label.setAlignment(Qt.AlignmentFlag.AlignRight)
            label.setTextInteractionFlags(
                Qt.TextInteractionFlag.TextSelectableByMouse
                | Qt.TextInteractionFlag.TextSelectableByKeyboard
            )
            self._form.addRow(name, label)
