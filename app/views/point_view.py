"""The rotating view of the points: turn by dragging, zoom by the wheel, let it spin.

Where there is fast OpenGL vispy draws the points; elsewhere the page's controller draws pictures
(`app.models.projection`) for the camera that this view asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from PySide6.QtCore import QPointF, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QColor,
    QHideEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import (
    QDoubleSpinBox,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from app.models.explore_view import ColorScale, Overlays, ViewTransform
from app.models.projection import Camera, Cloud, box_edges
from app.views.canvas_overlays import paint_overlays
from app.views.naming import named
from app.views.paint_surface import Pixels, image_from_pixels

__all__ = ["PointView"]

_DEG_PER_PX = 0.4
_SPIN_MS, _SPIN_DEG = 40, 0.8
_REST_MS = 150


class PointView(QWidget):
    """Points in space with a bar of buttons."""

    camera_changed = Signal(object, bool)  # Camera, whether it rests (draw finely)
    frame_shown = Signal()  # another picture of the points was painted

    def __init__(self, *, gl: bool, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cloud: Cloud | None = None
        self._gl: Any = None
        self._wants_gl = gl
        self.plain = named(_PlainView(self), "explore-3d-canvas")
        self.plain.camera_changed.connect(self.camera_changed)
        self._spin = named(QPushButton("Spin"), "explore-3d-spin")
        self._spin.setCheckable(True)
        self._spin.setToolTip("Let the points turn slowly, which shows their depth.")
        self._reset = named(QPushButton("Whole view"), "explore-3d-reset")
        self._reset.setToolTip("Turn and zoom back to the start.")
        self._stretch = named(QDoubleSpinBox(), "explore-3d-stretch")
        self._stretch.setRange(1.0, 10.0)
        self._stretch.setSingleStep(0.5)
        self._stretch.setDecimals(1)
        self._stretch.setPrefix("× ")
        self._stretch.setToolTip(
            "z is drawn this many times as tall (1 = true proportions; usually 1 to 5)."
        )
        self._notice = named(QLabel(), "explore-3d-notice")
        self._notice.setWordWrap(True)
        label = QLabel("Height")
        label.setBuddy(self._stretch)
        bar = QHBoxLayout()
        for widget in (self._spin, self._reset, label, self._stretch):
            bar.addWidget(widget)
        bar.addWidget(self._notice, 1)
        self._canvas_box = QVBoxLayout()
        self._canvas_box.addWidget(self.plain)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 6, 0, 0)
        layout.addLayout(bar)
        layout.addLayout(self._canvas_box, 1)
        self._timer = QTimer(self)
        self._timer.setInterval(_SPIN_MS)
        self._timer.timeout.connect(self._turn)
        self._spin.toggled.connect(self._set_spinning)
        self._reset.clicked.connect(self.reset)
        self._stretch.valueChanged.connect(self._set_stretch)

    @property
    def uses_gl(self) -> bool:
        """Whether vispy draws the points; else `set_image` must."""
        return self._gl is not None

    @property
    def camera(self) -> Camera:
        """From where the plain view looks."""
        return self.plain.camera

    @property
    def canvas_size(self) -> tuple[int, int]:
        """Width and height for `set_image`, in pixels of the screen."""
        ratio = self.plain.devicePixelRatioF()
        return round(self.plain.width() * ratio), round(self.plain.height() * ratio)

    def set_cloud(self, cloud: Cloud | None, color_scale: ColorScale | None, notice: str) -> None:
        """Show other points, seen as a whole."""
        first = self._cloud is None
        self._cloud = cloud
        self._notice.setText(notice)
        if self._wants_gl and cloud is not None:
            self._draw_with_gl(cloud, color_scale)
        self.plain.set_cloud(cloud, color_scale, keep_camera=not first)

    def set_image(self, rgb: Pixels) -> None:
        """Show the picture that was drawn for the camera."""
        self.plain.set_image(rgb)
        self.frame_shown.emit()

    def reset(self) -> None:
        """Turn and zoom back to the start."""
        self._stretch.setValue(1.0)
        if self._gl is not None:
            self._gl.reset()
        self.plain.reset()

    def close_view(self) -> None:
        """Stop spinning and give the OpenGL context back."""
        self._spin.setChecked(False)
        self._drop_gl()

    def hideEvent(self, event: QHideEvent) -> None:
        """Spin only while somebody looks."""
        self._spin.setChecked(False)
        super().hideEvent(event)

    def _draw_with_gl(self, cloud: Cloud, color_scale: ColorScale | None) -> None:
        try:
            if self._gl is None:
                from app.views.gl_points import GlPoints

                self._gl = GlPoints(self._on_gl_error, self)
                self._canvas_box.addWidget(self._gl)
                self.plain.hide()
            self._gl.set_cloud(cloud, color_scale)
        except Exception as error:  # noqa: BLE001 - whatever a driver does: the plain view works
            self._lose_gl(f"{type(error).__name__}: {error}")

    def _on_gl_error(self, reason: str) -> None:
        # Not at once: this comes from inside the canvas's own paint event.
        QTimer.singleShot(0, self, lambda: self._lose_gl(reason))

    def _lose_gl(self, _reason: str) -> None:
        if not self._wants_gl:
            return
        self._wants_gl = False
        self._drop_gl()
        self.plain.show()
        self._notice.setText("OpenGL was lost: a simpler view is used.")
        self.plain.tell()

    def _drop_gl(self) -> None:
        gl, self._gl = self._gl, None
        if gl is not None:
            gl.close_view()
            self._canvas_box.removeWidget(gl)
            gl.deleteLater()

    def _set_spinning(self, on: bool) -> None:
        if on:
            self._timer.start()
        else:
            self._timer.stop()
            self.plain.tell()

    def _turn(self) -> None:
        if self._gl is not None:
            self._gl.turn(_SPIN_DEG)
            self.frame_shown.emit()
        else:
            self.plain.turn(_SPIN_DEG, 0.0)

    def _set_stretch(self, value: float) -> None:
        if self._gl is not None:
            self._gl.set_stretch(value)
        self.plain.set_camera(replace(self.plain.camera, z_stretch=value))


class _PlainView(QWidget):
    """Shows the pictures of the points and turns mouse and keys into cameras."""

    camera_changed = Signal(object, bool)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.camera = Camera()
        self._cloud: Cloud | None = None
        self._scale: ColorScale | None = None
        self._image: QImage | None = None
        self._last: QPointF | None = None
        self._fitted = True
        self.setMinimumSize(QSize(240, 200))
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setAccessibleName("Rotating picture of the localizations")
        self.setAccessibleDescription("Drag or arrow keys turn, wheel or plus and minus zoom.")
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self._rest = QTimer(self)
        self._rest.setSingleShot(True)
        self._rest.setInterval(_REST_MS)
        self._rest.timeout.connect(lambda: self._emit(rests=True))

    def set_cloud(
        self, cloud: Cloud | None, scale: ColorScale | None, *, keep_camera: bool
    ) -> None:
        self._cloud, self._scale = cloud, scale
        if cloud is None:
            self._image = None
        elif not keep_camera or self._fitted:
            self._fit()
        self.update()
        self._emit(rests=True)

    def set_image(self, rgb: Pixels) -> None:
        self._image = image_from_pixels(rgb)
        self.update()

    def set_camera(self, camera: Camera) -> None:
        if camera != self.camera:
            self.camera = camera
            self.update()
            self._emit(rests=False)
            self._rest.start()

    def turn(self, right_deg: float, up_deg: float) -> None:
        self.set_camera(self.camera.turned(right_deg, up_deg))

    def reset(self) -> None:
        self.camera = Camera()
        self._fit()
        self.tell()

    def tell(self) -> None:
        """Ask for a fine picture."""
        self.update()
        self._emit(rests=True)

    def _fit(self) -> None:
        if self._cloud is not None:
            self._fitted = True
            radius = self._cloud.radius_nm
            self.camera = self.camera.fitted(radius, self.width(), self.height())

    def _zoom(self, factor: float) -> None:
        self._fitted = False
        self.set_camera(self.camera.zoomed(factor))

    def _emit(self, *, rests: bool) -> None:
        if self._cloud is not None and self.isVisible():
            self.camera_changed.emit(self.camera, rests)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), Qt.GlobalColor.black)
        if self._image is not None:
            painter.drawImage(self.rect(), self._image)
        if self._cloud is not None:
            self._paint_box(painter, self._cloud)
        pixel = self.camera.pixel_size_nm
        view = ViewTransform(pixel_size_nm=pixel, width_px=self.width(), height_px=self.height())
        if self._cloud is not None:
            paint_overlays(painter, view, Overlays(color_scale=self._scale))
        if self.hasFocus():
            painter.setPen(self.palette().highlight().color())
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(self.rect().adjusted(0, 0, -1, -1))
        painter.end()

    def _paint_box(self, painter: QPainter, cloud: Cloud) -> None:
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        middle = QPointF(0.5 * self.width(), 0.5 * self.height())
        edges = box_edges(cloud, self.camera)
        painter.setPen(QPen(QColor(255, 255, 255, 70), 1.0))
        for start, end in edges:
            painter.drawLine(
                middle + QPointF(*map(float, start)), middle + QPointF(*map(float, end))
            )
        painter.setPen(QColor(255, 255, 255, 190))
        for name, number in (("x", 0), ("y", 4), ("z", 8)):
            half = 0.5 * (edges[number][0] + edges[number][1])
            place = middle + QPointF(float(half[0]), float(half[1]))
            painter.drawText(place + QPointF(4.0, -4.0), name)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if self._fitted:
            self._fit()
        self._emit(rests=False)
        self._rest.start()

    def showEvent(self, event: object) -> None:
        self._rest.start()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._last = event.position()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._last is not None:
            moved = event.position() - self._last
            self._last = event.position()
            self.turn(-_DEG_PER_PX * moved.x(), _DEG_PER_PX * moved.y())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._last = None

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.reset()

    def wheelEvent(self, event: QWheelEvent) -> None:
        self._zoom(1.0015 ** event.angleDelta().y())
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        actions: dict[int, Callable[[], None]] = {
            Qt.Key.Key_Left: lambda: self.turn(5.0, 0.0),
            Qt.Key.Key_Right: lambda: self.turn(-5.0, 0.0),
            Qt.Key.Key_Up: lambda: self.turn(0.0, 5.0),
            Qt.Key.Key_Down: lambda: self.turn(0.0, -5.0),
            Qt.Key.Key_Plus: lambda: self._zoom(1.3),
            Qt.Key.Key_Equal: lambda: self._zoom(1.3),
            Qt.Key.Key_Minus: lambda: self._zoom(1 / 1.3),
            Qt.Key.Key_Home: self.reset,
        }
        action = actions.get(event.key())
        if action is None:
            super().keyPressEvent(event)
        else:
            action()
