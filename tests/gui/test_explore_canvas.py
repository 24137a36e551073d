"""The canvas by mouse and keys, and what happens when OpenGL is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.models.explore_view import Bounds, ColorScale, Overlays, Placement, PointNm
from app.views import gl_probe
from app.views.image_canvas import ImageCanvas
from app.views.paint_surface import PaintSurface

FIELD = Bounds(0.0, 0.0, 40_000.0, 30_000.0)
PLACE = QPoint(300, 120)


@pytest.fixture
def canvas(qtbot: QtBot) -> Iterator[ImageCanvas]:
    made = ImageCanvas("paint")
    qtbot.addWidget(made)
    made.resize(600, 400)
    made.show()
    made.set_field(FIELD)
    made.fit()
    yield made
    made.close_canvas()


def layer(canvas: ImageCanvas) -> QWidget:
    found = canvas.focusProxy()
    assert found is not None
    return found


def drag(qtbot: QtBot, canvas: ImageCanvas, start: QPoint, end: QPoint) -> None:
    target = layer(canvas)
    qtbot.mousePress(target, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(target, start + (end - start) / 2)
    qtbot.mouseMove(target, end)
    qtbot.mouseRelease(target, Qt.MouseButton.LeftButton, pos=end)


def turn_wheel(canvas: ImageCanvas, place: QPoint, degrees: int) -> None:
    event = QWheelEvent(
        QPointF(place),
        QPointF(canvas.mapToGlobal(place)),
        QPoint(),
        QPoint(0, 8 * degrees),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(layer(canvas), event)


def pixels(image: QImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    flat = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return flat[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3).copy()


def under(canvas: ImageCanvas, place: QPoint) -> PointNm:
    return canvas.view.to_nm(place.x(), place.y())


def test_the_wheel_zooms_under_the_cursor(canvas: ImageCanvas) -> None:
    before, pixel = under(canvas, PLACE), canvas.view.pixel_size_nm
    turn_wheel(canvas, PLACE, 15)
    assert canvas.view.pixel_size_nm == pytest.approx(pixel / 1.2, rel=0.02)
    assert under(canvas, PLACE) == pytest.approx(before)
    turn_wheel(canvas, PLACE, -15)
    assert canvas.view.pixel_size_nm == pytest.approx(pixel)


def test_dragging_moves_the_picture_and_tells_it(canvas: ImageCanvas, qtbot: QtBot) -> None:
    canvas.zoom_by(4.0)
    before = under(canvas, PLACE)
    views: list[object] = []
    canvas.view_changed.connect(views.append)
    drag(qtbot, canvas, PLACE, PLACE + QPoint(40, -25))
    assert under(canvas, PLACE + QPoint(40, -25)) == pytest.approx(before)
    assert views[-1] == canvas.view


def test_double_click_and_home_show_everything(canvas: ImageCanvas, qtbot: QtBot) -> None:
    whole = canvas.view
    canvas.zoom_by(10.0)
    qtbot.mouseDClick(layer(canvas), Qt.MouseButton.LeftButton, pos=PLACE)
    assert canvas.view == whole
    canvas.zoom_by(10.0)
    qtbot.keyClick(layer(canvas), Qt.Key.Key_Home)
    assert canvas.view == whole
    assert canvas.is_fitted


def test_the_keyboard_can_do_it_all(canvas: ImageCanvas, qtbot: QtBot) -> None:
    target = layer(canvas)
    pixel = canvas.view.pixel_size_nm
    qtbot.keyClick(target, Qt.Key.Key_Plus)
    assert canvas.view.pixel_size_nm == pytest.approx(pixel / 1.5)
    left, top = canvas.view.left_nm, canvas.view.top_nm
    qtbot.keyClick(target, Qt.Key.Key_Right)
    assert canvas.view.left_nm > left
    qtbot.keyClick(target, Qt.Key.Key_Left)
    assert canvas.view.left_nm == pytest.approx(left)
    qtbot.keyClick(target, Qt.Key.Key_Down)
    assert canvas.view.top_nm > top
    qtbot.keyClick(target, Qt.Key.Key_Up)
    qtbot.keyClick(target, Qt.Key.Key_Minus)
    assert canvas.view.pixel_size_nm == pytest.approx(pixel)


def test_a_whole_field_stays_whole_when_the_window_changes(canvas: ImageCanvas) -> None:
    canvas.resize(300, 500)
    assert canvas.view.to_px(FIELD.left, 0)[0] > 0
    assert canvas.view.to_px(FIELD.right, 0)[0] < 300
    canvas.zoom_by(3.0)
    middle = canvas.view.to_nm(150, 250)
    canvas.resize(700, 300)
    assert canvas.view.to_nm(350, 150) == pytest.approx(middle)


def test_a_box_is_drawn_in_nanometres(canvas: ImageCanvas, qtbot: QtBot) -> None:
    canvas.set_tool("box")
    view = canvas.view
    boxes: list[Bounds | None] = []
    canvas.box_drawn.connect(boxes.append)
    drag(qtbot, canvas, QPoint(400, 300), QPoint(200, 100))
    assert canvas.view == view
    assert boxes[0] == pytest.approx((*view.to_nm(200, 100), *view.to_nm(400, 300)))
    qtbot.mouseClick(layer(canvas), Qt.MouseButton.LeftButton, pos=PLACE)
    assert boxes[1:] == [None]


def test_a_line_is_drawn_and_escape_takes_it_away(canvas: ImageCanvas, qtbot: QtBot) -> None:
    canvas.set_tool("line")
    lines: list[tuple[PointNm, PointNm] | None] = []
    canvas.line_drawn.connect(lines.append)
    drag(qtbot, canvas, QPoint(100, 100), QPoint(200, 150))
    assert lines[0] is not None
    assert lines[0][0] == pytest.approx(canvas.view.to_nm(100, 100))
    assert lines[0][1] == pytest.approx(canvas.view.to_nm(200, 150))
    qtbot.keyClick(layer(canvas), Qt.Key.Key_Escape)
    assert lines[-1] is None


def test_the_middle_button_moves_whatever_the_tool(canvas: ImageCanvas, qtbot: QtBot) -> None:
    canvas.zoom_by(4.0)
    canvas.set_tool("box")
    before = under(canvas, PLACE)
    target = layer(canvas)
    qtbot.mousePress(target, Qt.MouseButton.MiddleButton, pos=PLACE)
    qtbot.mouseMove(target, PLACE + QPoint(10, 10))
    qtbot.mouseRelease(target, Qt.MouseButton.MiddleButton, pos=PLACE + QPoint(10, 10))
    assert under(canvas, PLACE + QPoint(10, 10)) == pytest.approx(before)


def test_hovering_tells_where(canvas: ImageCanvas, qtbot: QtBot) -> None:
    places: list[PointNm | None] = []
    canvas.hovered.connect(places.append)
    qtbot.mouseMove(layer(canvas), PLACE)
    assert places[-1] == pytest.approx(under(canvas, PLACE))
    QApplication.sendEvent(layer(canvas), QEvent(QEvent.Type.Leave))
    assert places[-1] is None


def test_an_image_lies_where_it_belongs_whatever_the_view(canvas: ImageCanvas) -> None:
    canvas.set_overlays(Overlays(scale_bar=False))
    red = np.zeros((20, 30, 3), np.uint8)
    red[..., 0] = 255
    canvas.set_image(red, Placement(10_000.0, 5000.0, 500.0))
    for zoom in (1.0, 2.0):
        canvas.zoom_by(zoom)
        seen = pixels(canvas.snapshot())[..., 0] > 128
        rows, columns = np.nonzero(seen)
        left, top = canvas.view.to_px(10_000.0, 5000.0)
        right, bottom = canvas.view.to_px(25_000.0, 15_000.0)
        assert columns.min() == pytest.approx(max(left, 0), abs=1.5)
        assert columns.max() == pytest.approx(min(right, 600), abs=1.5)
        assert rows.min() == pytest.approx(max(top, 0), abs=1.5)
        assert rows.max() == pytest.approx(min(bottom, 400), abs=1.5)
        shown = pixels(canvas.grab().toImage())[..., 0] > 128
        assert np.mean(shown != seen) < 0.01
    canvas.set_image(None)
    assert not pixels(canvas.snapshot()).any()


def test_the_backdrop_fills_what_the_image_does_not_reach(canvas: ImageCanvas) -> None:
    canvas.set_overlays(Overlays(scale_bar=False))
    blue, red = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)
    blue[..., 2], red[..., 0] = 255, 255
    canvas.set_backdrop(blue, Placement(0.0, 0.0, 10_000.0))
    canvas.set_image(red, Placement(0.0, 0.0, 5000.0))
    seen = pixels(canvas.snapshot())
    x, y = (round(v) for v in canvas.view.to_px(10_000.0, 10_000.0))
    assert tuple(seen[y, x]) == (255, 0, 0)
    x, y = (round(v) for v in canvas.view.to_px(30_000.0, 25_000.0))
    assert tuple(seen[y, x]) == (0, 0, 255)


def test_the_scale_bar_is_as_long_as_it_says(canvas: ImageCanvas) -> None:
    canvas.set_overlays(Overlays(scale_bar=True))
    seen = pixels(canvas.snapshot())
    bar = np.flatnonzero((seen[-22] == 255).all(axis=-1))
    length_nm = bar.size * canvas.view.pixel_size_nm
    assert length_nm == pytest.approx(5000.0, rel=0.02)


@pytest.mark.parametrize(
    "overlays",
    [
        Overlays(scale_bar=False, box=Bounds(5000, 5000, 9000, 9000)),
        Overlays(scale_bar=False, line=(PointNm(5000, 5000), PointNm(9000, 9000))),
        Overlays(scale_bar=False, field=FIELD),
        Overlays(scale_bar=False, note="words"),
        Overlays(
            scale_bar=False,
            color_scale=ColorScale(colors=((255, 0, 0),), low=0.0, high=1.0, label="z (nm)"),
        ),
    ],
)
def test_every_overlay_is_seen(canvas: ImageCanvas, overlays: Overlays) -> None:
    canvas.set_overlays(Overlays(scale_bar=False))
    assert not pixels(canvas.snapshot()).any()
    canvas.set_overlays(overlays)
    assert pixels(canvas.snapshot()).max() > 80


class FailingSurface(PaintSurface):
    """Stands for the OpenGL surface: tells of an error when it is told to."""

    last: Callable[[str], None]

    def __init__(self, on_error: Callable[[str], None], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        type(self).last = on_error


def test_a_lost_context_costs_neither_view_nor_picture(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.views.gl_surface.GlSurface", FailingSurface)
    canvas = ImageCanvas("gl")
    qtbot.addWidget(canvas)
    canvas.resize(300, 200)
    canvas.show()
    canvas.set_field(FIELD)
    canvas.fit()
    canvas.zoom_by(2.0)
    canvas.set_overlays(Overlays(scale_bar=False))
    canvas.set_image(np.full((9, 9, 3), 200, np.uint8), Placement(0.0, 0.0, 5000.0))
    assert canvas.back_end == "gl"
    view, picture = canvas.view, pixels(canvas.grab().toImage())
    with qtbot.waitSignal(canvas.surface_lost) as lost:
        FailingSurface.last("context lost")
    assert lost.args == ["context lost"]
    assert canvas.back_end == "paint"
    assert canvas.view == view
    inner = (slice(4, -4), slice(4, -4))  # without the ring that shows the focus
    np.testing.assert_array_equal(pixels(canvas.grab().toImage())[inner], picture[inner])


def test_a_canvas_that_cannot_be_made_is_replaced(
    qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("no driver")

    monkeypatch.setattr("app.views.gl_surface.GlSurface", fail)
    canvas = ImageCanvas("gl")
    qtbot.addWidget(canvas)
    with qtbot.waitSignal(canvas.surface_lost) as lost:
        pass
    assert "no driver" in lost.args[0]
    assert canvas.back_end == "paint"


def test_there_is_no_opengl_offscreen(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    gl_probe.probe_gl.cache_clear()
    assert gl_probe.probe_gl() is None
    assert not gl_probe.is_gl_worthwhile()
    software = gl_probe.GlInfo(version="4.5", renderer="llvmpipe", software=True)
    monkeypatch.setattr(gl_probe, "probe_gl", lambda: software)
    assert not gl_probe.is_gl_worthwhile()
    monkeypatch.setenv("DECODE_DESKTOP_OPENGL", "on")
    assert gl_probe.is_gl_worthwhile()
