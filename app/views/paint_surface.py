"""The canvas's picture without OpenGL: a QImage that the painter scales and moves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from app.models.explore_view import Placement, ViewTransform

__all__ = ["PaintSurface", "Pixels", "draw_placed", "image_from_pixels"]

Pixels: TypeAlias = NDArray[np.uint8]


def image_from_pixels(rgb: Pixels) -> QImage:
    """Return a QImage of its own memory from (height, width, 3) uint8."""
    pixels = np.ascontiguousarray(rgb)
    height, width = pixels.shape[:2]
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    # RGB32 is what the painter draws without converting; the conversion also copies.
    return image.convertToFormat(QImage.Format.Format_RGB32)


@dataclass(frozen=True, slots=True)
class _Placed:
    image: QImage
    placement: Placement


def draw_placed(
    painter: QPainter, image: QImage, placement: Placement, view: ViewTransform
) -> None:
    """Draw an image where it belongs, whatever view it was made for."""
    scale = placement.pixel_size_nm / view.pixel_size_nm
    left, top = view.to_px(placement.left_nm, placement.top_nm)
    target = QRectF(left, top, image.width() * scale, image.height() * scale)
    ratio = scale * painter.device().devicePixelRatioF()
    smooth = not 0.99 < ratio < 1.01 and ratio < 4.0  # beyond, pixels should look like pixels
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, smooth)
    painter.drawImage(target, image)


class PaintSurface(QWidget):
    """Draws the newest image, over a coarse one of the whole field where that does not reach."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self._view = ViewTransform()
        self._image: _Placed | None = None
        self._backdrop: _Placed | None = None

    def set_image(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show an image; None shows nothing."""
        self._image = None if rgb is None else _Placed(image_from_pixels(rgb), placement)
        self.update()

    def set_backdrop(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show a coarse image where the other one does not reach."""
        self._backdrop = None if rgb is None else _Placed(image_from_pixels(rgb), placement)
        self.update()

    def set_view(self, view: ViewTransform) -> None:
        """Show another part of the sample; the image moves along."""
        self._view = view
        self.update()

    def close_surface(self) -> None:
        """Nothing to give back."""

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw black, the coarse image, the image."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        for placed in (self._backdrop, self._image):
            if placed is not None:
                draw_placed(painter, placed.image, placed.placement, self._view)
        painter.end()
