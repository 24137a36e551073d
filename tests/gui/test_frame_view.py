"""The frame view: pixel-exact, with points, region, contrast and readout."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QLabel, QWidget
from pytestqt.qtbot import QtBot

from app.views.frame_view import FrameView


@pytest.fixture
def view(qtbot: QtBot) -> FrameView:
    view = FrameView()
    qtbot.addWidget(view)
    view.resize(440, 460)
    view.show()
    return view


def _screen(view: FrameView, x_px: float, y_px: float) -> QPoint:
    """Return where a pixel of the frame is on the viewport."""
    scene = view._box.mapViewToScene(QPointF(x_px, y_px))
    return view._view.mapFromScene(scene)


def _viewport(view: FrameView) -> QWidget:
    return view._view.viewport()


def _color(view: FrameView, x_px: float, y_px: float) -> QColor:
    return _viewport(view).grab().toImage().pixelColor(_screen(view, x_px, y_px))


def test_x_is_to_the_right_and_y_down_with_pixel_centres_at_whole_numbers(view: FrameView) -> None:
    frame = np.zeros((8, 6), np.uint16)
    frame[1, 4] = 1000
    view.set_frame(frame)
    view.set_levels(0, 1000)
    assert _color(view, 4, 1) == QColor("white")
    # The whole pixel is white, nothing beside it: no interpolation, no shift.
    for dx, dy in ((-0.4, -0.4), (0.4, 0.4)):
        assert _color(view, 4 + dx, 1 + dy) == QColor("white")
    for dx, dy in ((-0.6, 0), (0.6, 0), (0, -0.6), (0, 0.6)):
        assert _color(view, 4 + dx, 1 + dy) == QColor("black")


def test_contrast_is_kept_while_a_film_plays(qtbot: QtBot, view: FrameView) -> None:
    rng = np.random.default_rng(0)
    view.set_frame(rng.poisson(100, (64, 64)))
    levels = view.levels
    assert levels is not None
    assert 60 < levels[0] < 100 < levels[1] < 150
    with qtbot.assertNotEmitted(view.levels_changed):
        view.set_frame(rng.poisson(500, (64, 64)))
    assert view.levels == levels
    with qtbot.waitSignal(view.levels_changed):
        view.auto_levels()
    assert view.levels is not None
    assert view.levels[0] > 300


def test_a_constant_or_unknown_frame_is_drawn(view: FrameView) -> None:
    view.set_frame(np.full((4, 4), 7.0))
    view.set_frame(np.full((4, 4), np.nan), keep_view=False)
    view.set_frame(np.ones((4, 4), bool))
    view.grab()
    view.set_frame(None)
    view.grab()
    with pytest.raises(ValueError, match="rows and columns"):
        view.set_frame(np.zeros((2, 2, 2)))


def test_the_value_under_the_mouse_is_said(qtbot: QtBot, view: FrameView) -> None:
    frame = np.arange(48, dtype=np.uint16).reshape(6, 8)
    view.set_frame(frame, unit="ADU")
    with qtbot.waitSignal(view.hovered) as signal:
        qtbot.mouseMove(_viewport(view), _screen(view, 5, 2))
    assert signal.args == ["x 5 px, y 2 px: 21 ADU"]
    readout = view.findChild(QLabel, "frame-readout")
    assert readout is not None
    assert readout.text() == "x 5 px, y 2 px: 21 ADU"


def test_a_region_is_drawn_by_mouse_in_whole_pixels(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    view.enable_roi(True)
    viewport = _viewport(view)
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 3.6, 5.6))
    qtbot.mouseMove(viewport, _screen(view, 10, 12))
    with qtbot.waitSignal(view.roi_changed) as signal:
        qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 13.4, 25.4))
    assert signal.args == [(4, 6, 10, 20)]


def test_a_region_ends_at_the_frame(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    view.enable_roi(True)
    viewport = _viewport(view)
    qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 20, 20))
    with qtbot.waitSignal(view.roi_changed) as signal:
        qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 33, 90))
    x, y, w, h = signal.args[0]
    assert (x + w, y + h) == (32, 32)


def test_a_click_is_no_region_and_delete_removes_one(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    view.enable_roi(True)
    with qtbot.waitSignal(view.roi_changed) as signal:
        qtbot.mouseClick(_viewport(view), Qt.MouseButton.LeftButton, pos=_screen(view, 9, 9))
    assert signal.args == [None]
    with qtbot.assertNotEmitted(view.roi_changed):
        view.set_roi((1, 2, 10, 12))
    with qtbot.waitSignal(view.roi_changed) as signal:
        qtbot.keyClick(view._view, Qt.Key.Key_Delete)
    assert signal.args == [None]


def test_without_leave_the_mouse_draws_no_region(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    viewport = _viewport(view)
    with qtbot.assertNotEmitted(view.roi_changed):
        qtbot.mousePress(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 3, 5))
        qtbot.mouseRelease(viewport, Qt.MouseButton.LeftButton, pos=_screen(view, 13, 25))


def test_points_are_coloured_by_value_and_can_be_clicked(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    view.set_points("truth", [5.0], [5.0], symbol="o", size_px=14)
    z = np.array([-300.0, np.nan, 300.0])
    view.set_points("z (nm)", [10, 16, 22], [10, 10, 20], symbol="s", size_px=12, values=z)
    view.grab()
    assert view.n_points("z (nm)") == 3
    assert "-300 to 300" in view._color_bar.accessibleName()
    assert view._color_bar.isVisible()
    sets: list[tuple[str, int]] = []
    view.set_clicked.connect(lambda name, index: sets.append((name, index)))
    with qtbot.waitSignal(view.point_clicked) as signal:
        qtbot.mouseClick(_viewport(view), Qt.MouseButton.LeftButton, pos=_screen(view, 22, 20))
    assert signal.args == [2]
    assert sets == [("z (nm)", 2)]
    view.set_points("z (nm)", [], [], values=np.zeros(0))
    assert view.n_points("z (nm)") == 0
    view.clear_points()
    assert not view._color_bar.isVisible()
    assert view.n_points("truth") == 0


def test_the_scale_bar_has_a_round_length(view: FrameView) -> None:
    view.set_frame(np.zeros((64, 64)))
    view.set_scale_bar(100.0)
    view.grab()
    bar = view._scale_bar
    assert bar.isVisible()
    assert bar._text == "1 µm"
    # 1 µm is 10 pixels of the frame.
    left, right = _screen(view, 10, 0).x(), _screen(view, 20, 0).x()
    assert bar._length == pytest.approx(right - left, abs=1.5)
    view.set_scale_bar(None)
    assert not bar.isVisible()


def test_another_colour_map_colours_the_frame(view: FrameView) -> None:
    frame = np.zeros((8, 8))
    frame[:, 4:] = 1.0
    view.set_frame(frame)
    view.set_levels(0, 1)
    view.set_colormap("viridis")
    assert _color(view, 6, 3).green() > _color(view, 6, 3).blue()
    view.set_colormap("gray")
    assert _color(view, 6, 3) == QColor("white")


def test_keys_zoom_and_show_all(qtbot: QtBot, view: FrameView) -> None:
    view.set_frame(np.zeros((32, 32)))
    whole = view._box.viewRect().width()
    qtbot.keyClick(view._view, Qt.Key.Key_Plus)
    qtbot.keyClick(view._view, Qt.Key.Key_Plus)
    assert view._box.viewRect().width() == pytest.approx(0.64 * whole)
    qtbot.keyClick(view._view, Qt.Key.Key_Home)
    assert view._box.viewRect().width() == pytest.approx(whole)
