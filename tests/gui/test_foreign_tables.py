"""Tables of other programs on Explore, Correct and Export: what was assumed is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app.controllers.correct import CorrectController
from app.controllers.explore import ExploreController
from app.controllers.export import ExportController
from app.controllers.page_controller import AppContext, PageController
from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig
from decode_engine.io.tables import read_localizations_csv

WAIT_MS = 30_000


@pytest.fixture
def picasso(tmp_path: Path) -> Path:
    """Write a table of Picasso whose .yaml, which says the pixel size, was left behind."""
    fields = [("frame", "u4"), *((name, "f4") for name in ("x", "y", "photons", "bg"))]
    rows = np.zeros(50, fields)
    rows["x"], rows["y"] = np.linspace(1, 20, 50), np.linspace(1, 10, 50)
    rows["photons"] = 500
    rows["x"][7] = np.nan
    with h5py.File(tmp_path / "cell_locs.hdf5", "w") as file:
        file["locs"] = rows
    return tmp_path / "cell_locs.hdf5"


@pytest.fixture
def explore(qtbot: QtBot, app_context: AppContext) -> Iterator[ExploreController]:
    controller = ExploreController(app_context)
    _show(qtbot, controller)
    yield controller
    controller.close()


def _show(qtbot: QtBot, controller: PageController) -> None:
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()


def _text(controller: PageController, name: str) -> str:
    label = controller.page.findChild(QLabel, name)
    assert label is not None, name
    return label.text() if label.isVisible() else ""


def _act(qtbot: QtBot, controller: PageController) -> QPushButton:
    button = controller.page.findChild(QPushButton, "problem-action")
    assert button is not None
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    return button


@pytest.mark.parametrize("kind", [ExploreController, CorrectController])
def test_a_missing_pixel_size_is_one_card_that_leads_to_the_camera(
    qtbot: QtBot,
    app_context: AppContext,
    picasso: Path,
    kind: Callable[[AppContext], ExploreController | CorrectController],
) -> None:
    """Regression: the way out was an option of the command line."""
    controller = kind(app_context)
    _show(qtbot, controller)
    controller.open_paths([picasso])
    qtbot.waitUntil(
        lambda: "camera pixels" in _text(controller, "problem-message"), timeout=WAIT_MS
    )
    assert "cell_locs.hdf5" in _text(controller, "problem-message")
    assert "--" not in _text(controller, "problem-hint")
    with qtbot.waitSignal(controller.go_to) as signal:
        assert _act(qtbot, controller).text() == "Go to the Camera page"
    assert signal.args == [Step.CAMERA]
    controller.deactivate()
    app_context.session.update("Set camera", camera=CameraConfig(pixel_size_x_nm=110.0))
    controller.activate()
    qtbot.waitUntil(lambda: "110 nm" in _text(controller, "page-notice"), timeout=WAIT_MS)
    assert "1 row was left out" in _text(controller, "page-notice")
    assert _text(controller, "problem-message") == ""
    table = app_context.tables.read(str(picasso), camera=app_context.session.settings.camera)
    assert table.x_nm.max() == pytest.approx(20 * 110)
    if isinstance(controller, ExploreController):
        controller.close()
    app_context.session.select_localizations(None)
    assert "110 nm" not in _text(controller, "page-notice")


def test_export_takes_the_pixel_size_that_the_table_was_shown_with(
    qtbot: QtBot, app_context: AppContext, picasso: Path
) -> None:
    camera = CameraConfig(pixel_size_x_nm=110.0)
    app_context.session.update("set up", camera=camera, localizations=str(picasso))
    app_context.tables.read(str(picasso), camera=camera)
    controller = ExportController(app_context)
    _show(qtbot, controller)
    for name, box in controller.page.kinds.items():
        box.setChecked(name == "csv")
    qtbot.mouseClick(controller.page.start, Qt.MouseButton.LeftButton)
    written = app_context.session.folder / "exports" / "cell_locs.csv"
    qtbot.waitUntil(written.is_file, timeout=WAIT_MS)
    assert read_localizations_csv(written).x_nm.max() == pytest.approx(20 * 110)


def test_what_was_cancelled_can_be_opened_after_all(
    qtbot: QtBot, explore: ExploreController, app_context: AppContext, picasso: Path
) -> None:
    """Regression: after a cancelled opening nothing on the page led back to the table."""
    app_context.session.update("camera", camera=CameraConfig(pixel_size_x_nm=110.0))
    explore.open_paths([picasso])
    explore.page.cancel_requested.emit()
    assert "was cancelled" in _text(explore, "problem-message")
    explore.deactivate()
    explore.activate()  # the user comes back
    assert _act(qtbot, explore).text() == "Try again"
    qtbot.waitUntil(lambda: explore.page.is_ready, timeout=WAIT_MS)
    assert _text(explore, "problem-message") == ""
    qtbot.waitUntil(
        lambda: not explore.loop.busy and not app_context.background.busy, timeout=WAIT_MS
    )
