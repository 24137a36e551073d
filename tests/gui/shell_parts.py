"""A window whose pages are plain ones, except the first: fast, and independent of theirs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtWidgets import QApplication, QLineEdit

from app.controllers.page_controller import AppContext, PageController
from app.controllers.start import StartController
from app.models.steps import Step
from app.shell.desktop import Desktop
from app.shell.logs import LogBuffer
from app.shell.theme import Theme
from app.views.page import Page


class PlainController(PageController):
    """Remembers what it was given."""

    def __init__(self, step: Step, context: AppContext) -> None:
        page = Page(step)
        page.body.addWidget(QLineEdit())
        super().__init__(context, page)
        self.given: list[Path] = []
        self.visits: list[str] = []

    def activate(self) -> None:
        self.visits.append("shown")

    def deactivate(self) -> None:
        self.visits.append("left")

    def open_paths(self, paths: Sequence[Path]) -> None:
        self.given += paths


def make_desktop(context: AppContext, folder: Path) -> Desktop:
    """Return a window with plain pages; its example projects go into ``folder``."""

    def make(step: Step, made_for: AppContext) -> PageController:
        if step is Step.START:
            return StartController(made_for, examples=folder)
        return PlainController(step, made_for)

    application = QApplication.instance()
    assert isinstance(application, QApplication)
    theme = Theme(application)
    desktop = Desktop(context, theme, LogBuffer(), make=make)
    theme.setParent(desktop)
    return desktop


def plain(desktop: Desktop, step: Step) -> PlainController:
    controller = desktop.window.controller(step)
    assert isinstance(controller, PlainController)
    return controller
