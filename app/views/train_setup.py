"""The left side of the Train page: from where, for how long, on what, for which conditions."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QRadioButton,
    QVBoxLayout,
    QWidget,
)

from app.models.steps import Step
from app.models.train_job import TrainInput
from app.models.verdict import Level
from app.views.form import ConfigForm, FieldGroup
from app.views.form_fields import LightMark
from app.views.naming import named
from app.views.side_column import SideColumn
from decode_engine.contract.configs import TrainingConfig

__all__ = ["TrainSetup"]

_MAX_MINUTES = 7 * 24 * 60.0
_ADVANCED = (
    FieldGroup(
        "Network and learning",
        ("context_frames", "batch_size", "patch_px", "learning_rate", "precision", "seed"),
        advanced=True,
    ),
    FieldGroup(
        "Judging", ("label_min_photons", "validation_frames", "checkpoint_every_s"), advanced=True
    ),
)
_LABELS = {
    "context_frames": "Frames at once",
    "context_frames.3": "3 (with neighbours)",
    "context_frames.1": "1",
    "batch_size": "Samples per step",
    "patch_px": "Frame size",
    "learning_rate": "Learning rate",
    "precision": "Arithmetic",
    "precision.auto": "automatic",
    "precision.fp32": "32 bit",
    "precision.bf16": "16 bit (bf16)",
    "label_min_photons": "Dimmest molecule",
    "validation_frames": "Test frames",
    "checkpoint_every_s": "Save every",
}


class _QuietSpinBox(QDoubleSpinBox):
    """A number whose wheel acts only where the keyboard is."""

    def wheelEvent(self, event: object) -> None:
        """Leave the wheel to the page unless the box has the focus."""
        if self.hasFocus():
            super().wheelEvent(event)  # type: ignore[arg-type] # what Qt hands over
        else:
            event.ignore()  # type: ignore[attr-defined] # a QWheelEvent


class TrainSetup(QWidget):
    """Choices for the next training, what is missing, and Start."""

    start_changed = Signal(object)  # path of a model, or None for random weights
    goal_changed = Signal(float, bool)  # minutes, stop when it no longer improves
    device_changed = Signal(str)
    training_changed = Signal(object)  # TrainingConfig
    page_requested = Signal(object)  # Step
    start_requested = Signal()
    copy_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        content = QWidget()
        self._column = QVBoxLayout(content)
        self._column.setContentsMargins(0, 0, 4, 0)
        self._column.setSpacing(6)
        self._rows: dict[Step, tuple[LightMark, QLabel]] = {}
        self._add_summary()
        self._add_start()
        self._add_goal()
        self._add_device()
        self.form = ConfigForm(TrainingConfig, groups=_ADVANCED, labels=_LABELS)
        self.form.changed.connect(self.training_changed)
        self._column.addWidget(self.form)
        self._column.addStretch()
        scroll = SideColumn(content, width=310)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll, 1)
        layout.addLayout(self._buttons())

    # -- setters

    def set_summary(self, rows: Sequence[TrainInput]) -> None:
        """Say what the network will be trained for."""
        for row in rows:
            mark, label = self._rows[row.step]
            mark.show_level("ok" if row.ok else "bad", "chosen" if row.ok else "missing")
            label.setText(f'<a href="{row.step.value}">{row.title}</a>: {escape(row.text)}')

    def set_starts(self, choices: Sequence[tuple[str, str | None]], current: str | None) -> None:
        """Offer models to start from: words and path."""
        self._start.blockSignals(True)
        self._start.clear()
        for words, path in choices:
            self._start.addItem(words, path)
        self._start.setCurrentIndex(max(0, self._start.findData(current)))
        self._start.blockSignals(False)

    def set_start_judgement(self, level: Level, words: str) -> None:
        """Say whether the chosen model fits."""
        self._start_mark.show_level(level, words)
        self._start_words.setText(words)

    def set_goal(self, minutes: float, until_best: bool, expectation: str) -> None:
        """Show how long the training may take and what to expect of that."""
        self._minutes.blockSignals(True)
        self._minutes.setValue(minutes)
        self._minutes.blockSignals(False)
        chosen = self._until_best if until_best else self._for_time
        chosen.setChecked(True)
        self._minutes_label.setText("At most" if until_best else "Train for")
        self._expectation.setText(expectation)

    def set_devices(self, devices: Sequence[tuple[str, str]], current: str) -> None:
        """Offer devices: words and name."""
        self._device.blockSignals(True)
        self._device.clear()
        for words, name in devices:
            self._device.addItem(words, name)
        self._device.setCurrentIndex(max(0, self._device.findData(current)))
        self._device.blockSignals(False)

    def set_training(self, config: TrainingConfig) -> None:
        """Show the settings of the advanced part."""
        self.form.set_value(config)

    def show_note(self, text: str) -> None:
        """Say something short above the buttons."""
        self._reason.setText(text)
        self._reason.setVisible(bool(text))

    def set_can_start(self, can_start: bool, reason: str, *, editable: bool = True) -> None:
        """Allow or forbid Start and say why; during a training nothing can be edited."""
        self._go.setEnabled(can_start and self.form.value() is not None)
        self.show_note(reason)
        widgets = (self._start, self._browse, self._for_time, self._until_best, self._minutes)
        for widget in (*widgets, self._device, self.form):
            widget.setEnabled(editable)

    def changeEvent(self, event: QEvent) -> None:
        """Colour the links anew with the palette; Qt does so only for a text that is set."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.PaletteChange:
            for _, label in getattr(self, "_rows", {}).values():
                text = label.text()
                label.setText("")
                label.setText(text)

    # -- building

    def _heading(self, text: str) -> None:
        label = QLabel(text)
        font = label.font()
        font.setBold(True)
        label.setFont(font)
        self._column.addSpacing(4)
        self._column.addWidget(label)

    def _add_summary(self) -> None:
        self._heading("Trained for")
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        for i, step in enumerate((Step.CALIBRATION, Step.CAMERA, Step.SIMULATION)):
            mark, label = LightMark(), named(QLabel(), f"train-for-{step.value}")
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.RichText)
            label.setTextInteractionFlags(
                Qt.TextInteractionFlag.LinksAccessibleByMouse
                | Qt.TextInteractionFlag.LinksAccessibleByKeyboard
            )
            label.setToolTip("What the network learns to see. The link leads to the page.")
            label.linkActivated.connect(lambda href: self.page_requested.emit(Step(href)))
            grid.addWidget(mark, i, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label, i, 1)
            self._rows[step] = (mark, label)
        self._column.addLayout(grid)

    def _add_start(self) -> None:
        self._heading("Start from")
        self._start = named(QComboBox(), "train-from")
        self._start.setAccessibleName("Model to start from")
        self._start.setToolTip(
            "A network that already finds molecules learns your conditions much faster than one "
            "that begins with random weights. With a model of one microscope the "
            "learning rate (Advanced) is lowered, so that it does not forget."
        )
        self._start.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self._start.setMinimumContentsLength(12)
        self._start.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._start.activated.connect(lambda: self.start_changed.emit(self._start.currentData()))
        self._browse = named(QPushButton("File…"), "train-from-file")
        self._browse.setToolTip("Start from a model file (.decode), say of a colleague.")
        self._browse.clicked.connect(self._choose_file)
        row = QHBoxLayout()
        row.addWidget(self._start, 1)
        row.addWidget(self._browse)
        self._start_mark = LightMark()
        self._start_words = named(QLabel(), "train-from-words")
        self._start_words.setWordWrap(True)
        words = QHBoxLayout()
        words.addWidget(self._start_mark, 0, Qt.AlignmentFlag.AlignTop)
        words.addWidget(self._start_words, 1)
        self._column.addLayout(row)
        self._column.addLayout(words)

    def _add_goal(self) -> None:
        self._heading("Goal")
        self._for_time = named(QRadioButton("Train for a time"), "train-goal-time")
        self._for_time.setToolTip("The learning rate falls to its end exactly in this time.")
        self._until_best = named(
            QRadioButton("Train until it stops improving"), "train-goal-quality"
        )
        self._until_best.setToolTip(
            "Ends early when a fifth of the time brought nothing better; the best model is kept."
        )
        group = QButtonGroup(self)
        for button in (self._for_time, self._until_best):
            group.addButton(button)
            button.clicked.connect(self._emit_goal)
            self._column.addWidget(button)
        self._minutes = named(_QuietSpinBox(), "train-minutes")
        self._minutes.setRange(0.5, _MAX_MINUTES)
        self._minutes.setDecimals(1)
        self._minutes.setSingleStep(5)
        self._minutes.setSuffix(" min")
        self._minutes.setMinimumHeight(self._start.sizeHint().height())
        self._minutes.setKeyboardTracking(False)
        self._minutes.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._minutes.setToolTip(
            "Time of computing, in minutes; pauses do not count. Usual: 10 to 30 with a GPU, "
            "60 to 120 without one."
        )
        self._minutes.valueChanged.connect(self._emit_goal)
        self._minutes_label = QLabel("Train for")
        self._minutes_label.setBuddy(self._minutes)
        form = QFormLayout()
        form.addRow(self._minutes_label, self._minutes)
        self._expectation = named(QLabel(), "train-expectation")
        self._expectation.setWordWrap(True)
        self._expectation.setProperty("muted", True)
        self._column.addLayout(form)
        self._column.addWidget(self._expectation)

    def _add_device(self) -> None:
        self._heading("Computed on")
        self._device = named(QComboBox(), "train-device")
        self._device.setAccessibleName("Device that computes")
        self._device.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._device.setToolTip(
            "A graphics card (CUDA of NVIDIA, MPS of Apple) trains many times as fast as the "
            "processor."
        )
        self._device.activated.connect(
            lambda: self.device_changed.emit(str(self._device.currentData()))
        )
        self._column.addWidget(self._device)

    def _buttons(self) -> QVBoxLayout:
        self._reason = named(QLabel(), "train-reason")
        self._reason.setWordWrap(True)
        self._go = named(QPushButton("Start training"), "train-start")
        self._go.setProperty("primary", True)
        self._go.clicked.connect(self.start_requested)
        self._copy = named(QPushButton("Copy command"), "train-copy-command")
        self._copy.setToolTip(
            "Copies the decode-engine command that runs this training in a terminal or on a "
            "cluster."
        )
        self._copy.clicked.connect(self.copy_requested)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 4, 0)
        row.addWidget(self._go, 1)
        row.addWidget(self._copy)
        box = QVBoxLayout()
        box.addWidget(self._reason)
        box.addLayout(row)
        return box

    def _emit_goal(self) -> None:
        self.goal_changed.emit(self._minutes.value(), self._until_best.isChecked())

    def _choose_file(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Model to start from", "", "Decode models (*.decode);;All files (*)"
        )
        if path:
            self.start_changed.emit(path)
