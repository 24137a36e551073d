"""New, open, recent, save as, close: the dialogs around the session."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, QStandardPaths
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog, QMenu
from shiboken6 import isValid

from app.controllers.session import OpenMode
from app.models.problem import Problem
from app.models.steps import Step
from app.shell.main_window import MainWindow
from app.shell.questions import Choice
from app.views.page import Page

__all__ = ["Projects", "documents_folder"]

_READABLE = ("project_locked", "project_protected")  # can be opened to look only


class Projects(QObject):
    """Opens and closes projects for a window, asking where it must."""

    def __init__(self, window: MainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._session = window.context.session
        self._settings = window.context.settings
        self._recent: QMenu | None = None
        self._told_on: Page | None = None  # the page that says that saving failed
        self._notice: Problem | None = None  # what was told while a project opened
        self._session.save_failed.connect(self._on_save_failed)
        self._session.saved.connect(self._on_saved)
        self._session.notice.connect(self._on_notice)
        self._session.untitled_kept.connect(self._on_untitled_kept)
        self._session.project_opened.connect(self._show_title)
        window.step_shown.connect(self._session.set_page)
        self._show_title()

    def new(self) -> None:
        """Ask for the name of a folder and make a project there."""
        start = str(self._last_folder() / "My experiment")
        name, _ = QFileDialog.getSaveFileName(self._window, "New project: name its folder", start)
        if name:
            problem = self._session.new(Path(name))
            if problem is None:
                self._use_own_device()
            self._after(problem, Step.MOVIE)

    def _use_own_device(self) -> None:
        """Let a new project compute on the device of the user's settings."""
        device = self._settings.value.device
        if device != "auto":
            start = self._session.settings.train_start.model_copy(update={"device": device})
            self._session.update("Choose device", train_start=start, localize_device=device)

    def open(self) -> None:
        """Ask for a project's folder and open it."""
        name = QFileDialog.getExistingDirectory(
            self._window, "Open project: choose its folder", str(self._last_folder())
        )
        if name:
            self.open_folder(Path(name))

    def open_folder(self, folder: Path) -> None:
        """Open a project; what stands in the way is asked or told on the page."""
        self._open(folder, "write")

    def _open(self, folder: Path, mode: OpenMode) -> None:
        def done(problem: Problem | None) -> None:
            if problem is not None and problem.code in _READABLE:
                self._ask_about_lock(folder, problem)
            else:
                self._after(problem, None)

        self._notice = None
        self._session.open_later(folder, mode, done)

    def _ask_about_lock(self, folder: Path, problem: Problem) -> None:
        choices = [
            Choice(
                text="Open to look only",
                chosen=lambda: self._open(folder, "read_only"),
                tooltip="Changes are not saved",
            )
        ]
        if problem.action:
            choices.append(
                Choice(
                    text=problem.action,
                    chosen=lambda: self._open(folder, "take_over"),
                )
            )
        self._window.questions.ask(f"{problem.message} {problem.hint}".strip(), choices)

    def save_as(self) -> None:
        """Ask for a folder, copy the project to it and go on there."""
        start = str(self._last_folder() / f"{self._session.project.name} copy")
        name, _ = QFileDialog.getSaveFileName(self._window, "Save project as", start)
        if name:
            step = self._window.current_step
            problem = self._session.save_as(Path(name), lambda found: self._after(found, step))
            if problem is not None:
                self._window.show_problem(problem)

    def close(self) -> None:
        """Close the project; an untitled one takes its place."""
        problem = self._session.close_project()
        if problem is not None:
            self._window.show_problem(problem)
        else:
            self._window.show_step(Step.START)

    def fill_recent(self, menu: QMenu, before: QAction) -> None:
        """Put the list of recent projects into a menu; it is made whenever it is opened."""
        recent = QMenu("Open &recent", menu)
        recent.setObjectName("menu-recent")
        recent.setToolTipsVisible(True)
        menu.insertMenu(before, recent)
        recent.aboutToShow.connect(self.list_recent)
        self._recent = recent

    def list_recent(self) -> QMenu:
        """Fill the menu of recent projects anew."""
        assert self._recent is not None
        self._recent.clear()
        actions = {}
        for text in self._settings.value.recent_projects:
            folder = Path(text)
            actions[text] = self._recent.addAction(folder.name)
            actions[text].setToolTip(text)
            actions[text].triggered.connect(lambda _checked=False, f=folder: self.open_folder(f))
        if not actions:
            self._recent.addAction("No project yet").setEnabled(False)
        # In the background: one on a drive that hangs must not hold the window up.
        self._window.context.background.run(
            "recent-menu",
            lambda check: _missing(tuple(actions), check),
            lambda missing: _grey(actions, missing),
            lambda _problem: None,
        )
        return self._recent

    def _after(self, problem: Problem | None, step: Step | None) -> None:
        if problem is not None:
            self._window.show_problem(problem)
            return
        self._window.show_problem(None)
        self.remember()
        self._window.show_step(self._session.project.page if step is None else step)
        if self._notice is not None:  # on the page that is in front now
            self._window.show_problem(self._notice)
            self._notice = None

    def remember(self) -> None:
        """Put the open project on top of the recent ones."""
        folder = self._session.folder
        self._settings.update(last_folder=str(folder.parent))
        if not self._session.is_untitled:
            self._settings.remember_project(folder)

    def _last_folder(self) -> Path:
        last = Path(self._settings.value.last_folder)
        return last if self._settings.value.last_folder and last.is_dir() else documents_folder()

    def _on_save_failed(self, problem: Problem) -> None:
        self._told_on = self._window.current_page
        self._told_on.show_problem(problem)

    def _on_saved(self) -> None:
        if self._told_on is not None:
            self._told_on.show_problem(None)
            self._told_on = None

    def _on_notice(self, problem: Problem) -> None:
        self._notice = problem
        self._window.show_problem(problem)

    def _on_untitled_kept(self, folder: Path) -> None:
        self._settings.remember_project(folder)
        self._window.jobs_bar.showMessage(f"The project without a name is kept in {folder}", 8000)

    def _show_title(self) -> None:
        name = self._session.project.name
        extra = " (to look only)" if self._session.read_only else ""
        self._window.setWindowTitle(f"{name}{extra} - Decode Desktop")


def _missing(folders: tuple[str, ...], check: Callable[[], None]) -> list[str]:
    found = []
    for text in folders:
        check()
        if not (Path(text) / "project.json").is_file():
            found.append(text)
    return found


def _grey(actions: Mapping[str, QAction], missing: Sequence[str]) -> None:
    for text in missing:
        if not isValid(actions[text]):  # the menu was opened again meanwhile
            continue
        actions[text].setText(f"{Path(text).name} (missing)")
        actions[text].setEnabled(False)
        actions[text].setToolTip(f"{text} is not there (any more)")


def documents_folder() -> Path:
    """Return the folder in which people keep their documents."""
    location = QStandardPaths.StandardLocation.DocumentsLocation
    return Path(QStandardPaths.writableLocation(location) or Path.home())
