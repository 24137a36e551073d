"""The rotating view of the points with OpenGL: vispy markers that add up, and a turntable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.models.explore_view import ColorScale, Overlays, ViewTransform
from app.models.projection import Cloud
from app.views.canvas_overlays import paint_overlays
from app.views.gl_surface import open_canvas

__all__ = ["GlPoints"]

_POINT_PX = 3.0


class GlPoints(QWidget):
    """A vispy canvas with markers; ``on_error`` is called once drawing fails."""

    def __init__(self, on_error: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = open_canvas(on_error)
        self._canvas.native.setParent(self)
        self._canvas.native.setAccessibleName("Rotating picture of the localizations")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas.native)
        from vispy import scene

        self._view = self._canvas.central_widget.add_view()
        self._view.camera = scene.TurntableCamera(fov=0.0, elevation=30.0, azimuth=30.0)
        self._markers: Any = None
        self._box: Any = None
        self._layer = _ScaleLayer(self)
        self._stretch = 1.0
        self._radius = 1.0

    def set_cloud(self, cloud: Cloud, color_scale: ColorScale | None) -> None:
        """Show points, and what their colours mean."""
        from vispy import scene

        self._layer.show_scale(color_scale)
        if self._markers is None:
            self._markers = scene.visuals.Markers(parent=self._view.scene)
            self._box = scene.visuals.Line(
                parent=self._view.scene, connect="segments", color=(1.0, 1.0, 1.0, 0.35)
            )
        # Dim enough that many points in one place do not saturate, bright enough to see one.
        alpha = float(np.clip(14.0 / np.sqrt(max(len(cloud.rgb), 1)), 0.02, 0.6))
        colors = np.concatenate(
            [cloud.rgb.astype(np.float32) / 255.0, np.full((len(cloud.rgb), 1), alpha, np.float32)],
            axis=1,
        )
        # y points down in the flat picture and up in vispy; z towards the eye in both.
        places = cloud.xyz_nm * np.array([1.0, -1.0, 1.0], np.float32)
        self._markers.set_data(
            places, face_color=colors, edge_width=0.0, size=_POINT_PX, symbol="disc"
        )
        self._markers.set_gl_state("additive", depth_test=False)
        self._box.set_data(pos=_box_lines(cloud.reach_nm))
        self._radius = cloud.radius_nm
        self.set_stretch(self._stretch)
        self.reset()

    def set_stretch(self, value: float) -> None:
        """Draw z this many times as tall."""
        from vispy.visuals.transforms import STTransform

        self._stretch = value
        for visual in (self._markers, self._box):
            if visual is not None:
                visual.transform = STTransform(scale=(1.0, 1.0, value))
        self._canvas.update()

    def reset(self) -> None:
        """Turn and zoom back to the start."""
        camera = self._view.camera
        camera.elevation, camera.azimuth = 30.0, 30.0
        camera.center = (0.0, 0.0, 0.0)
        camera.scale_factor = 2.2 * self._radius

    def turn(self, degrees: float) -> None:
        """Turn around the z axis."""
        self._view.camera.orbit(degrees, 0.0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Keep the colour bar in its corner."""
        super().resizeEvent(event)
        self._layer.setGeometry(self.rect())
        self._layer.raise_()

    def close_view(self) -> None:
        """Give the OpenGL context back."""
        self._canvas.close()


class _ScaleLayer(QWidget):
    """The colour bar above the points; the mouse goes through."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._scale: ColorScale | None = None

    def show_scale(self, scale: ColorScale | None) -> None:
        self._scale = scale
        self.raise_()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        view = ViewTransform(width_px=self.width(), height_px=self.height())
        paint_overlays(painter, view, Overlays(scale_bar=False, color_scale=self._scale))
        painter.end()


def _box_lines(reach: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (24, 3): both ends of the twelve edges of the box that reaches so far."""
    signs = [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    corners = np.asarray(signs, np.float32) * reach
    pairs = [(a, a | bit) for bit in (4, 2, 1) for a in range(8) if not a & bit]
    lines: NDArray[np.float32] = corners[np.asarray(pairs).ravel()]
    return lines
