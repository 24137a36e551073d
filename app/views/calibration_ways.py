"""The three ways to a calibration: a file, bead stacks, or a plain 2D Gaussian."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.views.form import ConfigForm, FieldGroup
from app.views.form_fields import FieldProblem
from app.views.job_panel import JobPanel
from app.views.naming import named
from app.views.side_column import SideColumn
from decode_engine.contract.configs import CalibrateConfig
from decode_engine.io.calibrations import CalibrationEntry

__all__ = ["BEAD_LABELS", "WAY_WIDTH", "BeadsWay", "FileWay", "FlatWay"]

WAY_WIDTH = 310

_BEAD_GROUPS = (
    FieldGroup("Your bead stacks", ("dz_nm", "pixel_size_x_nm", "pixel_size_y_nm")),
    FieldGroup("The calibration", ("roi_px", "z_reference")),
    FieldGroup(
        "Finding beads",
        ("min_distance_px", "detection_cutoff", "filter_px", "max_beads"),
        advanced=True,
    ),
    FieldGroup("Along z", ("z_slices", "smoothing_z_nm"), advanced=True),
    FieldGroup("Camera", ("offset_adu", "photons_per_adu", "em_mirrored"), advanced=True),
)
BEAD_LABELS = {
    "dz_nm": "Slice distance",
    "pixel_size_x_nm": "Pixel size",
    "pixel_size_y_nm": "Pixel size in y",
    "roi_px": "Window around a bead",
    "z_reference": "Height zero is",
    "z_reference.focus": "in the focus",
    "z_reference.middle": "mid-range",
    "min_distance_px": "Distance of beads",
    "detection_cutoff": "Detection cutoff",
    "filter_px": "Smoothing for detection",
    "max_beads": "Most beads",
    "z_slices": "Slices kept",
    "smoothing_z_nm": "Smoothing along z",
    "offset_adu": "Camera offset",
    "photons_per_adu": "Photons per ADU",
    "em_mirrored": "Mirrored by EM read-out",
}


class FileWay(QWidget):
    """Load a calibration file, go back to an earlier one, choose region and channel."""

    open_requested = Signal()
    entry_chosen = Signal(object, object)  # region, channel
    earlier_chosen = Signal(str)  # path of a calibration made in this project

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._entries: tuple[CalibrationEntry, ...] = ()
        text = QLabel(
            "A <i>_3dcal.mat</i> of SMAP or fit3Dcspline, a uiPSF <i>.h5</i>, or a calibration of "
            "this program. You can also drop the file here."
        )
        text.setWordWrap(True)
        self._open = named(QPushButton("Open a calibration file …"), "calibration-open")
        self._open.setToolTip("Read a calibration; the file stays where it is.")
        self._open.clicked.connect(self.open_requested)
        self._earlier = named(QComboBox(), "calibration-earlier")
        self._earlier.setAccessibleName("Calibrations made in this project")
        self._earlier.setToolTip("Go back to a calibration that was made in this project.")
        self._earlier.activated.connect(self._choose_earlier)
        self._name = named(QLabel(), "calibration-file-name")
        self._name.setWordWrap(True)
        self._region, self._channel = (
            self._picker("region", "Part of the field of view that the PSF was made for."),
            self._picker("channel", "Colour channel or plane that the PSF was made for."),
        )
        form = QFormLayout()
        self._labels = {}
        for name, box in (("&Region", self._region), ("&Channel", self._channel)):
            label = QLabel(name)
            label.setBuddy(box)
            self._labels[box] = label
            form.addRow(label, box)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for part in (text, self._open, self._earlier, self._name):
            layout.addWidget(part)
        layout.addLayout(form)
        layout.addStretch()
        self.show_file("", (), None, None)
        self.show_earlier((), None)

    def show_earlier(self, made: Sequence[tuple[str, str]], chosen: str | None) -> None:
        """Offer calibrations of this project: (path, words), the latest first."""
        self._earlier.clear()
        self._earlier.addItem("Made in this project …", "")
        for path, words in made:
            self._earlier.addItem(words, path)
        self._earlier.setCurrentIndex(max(self._earlier.findData(chosen or ""), 0))
        self._earlier.setVisible(bool(made))

    def show_file(
        self,
        name: str,
        entries: Sequence[CalibrationEntry],
        region: int | None,
        channel: int | None,
    ) -> None:
        """Show which file is used and which PSFs it holds."""
        self._entries = tuple(entries)
        self._name.setText(f"In use: {name}" if name else "")
        self._name.setVisible(bool(name))
        self._fill(self._region, [e.region for e in self._entries], region)
        self._fill(self._channel, [e.channel for e in self._entries], channel)

    def _choose_earlier(self) -> None:
        path = self._earlier.currentData()
        if path:
            self.earlier_chosen.emit(path)

    def _picker(self, name: str, tip: str) -> QComboBox:
        box = named(QComboBox(), f"calibration-{name}")
        box.setToolTip(tip)
        box.activated.connect(lambda _index: self._chosen())
        return box

    def _fill(self, box: QComboBox, numbers: Sequence[int], chosen: int | None) -> None:
        several = sorted(set(numbers))
        box.clear()
        for number in several:
            box.addItem(self._words(box, number), number)
        box.setCurrentIndex(max(box.findData(chosen), 0) if several else -1)
        box.setVisible(len(several) > 1)
        self._labels[box].setVisible(len(several) > 1)

    def _words(self, box: QComboBox, number: int) -> str:
        if box is self._region:
            for entry in self._entries:
                if entry.region == number and entry.x_range_px and entry.y_range_px:
                    (x0, x1), (y0, y1) = entry.x_range_px, entry.y_range_px
                    return f"{number + 1} (x {x0:g} to {x1:g}, y {y0:g} to {y1:g} px)"
        return f"{number + 1}"

    def _chosen(self) -> None:
        self.entry_chosen.emit(self._region.currentData(), self._channel.currentData())


class BeadsWay(QWidget):
    """Make a calibration from stacks of bead images."""

    add_requested = Signal()
    stacks_changed = Signal(object)  # tuple of str
    make_requested = Signal()
    command_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._proposed: float | None = None
        text = QLabel(
            "Record fluorescent beads on a coverslip while the focus moves in equal steps; one "
            "TIFF a stack. Ten or more beads, well apart."
        )
        text.setWordWrap(True)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        column.addWidget(text)
        self._add_stack_list(column)
        self.form = ConfigForm(CalibrateConfig, groups=_BEAD_GROUPS, labels=BEAD_LABELS)
        column.addWidget(named(self.form, "calibration-beads-form"))
        column.addStretch()
        self.column = SideColumn(inner, width=WAY_WIDTH)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.column, 1)
        self._add_actions(layout)
        self._list.itemSelectionChanged.connect(self._allow_remove)
        self.set_stacks(())

    def _add_stack_list(self, layout: QVBoxLayout) -> None:
        self._list = named(QListWidget(), "calibration-stacks")
        self._list.setAccessibleName("Bead stacks")
        self._list.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self._list.setToolTip("Bead stacks; drop TIFF files here. Delete removes the selected.")
        self._list.setMaximumHeight(96)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self._list)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._remove_selected)
        self._add = named(QPushButton("Add stacks …"), "calibration-add-stacks")
        self._remove = named(QPushButton("Remove"), "calibration-remove-stacks")
        self._add.setToolTip("Add TIFF files, each with one bead stack.")
        self._remove.setToolTip("Take the selected stacks from the list; the files stay.")
        self._add.clicked.connect(self.add_requested)
        self._remove.clicked.connect(self._remove_selected)
        buttons = QHBoxLayout()
        buttons.addWidget(self._add)
        buttons.addWidget(self._remove)
        buttons.addStretch()
        layout.addWidget(self._list)
        layout.addLayout(buttons)

    def _add_actions(self, layout: QVBoxLayout) -> None:
        self._make = named(QPushButton("Make the calibration"), "calibration-make")
        self._make.setProperty("primary", True)
        self._make.clicked.connect(self.make_requested)
        self._command = named(QPushButton("Copy command"), "calibration-command")
        self._command.setToolTip("The decode-engine command that makes the same calibration.")
        self._command.clicked.connect(self.command_requested)
        self._why = named(QLabel(), "calibration-make-reason")
        self._why.setWordWrap(True)
        self.job = JobPanel()
        self.job.hide()
        layout.addWidget(self._why)
        layout.addWidget(self.job)
        row = QHBoxLayout()
        row.addWidget(self._make, 1)
        row.addWidget(self._command)
        layout.addLayout(row)

    @property
    def stacks(self) -> tuple[str, ...]:
        """Paths of the stacks in the list."""
        items = [self._list.item(row) for row in range(self._list.count())]
        return tuple(str(item.data(Qt.ItemDataRole.UserRole)) for item in items)

    def set_stacks(self, paths: Sequence[str]) -> None:
        """Show the stacks."""
        if tuple(paths) != self.stacks:
            self._list.clear()
            for path in paths:
                item = QListWidgetItem(Path(path).name)
                item.setData(Qt.ItemDataRole.UserRole, path)
                item.setToolTip(path)
                self._list.addItem(item)
        self._allow_remove()

    def set_makeable(self, reason: str) -> None:
        """Allow to start where ``reason`` is empty; else say what is missing."""
        self._make.setEnabled(not reason)
        self._command.setEnabled(not reason)
        self._make.setToolTip(reason or "Find the beads, align them and fit the PSF model.")
        self._why.setText(reason)
        self._why.setVisible(bool(reason))

    def propose_pixel_size(self, size_nm: float) -> None:
        """Fill the pixel size where nothing was typed yet."""
        editor = self.form.editor("pixel_size_x_nm")
        try:
            empty = editor.value() is None
        except FieldProblem:
            empty = True
        if empty and size_nm != self._proposed:
            self._proposed = size_nm
            editor.set_value(size_nm)
            editor.edited.emit()  # so that the form judges it

    def _allow_remove(self) -> None:
        self._remove.setEnabled(bool(self._list.selectedItems()))

    def _remove_selected(self) -> None:
        chosen = {item.data(Qt.ItemDataRole.UserRole) for item in self._list.selectedItems()}
        self.stacks_changed.emit(tuple(path for path in self.stacks if path not in chosen))


class FlatWay(QWidget):
    """Use a Gaussian of one width: 2D, without a calibration."""

    use_requested = Signal(float)  # sigma in nm
    optics_changed = Signal(float, float)  # numerical aperture, wavelength in nm

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        text = QLabel(
            "Without astigmatism or another 3D method, a molecule in focus looks like a small "
            "Gaussian spot. Its width follows from objective and colour; real spots are usually "
            "10 to 30 % wider. Heights are not measured."
        )
        text.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(text)
        self._make_numbers()
        layout.addLayout(self._number_grid())
        layout.addWidget(self._use)
        layout.addWidget(self._state)
        layout.addStretch()
        self._derive.clicked.connect(
            lambda: self.optics_changed.emit(self._na.value(), self._wavelength.value())
        )
        self._use.clicked.connect(lambda: self.use_requested.emit(self._sigma.value()))
        self.show_use(None)

    def _make_numbers(self) -> None:
        self._na = _spin("calibration-na", (0.1, 1.7), 2, "", 1.49)
        self._na.setToolTip("Numerical aperture, printed on the objective; usually 1.2 to 1.5.")
        self._wavelength = _spin("calibration-wavelength", (300, 1100), 0, " nm", 670)
        self._wavelength.setToolTip(
            "Wavelength of the light that molecules emit: Alexa 647 about 670 nm, Atto 488 "
            "about 523 nm."
        )
        self._sigma = _spin("calibration-sigma", (20, 1000), 1, " nm", 130)
        self._sigma.setToolTip(
            "Standard deviation of the spot, usually 100 to 160 nm (its width at half height is "
            "2.35 times as much). Type it if you measured it."
        )
        self._derive = named(QPushButton("Work out from objective"), "calibration-derive")
        self._derive.setToolTip("0.225 × wavelength / numerical aperture, the best fit in theory.")
        self._use = named(QPushButton("Use this width"), "calibration-use-2d")
        self._use.setToolTip("Use a Gaussian PSF of this width for simulation and training.")
        self._state = named(QLabel(), "calibration-2d-state")
        self._state.setWordWrap(True)

    def _number_grid(self) -> QGridLayout:
        grid = QGridLayout()
        rows = (
            ("&Numerical aperture", self._na),
            ("&Emission wavelength", self._wavelength),
            ("Spot &width (sigma)", self._sigma),
        )
        for row, (words, box) in enumerate(rows):
            label = QLabel(words)
            label.setBuddy(box)
            label.setToolTip(box.toolTip())
            grid.addWidget(label, row + (row == 2), 0)
            grid.addWidget(box, row + (row == 2), 1)
        grid.addWidget(self._derive, 2, 1)
        return grid

    def set_sigma(self, sigma_nm: float) -> None:
        """Show a width."""
        self._sigma.setValue(sigma_nm)

    def show_use(self, sigma_nm: float | None) -> None:
        """Say whether, and with which width, the 2D PSF is in use."""
        used = sigma_nm is not None
        self._state.setText(f"In use: 2D, {sigma_nm:.1f} nm." if sigma_nm is not None else "")
        self._state.setVisible(used)


def _spin(
    name: str, limits: tuple[float, float], decimals: int, suffix: str, value: float
) -> QDoubleSpinBox:
    box = named(QDoubleSpinBox(), name)
    box.setDecimals(decimals)
    box.setRange(*limits)
    box.setSuffix(suffix)
    box.setSingleStep(10.0**-decimals if decimals else 5.0)
    box.setValue(value)
    return box
