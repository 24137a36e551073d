"""Run by `test_explore_opengl` in a process of its own, on a display with (software) OpenGL.

Prints JSON: what the canvas shows with vispy and with the painter, and what is left after the
OpenGL context was lost.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from PySide6.QtCore import QCoreApplication, Qt
from PySide6.QtGui import QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QTabWidget

from app.models.explore_view import Bounds, Overlays, Placement
from app.models.projection import Cloud
from app.views.gl_probe import probe_gl
from app.views.image_canvas import BackEnd, ImageCanvas
from app.views.point_view import PointView

WAIT_MS = 200


def pixels(image: QImage) -> np.ndarray:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    flat = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return flat[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3).astype(int)


def show(back_end: BackEnd) -> tuple[ImageCanvas, np.ndarray]:
    """Show a random picture off its place, with all overlays, and return what is seen."""
    canvas = ImageCanvas(back_end)
    canvas.resize(400, 300)
    canvas.show()
    canvas.set_field(Bounds(0.0, 0.0, 4000.0, 3000.0))
    canvas.fit()
    canvas.zoom_by(2.0)
    rgb = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    canvas.set_image(rgb, Placement(0.0, 0.0, 100.0))
    canvas.set_overlays(Overlays(box=Bounds(1500.0, 1200.0, 2200.0, 1900.0)))
    QTest.qWait(WAIT_MS)
    return canvas, pixels(canvas.grab().toImage())


def main() -> None:
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    application = QApplication(sys.argv[:1])
    info = probe_gl()
    found: dict[str, object] = {"renderer": info.renderer if info else None}
    if info is not None:
        plain, wanted = show("paint")
        canvas, seen = show("gl")
        found["back_end"] = canvas.back_end
        found["spread"] = float(wanted.std())
        # At its edges each of the 19 px wide cells may round the other way: a shift of one pixel
        # is 0.1.
        found["differs"] = float((np.abs(wanted - seen).max(axis=-1) > 40).mean())
        canvas.pan_by(37.0, -21.0)
        plain.pan_by(37.0, -21.0)
        QTest.qWait(WAIT_MS)
        moved = np.abs(pixels(canvas.grab().toImage()) - pixels(plain.grab().toImage()))
        found["differs_moved"] = float((moved.max(axis=-1) > 40).mean())
        canvas._on_gl_error("lost on purpose")
        QTest.qWait(WAIT_MS)
        found["after_loss"] = canvas.back_end
        left = np.abs(pixels(canvas.grab().toImage()) - pixels(plain.grab().toImage()))
        found["differs_after_loss"] = float((left.max(axis=-1) > 40).mean())
        found["points"] = turn_points()
        for widget in (plain, canvas):
            widget.close_canvas()
            widget.close()
    print(json.dumps(found))
    application.processEvents()


def turn_points() -> dict[str, object]:
    """Show the rotating view on a tab, leave the tab and come back, turn, lose the context."""
    rng = np.random.default_rng(0)
    cloud = Cloud(
        rng.normal(0, 100, (3000, 3)).astype(np.float32), np.full((3000, 3), 200, np.uint8)
    )
    tabs = QTabWidget()
    view = PointView(gl=True)
    tabs.addTab(view, "3D")
    tabs.addTab(PointView(gl=False), "other")
    tabs.resize(400, 300)
    tabs.show()
    view.set_cloud(cloud, None, "")
    QTest.qWait(WAIT_MS)
    first = pixels(tabs.grab().toImage())
    tabs.setCurrentIndex(1)
    QTest.qWait(WAIT_MS)
    tabs.setCurrentIndex(0)
    view._turn()
    view._turn()
    QTest.qWait(WAIT_MS)
    second = pixels(tabs.grab().toImage())
    used = view.uses_gl
    view._on_gl_error("lost on purpose")
    QTest.qWait(WAIT_MS)
    result = {
        "used_gl": used,
        "bright": int((first[80:].max(axis=-1) > 60).sum()),
        "turned": int((np.abs(first - second).max(axis=-1) > 20).sum()),
        "after_loss": view.uses_gl,
    }
    view.close_view()
    tabs.close()
    return result


if __name__ == "__main__":
    main()
