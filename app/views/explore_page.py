"""The page on which the result is looked at: picture, 3D view, colours, filters, measuring."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction, QKeySequence, QShortcut
from PySide6.QtWidgets import (
    QButtonGroup,
    QFileDialog,
    QHBoxLayout,
    QInputDialog,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QTabWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.models.steps import Step
from app.views.explore_filter_panel import ExploreFilterPanel
from app.views.explore_panels import LookPanel, MeasurePanel
from app.views.gl_probe import is_gl_worthwhile, probe_gl
from app.views.image_canvas import ImageCanvas, Tool
from app.views.naming import named
from app.views.page import Page
from app.views.point_view import PointView

__all__ = ["ExplorePage"]

_TOOLS: tuple[tuple[Tool, str, str, str], ...] = (
    ("pan", "Move", "M", "Drag to move the picture, turn the wheel to zoom."),
    ("box", "Box", "B", "Drag over a region: number, density, precision of its molecules."),
    ("line", "Line", "L", "Drag across a structure: its profile and width."),
)
_TABLES = "Localizations (*.h5 *.hdf5 *.csv *.txt *.tsv *.mat *.parquet);;All files (*)"
_NO_GL = "OpenGL is missing here (remote desktop?): a simpler view is used."
_SIDE_WIDTH = 320
# Fusion's dark palette hardly shows which button is pressed.
_TOOL_STYLE = """
QToolButton { padding: 3px 9px; border: 1px solid palette(mid); border-radius: 4px; }
QToolButton:hover { border-color: palette(highlight); }
QToolButton:focus { border-color: palette(highlight); }
QToolButton:checked { background: palette(highlight); color: palette(highlighted-text); }
"""


class ExplorePage(Page):
    """Picture to the left, choices to the right."""

    open_requested = Signal(str)  # path of a table
    cancel_requested = Signal()  # of loading
    png_requested = Signal(str)
    tiff_requested = Signal(str, float)  # path, pixel size in nm
    copy_requested = Signal()
    view_3d_shown = Signal(bool)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(Step.EXPLORE, parent)
        gl = is_gl_worthwhile()
        self.canvas = ImageCanvas("gl" if gl else "paint")
        self.points = PointView(gl=gl)
        self.look = named(LookPanel(), "explore-look")
        self.filters = named(ExploreFilterPanel(), "explore-filters")
        self.measure = named(MeasurePanel(), "explore-measure")
        self._stack = QStackedWidget()
        self._stack.addWidget(self._empty_page())
        self._stack.addWidget(self._loading_page())
        self._stack.addWidget(self._ready_page())
        self.body.addWidget(self._stack, 1)
        self.canvas.surface_lost.connect(self._tell_lost)
        self._no_gl = _NO_GL if probe_gl() is None else ""
        self._remarks = ""
        self.show_remarks("")
        self.show_empty()

    # What is shown

    def show_remarks(self, text: str) -> None:
        """Say what was assumed of the table, beside what the page itself has to say."""
        self._remarks = text
        self.show_notice(" ".join(filter(None, (self._no_gl, text))))

    def show_empty(self, text: str = "") -> None:
        """Say that there is nothing to show, and why."""
        self._empty_text.setText(
            text
            or "There are no localizations yet. Fit a movie on the page Localize, "
            "or open a table that was made before."
        )
        self._stack.setCurrentIndex(0)

    def show_loading(self, name: str, fraction: float | None) -> None:
        """Show that a table is being read."""
        self._loading_text.setText(f"Opening {name} …")
        self._loading_bar.setRange(0, 0 if fraction is None else 100)
        if fraction is not None:
            self._loading_bar.setValue(round(100 * fraction))
        self._stack.setCurrentIndex(1)

    def show_ready(self, path: Path) -> None:
        """Show picture and panels."""
        self._name.setText(path.name)
        self._name.setToolTip(str(path))
        self._stack.setCurrentIndex(2)

    @property
    def is_ready(self) -> bool:
        """Whether picture and panels are shown."""
        return self._stack.currentIndex() == 2

    def set_count(self, text: str) -> None:
        """Say how many localizations are shown."""
        self._count.setText(text)

    def set_hover(self, text: str) -> None:
        """Say what lies under the mouse."""
        self._hover.setText(text)

    def set_state(self, text: str) -> None:
        """Say what the renderer does."""
        self._state.setText(text)

    def show_measure(self) -> None:
        """Bring the measuring panel to the front."""
        self._side.setCurrentIndex(2)

    def set_tool(self, tool: Tool) -> None:
        """Choose a tool."""
        for button in self._tools.buttons():
            if button.property("tool") == tool:
                button.setChecked(True)
        self.canvas.set_tool(tool)

    def close_views(self) -> None:
        """Give the OpenGL contexts back."""
        self.canvas.close_canvas()
        self.points.close_view()

    # How it is made

    def _empty_page(self) -> QWidget:
        page = QWidget()
        self._empty_text = named(QLabel(), "explore-empty")
        self._empty_text.setWordWrap(True)
        self._empty_text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        button = named(QPushButton("Open localizations …"), "explore-open-first")
        button.setToolTip("A result of this app, or a table of SMAP, ThunderSTORM, Picasso, …")
        button.clicked.connect(self._ask_table)
        column = QVBoxLayout(page)
        column.addStretch(2)
        column.addWidget(self._empty_text)
        column.addWidget(button, 0, Qt.AlignmentFlag.AlignHCenter)
        column.addStretch(3)
        return page

    def _loading_page(self) -> QWidget:
        page = QWidget()
        self._loading_text = named(QLabel(), "explore-loading")
        self._loading_text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._loading_text.setWordWrap(True)
        self._loading_bar = named(QProgressBar(), "explore-progress")
        self._loading_bar.setMaximumWidth(420)
        self._loading_bar.setAccessibleName("Progress of opening")
        cancel = named(QPushButton("Cancel"), "explore-cancel")
        cancel.clicked.connect(self.cancel_requested)
        column = QVBoxLayout(page)
        column.addStretch(2)
        column.addWidget(self._loading_text)
        row = QHBoxLayout()
        row.addStretch()
        row.addWidget(self._loading_bar, 2)
        row.addWidget(cancel)
        row.addStretch()
        column.addLayout(row)
        column.addStretch(3)
        return page

    def _ready_page(self) -> QWidget:
        page = QWidget()
        flat = QWidget()
        column = QVBoxLayout(flat)
        column.setContentsMargins(0, 6, 0, 0)
        column.addLayout(self._tool_bar())
        column.addWidget(self.canvas, 1)
        column.addLayout(self._status_line())
        self._tabs = named(QTabWidget(), "explore-views")
        self._tabs.setDocumentMode(True)
        self._tabs.addTab(flat, "Picture")
        self._tabs.addTab(self.points, "3D")
        self._tabs.setTabToolTip(0, "Zoom, move, measure.")
        self._tabs.setTabToolTip(1, "Turn what is in view of the picture.")
        self._tabs.currentChanged.connect(lambda index: self.view_3d_shown.emit(index == 1))
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(self._tabs)
        splitter.addWidget(self._side_panel())
        splitter.setStretchFactor(0, 1)
        splitter.setStretchFactor(1, 0)
        splitter.setSizes([10_000, _SIDE_WIDTH])
        splitter.setChildrenCollapsible(False)
        whole = QVBoxLayout(page)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addLayout(self._head_line())
        whole.addWidget(splitter, 1)
        return page

    def _head_line(self) -> QHBoxLayout:
        self._name = named(QLabel(), "explore-name")
        font = self._name.font()
        font.setBold(True)
        self._name.setFont(font)
        self._name.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._count = named(QLabel(), "explore-count")
        self._open = named(QPushButton("Open …"), "explore-open")
        self._open.setToolTip("Open another table of localizations, also one of another program.")
        self._open.clicked.connect(self._ask_table)
        self._save = named(QPushButton("Save picture"), "explore-save")
        self._save.setToolTip("The picture as it is seen, or as a density to measure in.")
        menu = QMenu(self._save)
        self._add_action(menu, "Picture as seen (PNG) …", "explore-save-png", self._ask_png)
        self._add_action(
            menu, "Density to measure in (TIFF) …", "explore-save-tiff", self._ask_tiff
        )
        copy = self._add_action(menu, "Copy picture", "explore-copy", self.copy_requested.emit)
        copy.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        copy.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        self.canvas.addAction(copy)
        self._save.setMenu(menu)
        row = QHBoxLayout()
        row.addWidget(self._name, 1)
        row.addWidget(self._count)
        row.addWidget(self._open)
        row.addWidget(self._save)
        return row

    def _add_action(self, menu: QMenu, text: str, name: str, slot: Callable[[], None]) -> QAction:
        action = QAction(text, self)
        action.setObjectName(name)
        action.triggered.connect(lambda: slot())
        menu.addAction(action)
        return action

    def _tool_bar(self) -> QHBoxLayout:
        row = QHBoxLayout()
        self._tools = QButtonGroup(self)
        for tool, text, key, tip in _TOOLS:
            button = self._tool_button(text, f"explore-tool-{tool}", f"{tip} ({key})")
            button.setCheckable(True)
            button.setChecked(tool == "pan")
            button.setProperty("tool", tool)
            button.clicked.connect(lambda _on, chosen=tool: self.canvas.set_tool(chosen))
            shortcut = QShortcut(QKeySequence(key), self.canvas)
            shortcut.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
            shortcut.activated.connect(button.click)
            self._tools.addButton(button)
            row.addWidget(button)
        row.addSpacing(12)
        fit = self._tool_button("Whole field", "explore-fit", "Show everything (Home).")
        fit.clicked.connect(self.canvas.fit)
        closer = self._tool_button("+", "explore-zoom-in", "Zoom in (+).")
        closer.setAccessibleName("Zoom in")
        closer.clicked.connect(lambda: self.canvas.zoom_by(1.5))
        farther = self._tool_button("−", "explore-zoom-out", "Zoom out (-).")
        farther.setAccessibleName("Zoom out")
        farther.clicked.connect(lambda: self.canvas.zoom_by(1 / 1.5))
        for button in (farther, closer, fit):
            row.addWidget(button)
        row.addStretch()
        return row

    @staticmethod
    def _tool_button(text: str, name: str, tip: str) -> QToolButton:
        button = named(QToolButton(), name)
        button.setText(text)
        button.setToolTip(tip)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setStyleSheet(_TOOL_STYLE)
        return button

    def _status_line(self) -> QHBoxLayout:
        self._hover = named(QLabel(), "explore-hover")
        self._hover.setToolTip("Where the mouse is, and how many localizations lie around it.")
        self._hover.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._state = named(QLabel(), "explore-state")
        row = QHBoxLayout()
        row.addWidget(self._hover, 1)
        row.addWidget(self._state)
        return row

    def _side_panel(self) -> QTabWidget:
        self._side = named(QTabWidget(), "explore-side")
        self._side.setMinimumWidth(_SIDE_WIDTH)
        for panel, title, tip in (
            (self.look, "Look", "Colour, drawing, contrast."),
            (self.filters, "Filter", "Show only localizations that you trust."),
            (self.measure, "Measure", "Numbers of a box, profile along a line."),
        ):
            area = QScrollArea()
            area.setWidgetResizable(True)
            area.setFrameShape(QScrollArea.Shape.NoFrame)
            area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
            area.setWidget(panel)
            index = self._side.addTab(area, title)
            self._side.setTabToolTip(index, tip)
        return self._side

    def _tell_lost(self, _reason: str) -> None:
        self._no_gl = _NO_GL
        self.show_remarks(self._remarks)

    # Questions

    def _ask_table(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open localizations", "", _TABLES)
        if path:
            self.open_requested.emit(path)

    def _ask_png(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Save the picture", "", "PNG image (*.png)")
        if path:
            self.png_requested.emit(str(Path(path).with_suffix(".png")))

    def _ask_tiff(self) -> None:
        pixel, accepted = QInputDialog.getDouble(
            self,
            "Density to measure in",
            "Pixel size in nm (usually 5 to 20; half of the precision or less):",
            10.0,
            0.5,
            1000.0,
            1,
        )
        if not accepted:
            return
        path, _ = QFileDialog.getSaveFileName(self, "Save the density", "", "TIFF (*.tif)")
        if path:
            self.tiff_requested.emit(str(Path(path).with_suffix(".tif")), pixel)
