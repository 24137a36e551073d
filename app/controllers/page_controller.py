"""The base of the pages' controllers, and what they are given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.models.steps import Step
from app.models.table_cache import TableCache
from app.views.page import Page

if TYPE_CHECKING:
    from app.controllers.background import Background
    from app.controllers.job_center import JobCenter
    from app.controllers.session import ProjectSession
    from app.settings import SettingsStore

__all__ = ["AppContext", "PageController"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AppContext:
    """What every controller may use."""

    session: ProjectSession
    jobs: JobCenter
    background: Background
    settings: SettingsStore
    tables: TableCache = field(default_factory=TableCache)


class PageController(QObject):
    """Connects one page with project and engine.

    Subclasses make their page in ``__init__``, follow ``context.session.project_changed`` and
    answer the page's request signals.
    """

    go_to = Signal(object)  # Step: ask the window to show another page

    def __init__(self, context: AppContext, page: Page) -> None:
        super().__init__(page)
        self.context = context
        self.page = page

    @property
    def step(self) -> Step:
        """The step whose page this is."""
        return self.page.step

    def activate(self) -> None:
        """Follow the page being shown."""

    def deactivate(self) -> None:
        """Follow the page being left."""

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Take files that were dropped and recognised as belonging to this step."""
