"""A picture of the sample to fly over: zoom under the cursor, drag, measure; any RGB image.

The canvas knows nothing of localizations. It keeps the view, tells when that changes, and shows
the images it is given where they belong, so that moving is immediate and a fresh image follows.
The picture lies on one of two interchangeable surfaces: vispy (OpenGL) or Qt's painter. Overlays
and the mouse belong to a transparent layer above, the same for both.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, Protocol

from PySide6.QtCore import QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QEnterEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.models.explore_view import Bounds, Overlays, Placement, PointNm, ViewTransform
from app.views.canvas_overlays import paint_overlays
from app.views.naming import named
from app.views.paint_surface import PaintSurface, Pixels, draw_placed, image_from_pixels

__all__ = ["BackEnd", "ImageCanvas", "Surface", "Tool"]

Tool = Literal["pan", "box", "line"]
BackEnd = Literal["gl", "paint"]

_KEY_ZOOM = 1.5
_WHEEL_ZOOM = 1.0015  # per eighth of a degree: one notch of a wheel zooms by a fifth
_KEY_PAN = 0.125  # of the canvas
_CLICK_PX = 4.0  # a shorter drag is a click


class Surface(Protocol):
    """What both kinds of surface can do."""

    def set_image(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show an image; None shows nothing."""

    def set_backdrop(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show a coarse image where the other one does not reach."""

    def set_view(self, view: ViewTransform) -> None:
        """Show another part of the sample; the image moves along."""

    def close_surface(self) -> None:
        """Give everything back."""


class ImageCanvas(QWidget):
    """Shows images of the sample and turns mouse and keys into views, boxes and lines.

    Parameters
    ----------
    back_end : "gl" or "paint"
        The kind of surface; "gl" only where `probe_gl` found OpenGL.
    """

    view_changed = Signal(object)  # ViewTransform
    hovered = Signal(object)  # PointNm, or None when the mouse leaves
    box_drawn = Signal(object)  # Bounds, or None when it was taken away
    line_drawn = Signal(object)  # (PointNm, PointNm) or None
    surface_lost = Signal(str)  # OpenGL failed; the painter has taken over

    def __init__(self, back_end: BackEnd = "paint", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(QSize(240, 200))
        self._view = ViewTransform()
        self._field: Bounds | None = None
        self._fitted = True
        self._picture: tuple[Pixels, Placement] | None = None
        self._backdrop: tuple[Pixels, Placement] | None = None
        self._back_end: BackEnd = "paint"
        self._surface: Surface
        self._surface_widget: QWidget
        self._make_surface(back_end)
        self._layer = _Layer(self)
        self.setFocusProxy(self._layer)

    @property
    def back_end(self) -> BackEnd:
        """The kind of surface in use."""
        return self._back_end

    @property
    def view(self) -> ViewTransform:
        """What is shown, in logical pixels."""
        return self._view

    @property
    def is_fitted(self) -> bool:
        """Whether the whole field is kept in view."""
        return self._fitted

    @property
    def tool(self) -> Tool:
        """What dragging with the left button does."""
        return self._layer.tool

    @property
    def overlays(self) -> Overlays:
        """What is drawn over the picture."""
        return self._layer.overlays

    def set_tool(self, tool: Tool) -> None:
        """Choose what dragging with the left button does (the middle one always pans)."""
        self._layer.set_tool(tool)

    def set_overlays(self, overlays: Overlays) -> None:
        """Draw other overlays."""
        self._layer.overlays = overlays
        self._layer.update()

    def set_image(self, rgb: Pixels | None, placement: Placement | None = None) -> None:
        """Show an image, (height, width, 3) uint8, where it lies in the sample."""
        self._picture = None if rgb is None or placement is None else (rgb, placement)
        self._surface.set_image(*(self._picture or (None, Placement(0.0, 0.0, 1.0))))

    def set_backdrop(self, rgb: Pixels | None, placement: Placement | None = None) -> None:
        """Show a coarse image of the whole field where the other one does not reach."""
        self._backdrop = None if rgb is None or placement is None else (rgb, placement)
        self._surface.set_backdrop(*(self._backdrop or (None, Placement(0.0, 0.0, 1.0))))

    def set_field(self, field: Bounds | None) -> None:
        """Say how far the sample reaches; the view stays near it."""
        self._field = field

    def set_view(self, view: ViewTransform) -> None:
        """Show another part of the sample."""
        self._fitted = False
        self._apply(view.resized(max(self.width(), 1), max(self.height(), 1)))

    def look_at(self, middle: PointNm, pixel_size_nm: float) -> None:
        """Show the surroundings of a point."""
        self.set_view(
            ViewTransform(
                left_nm=middle.x - 0.5 * pixel_size_nm * self.width(),
                top_nm=middle.y - 0.5 * pixel_size_nm * self.height(),
                pixel_size_nm=pixel_size_nm,
                width_px=self.width(),
                height_px=self.height(),
            )
        )

    def fit(self) -> None:
        """Show the whole field; it stays whole when the window changes its size."""
        if self._field is not None:
            self._fitted = True
            self._apply(ViewTransform.fitting(self._field, self.width(), self.height()))

    def zoom_by(self, factor: float, at: QPointF | None = None) -> None:
        """Magnify around a point of the canvas, or around its middle."""
        place = at or QPointF(0.5 * self.width(), 0.5 * self.height())
        self._fitted = False
        self._apply(self._view.zoomed(factor, place.x(), place.y()))

    def pan_by(self, right_px: float, down_px: float) -> None:
        """Push the picture."""
        self._fitted = False
        self._apply(self._view.panned(right_px, down_px))

    def use_painter(self) -> None:
        """Go on without OpenGL."""
        if self._back_end != "paint":
            self._make_surface("paint")

    def snapshot(self) -> QImage:
        """Return what is seen, with the overlays, in the pixels of the screen."""
        ratio = self.devicePixelRatioF()
        image = QImage(self.size() * ratio, QImage.Format.Format_RGB32)
        image.setDevicePixelRatio(ratio)
        image.fill(Qt.GlobalColor.black)
        painter = QPainter(image)
        for part in (self._backdrop, self._picture):
            if part is not None:
                draw_placed(painter, image_from_pixels(part[0]), part[1], self._view)
        paint_overlays(painter, self._view, self.overlays)
        painter.end()
        return image

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the middle of the view where it is, or the whole field in view."""
        super().resizeEvent(event)
        self._surface_widget.setGeometry(self.rect())
        self._layer.setGeometry(self.rect())
        if self._fitted and self._field is not None:
            self.fit()
        else:
            self._apply(self._view.resized(max(self.width(), 1), max(self.height(), 1)))

    def close_canvas(self) -> None:
        """Give the OpenGL context back; call it before the widget goes."""
        self._surface.close_surface()

    def _apply(self, view: ViewTransform) -> None:
        if self._field is not None:
            view = view.within(self._field)
        if view == self._view:
            return
        self._view = view
        self._surface.set_view(view)
        self._layer.update()
        self.view_changed.emit(view)

    def _make_surface(self, back_end: BackEnd) -> None:
        old = getattr(self, "_surface_widget", None)
        if old is not None:
            self._surface.close_surface()
            old.hide()
            old.deleteLater()
        reason = ""
        made: PaintSurface | QWidget | None = None
        if back_end == "gl":
            made, reason = self._try_gl()
        self._back_end = "paint" if made is None else "gl"
        widget = made or PaintSurface(self)
        self._surface_widget = named(widget, "explore-surface")
        self._surface = widget  # type: ignore[assignment] # both kinds follow the protocol
        widget.setGeometry(self.rect())
        widget.lower()
        widget.show()
        self._surface.set_view(self._view)
        self.set_backdrop(*(self._backdrop or (None, None)))
        self.set_image(*(self._picture or (None, None)))
        if reason:
            QTimer.singleShot(0, self, lambda: self.surface_lost.emit(reason))

    def _try_gl(self) -> tuple[QWidget | None, str]:
        try:
            from app.views.gl_surface import GlSurface

            return GlSurface(self._on_gl_error, self), ""
        except Exception as error:  # noqa: BLE001 - whatever a driver does: the painter works
            return None, f"{type(error).__name__}: {error}"

    def _on_gl_error(self, reason: str) -> None:
        # Not at once: this comes from inside the surface's own paint event.
        QTimer.singleShot(0, self, lambda: self._lose_surface(reason))

    def _lose_surface(self, reason: str) -> None:
        if self._back_end == "gl":
            self.use_painter()
            self.surface_lost.emit(reason)


class _Layer(QWidget):
    """The transparent layer above the picture: overlays, mouse and keys."""

    def __init__(self, canvas: ImageCanvas) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self.overlays = Overlays()
        self.tool: Tool = "pan"
        self._pressed: QPointF | None = None
        self._last = QPointF()
        self._panning = False
        named(self, "explore-canvas")
        self.setAccessibleName("Picture of the localizations")
        self.setAccessibleDescription(
            "Wheel or plus and minus zoom, drag or arrow keys move, Home shows everything."
        )
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setMouseTracking(True)
        self.set_tool("pan")

    def set_tool(self, tool: Tool) -> None:
        self.tool = tool
        shape = Qt.CursorShape.OpenHandCursor if tool == "pan" else Qt.CursorShape.CrossCursor
        self.setCursor(shape)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        paint_overlays(painter, self._canvas.view, self.overlays)
        if self.hasFocus():
            painter.setPen(self.palette().highlight().color())
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta().y() or event.angleDelta().x()
        if turned:
            self._canvas.zoom_by(_WHEEL_ZOOM**turned, event.position())
            self._tell_hover(event.position())
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() not in (Qt.MouseButton.LeftButton, Qt.MouseButton.MiddleButton):
            return
        self._pressed = self._last = event.position()
        self._panning = self.tool == "pan" or event.button() == Qt.MouseButton.MiddleButton
        if self._panning:
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        place = event.position()
        if self._pressed is not None:
            if self._panning:
                moved = place - self._last
                self._canvas.pan_by(moved.x(), moved.y())
            else:
                self._draw_tool(place)
            self._last = place
        self._tell_hover(place)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if self._pressed is None:
            return
        pressed, self._pressed = self._pressed, None
        self.set_tool(self.tool)
        if self._panning:
            return
        place = event.position()
        moved = place - pressed
        too_short = abs(moved.x()) + abs(moved.y()) < _CLICK_PX
        if self.tool == "box":
            self._canvas.box_drawn.emit(None if too_short else self._box(pressed, place))
        else:
            self._canvas.line_drawn.emit(None if too_short else self._line(pressed, place))

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self._pressed = None
        self._canvas.fit()

    def enterEvent(self, event: QEnterEvent) -> None:
        self._tell_hover(event.position())

    def leaveEvent(self, event: object) -> None:
        self._canvas.hovered.emit(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        canvas = self._canvas
        step_x, step_y = _KEY_PAN * self.width(), _KEY_PAN * self.height()
        key = event.key()
        if key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            canvas.zoom_by(_KEY_ZOOM)
        elif key in (Qt.Key.Key_Minus, Qt.Key.Key_Underscore):
            canvas.zoom_by(1.0 / _KEY_ZOOM)
        elif key == Qt.Key.Key_Left:
            canvas.pan_by(step_x, 0.0)
        elif key == Qt.Key.Key_Right:
            canvas.pan_by(-step_x, 0.0)
        elif key == Qt.Key.Key_Up:
            canvas.pan_by(0.0, step_y)
        elif key == Qt.Key.Key_Down:
            canvas.pan_by(0.0, -step_y)
        elif key == Qt.Key.Key_Home:
            canvas.fit()
        elif key == Qt.Key.Key_Escape and (self.overlays.box or self.overlays.line):
            canvas.box_drawn.emit(None)
            canvas.line_drawn.emit(None)
        else:
            super().keyPressEvent(event)

    def _draw_tool(self, place: QPointF) -> None:
        assert self._pressed is not None
        if self.tool == "box":
            self.overlays = replace(self.overlays, box=self._box(self._pressed, place), line=None)
        else:
            self.overlays = replace(self.overlays, line=self._line(self._pressed, place), box=None)
        self.update()

    def _point(self, place: QPointF) -> PointNm:
        return self._canvas.view.to_nm(place.x(), place.y())

    def _box(self, start: QPointF, end: QPointF) -> Bounds:
        return Bounds.spanned(self._point(start), self._point(end))

    def _line(self, start: QPointF, end: QPointF) -> tuple[PointNm, PointNm]:
        return self._point(start), self._point(end)

    def _tell_hover(self, place: QPointF) -> None:
        self._canvas.hovered.emit(self._point(place))
