"""Measuring on the picture: numbers of a box, profile along a line."""

from __future__ import annotations

from PySide6.QtCore import QObject

from app.controllers.background import Background
from app.controllers.explore_render import OpenTable
from app.models.explore_view import Bounds, PointNm
from app.views.explore_panels import MeasurePanel


class Measurements(QObject):
    """Stub."""

    def __init__(self, background: Background, panel: MeasurePanel, parent: QObject) -> None:
        super().__init__(parent)
        self._table: OpenTable | None = None

    def set_table(self, opened: OpenTable | None) -> None:
        """Take another table; None for none."""
        self._table = opened

    def refresh(self) -> None:
        """Measure again."""

    def measure(self, box: Bounds | None, line: tuple[PointNm, PointNm] | None) -> None:
        """Measure."""
