"""The rotating view of the points with OpenGL: vispy markers that add up, and a turntable."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.models.projection import Cloud
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
        self._stretch = 1.0
        self._radius = 1.0

    def set_cloud(self, cloud: Cloud) -> None:
        """Show points."""
        from vispy import scene

        if self._markers is None:
            self._markers = scene.visuals.Markers(parent=self._view.scene)
        # Dim enough that many points in one place do not saturate, bright enough to see one.
        alpha = float(np.clip(40.0 / np.sqrt(max(len(cloud.rgb), 1)), 0.06, 0.8))
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
        self._radius = cloud.radius_nm
        self.set_stretch(self._stretch)
        self.reset()

    def set_stretch(self, value: float) -> None:
        """Draw z this many times as tall."""
        from vispy.visuals.transforms import STTransform

        self._stretch = value
        if self._markers is not None:
            self._markers.transform = STTransform(scale=(1.0, 1.0, value))
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

    def close_view(self) -> None:
        """Give the OpenGL context back."""
        self._canvas.close()
