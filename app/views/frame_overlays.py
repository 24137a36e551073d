"""What lies on or beside a frame: the scale bar, and the colour bar of its points."""

from __future__ import annotations

import math
from typing import Any

import cmap
import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QWidget

__all__ = ["ColorBar", "ScaleBar", "lookup_table"]

_NICE = (1, 2, 5)


def lookup_table(name: str) -> NDArray[np.uint8]:
    """Return 256 RGB colours of a named map; grey where there is no such map."""
    try:
        colors = cmap.Colormap(name).lut(256)
    except (ValueError, KeyError, TypeError):
        colors = cmap.Colormap("gray").lut(256)
    return np.ascontiguousarray(np.round(colors[:, :3] * 255).astype(np.uint8))


class ScaleBar(QWidget):
    """A bar of a round length in the lower right corner, white with a dark rim."""

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.pixel_size_nm: float | None = None
        self._length = 0.0
        self._text = ""
        self.hide()

    def follow(self, box: Any) -> None:
        """Choose the length for the zoom of a view."""
        screen_px = box.width() / max(box.viewRect().width(), 1e-9)  # per pixel of the frame
        if self.pixel_size_nm is None or not math.isfinite(screen_px) or screen_px <= 0:
            self.hide()
            return
        nm_per_px = self.pixel_size_nm / screen_px
        target = 0.22 * box.width() * nm_per_px
        decade = 10.0 ** math.floor(math.log10(max(target, 1e-9)))
        nice = max((n * decade for n in _NICE if n * decade <= target), default=decade)
        self._length = nice / nm_per_px
        self._text = f"{nice / 1000:g} µm" if nice >= 1000 else f"{nice:g} nm"
        words = QFontMetrics(self._font_of_words()).horizontalAdvance(self._text) + 12
        width, height = max(round(self._length) + 24, words), 34
        self.setGeometry(
            self._view.width() - width - 6, self._view.height() - height - 6, width, height
        )
        self.show()
        self.update()

    def _font_of_words(self) -> QFont:
        font = QFont(self.font())
        font.setBold(True)
        return font

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint bar and text."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(0, 0, 0, 110))
        bar = QRectF((self.width() - self._length) / 2, self.height() - 10, self._length, 4)
        painter.fillRect(bar, QColor("white"))
        painter.setPen(QColor("white"))
        painter.setFont(self._font_of_words())
        area = self.rect().adjusted(0, 0, 0, -10)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self._text)
        painter.end()


class ColorBar(QWidget):
    """A vertical bar that says which colour is which value."""

    def __init__(self) -> None:
        super().__init__()
        self._table = lookup_table("viridis")
        self._label, self._low, self._high = "", 0.0, 1.0
        self.setFixedWidth(64)

    def show_map(self, label: str, colormap: str, low: float, high: float) -> None:
        """Take over a map and its range."""
        self._table = lookup_table(colormap)
        self._label, self._low, self._high = label, low, high
        self.setAccessibleName(f"Colour bar: {label} from {low:.4g} to {high:.4g}")
        self.setToolTip(f"Colour of {label}: {low:.4g} to {high:.4g}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the colours, the ends and the label."""
        painter = QPainter(self)
        top, height, width = 18, max(self.height() - 36, 1), 14
        n = len(self._table)
        for i, rgb in enumerate(self._table.tolist()):
            y = top + height * (n - 1 - i) / n
            painter.fillRect(QRectF(0, y, width, height / n + 1), QColor(*rgb))
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(0, 12, f"{self._high:.4g}")
        painter.drawText(0, self.height() - 5, f"{self._low:.4g}")
        painter.translate(width + 6, top + height / 2)
        painter.rotate(90)
        area = QRectF(-height / 2, -self.width() + width + 6, height, self.width() - width - 6)
        painter.drawText(
            area, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, self._label
        )
        painter.end()
