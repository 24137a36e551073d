"""The region of a frame: drawn by a drag, then moved and resized by its handles."""

from __future__ import annotations

from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QMouseEvent

__all__ = ["Roi", "RoiTool"]

Roi = tuple[int, int, int, int]


class RoiTool(QObject):
    """The region: drawn by a drag, then moved and resized by its handles."""

    changed = Signal(object)

    def __init__(self, box: Any) -> None:
        super().__init__()
        self._box = box
        self._item: Any = None
        self._enabled = False
        self._bounds = (0, 0)
        self._corner: QPointF | None = None
        self._value: Roi | None = None

    def set_bounds(self, width: int, height: int) -> None:
        """Take over the size of the frame, in pixels."""
        self._bounds = (width, height)

    def enable(self, on: bool) -> None:
        """Allow or forbid the mouse to change the region."""
        self._enabled = on
        if self._value is not None:
            self.set(self._value)

    def set(self, roi: Roi | None) -> None:
        """Show a region without emitting; None takes it away."""
        if self._item is not None:
            self._box.removeItem(self._item)
            self._item = None
        self._value = roi
        if roi is not None:
            self._show(roi)

    def key(self, key: int) -> bool:
        """Remove the region on Delete; say whether the key was used."""
        delete = key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
        if not (self._enabled and self._value is not None and delete):
            return False
        self.set(None)
        self.changed.emit(None)
        return True

    def mouse(self, event: QMouseEvent, where: QPointF) -> bool:
        """Draw a first region; say whether the event was used."""
        left = event.button() == Qt.MouseButton.LeftButton
        if event.type() == QEvent.Type.MouseButtonPress and left:
            if self._enabled and self._value is None:
                self._corner = where
                return True
        elif self._corner is not None and event.type() == QEvent.Type.MouseMove:
            self._stretch(self._between(self._corner, where))
            return True
        elif self._corner is not None and event.type() == QEvent.Type.MouseButtonRelease:
            roi, self._corner = self._between(self._corner, where), None
            self.set(roi if roi[2] > 1 and roi[3] > 1 else None)  # a mere click is no region
            self.changed.emit(self._value)
            return True
        return False

    def _stretch(self, roi: Roi) -> None:
        """Show a region that is being drawn."""
        if self._item is None:
            self.set(roi)
        self._value = roi
        self._place(roi)

    def _between(self, a: QPointF, b: QPointF) -> Roi:
        left, right = sorted((a.x(), b.x()))
        top, bottom = sorted((a.y(), b.y()))
        return self._snapped(left, top, right - left, bottom - top)

    def _snapped(self, x: float, y: float, w: float, h: float) -> Roi:
        """Return whole pixels inside the frame, nearest to a rectangle in view coordinates."""
        width, height = self._bounds
        left = min(max(round(x + 0.5), 0), max(width - 1, 0))
        top = min(max(round(y + 0.5), 0), max(height - 1, 0))
        right = min(max(round(x + w + 0.5), left + 1), max(width, left + 1))
        bottom = min(max(round(y + h + 0.5), top + 1), max(height, top + 1))
        return (left, top, right - left, bottom - top)

    def _show(self, roi: Roi) -> None:
        x, y, w, h = roi
        item = pg.ROI(
            (x - 0.5, y - 0.5),
            (w, h),
            pen=pg.mkPen("#FFD000", width=2),
            hoverPen=pg.mkPen("#FFFFFF", width=2),
            handlePen=pg.mkPen("#FFD000", width=2),
            movable=self._enabled,
            resizable=self._enabled,
            rotatable=False,
        )
        if self._enabled:
            for a, b in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5)):
                handle = item.addScaleHandle((a, b), (1 - a, 1 - b))
                # Each handle has a menu to remove it, which is a window without a parent.
                handle.menu.deleteLater()
                handle.menu = None
        item.sigRegionChangeFinished.connect(self._moved)
        self._box.addItem(item, ignoreBounds=True)
        self._item = item

    def _moved(self) -> None:
        position, size = self._item.pos(), self._item.size()
        roi = self._snapped(position.x(), position.y(), size.x(), size.y())
        self._value = roi
        self._place(roi)
        self.changed.emit(roi)

    def _place(self, roi: Roi) -> None:
        self._item.blockSignals(True)
        self._item.setPos((roi[0] - 0.5, roi[1] - 0.5))
        self._item.setSize((roi[2], roi[3]))
        self._item.blockSignals(False)
