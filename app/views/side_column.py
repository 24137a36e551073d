"""A column of settings that scrolls up and down and is as wide as its fields need."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import QFrame, QScrollArea, QStyle, QWidget

__all__ = ["SideColumn"]

_MOST_PX = 440  # from here on it rather scrolls sideways than push the page's pictures away


class SideColumn(QScrollArea):
    """Scrolls a widget; grows, within limits, when the widget shows wider fields.

    Parameters
    ----------
    inner : QWidget
    width : int
        Least width in pixels.
    elastic : bool
        The column may get wider than it needs, as its layout decides.

    Signals
    -------
    width_changed : int
        It needs another width.
    """

    width_changed = Signal(int)

    def __init__(self, inner: QWidget, *, width: int, elastic: bool = False) -> None:
        super().__init__()
        self._inner, self._least, self._elastic = inner, width, elastic
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # its fields take the keyboard
        self.setWidget(inner)
        inner.installEventFilter(self)
        self._fit()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Follow what the widget needs."""
        if watched is self._inner and event.type() == QEvent.Type.LayoutRequest:
            self._fit()
        return super().eventFilter(watched, event)

    def _fit(self) -> None:
        bar = self.style().pixelMetric(QStyle.PixelMetric.PM_ScrollBarExtent)
        need = self._inner.minimumSizeHint().width() + bar + 2
        width = min(max(self._least, need), _MOST_PX)
        if width == self.minimumWidth():
            return
        self.setMinimumWidth(width)
        if not self._elastic:
            self.setMaximumWidth(width)
        self.width_changed.emit(width)
