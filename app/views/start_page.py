"""The first page: the example, a new or an earlier project, and the three ways in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QListWidget,
    QListWidgetItem,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.models.steps import Step
from app.views.naming import named
from app.views.page import Page

__all__ = ["RecentProject", "StartPage"]

_FOLDER = Qt.ItemDataRole.UserRole
_WAYS = (
    ("I have a trained model", "Add your movie and the model (.decode), then localize.",
     "start-way-model", Step.MOVIE, "Go to Movie"),
    ("I have a calibration", "Add movie and calibration, check camera and simulation, then train.",
     "start-way-calibration", Step.CALIBRATION, "Go to Calibration"),
    ("I have only bead stacks", "Make the calibration from a z-scan over beads first.",
     "start-way-beads", Step.CALIBRATION, "Go to Calibration"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentProject:
    """One line of the list of recent projects.

    Attributes
    ----------
    folder : str
    changed : str
        When it was changed last, in words; empty where the project is missing.
    """

    folder: str
    name: str
    changed: str

    @property
    def missing(self) -> bool:
        """Whether the project is not where it was."""
        return not self.changed


class StartPage(Page):
    """Where everybody begins.

    Signals
    -------
    example_requested, new_requested, open_requested
    recent_requested : str
        Folder of a recent project.
    forget_requested : str
        A recent project should leave the list.
    step_requested : Step
        One of the ways in.
    """

    example_requested = Signal()
    new_requested = Signal()
    open_requested = Signal()
    recent_requested = Signal(str)
    forget_requested = Signal(str)
    step_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.START, parent)
        self.body.setSpacing(14)
        self.body.addLayout(self._build_buttons())
        self._progress = named(QLabel(), "start-example-words")
        self._progress.setWordWrap(True)
        self._progress.hide()
        self.body.addWidget(self._progress)
        self.body.addWidget(_heading("Three ways in"))
        self.body.addLayout(self._build_ways())
        self.body.addWidget(_heading("Recent projects"))
        self._recent = named(QListWidget(), "start-recent")
        self._recent.setAccessibleName("Recent projects")
        self._recent.setSpacing(4)
        self._recent.itemActivated.connect(self._open_item)
        self._recent.itemClicked.connect(self._open_item)
        self._recent.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        forget = self._recent.addAction("Remove from this list")
        forget.triggered.connect(self._forget_item)
        self._none = named(
            QLabel("No project yet: begin with the example, or drop your files."), "start-no-recent"
        )
        self._none.setProperty("muted", True)
        self.body.addWidget(self._recent, 1)
        self.body.addWidget(self._none)
        hint = named(
            QLabel(
                "Drop files anywhere on this window: movie, calibration, bead stacks, camera, "
                "model, localizations, project folder.\nThey are recognised by their content."
            ),
            "start-drop-hint",
        )
        hint.setWordWrap(True)
        hint.setProperty("drop", True)
        hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._hint = hint
        self.body.addWidget(hint)
        self.show_recent(())

    def show_recent(self, projects: Sequence[RecentProject]) -> None:
        """Show the recent projects, the latest first; missing ones are grey."""
        self._recent.clear()
        for project in projects:
            when = f"changed {project.changed}" if not project.missing else "missing"
            item = QListWidgetItem(f"{project.name}   ·   {when}\n{project.folder}")
            item.setData(_FOLDER, project.folder)
            item.setToolTip(project.folder)
            if project.missing:
                item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEnabled)
                item.setToolTip(
                    f"{project.folder} is not there (any more): moved, deleted, or on a drive "
                    "that is not connected."
                )
            self._recent.addItem(item)
        self._recent.setVisible(bool(projects))
        self._none.setVisible(not projects)
        # What stands below takes the room that no list needs.
        self.body.setStretchFactor(self._hint, 0 if projects else 1)

    def show_example_busy(self, words: str) -> None:
        """Say how far the example is; an empty text lets it be started again."""
        self._progress.setText(words)
        self._progress.setVisible(bool(words))
        self._example.setEnabled(not words)

    def _build_buttons(self) -> QHBoxLayout:
        self._example = named(QPushButton("Try the example"), "start-example")
        self._example.setProperty("primary", True)
        self._example.setToolTip(
            "Makes a project of a small bundled movie with a trained model and localizes it; "
            "takes about a minute"
        )
        new = named(QPushButton("New project…"), "start-new")
        new.setToolTip("Make a folder for a new experiment (Ctrl+N)")
        other = named(QPushButton("Open…"), "start-open")
        other.setToolTip("Open the folder of an earlier project (Ctrl+O)")
        self._example.clicked.connect(self.example_requested)
        new.clicked.connect(self.new_requested)
        other.clicked.connect(self.open_requested)
        row = QHBoxLayout()
        row.setSpacing(10)
        for button in (self._example, new, other):
            button.setMinimumHeight(44)
            button.setMinimumWidth(150)
            row.addWidget(button)
        row.addStretch()
        return row

    def _build_ways(self) -> QGridLayout:
        grid = QGridLayout()
        grid.setSpacing(12)
        for column, (title, text, name, step, button_text) in enumerate(_WAYS):
            card = QFrame()
            card.setProperty("card", True)
            words = QLabel(text)
            words.setWordWrap(True)
            words.setProperty("muted", True)
            button = named(QPushButton(button_text), name)
            button.setToolTip(title)
            button.clicked.connect(lambda _checked=False, s=step: self.step_requested.emit(s))
            inside = QVBoxLayout(card)
            inside.setContentsMargins(14, 12, 14, 12)
            inside.addWidget(_heading(title))
            words.setAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            inside.addWidget(words)
            inside.addStretch()
            inside.addWidget(button, 0, Qt.AlignmentFlag.AlignLeft)
            grid.addWidget(card, 0, column)
            grid.setColumnStretch(column, 1)
        return grid

    def _open_item(self, item: QListWidgetItem) -> None:
        if item.flags() & Qt.ItemFlag.ItemIsEnabled:
            self.recent_requested.emit(str(item.data(_FOLDER)))

    def _forget_item(self) -> None:
        item = self._recent.currentItem()
        if item is not None:
            self.forget_requested.emit(str(item.data(_FOLDER)))


def _heading(text: str) -> QLabel:
    label = QLabel(text)
    font = label.font()
    font.setBold(True)
    label.setFont(font)
    return label
