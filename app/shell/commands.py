"""What the window's actions do."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from PySide6.QtCore import QObject, Qt, QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QDialog, QFileDialog

from app.models.problem import Problem
from app.models.steps import Step
from app.shell.about_dialog import AboutDialog
from app.shell.actions import ActionSet
from app.shell.diagnostics import Diagnostics, diagnostics_text, save_diagnostics
from app.shell.log_window import LogWindow
from app.shell.logs import LogBuffer
from app.shell.main_window import MainWindow
from app.shell.projects import Projects
from app.shell.settings_dialog import SettingsDialog
from app.shell.shortcuts_dialog import ShortcutsDialog
from app.shell.theme import Mode, Theme
from app.shell.tour import Tour

__all__ = ["Commands"]

_log = logging.getLogger(__name__)


class Commands(QObject):
    """Carries out the actions of `app.shell.actions` for one window.

    Parameters
    ----------
    facts : callable
        Gathers what the diagnostics report.
    log_folder : Path or None
        Where the log files are; they go into the diagnostics ZIP.
    """

    def __init__(
        self,
        window: MainWindow,
        theme: Theme,
        log: LogBuffer,
        facts: Callable[[], Diagnostics],
        log_folder: Path | None = None,
    ) -> None:
        super().__init__(window)
        self._window = window
        self._context = window.context
        self._theme = theme
        self._log = log
        self._facts = facts
        self._log_folder = log_folder
        self.projects = Projects(window)
        self.tour = Tour(window)
        self.actions = ActionSet(window, self)
        self.projects.fill_recent(self.actions.menus["&Project"], self.actions["save-as"])
        self.actions["help-panel"].setChecked(window.helps)
        window.help_shown.connect(self.actions["help-panel"].setChecked)
        self.actions[f"theme-{self._context.settings.value.theme}"].setChecked(True)
        window.help_requested.connect(self.toggle_help)
        window.step_shown.connect(lambda _step: self.refresh())
        self._context.session.undo_changed.connect(self.refresh)
        self._context.session.project_opened.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Enable and name the actions as things are now."""
        session, step = self._context.session, self._window.current_step
        steps = list(Step)
        self.actions.refresh(
            {
                "can_undo": session.can_undo,
                "can_redo": session.can_redo,
                "has_previous": step is not steps[0],
                "has_next": step is not steps[-1],
            }
        )
        self.actions["undo"].setText(f"&Undo {session.undo_text}".strip())
        self.actions["redo"].setText(f"&Redo {session.redo_text}".strip())

    def new_project(self) -> None:
        """Ask for a folder and make a project in it."""
        self.projects.new()

    def open_project(self) -> None:
        """Ask for a project and open it."""
        self.projects.open()

    def save_as(self) -> None:
        """Ask for a folder and copy the project to it."""
        self.projects.save_as()

    def close_project(self) -> None:
        """Close the project; an untitled one takes its place."""
        self.projects.close()

    def open_folder(self) -> None:
        """Show the project's folder in the system's file manager."""
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._context.session.folder)))

    def quit(self) -> None:
        """Close the window, and with it the app."""
        self._window.close()

    def undo(self) -> None:
        """Take back the last change."""
        self._context.session.undo()

    def redo(self) -> None:
        """Make it again."""
        self._context.session.redo()

    def go_to_step(self, name: str) -> None:
        """Show the page of a step."""
        self._window.show_step(Step(name))

    def go_back(self) -> None:
        """Show the page before."""
        self._window.go(-1)

    def go_next(self) -> None:
        """Show the page after."""
        self._window.go(+1)

    def set_theme(self, mode: str) -> None:
        """Change the theme and remember it."""
        self._context.settings.update(theme=mode)
        self._theme.apply(cast("Mode", mode))
        self.actions[f"theme-{mode}"].setChecked(True)

    def toggle_help(self) -> None:
        """Show or hide the help beside the page, and remember it."""
        visible = not self._window.helps
        self._context.settings.update(help_visible=visible)
        self._window.show_help(visible)

    def show_settings(self) -> None:
        """Show the settings."""
        settings, devices = self._context.settings.value, self._context.jobs.devices

        def make() -> QDialog:
            dialog = SettingsDialog(settings, devices, self._window)
            dialog.applied.connect(self._apply_settings)
            return dialog

        self._show("settings-dialog", make)

    def show_log(self) -> None:
        """Show the log."""

        def make() -> QDialog:
            window = LogWindow(self._log, self._window)
            window.copy_requested.connect(self.copy_diagnostics)
            window.save_requested.connect(self.save_diagnostics)
            return window

        self._show("log-window", make)

    def show_shortcuts(self) -> None:
        """Show all keys."""
        self._show("shortcuts-dialog", lambda: ShortcutsDialog(self._window))

    def show_about(self) -> None:
        """Show versions, licences and citation."""
        self._show("about-dialog", lambda: AboutDialog(self._window))

    def start_tour(self) -> None:
        """Walk through the window."""
        self.tour.start()

    def copy_diagnostics(self) -> None:
        """Put the diagnostics on the clipboard."""
        QGuiApplication.clipboard().setText(diagnostics_text(self._facts()))
        self._window.jobs_bar.showMessage("The diagnostics are on the clipboard.", 5000)

    def save_diagnostics(self) -> None:
        """Ask for a file and write the diagnostics into it."""
        start = str(Path.home() / "decode-desktop-diagnostics.zip")
        name, _ = QFileDialog.getSaveFileName(
            self._window, "Save diagnostics", start, "ZIP (*.zip)"
        )
        if not name:
            return
        text = diagnostics_text(self._facts())
        logs = sorted(self._log_folder.glob("*.log*")) if self._log_folder else []
        self._context.background.run(
            "diagnostics",
            lambda _check: save_diagnostics(Path(name), text, logs),
            lambda _none: self._window.jobs_bar.showMessage(f"Saved {name}", 5000),
            self._window.show_problem,
        )

    def _apply_settings(self, changes: dict[str, Any]) -> None:
        self._context.settings.update(**changes)
        self.set_theme(self._context.settings.value.theme)
        problem: Problem | None = self._context.settings.problem
        if problem is not None:
            self._window.show_problem(problem)

    def _show(self, name: str, make: Callable[[], QDialog]) -> None:
        """Show a dialog that stops nothing; one that is open already comes to the front."""
        dialog = self._window.findChild(QDialog, name)
        if dialog is None:
            dialog = make()
            dialog.setObjectName(name)
            dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            dialog.show()
        dialog.raise_()
        dialog.activateWindow()
