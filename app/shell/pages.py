"""Which controller makes which page; late imports keep the start of the app short."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable

from PySide6.QtGui import QGuiApplication

from app.controllers.page_controller import AppContext, PageController
from app.models.steps import Step

__all__ = ["import_graphics", "import_libraries", "make_controller"]

# What takes long to import and makes no widget while it is imported, so that another thread may.
_LIBRARIES = (
    "scipy.ndimage",
    "scipy.io",
    "cmap",
    "app.models.recognition",
    "decode_engine.analysis.rendering",
    "pyqtgraph",
)
# A page's schema is made once in a process; the longest ones here, and not when it is shown.
_CONFIGS = (
    "CameraConfig", "CalibrateConfig", "SimulationConfig", "TrainingConfig", "LocalizeConfig",
)  # fmt: skip


# One import at a time: pyqtgraph cannot bear to be imported by two threads at once.
_importing = threading.Lock()


def make_controller(step: Step, context: AppContext) -> PageController:
    """Return the controller of a step with its page."""
    with _importing:
        kind = _controller(step)
    return kind(context)


def import_libraries(check: Callable[[], None]) -> None:
    """Import what the pages need, so that making them is quick."""
    for name in _LIBRARIES:
        check()
        with _importing:
            importlib.import_module(name)
    for step in Step:
        check()
        with _importing:
            _controller(step)
    configs = importlib.import_module("decode_engine.contract.configs")
    fields = importlib.import_module("app.views.form_fields")
    for name in _CONFIGS:
        check()
        fields.schema_properties(getattr(configs, name))


def import_graphics(_check: Callable[[], None]) -> None:
    """Import what draws with OpenGL; where there is none, it is never needed."""
    if QGuiApplication.platformName() != "offscreen":
        with _importing:
            importlib.import_module("vispy.scene")


def _controller(step: Step) -> Callable[[AppContext], PageController]:
    """Import a controller; written out so that a frozen app finds them all."""
    match step:
        case Step.START:
            from app.controllers.start import StartController

            return StartController
        case Step.MOVIE:
            from app.controllers.movie import MovieController

            return MovieController
        case Step.CALIBRATION:
            from app.controllers.calibration import CalibrationController

            return CalibrationController
        case Step.CAMERA:
            from app.controllers.camera import CameraController

            return CameraController
        case Step.SIMULATION:
            from app.controllers.simulation import SimulationController

            return SimulationController
    return _later_controller(step)


def _later_controller(step: Step) -> Callable[[AppContext], PageController]:
    match step:
        case Step.TRAIN:
            from app.controllers.train import TrainController

            return TrainController
        case Step.LOCALIZE:
            from app.controllers.localize import LocalizeController

            return LocalizeController
        case Step.CORRECT:
            from app.controllers.correct import CorrectController

            return CorrectController
        case Step.EXPLORE:
            from app.controllers.explore import ExploreController

            return ExploreController
    from app.controllers.export import ExportController

    return ExportController
