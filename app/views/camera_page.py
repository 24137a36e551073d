"""The Camera page: presets, what the file says, own values, and the photons they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGroupBox,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.models.steps import Step
from app.models.verdict import Light
from app.views.charts import HistogramChart
from app.views.form import ConfigForm, FieldGroup
from app.views.naming import named
from app.views.page import Page
from app.views.side_column import SideColumn
from decode_engine.contract.configs import CameraConfig

__all__ = ["CameraPage"]

_LABELS = {
    "kind": "Kind of camera",
    "kind.ideal": "Ideal (shot noise only)",
    "kind.emccd": "EMCCD",
    "kind.scmos": "sCMOS or CCD",
    "name": "Name",
    "pixel_size_x_nm": "Pixel size",
    "pixel_size_y_nm": "Pixel size along rows",
    "offset_adu": "Offset",
    "e_per_adu": "Electrons per count",
    "em_gain": "EM gain",
    "quantum_efficiency": "Quantum efficiency",
    "read_noise_e": "Read noise",
    "spurious_charge_e": "Spurious charge",
    "saturation_adu": "Saturation level",
    "em_mirrored": "Mirrored by EM read-out",
}
_TIPS = {
    "kind": "EMCCD only if the EM register was on; it doubles the noise variance.",
    "pixel_size_x_nm": "Usual: 50-250 nm. Chip pixel (6.5, 11, 13 or 16 µm) divided by the "
    "magnification, tube lens included; best measured with a stage micrometer.",
    "pixel_size_y_nm": "Only where pixels are not square in the sample.",
    "offset_adu": "Usual: 90-500 ADU. Mean of frames without light; also on the data sheet "
    "(bias, dark offset). Or the path of a per-pixel map.",
    "e_per_adu": "Usual: 0.1-3 (sCMOS), 1-25 (EMCCD, before EM gain). Called conversion factor, "
    "sensitivity or gain on the data sheet. Or the path of a per-pixel map.",
    "em_gain": "Usual: 30-300. The EM gain set at recording; it is in the metadata of most files.",
    "quantum_efficiency": "Leave 1: photon numbers then mean detected photons, as SMAP counts "
    "them. 0.6-0.95 gives photons that reached the chip.",
    "read_noise_e": "Usual: 0.5-3 e- (sCMOS), 20-150 e- (EMCCD, before dividing by EM gain). "
    "Standard deviation of frames without light times e-/ADU. Or the path of a per-pixel map.",
    "spurious_charge_e": "Usual: 0 (sCMOS), 0.002-0.05 (EMCCD).",
    "saturation_adu": "65535 for 16 bit, 4095 for 12 bit; lower where the chip clips first.",
    "em_mirrored": "See the explanation below.",
}
_ADVANCED = ("pixel_size_y_nm", "quantum_efficiency", "saturation_adu", "name")
_MAPS = (
    ("offset_adu", "Offset map…"),
    ("e_per_adu", "e-/ADU map…"),
    ("read_noise_e", "Read noise map…"),
)
_MIRRORED = (
    "EM read-out moves the charge through the chip the other way, so that frames come out "
    "mirrored left-right. Tick 'Mirrored by EM read-out' if your movie was taken with the EM "
    "amplifier and the software did not flip it back. Movie and calibration beads must agree, or "
    "the astigmatism is taken for the wrong height."
)


class CameraPage(Page):
    """Setters and request signals of the Camera step.

    Attributes
    ----------
    form : ConfigForm
        Of `CameraConfig`.
    """

    config_edited = Signal(object)  # CameraConfig
    accept_requested = Signal()  # use the values that are shown although nothing is set yet
    preset_selected = Signal(int)
    preset_requested = Signal(int)
    file_values_requested = Signal()
    load_requested = Signal()
    save_requested = Signal()
    save_preset_requested = Signal()
    map_requested = Signal(str)  # field

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.CAMERA, parent)
        self.form = ConfigForm(
            CameraConfig,
            groups=(
                FieldGroup("", ("kind", "pixel_size_x_nm", "offset_adu", "e_per_adu",
                                "read_noise_e", "em_gain", "spurious_charge_e", "em_mirrored")),
                FieldGroup("", _ADVANCED, advanced=True),
            ),
            labels=_LABELS,
        )  # fmt: skip
        self.form.setObjectName("camera-form")
        self.form.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self._extend_tips()
        self.form.set_automatic_text("pixel_size_y_nm", "the same")
        self.form.set_automatic_text("saturation_adu", "not known")
        self._presets = named(QComboBox(), "camera-preset")
        self._presets.setAccessibleName("Camera preset")
        self._presets.setToolTip("Typical values of common cameras, and your own presets.")
        self._presets.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._use = _button("Use preset", "camera-use-preset", "Take over the preset's values.")
        self._note = named(QLabel(), "camera-preset-note")
        self._note.setWordWrap(True)
        self._note.hide()
        self._load = _button(
            "Load file…",
            "camera-load",
            "Read a camera file (.json), or add the cameras of SMAP's cameras.mat or Picasso's "
            "config.yaml to the presets.",
        )
        self._save = _button("Save file…", "camera-save", "Write these values as a camera file.")
        self._keep = _button(
            "Save as preset…", "camera-save-preset", "Keep these values as a preset of your own."
        )
        self._accept = _button(
            "Use these values", "camera-accept", "Set the values below as the project's camera."
        )
        self._proposal = named(QLabel(), "camera-proposal")
        self._proposal.setWordWrap(True)
        self._from_file = _button(
            "Use values from the file", "camera-use-file", "Take over what the movie's file says."
        )
        self._chart = named(
            HistogramChart("photons per pixel", "", title="Your movie under these values"),
            "camera-histogram",
        )
        self._words = named(QLabel(), "camera-words")
        self._words.setWordWrap(True)
        self._mirror = named(QLabel(_MIRRORED), "camera-mirror-words")
        self._mirror.setWordWrap(True)
        self._lay_out()
        self._connect()

    def _extend_tips(self) -> None:
        for name, tip in _TIPS.items():
            editor = self.form.editor(name)
            text = f"{editor.toolTip()}\n{tip}"
            editor.setToolTip(text)
            editor.main.setToolTip(text)

    def _lay_out(self) -> None:
        left = QVBoxLayout()
        left.setContentsMargins(0, 0, 4, 0)
        row = QHBoxLayout()
        row.addWidget(self._presets, 1)
        row.addWidget(self._use)
        files = QHBoxLayout()
        for button in (self._load, self._save, self._keep):
            files.addWidget(button)
        files.addStretch()
        left.addLayout(row)
        left.addWidget(self._note)
        left.addLayout(files)
        left.addWidget(self._proposal_card())
        left.addWidget(self._draft_card())
        left.addWidget(self.form)
        left.addWidget(self._mirror)
        left.addWidget(self._maps_box())
        left.addStretch()
        body = QWidget()
        body.setLayout(left)
        scroll = SideColumn(body, width=400)
        self._right = right = QVBoxLayout()
        right.addWidget(self._chart, 1)
        right.addWidget(self._words)
        layout = QHBoxLayout()
        layout.setSpacing(14)
        layout.addWidget(scroll)
        layout.addLayout(right, 1)
        self.body.addLayout(layout, 1)

    def _proposal_card(self) -> QWidget:
        self._proposal_box = QGroupBox("From your file")
        layout = QVBoxLayout(self._proposal_box)
        layout.addWidget(self._proposal)
        layout.addWidget(self._from_file, 0, Qt.AlignmentFlag.AlignLeft)
        self._proposal_box.hide()
        return self._proposal_box

    def _draft_card(self) -> QWidget:
        words = named(
            QLabel("No camera is set yet. The values below are a suggestion."),
            "camera-draft-words",
        )
        words.setWordWrap(True)
        self._draft_box = QWidget()
        row = QHBoxLayout(self._draft_box)
        row.setContentsMargins(0, 4, 0, 4)
        row.addWidget(words, 1)
        row.addWidget(self._accept)
        return self._draft_box

    def _maps_box(self) -> QWidget:
        box = QGroupBox("Per-pixel maps (sCMOS, for experts)")
        words = QLabel(
            "An image with one value per camera pixel (.npy or .tif), cut to the movie's region. "
            "To go back to one number for all pixels, type it above."
        )
        words.setWordWrap(True)
        row = QHBoxLayout()
        for field, text in _MAPS:
            button = _button(text, f"camera-map-{field}", "Choose the map's file (.npy, .tif).")
            button.clicked.connect(lambda _=False, f=field: self.map_requested.emit(f))
            row.addWidget(button)
        row.addStretch()
        layout = QVBoxLayout(box)
        layout.addWidget(words)
        layout.addLayout(row)
        return box

    def _connect(self) -> None:
        self.form.changed.connect(self.config_edited)
        self._accept.clicked.connect(self.accept_requested)
        self._presets.currentIndexChanged.connect(self._preset_changed)
        self._use.clicked.connect(
            lambda: self.preset_requested.emit(self._presets.currentIndex() - 1)
        )
        self._from_file.clicked.connect(self.file_values_requested)
        self._load.clicked.connect(self.load_requested)
        self._save.clicked.connect(self.save_requested)
        self._keep.clicked.connect(self.save_preset_requested)
        self._preset_changed(0)

    def _preset_changed(self, index: int) -> None:
        self._use.setEnabled(index > 0)
        self.preset_selected.emit(index - 1)

    # -- setters

    def set_presets(self, titles: Sequence[str], selected: int = -1) -> None:
        """Fill the list of presets; -1 selects none."""
        self._presets.blockSignals(True)
        self._presets.clear()
        self._presets.addItem("Choose a preset…")
        self._presets.addItems(list(titles))
        self._presets.setCurrentIndex(selected + 1)
        self._presets.blockSignals(False)
        self._preset_changed(selected + 1)

    def show_note(self, text: str) -> None:
        """Say what is to be minded about the selected preset, and its source."""
        self._note.setText(text)
        self._note.setVisible(bool(text))

    def show_proposal(self, text: str, *, offer: bool) -> None:
        """Say what the movie's file knows of the camera; ``offer`` shows the button."""
        self._proposal.setText(text)
        self._proposal_box.setVisible(bool(text))
        self._from_file.setVisible(offer)

    def show_config(self, config: CameraConfig, *, draft: bool) -> None:
        """Show values; ``draft`` says that the project has none yet."""
        self.form.set_value(config)
        emccd = config.kind == "emccd"
        # A value that is impossible for this kind must be seen, or it could not be put right.
        odd = {
            "em_gain": config.em_gain != 1,
            "spurious_charge_e": config.spurious_charge_e != 0,
            "em_mirrored": config.em_mirrored,
        }
        for field, is_set in odd.items():
            self.form.set_field_visible(field, emccd or is_set)
        self._mirror.setVisible(emccd)
        self._draft_box.setVisible(draft)
        self._save.setEnabled(not draft)
        self._keep.setEnabled(not draft)

    def show_lights(self, lights: Mapping[str, Light]) -> None:
        """Show the plausibility of each field."""
        for field, light in lights.items():
            self.form.set_light(field, light.level, light.text)
        if any(field in lights and lights[field].level == "bad" for field in _ADVANCED):
            fold = self.form.findChild(QToolButton, "form-advanced")
            if fold is not None:
                fold.setChecked(True)  # a reason must not hide behind a fold

    def show_photons(
        self, edges: NDArray[np.float64] | None, counts: NDArray[np.float64] | None, words: str
    ) -> None:
        """Draw the histogram of the movie's photons, or take it away."""
        empty = edges is None or counts is None
        self._chart.setVisible(not empty)
        left, centre = Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignCenter
        self._words.setAlignment(centre if empty else left | Qt.AlignmentFlag.AlignTop)
        self._right.setStretchFactor(self._words, 1 if empty else 0)
        self._chart.clear()
        if edges is not None and counts is not None:
            self._chart.set_histogram("all pixels", edges, counts)
            n_negative = int(np.searchsorted(edges, 0.0, side="right")) - 1  # whole bars below 0
            if n_negative > 0:
                negative = edges[: n_negative + 1], counts[:n_negative]
                self._chart.set_histogram("negative photons", *negative)
        self._words.setText(words)

    # -- questions

    def ask_camera_file(self, folder: str) -> Path | None:
        """Let the user choose a camera file."""
        kinds = "Camera, or list of SMAP or Picasso (*.json *.mat *.yaml *.yml)"
        return _path(QFileDialog.getOpenFileName(self, "Load camera", folder, kinds))

    def ask_save_file(self, suggestion: str) -> Path | None:
        """Let the user choose where to save; the dialog asks before replacing."""
        path = _path(
            QFileDialog.getSaveFileName(self, "Save camera", suggestion, "Camera (*.json)")
        )
        return path if path is None or path.suffix else path.with_suffix(".json")

    def ask_map_file(self, folder: str) -> Path | None:
        """Let the user choose a per-pixel map."""
        return _path(
            QFileDialog.getOpenFileName(self, "Choose map", folder, "Maps (*.npy *.tif *.tiff)")
        )

    def ask_preset_name(self, suggestion: str) -> str:
        """Let the user name a preset; empty when cancelled."""
        name, accepted = QInputDialog.getText(
            self, "Save as preset", "Name of the preset:", text=suggestion
        )
        return name if accepted else ""


def _button(text: str, name: str, tip: str) -> QPushButton:
    button = named(QPushButton(text), name)
    button.setToolTip(tip)
    return button


def _path(answer: tuple[Any, str]) -> Path | None:
    return Path(answer[0]) if answer[0] else None
