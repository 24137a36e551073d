"""The window with everything that belongs to it, put together."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject

from app.controllers.page_controller import AppContext, PageController
from app.controllers.start import StartController
from app.engine_link.path_mapping import PathMap
from app.models.steps import Step
from app.settings import UserSettings, engine_command
from app.shell.closing import Closing
from app.shell.commands import Commands
from app.shell.crash_dialog import CrashDialog
from app.shell.diagnostics import Diagnostics
from app.shell.drop import DropTarget
from app.shell.logs import LogBuffer
from app.shell.main_window import MainWindow
from app.shell.pages import make_controller
from app.shell.questions import Choice
from app.shell.status import Status
from app.shell.theme import Theme
from app.views.gl_probe import probe_gl

__all__ = ["Desktop"]


class Desktop(QObject):
    """Connects the parts of the window; knows none of their insides.

    Parameters
    ----------
    context : AppContext
    theme : Theme
    log : LogBuffer
    log_folder : Path or None
        Where the log files are.
    make : callable
        Makes the controllers with their pages.
    """

    def __init__(
        self,
        context: AppContext,
        theme: Theme,
        log: LogBuffer,
        log_folder: Path | None = None,
        *,
        make: Callable[[Step, AppContext], PageController] = make_controller,
    ) -> None:
        self.window = MainWindow(context, make)
        super().__init__(self.window)
        self.context = context
        self._log = log
        self._tour_due = False
        self._engine = (context.settings.value.engine_command, context.settings.value.path_map)
        self.status = Status(context, self.window.jobs_bar)
        self.commands = Commands(self.window, theme, log, self.facts, log_folder)
        self.closing = Closing(self.window)
        self.projects = self.commands.projects
        self.drop = DropTarget(self.window, self.projects.open_folder)
        context.settings.follow(self._follow_settings)
        self._connect_start()

    @property
    def start_controller(self) -> StartController:
        """The first page's controller."""
        controller = self.window.controller(Step.START)
        assert isinstance(controller, StartController)
        return controller

    def begin(self, path: Path | None = None, *, example: bool = False) -> None:
        """Show the first page, what was named on the command line, or the example."""
        self.window.show_step(Step.START)
        self.window.show()
        if self.context.settings.problem is not None:
            self.window.show_problem(self.context.settings.problem)
        self.window.make_remaining_pages()
        if example:
            self._start_example()
        elif path is not None:
            self.drop.take([path.absolute()])

    def report_crash(self, what: str, saved_in: Path | None) -> None:
        """Say that the app made a mistake."""
        dialog = CrashDialog(what, saved_in, self.window)
        dialog.copy_requested.connect(self.commands.copy_diagnostics)
        dialog.quit_requested.connect(self.window.close)
        dialog.open()

    def report_hard_crash(self, words: str) -> None:
        """Say that the last session ended hard, and keep its last words in the log."""
        for line in words.splitlines():
            self._log.add(f"last session: {line}")
        self.window.questions.ask(
            "The app ended unexpectedly the last time. Your projects are as they were saved last.",
            [
                Choice(
                    text="Copy diagnostics",
                    chosen=self.commands.copy_diagnostics,
                    tooltip="For a report; holds no data of yours",
                )
            ],
        )

    def facts(self) -> Diagnostics:
        """Gather what the diagnostics report."""
        jobs, problem = self.context.jobs, self.status.engine_problem
        engine = {"version": jobs.engine_version, "devices": ", ".join(jobs.devices)}
        engine["command"] = "own" if not self.context.settings.value.engine_command else "another"
        if problem is not None:
            engine["problem"] = f"{problem.code} {problem.message} {problem.detail}"
        return Diagnostics(
            engine=engine,
            runs=self.context.session.project.runs,
            log=self._log.lines(),
            graphics=_graphics,
        )

    def _connect_start(self) -> None:
        start = self.start_controller
        start.new_requested.connect(self.projects.new)
        start.open_requested.connect(self.projects.open)
        start.open_folder_requested.connect(self.projects.open_folder)
        start.example_wanted.connect(self._start_example)
        start.go_to.connect(self._on_example_ready)

    def _start_example(self) -> None:
        self._tour_due = not self.context.settings.value.tour_seen
        self.start_controller.start_example()

    def _on_example_ready(self, step: Step) -> None:
        """Offer the tour once the first picture is there: seeing comes before reading."""
        if self._tour_due and step is Step.EXPLORE:
            self._tour_due = False
            self.context.settings.update(tour_seen=True)  # asked once; the Help menu has it, too
            self.window.questions.ask(
                "This picture is the example's result. A tour of seven stops shows how it came "
                "about.",
                [Choice(text="Take the tour", chosen=self.commands.tour.start)],
            )

    def _follow_settings(self, settings: UserSettings) -> None:
        engine = (settings.engine_command, settings.path_map)
        if engine != self._engine:
            self._engine = engine
            command = settings.engine_command or engine_command()
            self.context.jobs.use_engine(command, PathMap.of(settings.path_map))


def _graphics() -> str:
    found = probe_gl()
    if found is None:
        return "no OpenGL that suffices"
    kind = "drawn by the processor" if found.software else "drawn by the graphics card"
    return f"OpenGL {found.version}, {found.renderer} ({kind})"
