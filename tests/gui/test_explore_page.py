"""The Explore page with real tables and the real renderer, offscreen."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
import tifffile
from PIL import Image
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage, QWheelEvent
from PySide6.QtWidgets import QApplication, QComboBox, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from app.controllers.explore import ExploreController
from app.controllers.page_controller import AppContext
from app.views.explore_page import ExplorePage
from decode_engine.domain.localizations import Localizations
from decode_engine.io.tables import write_localizations_csv

W = TypeVar("W", bound=QWidget)
N = 4000
SIZE_NM = 4000.0


def localizations(*, flat: bool = False) -> Localizations:
    """Return a vertical line at x = 1000 nm and a haze of half as many points."""
    rng = np.random.default_rng(0)
    x = rng.uniform(0, SIZE_NM, N)
    x[: N // 2] = 1000.0 + rng.normal(0, 20.0, N // 2)
    z = np.full(N, np.nan) if flat else rng.uniform(-400, 400, N)
    columns: dict[str, Any] = {
        "x_nm": x,
        "y_nm": rng.uniform(0, SIZE_NM, N),
        "z_nm": z,
        "photons": np.arange(N, dtype=np.float64),
        "background": np.ones(N),
        "sigma_x_nm": np.full(N, 15.0),
        "sigma_y_nm": np.full(N, 15.0),
    }
    values = {name: column.astype(np.float32) for name, column in columns.items()}
    return Localizations(frame=np.arange(N, dtype=np.int32), **values)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "table.csv"
    write_localizations_csv(path, localizations())
    return path


@pytest.fixture
def make(qtbot: QtBot, app_context: AppContext) -> Iterator[Callable[[], ExploreController]]:
    made: list[ExploreController] = []

    def make_one() -> ExploreController:
        controller = ExploreController(app_context)
        qtbot.addWidget(controller.page)
        controller.page.resize(1040, 720)
        controller.page.show()
        controller.activate()
        made.append(controller)
        return controller

    yield make_one
    for controller in made:
        controller.close()


@pytest.fixture
def explore(make: Callable[[], ExploreController]) -> ExploreController:
    return make()


@pytest.fixture
def opened(explore: ExploreController, table: Path, qtbot: QtBot) -> ExploreController:
    explore.open_paths([table])
    settle(qtbot, explore)
    return explore


def settle(qtbot: QtBot, explore: ExploreController) -> None:
    """Wait until nothing is drawn, measured or written any more."""
    qtbot.waitUntil(
        lambda: not explore.loop.busy and not explore.context.background.busy, timeout=30_000
    )
    # What was drawn last is delivered with the next turn of the event loop.
    qtbot.waitUntil(lambda: not explore.page.is_ready or "drawing" not in text(explore, "state"))


def text(explore: ExploreController, name: str) -> str:
    return child(explore.page, QLabel, name).text()


def child(page: QWidget, kind: type[W], name: str) -> W:
    found = page.findChild(kind, f"explore-{name}")
    assert found is not None, name
    return found


def density(explore: ExploreController) -> np.ndarray[Any, np.dtype[np.float32]]:
    picture = explore._picture
    assert picture is not None
    assert picture.density is not None
    return picture.density


def pixels(image: QImage) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    flat = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    return flat[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3).copy()


def drag(qtbot: QtBot, page: ExplorePage, start: QPoint, end: QPoint) -> None:
    layer = page.canvas.focusProxy()
    assert layer is not None
    qtbot.mousePress(layer, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(layer, (start + end) / 2)
    qtbot.mouseMove(layer, end)
    qtbot.mouseRelease(layer, Qt.MouseButton.LeftButton, pos=end)


def test_without_localizations_it_says_what_to_do(explore: ExploreController) -> None:
    assert "Localize" in text(explore, "empty")
    assert not explore.page.is_ready


def test_a_table_becomes_a_picture(opened: ExploreController, table: Path) -> None:
    assert opened.page.is_ready
    assert opened.context.session.settings.localizations == str(table)
    assert f"{N:,} of {N:,}" in text(opened, "count")
    # The whole field is in view, and no localization is lost.
    assert density(opened).sum() == pytest.approx(N, rel=0.01)
    image = opened.page.canvas.snapshot()
    assert image.width() > 300
    columns = [
        image.pixelColor(x, image.height() // 2).lightness()
        for x in (round(opened.page.canvas.view.to_px(nm, 0)[0]) for nm in (1000, 3000))
    ]
    assert columns[0] > columns[1] + 50


def test_closer_views_are_drawn_exactly(opened: ExploreController, qtbot: QtBot) -> None:
    opened.page.canvas.zoom_by(20.0)
    settle(qtbot, opened)
    picture = opened._picture
    assert picture is not None
    assert picture.exact
    assert picture.placement == opened.page.canvas.view.placement
    table = opened._table
    assert table is not None
    inside = table.store.rows_in(opened.page.canvas.view.bounds).size
    assert density(opened).sum() == pytest.approx(inside, rel=0.2, abs=5)


def test_contrast_stays_while_moving_until_it_is_asked_for(
    opened: ExploreController, qtbot: QtBot
) -> None:
    gain = opened._gain
    assert gain is not None
    opened.page.canvas.zoom_by(30.0)
    settle(qtbot, opened)
    assert opened._gain == gain
    qtbot.mouseClick(child(opened.page, QPushButton, "auto-contrast"), Qt.MouseButton.LeftButton)
    settle(qtbot, opened)
    assert opened._gain is not None
    assert opened._gain != gain


def test_filters_act_at_once_and_become_the_projects(
    opened: ExploreController, qtbot: QtBot
) -> None:
    session = opened.context.session
    opened.page.filters.charts.charts["photons"].cuts_changed.emit(1000.0, math.inf)
    settle(qtbot, opened)
    assert f"{N - 1000:,} of {N:,}" in text(opened, "count")
    assert density(opened).sum() == pytest.approx(N - 1000, rel=0.01)
    qtbot.waitUntil(lambda: bool(session.settings.filters.ranges))
    (limits,) = session.settings.filters.ranges
    assert (limits.column, limits.low, limits.high) == ("photons", 1000.0, None)
    session.undo()
    settle(qtbot, opened)
    assert f"{N:,} of {N:,}" in text(opened, "count")
    assert opened.page.filters.charts.charts["photons"].cuts == (-math.inf, math.inf)
    session.redo()
    settle(qtbot, opened)
    assert opened.page.filters.charts.charts["photons"].cuts == (1000.0, math.inf)
    qtbot.mouseClick(child(opened.page, QPushButton, "filter-reset"), Qt.MouseButton.LeftButton)
    settle(qtbot, opened)
    assert f"{N:,} of {N:,}" in text(opened, "count")


def test_leaving_the_page_saves_a_cut_that_just_moved(opened: ExploreController) -> None:
    opened.page.filters.charts.charts["photons"].cuts_changed.emit(1000.0, math.inf)
    opened.deactivate()
    assert opened.context.session.settings.filters.ranges


def test_choices_do_not_leak_into_another_project(
    opened: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    session = opened.context.session
    opened.page.filters.charts.charts["photons"].cuts_changed.emit(1000.0, math.inf)
    opened.page.canvas.zoom_by(2.0)
    assert session.new(tmp_path / "other") is None
    settle(qtbot, opened)
    assert not opened.page.is_ready
    assert not opened._commit.isActive()
    assert not opened._memory.isActive()
    assert not session.settings.filters.ranges
    assert session.recall("explore-view") is None


def test_the_wheel_scrolls_past_what_is_not_chosen(opened: ExploreController, qtbot: QtBot) -> None:
    combo = child(opened.page, QComboBox, "color-by")
    opened.page.canvas.setFocus()
    event = QWheelEvent(
        QPointF(5, 5),
        QPointF(combo.mapToGlobal(QPoint(5, 5))),
        QPoint(),
        QPoint(0, -120),
        Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier,
        Qt.ScrollPhase.NoScrollPhase,
        False,
    )
    QApplication.sendEvent(combo, event)
    assert combo.currentData() == "z"


def test_another_pages_filters_are_followed(opened: ExploreController, qtbot: QtBot) -> None:
    opened.page.filters.charts.charts["z"].cuts_changed.emit(-math.inf, 0.0)
    opened.deactivate()
    filters = opened.context.session.settings.filters
    opened.context.session.update("Other", filters=type(filters)())
    opened.activate()
    settle(qtbot, opened)
    assert f"{N:,} of {N:,}" in text(opened, "count")


def test_a_box_gives_numbers(opened: ExploreController, qtbot: QtBot) -> None:
    page = opened.page
    page.activateWindow()
    page.canvas.setFocus()
    qtbot.waitUntil(page.canvas.focusProxy().hasFocus)
    qtbot.keyClick(page.canvas.focusProxy(), Qt.Key.Key_B)
    assert page.canvas.tool == "box"
    view = page.canvas.view
    corners = [QPoint(*(round(v) for v in view.to_px(*nm))) for nm in ((900, 500), (1100, 2500))]
    drag(qtbot, page, *corners)
    settle(qtbot, opened)
    box = page.canvas.overlays.box
    table = localizations()
    assert box is not None
    inside = (table.x_nm >= box.left) & (table.x_nm <= box.right)
    inside &= (table.y_nm >= box.top) & (table.y_nm <= box.bottom)
    numbers = page.measure.numbers
    assert numbers["localizations"] == f"{inside.sum():,}"
    assert numbers["lateral precision (median)"] == "15 nm"
    photons = float(np.median(table.photons[inside]))
    assert numbers["photons (median)"].replace(",", "") in (f"{photons:.0f}", f"{photons:.4g}")
    qtbot.keyClick(page.canvas.focusProxy(), Qt.Key.Key_Escape)
    assert page.canvas.overlays.box is None
    assert page.measure.numbers == {}


def test_a_line_gives_a_width(opened: ExploreController, qtbot: QtBot) -> None:
    page = opened.page
    page.set_tool("line")
    page.measure.findChild(QWidget, "explore-profile-width").setValue(3000.0)
    view = page.canvas.view
    ends = [QPoint(*(round(v) for v in view.to_px(*nm))) for nm in ((700, 2000), (1300, 2000))]
    drag(qtbot, page, *ends)
    settle(qtbot, opened)
    words = page.measure.numbers["width (FWHM)"]
    assert float(words.split()[0]) == pytest.approx(2.355 * 20.0, rel=0.15)
    assert "±" in words


def test_colours_follow_the_choice(opened: ExploreController, qtbot: QtBot) -> None:
    combo = child(opened.page, QComboBox, "color-by")
    combo.setCurrentIndex(combo.findData("photons"))
    settle(qtbot, opened)
    scale = opened.page.canvas.overlays.color_scale
    assert scale is not None
    assert scale.label == "photons"
    assert 0 <= scale.low < scale.high <= N
    combo.setCurrentIndex(combo.findData("none"))
    settle(qtbot, opened)
    assert opened.page.canvas.overlays.color_scale is None
    settings = opened.context.session.settings.render
    qtbot.waitUntil(lambda: opened.context.session.settings.render.color == "none")
    assert settings.color in ("none", "z")


def test_a_flat_table_has_no_height_to_choose(
    explore: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    path = tmp_path / "flat.csv"
    write_localizations_csv(path, localizations(flat=True))
    explore.open_paths([path])
    settle(qtbot, explore)
    combo = child(explore.page, QComboBox, "color-by")
    assert combo.findData("z") == -1
    assert density(explore).sum() == pytest.approx(N, rel=0.01)
    # Regression: whatever changed in the project then coloured a flat table by z all the same.
    session = explore.context.session
    session.update("By z", render=session.settings.render.model_copy(update={"color": "z"}))
    settle(qtbot, explore)
    assert explore._look.color_by != "z"
    assert density(explore).sum() == pytest.approx(N, rel=0.01)
    explore.page._tabs.setCurrentIndex(1)
    settle(qtbot, explore)
    assert "no height" in text(explore, "3d-notice")


def test_the_picture_is_saved_as_seen_and_finer(
    opened: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    out = tmp_path / "picture.png"
    opened.page.canvas.zoom_by(3.0)
    settle(qtbot, opened)
    opened.page.png_requested.emit(str(out))
    qtbot.waitUntil(out.exists)
    settle(qtbot, opened)
    assert "picture.png" in text(opened, "state")
    seen = opened.page.canvas.snapshot()
    with Image.open(out) as image:
        assert image.width >= 2000
        ratio = image.width // seen.width()
        assert image.size == (ratio * seen.width(), ratio * seen.height())
        small = np.asarray(image.convert("RGB").reduce(ratio), np.float64)
    shown = pixels(seen)
    assert np.corrcoef(small.ravel(), shown.ravel())[0, 1] > 0.95
    assert small.mean() == pytest.approx(shown.mean(), rel=0.1)


def test_counts_are_saved_on_the_pixels_of_the_screen(
    opened: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    combo = child(opened.page, QComboBox, "drawing")
    combo.setCurrentIndex(combo.findData("histogram"))
    settle(qtbot, opened)
    out = tmp_path / "counts.png"
    opened.page.png_requested.emit(str(out))
    qtbot.waitUntil(out.exists)
    with Image.open(out) as image:
        np.testing.assert_array_equal(
            np.asarray(image.convert("RGB")), pixels(opened.page.canvas.snapshot())
        )


def test_a_table_that_was_written_anew_is_read_again(
    opened: ExploreController, table: Path, qtbot: QtBot
) -> None:
    opened.deactivate()
    table.unlink()
    write_localizations_csv(table, localizations().take(slice(0, 1000)))
    opened.activate()
    settle(qtbot, opened)
    assert "1,000 of 1,000" in text(opened, "count")
    table.unlink()  # what is open stays
    opened.deactivate()
    opened.activate()
    settle(qtbot, opened)
    assert opened.page.is_ready


def test_the_density_is_saved_calibrated(
    opened: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    out = tmp_path / "density.tif"
    opened.page.tiff_requested.emit(str(out), 20.0)
    qtbot.waitUntil(out.exists)
    settle(qtbot, opened)
    with tifffile.TiffFile(out) as file:
        image = file.asarray()
        assert image.dtype == np.float32
        assert image.sum() == pytest.approx(N, rel=0.01)
        across = file.pages[0].tags["XResolution"].value
        assert across[0] / across[1] == pytest.approx(50.0)
    left = opened.page.canvas.view.bounds.left
    assert int(image.sum(axis=0).argmax()) == pytest.approx((1000.0 - left) / 20.0, abs=2)


def test_a_place_that_cannot_be_written_is_told(
    opened: ExploreController, table: Path, qtbot: QtBot
) -> None:
    opened.page.png_requested.emit(str(table / "picture.png"))  # a file is no folder
    settle(qtbot, opened)
    message = opened.page.findChild(QLabel, "problem-message")
    assert message is not None
    assert message.isVisible()
    assert "table.csv" in message.text()


def test_the_picture_is_copied(opened: ExploreController, qtbot: QtBot) -> None:
    opened.page.copy_requested.emit()
    settle(qtbot, opened)
    image = QGuiApplication.clipboard().image()
    assert image.size() == opened.page.canvas.snapshot().size()


def test_a_table_that_is_gone_can_be_tried_again(
    explore: ExploreController, table: Path, qtbot: QtBot
) -> None:
    hidden = table.rename(table.with_suffix(".away"))
    explore.open_paths([table])
    settle(qtbot, explore)
    action = explore.page.findChild(QPushButton, "problem-action")
    assert action is not None
    assert action.isVisible()
    assert "table.csv" in text(explore, "empty")
    hidden.rename(table)
    qtbot.mouseClick(action, Qt.MouseButton.LeftButton)
    settle(qtbot, explore)
    assert explore.page.is_ready
    assert not action.isVisible()


def test_opening_can_be_cancelled(explore: ExploreController, table: Path, qtbot: QtBot) -> None:
    explore.open_paths([table])
    qtbot.mouseClick(child(explore.page, QPushButton, "cancel"), Qt.MouseButton.LeftButton)
    settle(qtbot, explore)
    assert not explore.page.is_ready
    assert "cancelled" in text(explore, "empty")
    explore.open_paths([table])
    settle(qtbot, explore)
    assert explore.page.is_ready


def test_an_empty_table_is_said_to_be_empty(
    explore: ExploreController, tmp_path: Path, qtbot: QtBot
) -> None:
    path = tmp_path / "none.csv"
    write_localizations_csv(path, localizations().take(slice(0, 0)))
    explore.open_paths([path])
    settle(qtbot, explore)
    assert "no localizations" in text(explore, "empty")


def test_view_and_look_are_remembered(
    opened: ExploreController, make: Callable[[], ExploreController], qtbot: QtBot
) -> None:
    opened.page.canvas.zoom_by(5.0)
    combo = child(opened.page, QComboBox, "color-by")
    combo.setCurrentIndex(combo.findData("frame"))
    settle(qtbot, opened)
    opened.deactivate()
    again = make()
    settle(qtbot, again)
    assert again.page.canvas.view == opened.page.canvas.view
    assert child(again.page, QComboBox, "color-by").currentData() == "frame"


def test_what_lies_under_the_mouse_is_told(opened: ExploreController, qtbot: QtBot) -> None:
    view = opened.page.canvas.view
    layer = opened.page.canvas.focusProxy()
    assert layer is not None
    qtbot.mouseMove(layer, QPoint(*(round(v) for v in view.to_px(1000, 2000))))
    words = text(opened, "hover")
    assert "per µm²" in words
    # Half of all lie within +-40 nm of the line: 2000 in 4 µm, that is 50 in 100 nm.
    assert float(words.split("about ")[1].split()[0]) == pytest.approx(50, rel=0.4)


def test_the_third_dimension_turns(opened: ExploreController, qtbot: QtBot) -> None:
    page = opened.page
    page._tabs.setCurrentIndex(1)
    settle(qtbot, opened)
    plain = page.points.plain
    assert f"{N:,} localizations" in text(opened, "3d-notice")
    before = plain.grab().toImage()
    azimuth = plain.camera.azimuth_deg
    qtbot.keyClick(plain, Qt.Key.Key_Left)
    assert plain.camera.azimuth_deg != azimuth
    qtbot.mousePress(plain, Qt.MouseButton.LeftButton, pos=QPoint(50, 50))
    qtbot.mouseMove(plain, QPoint(90, 80))
    qtbot.mouseRelease(plain, Qt.MouseButton.LeftButton, pos=QPoint(90, 80))
    settle(qtbot, opened)
    assert plain.grab().toImage() != before
    spin = child(page, QPushButton, "3d-spin")
    azimuth = plain.camera.azimuth_deg
    qtbot.mouseClick(spin, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: plain.camera.azimuth_deg != azimuth)
    page._tabs.setCurrentIndex(0)
    assert not spin.isChecked()
    settle(qtbot, opened)


def test_every_control_explains_itself(opened: ExploreController) -> None:
    kinds = ("QComboBox", "QDoubleSpinBox", "QSlider", "QCheckBox", "QToolButton")
    for widget in opened.page.findChildren(QWidget):
        named = widget.objectName().startswith("explore-")
        if named and widget.metaObject().className() in kinds:
            assert widget.toolTip(), widget.objectName()


def test_the_notice_says_that_opengl_is_missing(explore: ExploreController) -> None:
    notice = explore.page.findChild(QLabel, "page-notice")
    assert notice is not None
    assert "OpenGL is missing" in notice.text()
