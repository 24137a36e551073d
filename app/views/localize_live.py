"""The picture that fills while a movie is localized."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QPalette
from PySide6.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

from app.models.explore_view import Bounds, ColorScale, Overlays, Placement, ViewTransform
from app.views.canvas_overlays import paint_overlays
from app.views.naming import named
from app.views.paint_surface import Pixels, draw_placed, image_from_pixels

__all__ = ["LivePicture"]


class LivePicture(QWidget):
    """The reconstruction so far and one line of numbers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._picture = named(_WholePicture(), "localize-live-picture")
        self._picture.setAccessibleName("Reconstruction so far")
        self._words = named(QLabel(), "localize-live-words")
        self._words.setWordWrap(True)
        layout = QVBoxLayout(self)
        layout.addWidget(self._picture, 1)
        layout.addWidget(self._words)
        self.clear()

    def clear(self, words: str = "The picture appears here while a movie is localized.") -> None:
        """Show no picture."""
        self._picture.show_words(words)
        self._words.setText(words)
        self._words.hide()

    def show_picture(
        self, rgb: Pixels, placement: Placement, scale: ColorScale | None, words: str
    ) -> None:
        """Show the picture so far; (H, W, 3) uint8."""
        self._picture.show_picture(rgb, placement, scale)
        self._words.setText(words)
        self._words.show()

    @property
    def has_picture(self) -> bool:
        """Whether something is shown."""
        return self._picture.has_picture

    @property
    def words(self) -> str:
        """The line of numbers."""
        return self._words.text()


class _WholePicture(QWidget):
    """Draws the whole image as large as fits, with scale bar and colour bar."""

    def __init__(self) -> None:
        super().__init__()
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(200, 160)
        self._image: QImage | None = None
        self._placement = Placement(0.0, 0.0, 1.0)
        self._scale: ColorScale | None = None
        self._words = ""

    @property
    def has_picture(self) -> bool:
        return self._image is not None

    def show_words(self, words: str) -> None:
        self._image, self._words = None, words
        self.update()

    def show_picture(self, rgb: Pixels, placement: Placement, scale: ColorScale | None) -> None:
        self._image = image_from_pixels(rgb)
        self._placement, self._scale = placement, scale
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._image is None:
            # No black hole where nothing is yet: the window's own ground, and why.
            painter.fillRect(self.rect(), self.palette().base())
            painter.setPen(self.palette().color(QPalette.ColorRole.PlaceholderText))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect().adjusted(40, 20, -40, -20), flags, self._words)
        else:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            place = self._placement
            field = Bounds(
                place.left_nm,
                place.top_nm,
                place.left_nm + self._image.width() * place.pixel_size_nm,
                place.top_nm + self._image.height() * place.pixel_size_nm,
            )
            view = ViewTransform.fitting(field, self.width(), self.height())
            draw_placed(painter, self._image, place, view)
            paint_overlays(painter, view, Overlays(color_scale=self._scale, field=field))
        painter.end()
