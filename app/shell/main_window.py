"""The main window: steps at the left, the page, help at the right, jobs below."""

from __future__ import annotations

import logging
from collections.abc import Callable

from PySide6.QtCore import QByteArray, Qt, QTimer, Signal
from PySide6.QtGui import QCloseEvent, QResizeEvent
from PySide6.QtWidgets import (
    QAbstractSpinBox,
    QLineEdit,
    QMainWindow,
    QSplitter,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from app.controllers.page_controller import AppContext, PageController
from app.models.problem import Problem
from app.models.steps import STEP_INFO, Step, StepState, StepStatus
from app.shell.jobs_bar import JobsBar
from app.shell.navigation import NavigationBar
from app.shell.pages import import_graphics, import_libraries, make_controller
from app.shell.questions import Questions
from app.shell.sidebar import Sidebar
from app.views.help_panel import HelpPanel
from app.views.page import Page
from decode_engine.errors import InputError
from decode_engine.io.resources import resource_path

__all__ = ["MainWindow"]

_log = logging.getLogger(__name__)
# Made only when it is shown: its OpenGL canvas takes most of a second.
_ON_DEMAND = (Step.EXPLORE,)
_HELP_FROM_PX = 1400  # from this width on the help has room beside any page


class MainWindow(QMainWindow):
    """Lays out the window and shows pages; the commands decide.

    Signals
    -------
    step_shown : Step
        Another page is in front.
    closed
        The window was closed for good.
    help_shown : bool
        The help beside the page was shown or hidden.
    help_requested
        The help should be shown or, where it is, hidden.
    ready
        All pages were made, and what others need was imported.
    """

    step_shown = Signal(object)
    closed = Signal()
    help_shown = Signal(bool)
    help_requested = Signal()
    ready = Signal()

    def __init__(
        self,
        context: AppContext,
        make: Callable[[Step, AppContext], PageController] = make_controller,
    ) -> None:
        super().__init__()
        self.setObjectName("main-window")
        self.context = context
        self._make = make
        self._controllers: dict[Step, PageController] = {}
        self._notices: set[Step] = set()
        self._current: Step | None = None
        self._held: Step | None = None
        self._holding = False
        self.may_close: Callable[[], bool] = lambda: True
        self._build()
        self._restore()
        context.session.states_changed.connect(self._show_states)
        self._show_states()
        self._warm_up = QTimer(self)
        self._warm_up.setInterval(20)  # room for clicks between two pages
        self._warm_up.timeout.connect(self._make_one_page)

    @property
    def current_step(self) -> Step:
        """The step whose page is in front."""
        return self._current or Step.START

    def controller(self, step: Step) -> PageController:
        """Return the controller of a step; it is made when first asked for."""
        if step not in self._controllers:
            controller = self._make(step, self.context)
            self._controllers[step] = controller
            self._stack.addWidget(controller.page)
            _leave_drops_to_the_window(controller.page)
            controller.go_to.connect(self._on_go_to)
            controller.page.help_requested.connect(self.help_requested)
            controller.page.offer_help(self._help.isHidden())
            self._show_notice(step)
        return self._controllers[step]

    def show_step(self, step: Step) -> None:
        """Bring the page of a step to the front."""
        if step is self._current:
            return
        if self._current is not None:
            self._controllers[self._current].deactivate()
        controller = self.controller(step)
        self._current = step
        self._stack.setCurrentWidget(controller.page)
        self.sidebar.show_current(step)
        self._navigation.show_step(step, self._state(step))
        self._help.show_text(_help_text(step))
        controller.activate()
        self.step_shown.emit(step)

    def hold(self, on: bool) -> None:
        """Let wishes of pages for other pages wait (during a tour), or follow the last one."""
        self._holding = on
        if not on and self._held is not None:
            self.show_step(self._held)
        self._held = None

    def _on_go_to(self, step: Step) -> None:
        if self._holding:
            self._held = step
        else:
            self.show_step(step)

    def make_remaining_pages(self) -> None:
        """Make the other pages one by one, whenever the window has nothing else to do."""
        self.context.background.run(
            "libraries", import_libraries, self._start_making, self._start_making
        )

    def _start_making(self, _outcome: object) -> None:
        self._warm_up.start()

    @property
    def helps(self) -> bool:
        """Whether the help is beside the page."""
        return not self._help.isHidden()

    def show_help(self, visible: bool) -> None:
        """Show or hide the help beside the page."""
        self._help.setVisible(visible)
        for controller in self._controllers.values():
            controller.page.offer_help(not visible)
        self.help_shown.emit(visible)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Give the help room where there is some, until the user has chosen."""
        super().resizeEvent(event)
        self._suit_help()

    def _suit_help(self) -> None:
        chosen = self.context.settings.value.help_visible
        visible = self.width() >= _HELP_FROM_PX if chosen is None else chosen
        if visible != self.helps:
            self.show_help(visible)

    @property
    def current_page(self) -> Page:
        """The page that is in front."""
        return self.controller(self.current_step).page

    def show_problem(self, problem: Problem | None) -> None:
        """Show a problem on the page that is in front."""
        self.current_page.show_problem(problem)

    @property
    def pages_made(self) -> tuple[Step, ...]:
        """The steps whose pages exist already."""
        return tuple(self._controllers)

    def closeEvent(self, event: QCloseEvent) -> None:
        """Close, unless somebody objects."""
        if not self.may_close():
            event.ignore()
            return
        self._warm_up.stop()
        if self._current is not None:
            self._controllers[self._current].deactivate()
        self._remember()
        super().closeEvent(event)
        self.closed.emit()

    def _build(self) -> None:
        self.setWindowTitle("Decode Desktop")
        self.setAcceptDrops(True)
        self.setMinimumSize(900, 600)
        self.resize(1280, 800)
        self.sidebar = Sidebar()
        self._stack = QStackedWidget()
        self._stack.setObjectName("pages")
        self._navigation = NavigationBar()
        self._help = HelpPanel()
        self.jobs_bar = JobsBar()
        middle = QWidget()
        column = QVBoxLayout(middle)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._stack, 1)
        self.questions = Questions()
        column.addWidget(self.questions)
        column.addWidget(self._navigation)
        self._splitter = QSplitter(Qt.Orientation.Horizontal)
        self._splitter.setObjectName("splitter")
        self._splitter.setHandleWidth(1)
        for widget in (self.sidebar, middle, self._help):
            self._splitter.addWidget(widget)
        self._splitter.setCollapsible(0, False)
        self._splitter.setCollapsible(1, False)
        self._splitter.setStretchFactor(1, 1)
        self._splitter.setSizes([156, 884, 240])
        self.setCentralWidget(self._splitter)
        self.setStatusBar(self.jobs_bar)
        self.sidebar.step_chosen.connect(self.show_step)
        self.jobs_bar.step_requested.connect(self.show_step)
        self._navigation.back_requested.connect(lambda: self.go(-1))
        self._navigation.next_requested.connect(lambda: self.go(+1))
        self._help.close_requested.connect(self.help_requested)

    def go(self, direction: int) -> None:
        """Show the next step (+1) or the one before (-1), where there is one."""
        steps = list(Step)
        place = steps.index(self.current_step) + direction
        if 0 <= place < len(steps):
            self.show_step(steps[place])

    def _state(self, step: Step) -> StepState:
        return self.context.session.states.get(step, StepState())

    def _show_states(self) -> None:
        self.sidebar.show_states(self.context.session.states)
        self._navigation.show_step(self.current_step, self._state(self.current_step))
        for step in self._controllers:
            self._show_notice(step)

    def _show_notice(self, step: Step) -> None:
        """Say on a page that its result is out of date; leave its own notices alone."""
        state = self._state(step)
        page = self._controllers[step].page
        if state.status is StepStatus.STALE:
            page.show_notice(f"Out of date: {state.reason}" if state.reason else "Out of date.")
            self._notices.add(step)
        elif step in self._notices:
            page.show_notice("")
            self._notices.discard(step)

    def _make_one_page(self) -> None:
        for step in Step:
            if step not in self._controllers and step not in _ON_DEMAND:
                self.controller(step)
                return
        self._warm_up.stop()
        self.context.background.run(
            "libraries", import_graphics, self._tell_ready, self._tell_ready
        )

    def _tell_ready(self, _outcome: object) -> None:
        self.ready.emit()

    def _restore(self) -> None:
        settings = self.context.settings.value
        for text, restore in (
            (settings.window_geometry, self.restoreGeometry),
            (settings.splitter_state, self._splitter.restoreState),
        ):
            if text:
                # A state that Qt does not know is ignored by it.
                restore(QByteArray.fromBase64(QByteArray(text.encode())))
        self._suit_help()

    def _remember(self) -> None:
        self.context.settings.update(
            window_geometry=self.saveGeometry().toBase64().toStdString(),
            splitter_state=self._splitter.saveState().toBase64().toStdString(),
        )


def _help_text(step: Step) -> str:
    try:
        path = resource_path("help", STEP_INFO[step].help_file)
        return path.read_text(encoding="utf-8")
    except (InputError, OSError) as error:
        _log.info("no help for %s: %s", step.value, error)
        return "The help text is missing from this installation."


def _leave_drops_to_the_window(page: QWidget) -> None:
    """Line edits would take a dropped file as text; the window recognises it."""
    for edit in page.findChildren(QLineEdit):
        edit.setAcceptDrops(False)
    for box in page.findChildren(QAbstractSpinBox):
        box.setAcceptDrops(False)
