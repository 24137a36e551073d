"""Files that were missing are there again: the pages notice, without being told."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.controllers.calibration import CalibrationController
from app.controllers.explore import ExploreController
from app.controllers.localize import LocalizeController
from app.controllers.page_controller import AppContext, PageController
from app.controllers.simulation import SimulationController
from app.models.project import CalibrationChoice, MovieEntry
from decode_engine.io.cameras import read_camera_config
from decode_engine.io.resources import resource_path

EXAMPLE = resource_path("example")


@pytest.fixture
def missing(app_context: AppContext, tmp_path: Path) -> Callable[[], None]:
    """Choose files that are not there; the function returned puts them there."""
    drive = tmp_path / "drive"
    names = ("movie.tif", "calibration.h5", "model.decode", "truth.csv")
    app_context.session.update(
        "set up",
        movies=(MovieEntry(path=str(drive / "movie.tif")),),
        calibration=CalibrationChoice(mode="file", path=str(drive / "calibration.h5")),
        camera=read_camera_config(EXAMPLE / "camera.json"),
        localizations=str(drive / "truth.csv"),
    )

    def connect() -> None:
        drive.mkdir()
        for name in names:
            shutil.copy(EXAMPLE / name, drive / name)
        app_context.session.recheck()

    return connect


@pytest.mark.parametrize(
    "make",
    [CalibrationController, SimulationController, LocalizeController, ExploreController],
)
def test_a_card_goes_when_its_file_is_there_again(
    qtbot: QtBot,
    app_context: AppContext,
    missing: Callable[[], None],
    make: Callable[[AppContext], PageController],
) -> None:
    """Regression: the card stayed, and the page empty, after the drive was connected again."""
    controller = make(app_context)
    qtbot.addWidget(controller.page)
    controller.page.show()
    controller.activate()
    card = controller.page.findChild(QLabel, "problem-message")
    assert card is not None
    qtbot.waitUntil(card.isVisible, timeout=20_000)
    qtbot.waitUntil(lambda: not app_context.background.busy, timeout=20_000)
    missing()
    qtbot.waitUntil(lambda: not card.isVisible(), timeout=20_000)
    controller.deactivate()
    if isinstance(controller, ExploreController):
        controller.close()
    qtbot.waitUntil(lambda: not app_context.background.busy, timeout=20_000)
