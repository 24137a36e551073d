"""The Calibration page: three ways to a PSF, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPixmap
from PySide6.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QStackedWidget,
    QTabWidget,
    QVBoxLayout,
    QWidget,
)

from app.models.psf_volume import PsfVolume
from app.models.steps import Step
from app.models.verdict import Verdict
from app.views.calibration_ways import WAY_WIDTH, BeadsWay, FileWay, FlatWay
from app.views.naming import named
from app.views.page import Page
from app.views.psf_viewer import PsfViewer
from app.views.side_column import SideColumn
from app.views.verdict_list import VerdictList

__all__ = ["CalibrationPage", "Way"]

Way = Literal["file", "beads", "gaussian_2d"]
_WAYS: tuple[tuple[Way, str, str], ...] = (
    ("file", "&Load a file", "From SMAP, uiPSF or this program"),
    ("beads", "&Make from bead stacks", "For 3D, on your own microscope"),
    ("gaussian_2d", "&2D without calibration", "For movies without height"),
)
_REPORT_WIDTH = 580  # fits beside the settings in a small window
_EMPTY = (
    "No calibration yet.\n\nThe network learns from simulated molecules, so it must know how one "
    "molecule looks at each height. Choose one of the three ways above."
)


class CalibrationPage(Page):
    """Choosing, making and judging a PSF; decisions are the controller's."""

    save_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.CALIBRATION, parent)
        self.file_way, self.beads_way, self.flat_way = FileWay(), BeadsWay(), FlatWay()
        self._ways: dict[Way, QPushButton] = {}
        self.body.addLayout(self._make_way_buttons())
        self.body.addSpacing(6)
        self._stack = QStackedWidget()
        self._columns = (
            SideColumn(self.file_way, width=WAY_WIDTH),
            self.beads_way.column,  # scrolls by itself, above its buttons
            SideColumn(self.flat_way, width=WAY_WIDTH),
        )
        for column, way in zip(
            self._columns, (self._columns[0], self.beads_way, self._columns[2]), strict=True
        ):
            column.width_changed.connect(lambda _width: self._fit_column())
            self._stack.addWidget(way)
        self.viewer = PsfViewer()
        self.verdicts = VerdictList("calibration-verdicts")
        row = QHBoxLayout()
        row.setSpacing(16)
        row.addWidget(self._stack)
        row.addWidget(self._make_result(), 1)
        self.body.addLayout(row, 1)
        self.show_way("file")
        self.show_empty(_EMPTY)

    @property
    def way(self) -> Way:
        """The way that is shown."""
        return _WAYS[self._stack.currentIndex()][0]

    def show_way(self, way: Way) -> None:
        """Show one of the three ways, without emitting."""
        self._ways[way].setChecked(True)
        for name, title, text in _WAYS:
            # A tick besides the colour, so that the choice is seen in any theme.
            self._ways[name].setText(f"{'✓ ' * (name == way)}{title}\n{text}")
        self._stack.setCurrentIndex([name for name, _, _ in _WAYS].index(way))
        self._fit_column()

    def _fit_column(self) -> None:
        """Let the column be as wide as the way that is shown needs, not as the widest."""
        self._stack.setFixedWidth(self._columns[self._stack.currentIndex()].minimumWidth())

    def show_empty(self, text: str = _EMPTY) -> None:
        """Show words in place of a PSF."""
        self._empty.setText(text)
        self._result.setCurrentIndex(0)
        self.viewer.show_psf(None)

    def show_psf(self, psf: PsfVolume) -> None:
        """Show a PSF."""
        self.viewer.show_psf(psf)
        self._result.setCurrentIndex(1)

    def show_verdicts(self, verdicts: Sequence[Verdict]) -> None:
        """Show how good the calibration is, in words."""
        self.verdicts.show_lines(verdicts)
        doubtful = sum(v.level in ("doubt", "bad") for v in verdicts)
        self._tabs.setTabText(
            self._tabs.indexOf(self._quality), f"How good is it? ({doubtful} ▲)" * bool(doubtful)
            or "How good is it?"
        )  # fmt: skip

    def show_facts(self, facts: Sequence[tuple[str, str]], rejected: Sequence[str]) -> None:
        """Show what the file says, and which beads were not used and why."""
        while self._facts.rowCount():
            self._facts.removeRow(0)
        for name, value in facts:
            label = QLabel(value)
            label.setWordWrap(True)
            label.setTextFormat(Qt.TextFormat.PlainText)
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            self._facts.addRow(f"{name}:", label)
        self._rejected.setText("\n".join(rejected))
        self._rejected_title.setVisible(bool(rejected))
        self._rejected.setVisible(bool(rejected))

    def show_report(self, image: QPixmap | None) -> None:
        """Show the picture that was drawn when the calibration was made; None for none."""
        index = self._tabs.indexOf(self._report_area)
        self._tabs.setTabVisible(index, image is not None)
        if image is None:
            self._report.clear()
        else:
            width = min(image.width(), _REPORT_WIDTH)
            smooth = Qt.TransformationMode.SmoothTransformation
            self._report.setPixmap(image.scaledToWidth(width, smooth))

    def _make_way_buttons(self) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(10)
        group = QButtonGroup(self)
        for way, title, text in _WAYS:
            button = named(QPushButton(f"{title}\n{text}"), f"calibration-way-{way}")
            button.setCheckable(True)
            button.setMinimumHeight(52)
            button.setProperty("way", True)
            button.setToolTip(text)
            button.clicked.connect(lambda _checked=False, w=way: self._choose(w))
            group.addButton(button)
            row.addWidget(button, 1)
            self._ways[way] = button
        return row

    def _choose(self, way: Way) -> None:
        self.show_way(way)

    def _make_result(self) -> QStackedWidget:
        self._empty = named(QLabel(), "calibration-empty")
        self._empty.setWordWrap(True)
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._empty.setMargin(40)
        self._empty.setProperty("muted", True)
        self._report = QLabel()
        self._report.setAccessibleName("Report picture of the calibration")
        self._report_area = QScrollArea()
        self._report_area.setWidget(self._report)
        self._report_area.setWidgetResizable(True)
        self._quality = _scrolled(self._make_quality())
        self._tabs = named(QTabWidget(), "calibration-tabs")
        self._tabs.addTab(self.viewer, "PSF")
        self._tabs.addTab(self._quality, "How good is it?")
        self._tabs.addTab(self._report_area, "Report picture")
        save = named(QPushButton("Save as …"), "calibration-save")
        save.setFlat(True)
        save.setToolTip(
            "Write the calibration shown: .h5 keeps everything, _3dcal.mat opens in SMAP."
        )
        save.clicked.connect(self.save_requested)
        self._tabs.setCornerWidget(save)
        self._result = QStackedWidget()
        self._result.addWidget(self._empty)
        self._result.addWidget(self._tabs)
        self._result.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.show_report(None)
        return self._result

    def _make_quality(self) -> QWidget:
        card = QWidget()
        self._facts = QFormLayout()
        self._facts.setLabelAlignment(Qt.AlignmentFlag.AlignLeft)
        self._facts.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        self._rejected_title = QLabel("Beads that were not used")
        font = self._rejected_title.font()
        font.setBold(True)
        self._rejected_title.setFont(font)
        self._rejected = named(QLabel(), "calibration-rejected")
        self._rejected.setWordWrap(True)
        self._rejected.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        title = QLabel("About the file")
        title.setFont(font)
        layout = QVBoxLayout(card)
        layout.setContentsMargins(10, 10, 10, 10)
        layout.setSpacing(10)
        layout.addWidget(self.verdicts)
        layout.addWidget(self._rejected_title)
        layout.addWidget(self._rejected)
        layout.addWidget(title)
        layout.addLayout(self._facts)
        layout.addStretch()
        self.show_facts((), ())
        return card


def _scrolled(widget: QWidget) -> QScrollArea:
    area = QScrollArea()
    area.setWidget(widget)
    area.setWidgetResizable(True)
    area.setFrameShape(QFrame.Shape.NoFrame)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    return area
