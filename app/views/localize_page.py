"""The Localize page: which model, which movies, one frame as a test, then the long fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QAbstractItemView,
    QComboBox,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSplitter,
    QTableWidget,
    QTableWidgetItem,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.steps import Step
from app.views.form import ConfigForm, FieldGroup
from app.views.job_panel import JobPanel
from app.views.localize_live import LivePicture
from app.views.localize_preview import FramePreview
from app.views.naming import named
from app.views.page import Page
from app.views.side_column import SideColumn
from decode_engine.contract.configs import LocalizeConfig

__all__ = ["LocalizePage", "ModelChoice", "QueueRow"]

_GROUPS = (
    FieldGroup("Which localizations", ("probability_threshold",)),
    FieldGroup(
        "Speed and safety",
        ("precision", "batch_frames", "tile_px", "follow_s", "allow_mismatch"),
        advanced=True,
    ),
)
_LABELS = {
    "probability_threshold": "Least probability",
    "batch_frames": "Frames at once",
    "tile_px": "Largest tile",
    "follow_s": "Wait for new frames",
    "allow_mismatch": "Fit all the same",
    "precision": "Arithmetic",
}
_COLUMNS = ("Movie", "Frames", "State")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """A model that may be chosen: its file, and words for the list."""

    path: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueRow:
    """One movie of the list; ``resumable`` names the run that can go on."""

    name: str
    path: str
    frames: str
    state: str
    result: str = ""
    resumable: str = ""


class LocalizePage(Page):
    """Setters and request signals; decides nothing."""

    model_chosen = Signal(str)
    model_file_requested = Signal()
    config_changed = Signal(object)  # LocalizeConfig
    device_changed = Signal(str)
    start_requested = Signal(object)  # list of movie numbers
    resume_requested = Signal(str)  # run id
    result_requested = Signal(str)  # path of a finished result
    command_requested = Signal()
    movie_selected = Signal(int)

    def __init__(self) -> None:
        super().__init__(Step.LOCALIZE)
        self._rows: tuple[QueueRow, ...] = ()
        self._build_widgets()
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(self._settings_column())
        splitter.addWidget(self._result_column())
        splitter.setStretchFactor(1, 1)
        splitter.setSizes([320, 720])
        splitter.setChildrenCollapsible(False)
        self.body.addWidget(splitter, 1)
        self._connect()

    def set_models(self, choices: Sequence[ModelChoice], current: str | None) -> None:
        """List the models; nothing is chosen when ``current`` is not among them."""
        self.models.blockSignals(True)
        self.models.clear()
        for choice in choices:
            self.models.addItem(choice.text, choice.path)
            self.models.setItemData(
                self.models.count() - 1, choice.path, Qt.ItemDataRole.ToolTipRole
            )
        paths = [choice.path for choice in choices]
        self.models.setCurrentIndex(paths.index(current) if current in paths else -1)
        self.models.blockSignals(False)

    def set_model_words(self, text: str) -> None:
        """Say what the chosen model was trained for, or what is missing."""
        self.model_words.setText(text)

    def set_devices(self, devices: Sequence[str], current: str) -> None:
        """List the devices of the engine."""
        self.devices.blockSignals(True)
        self.devices.clear()
        for device in dict.fromkeys(("auto", *devices, current)):
            text = "automatic" if device == "auto" else device
            self.devices.addItem(text, device)
        self.devices.setCurrentIndex(self.devices.findData(current))
        self.devices.blockSignals(False)

    def set_queue(self, rows: Sequence[QueueRow]) -> None:
        """List the movies with what became of them; checks and selection stay."""
        same = [r.path for r in rows] == [r.path for r in self._rows]
        self._rows = tuple(rows)
        self.queue.blockSignals(True)
        self.queue.setRowCount(len(rows))
        for number, row in enumerate(rows):
            first = self.queue.item(number, 0)
            checked = first.checkState() if same and first is not None else Qt.CheckState.Checked
            for column, text in enumerate((row.name, row.frames, row.state)):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                item.setToolTip(row.path if column == 0 else text)
                if column == 0:
                    item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
                    item.setCheckState(checked)
                self.queue.setItem(number, column, item)
        self.queue.blockSignals(False)
        self._follow_selection()

    def select_movie(self, number: int) -> None:
        """Select a movie of the list."""
        self.queue.blockSignals(True)
        self.queue.selectRow(number)
        self.queue.blockSignals(False)
        self._follow_selection()

    def checked_movies(self) -> list[int]:
        """Return the numbers of the ticked movies."""
        return [
            row
            for row in range(self.queue.rowCount())
            if (item := self.queue.item(row, 0)) is not None
            and item.checkState() == Qt.CheckState.Checked
        ]

    def set_ready(self, *, can_preview: bool, can_start: bool, why_not: str) -> None:
        """Enable what can be done; say why the rest cannot."""
        self.preview.set_enabled(can_preview, why_not)
        self.start.setEnabled(can_start)
        self.start.setToolTip(why_not or "Localize the ticked movies, one after the other.")
        self.why_not.setText(why_not)
        self.why_not.setVisible(bool(why_not))

    def show_running(self, *, running: bool) -> None:
        """Show the job's panel while something runs, or after it ended."""
        self.job.setVisible(True)
        if running:
            self.tabs.setCurrentWidget(self.live)

    def _build_widgets(self) -> None:
        self.models = named(QComboBox(), "localize-model")
        self.models.setAccessibleName("Model")
        self.models.setPlaceholderText("Choose a model")
        self.models.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.models.setMinimumContentsLength(18)
        self.models.setToolTip("A trained network: from the Train page, the example, or a file.")
        self.model_file = named(QPushButton("File …"), "localize-model-file")
        self.model_file.setToolTip("Choose a model file (.decode) from the disk.")
        self.model_words = named(QLabel(), "localize-model-words")
        self.model_words.setWordWrap(True)
        self.queue = named(QTableWidget(0, len(_COLUMNS)), "localize-queue")
        self.queue.setAccessibleName("Movies to localize")
        self.form = ConfigForm(LocalizeConfig, groups=_GROUPS, labels=_LABELS)
        self.form.setObjectName("localize-form")
        self.devices = named(QComboBox(), "localize-device")
        self.devices.setToolTip(
            "What computes: automatic takes the graphics processor where there is one."
        )
        self.start = named(QPushButton("Localize"), "localize-start")
        self.start.setProperty("primary", True)
        self.resume = named(QPushButton("Resume"), "localize-resume")
        self.resume.setToolTip("Go on behind the frames that are finished already.")
        self.result = named(QPushButton("Show result"), "localize-result")
        self.result.setToolTip("Use this movie's localizations on the pages that follow.")
        self.command = named(QPushButton("Copy command"), "localize-command")
        self.command.setToolTip("The decode-engine command that does the same.")
        self.why_not = named(QLabel(), "localize-why-not")
        self.why_not.setWordWrap(True)
        self.preview = FramePreview()
        self.live = LivePicture()
        self.job = JobPanel()
        self.job.setObjectName("localize-job")
        self.tabs = named(QTabWidget(), "localize-tabs")

    def _settings_column(self) -> QWidget:
        header = self.queue.horizontalHeader()
        self.queue.setHorizontalHeaderLabels(_COLUMNS)
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.queue.verticalHeader().hide()
        self.queue.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.queue.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.queue.setMinimumHeight(96)
        self.queue.setMaximumHeight(170)
        model = QGroupBox("Model")
        row = QHBoxLayout()
        row.addWidget(self.models, 1)
        row.addWidget(self.model_file)
        column = QVBoxLayout(model)
        column.addLayout(row)
        column.addWidget(self.model_words)
        movies = QGroupBox("Movies")
        column = QVBoxLayout(movies)
        column.addWidget(self.queue)
        row = QHBoxLayout()
        row.addWidget(self.resume)
        row.addWidget(self.result)
        row.addStretch()
        column.addLayout(row)
        device = QHBoxLayout()
        label = QLabel("Compute on")
        label.setBuddy(self.devices)
        device.addWidget(label)
        device.addWidget(self.devices, 1)
        inner = QWidget()
        layout = QVBoxLayout(inner)
        layout.setContentsMargins(0, 0, 4, 0)
        for part in (model, movies, self.form):
            layout.addWidget(part)
        layout.addLayout(device)
        layout.addStretch()
        area = SideColumn(inner, width=300, elastic=True)
        outer = QWidget()
        layout = QVBoxLayout(outer)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(area, 1)
        layout.addWidget(self.why_not)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 4, 0)
        row.addWidget(self.start, 1)
        row.addWidget(self.command)
        layout.addLayout(row)
        return outer

    def _result_column(self) -> QWidget:
        self.tabs.addTab(self.preview, "Test on one frame")
        self.tabs.addTab(self.live, "Picture while it fits")
        self.job.hide()
        outer = QWidget()
        layout = QVBoxLayout(outer)
        layout.setContentsMargins(8, 0, 0, 0)
        layout.addWidget(self.tabs, 1)
        layout.addWidget(self.job)
        return outer

    def _connect(self) -> None:
        self.models.activated.connect(
            lambda index: self.model_chosen.emit(self.models.itemData(index))
        )
        self.model_file.clicked.connect(lambda: self.model_file_requested.emit())
        self.form.changed.connect(self.config_changed)
        self.devices.activated.connect(
            lambda index: self.device_changed.emit(self.devices.itemData(index))
        )
        self.start.clicked.connect(lambda: self.start_requested.emit(self.checked_movies()))
        self.command.clicked.connect(lambda: self.command_requested.emit())
        self.resume.clicked.connect(self._emit_resume)
        self.result.clicked.connect(self._emit_result)
        self.queue.itemSelectionChanged.connect(self._on_selection)

    def _selected(self) -> QueueRow | None:
        number = self.queue.currentRow()
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def _emit_resume(self) -> None:
        row = self._selected()
        if row is not None and row.resumable:
            self.resume_requested.emit(row.resumable)

    def _emit_result(self) -> None:
        row = self._selected()
        if row is not None and row.result:
            self.result_requested.emit(row.result)

    def _on_selection(self) -> None:
        self._follow_selection()
        if self.queue.currentRow() >= 0:
            self.movie_selected.emit(self.queue.currentRow())

    def _follow_selection(self) -> None:
        row = self._selected()
        self.resume.setEnabled(row is not None and bool(row.resumable))
        self.result.setEnabled(row is not None and bool(row.result))
