"""The Export page: tick what is wanted, choose where to, get the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QGroupBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from app.models.export_kinds import EXPORT_KINDS
from app.models.steps import Step
from app.views.form import ConfigForm, FieldGroup
from app.views.job_panel import JobPanel
from app.views.naming import named
from app.views.page import Page
from app.views.side_column import SideColumn
from decode_engine.contract.configs import RenderConfig

__all__ = ["ExportPage", "ExportedFile"]

_GROUPS = (
    FieldGroup("Pictures", ("pixel_size_nm", "mode", "color", "colormap", "scale_bar_nm")),
    FieldGroup(
        "Brightness and limits",
        (
            "contrast_quantile",
            "gamma",
            "z_min_nm",
            "z_max_nm",
            "sigma_min_nm",
            "sigma_max_nm",
        ),
        advanced=True,
    ),
)
_LABELS = {
    "pixel_size_nm": "Pixel size",
    "mode": "Draw each localization as",
    "mode.gaussian": "a soft spot",
    "mode.histogram": "a count in its pixel",
    "color": "Colour",
    "color.none": "brightness only",
    "color.z": "height z",
    "colormap": "Colour map",
    "scale_bar_nm": "Scale bar",
    "contrast_quantile": "White at quantile",
    "gamma": "Gamma",
    "z_min_nm": "z of the first colour",
    "z_max_nm": "z of the last colour",
    "sigma_min_nm": "Smallest width",
    "sigma_max_nm": "Largest uncertainty drawn",
}
_COLUMNS = ("File", "Size", "State")
_NOTHING = "Nothing was exported yet. Tick the formats you want, then press Export."


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedFile:
    """One line of the list of exported files."""

    path: str
    name: str
    size: str
    state: str


class ExportPage(Page):
    """Setters and request signals; decides nothing."""

    export_requested = Signal(object)  # names of the ticked kinds
    folder_requested = Signal()
    folder_changed = Signal(str)
    render_changed = Signal(object)  # RenderConfig
    open_folder_requested = Signal()
    copy_path_requested = Signal(str)
    command_requested = Signal(object)  # names of the ticked kinds

    def __init__(self) -> None:
        super().__init__(Step.EXPORT)
        self._files: tuple[ExportedFile, ...] = ()
        self.source = named(QLabel(), "export-source")
        self.source.setWordWrap(True)
        self.filtered = named(QCheckBox("Only what passes the filters"), "export-filtered")
        self.filtered.setChecked(True)
        self.filter_words = named(QLabel(), "export-filter-words")
        self.filter_words.setWordWrap(True)
        self.kinds: dict[str, QCheckBox] = {}
        self.folder = named(QLineEdit(), "export-folder")
        self.choose = named(QPushButton("Choose …"), "export-choose-folder")
        self.form = ConfigForm(RenderConfig, groups=_GROUPS, labels=_LABELS)
        self.form.setObjectName("export-form")
        self.start = named(QPushButton("Export"), "export-start")
        self.start.setProperty("primary", True)
        self.command = named(QPushButton("Copy command"), "export-command")
        self.why_not = named(QLabel(), "export-why-not")
        self.files = named(QTableWidget(0, len(_COLUMNS)), "export-files")
        self.open_folder = named(QPushButton("Open folder"), "export-open-folder")
        self.copy_path = named(QPushButton("Copy path"), "export-copy-path")
        self.job = JobPanel()
        self.job.setObjectName("export-job")
        row = QHBoxLayout()
        row.addWidget(self._choices(), 1)
        row.addWidget(self._results(), 1)
        self.body.addLayout(row, 1)
        self._connect()

    def set_source(self, text: str, *, ready: bool, why_not: str) -> None:
        """Say what is exported; without localizations nothing can be."""
        self.source.setText(text)
        self.source.setVisible(bool(text))
        self._ready = ready
        self.why_not.setText(why_not)
        self.why_not.setVisible(bool(why_not))
        self._follow_choice()

    def set_filter_words(self, text: str) -> None:
        """Say which filters are set."""
        self.filter_words.setText(text)

    def set_folder(self, path: str) -> None:
        """Show where the files go."""
        if self.folder.text() != path:
            self.folder.setText(path)

    def set_files(self, files: Sequence[ExportedFile]) -> None:
        """List what was exported, newest first."""
        self._files = tuple(files)
        self.files.setRowCount(len(files))
        for row, file in enumerate(files):
            for column, text in enumerate((file.name, file.size, file.state)):
                item = QTableWidgetItem(text)
                item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
                item.setToolTip(file.path if column == 0 else text)
                self.files.setItem(row, column, item)
        self._listed.setCurrentIndex(1 if files else 0)
        self.open_folder.setEnabled(bool(files))
        self._follow_selection()

    def ticked(self) -> list[str]:
        """Return the names of the ticked kinds."""
        return [name for name, box in self.kinds.items() if box.isChecked()]

    def _choices(self) -> QWidget:
        what = QGroupBox("What")
        column = QVBoxLayout(what)
        column.addWidget(self.source)
        column.addWidget(self.filtered)
        column.addWidget(self.filter_words)
        formats = QGroupBox("Formats")
        rows = QGridLayout(formats)
        rows.setColumnStretch(1, 1)
        rows.setHorizontalSpacing(12)
        for number, kind in enumerate(EXPORT_KINDS):
            box = named(QCheckBox(kind.title), f"export-{kind.name}")
            box.setChecked(kind.name in ("csv", "png"))
            box.setToolTip(kind.words)
            box.toggled.connect(lambda _on: self._follow_choice())
            words = named(QLabel(kind.words), f"export-{kind.name}-words")
            words.setWordWrap(True)
            words.setProperty("muted", True)
            rows.addWidget(box, number, 0)
            rows.addWidget(words, number, 1)
            self.kinds[kind.name] = box
        where = QGroupBox("Folder")
        line = QHBoxLayout(where)
        self.folder.setAccessibleName("Folder for the exported files")
        self.folder.setToolTip("Existing files are never replaced; a number is added to the name.")
        line.addWidget(self.folder, 1)
        line.addWidget(self.choose)
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 4, 0)
        for part in (what, formats, where, self.form):
            column.addWidget(part)
        column.addStretch()
        return SideColumn(inner, width=320, elastic=True)

    def _results(self) -> QWidget:
        self.files.setHorizontalHeaderLabels(_COLUMNS)
        header = self.files.horizontalHeader()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(2, QHeaderView.ResizeMode.ResizeToContents)
        self.files.verticalHeader().hide()
        self.files.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.files.setSelectionMode(QTableWidget.SelectionMode.SingleSelection)
        self.files.setAccessibleName("Exported files")
        group = QGroupBox("Exported files")
        column = QVBoxLayout(group)
        nothing = named(QLabel(_NOTHING), "export-nothing")
        nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        nothing.setWordWrap(True)
        nothing.setProperty("muted", True)
        self._listed = QStackedWidget()
        self._listed.addWidget(nothing)
        self._listed.addWidget(self.files)
        column.addWidget(self._listed, 1)
        row = QHBoxLayout()
        row.addWidget(self.open_folder)
        row.addWidget(self.copy_path)
        row.addStretch()
        column.addLayout(row)
        self.job.hide()
        outer = QWidget()
        column = QVBoxLayout(outer)
        column.setContentsMargins(8, 0, 0, 0)
        column.addWidget(group, 1)
        column.addWidget(self.job)
        column.addWidget(self.why_not)
        row = QHBoxLayout()
        row.addWidget(self.start, 1)
        row.addWidget(self.command)
        column.addLayout(row)
        return outer

    def _connect(self) -> None:
        self._ready = False
        self.start.clicked.connect(lambda: self.export_requested.emit(self.ticked()))
        self.command.clicked.connect(lambda: self.command_requested.emit(self.ticked()))
        self.choose.clicked.connect(lambda: self.folder_requested.emit())
        self.folder.editingFinished.connect(lambda: self.folder_changed.emit(self.folder.text()))
        self.form.changed.connect(self.render_changed)
        self.open_folder.clicked.connect(lambda: self.open_folder_requested.emit())
        self.copy_path.clicked.connect(self._emit_path)
        self.files.itemSelectionChanged.connect(self._follow_selection)

    def _emit_path(self) -> None:
        row = self.files.currentRow()
        if 0 <= row < len(self._files):
            self.copy_path_requested.emit(self._files[row].path)

    def _follow_selection(self) -> None:
        self.copy_path.setEnabled(0 <= self.files.currentRow() < len(self._files))

    def _follow_choice(self) -> None:
        ticked = self.ticked()
        draws = any(k.draws and k.name in ticked for k in EXPORT_KINDS)
        self.form.setEnabled(draws)
        self.start.setEnabled(self._ready and bool(ticked))
        self.command.setEnabled(self._ready and bool(ticked))
