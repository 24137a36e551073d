"""The canvas's picture with OpenGL: a vispy canvas that shows it as a texture.

Vispy is imported when the first surface is made: that takes a third of a second, and fails on
some machines, which must not keep the window from opening.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from PySide6.QtWidgets import QVBoxLayout, QWidget

from app.models.explore_view import Placement, ViewTransform
from app.views.paint_surface import Pixels

__all__ = ["GlSurface", "open_canvas"]

_log = logging.getLogger(__name__)


def open_canvas(on_error: Callable[[str], None]) -> Any:
    """Return a vispy canvas whose drawing errors are reported instead of raised in Qt's loop."""
    import vispy
    from vispy import scene

    vispy.use("pyside6")

    class GuardedCanvas(scene.SceneCanvas):  # type: ignore[misc] # vispy has no types
        """A canvas that tells of a lost context once, and then stays black."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.unfreeze()
            self._given_up = False
            self.freeze()

        def on_draw(self, event: Any) -> None:
            if self._given_up:
                return
            try:
                super().on_draw(event)
            except Exception as error:  # noqa: BLE001 - any driver error: the other canvas takes over
                self._given_up = True
                on_error(f"{type(error).__name__}: {error}")

    return GuardedCanvas(keys=None, show=False, bgcolor="black", create_native=True)


class GlSurface(QWidget):
    """The same surface as `PaintSurface`, drawn by vispy.

    ``on_error`` is called with the reason once drawing fails (say, the display was lost).
    """

    def __init__(self, on_error: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._canvas = open_canvas(on_error)
        self._canvas.native.setParent(self)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._canvas.native)
        self._view = ViewTransform()
        box = self._canvas.central_widget.add_view()
        from vispy import scene

        box.camera = scene.PanZoomCamera(aspect=None, interactive=False)
        box.camera.flip = (False, True, False)
        self._camera = box.camera
        self._backdrop = self._layer(box.scene, 0)
        self._image = self._layer(box.scene, 1)

    @staticmethod
    def _layer(parent: Any, order: int) -> Any:
        import numpy as np
        from vispy import scene

        image = scene.visuals.Image(
            np.zeros((1, 1, 3), np.uint8),
            parent=parent,
            interpolation="nearest",
            texture_format=None,
        )
        image.order = order
        image.visible = False
        image.set_gl_state(blend=False, depth_test=False, cull_face=False)
        return image

    def set_image(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show an image; None shows nothing."""
        self._place(self._image, rgb, placement)

    def set_backdrop(self, rgb: Pixels | None, placement: Placement) -> None:
        """Show a coarse image where the other one does not reach."""
        self._place(self._backdrop, rgb, placement)

    def _place(self, layer: Any, rgb: Pixels | None, placement: Placement) -> None:
        from vispy.visuals.transforms import STTransform

        layer.visible = rgb is not None
        if rgb is not None:
            layer.set_data(rgb)
            size = placement.pixel_size_nm
            layer.transform = STTransform(
                scale=(size, size, 1.0), translate=(placement.left_nm, placement.top_nm, 0.0)
            )
        self._canvas.update()

    def set_view(self, view: ViewTransform) -> None:
        """Show another part of the sample; the image moves along."""
        self._view = view
        bounds = view.bounds
        self._camera.rect = (bounds.left, bounds.top, bounds.width, bounds.height)
        self._canvas.update()

    def close_surface(self) -> None:
        """Give the OpenGL context back."""
        self._canvas.close()
