"""The Simulation page: side by side, compared, suggested; what is missing is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QSlider, QWidget
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.controllers.simulation import SimulationController
from app.models.project import CalibrationChoice, MovieEntry
from app.models.steps import Step
from app.views.frame_view import FrameView
from decode_engine.analysis.simulation_match import ROUNDS
from decode_engine.contract.configs import CameraConfig, SimulationConfig
from decode_engine.contract.jobs import SimulateSpec
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.resources import resource_path
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import run_job
from tests.gui.inline_jobs import InlineJobs

W = TypeVar("W", bound=QWidget)
CAMERA = CameraConfig(
    kind="scmos", pixel_size_x_nm=100.0, offset_adu=100.0, e_per_adu=0.5, read_noise_e=1.5
)
TRUTH = SimulationConfig(
    density_min_per_um2=0.6,
    density_max_per_um2=0.6,
    flux_mean=6000.0,
    flux_std=1500.0,
    background_min=90.0,
    background_max=90.0,
    lifetime_frames=2.0,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a calibration, a camera and a movie simulated with `TRUTH`."""
    folder = tmp_path_factory.mktemp("simulation")
    psf = GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130)
    write_calibration(Calibration(psf=psf), folder / "flat.h5", overwrite=True)
    (folder / "camera.json").write_text(CAMERA.model_dump_json())
    spec = SimulateSpec(
        calibration=str(folder / "flat.h5"),
        camera=str(folder / "camera.json"),
        out=str(folder / "movie"),
        frames=120,
        size_px=(150, 90),
        simulation=TRUTH,
        seed=9,
    )
    run_job(spec, JobContext())
    return folder


@pytest.fixture
def controller(
    qtbot: QtBot, make_context: Callable[..., AppContext]
) -> Iterator[SimulationController]:
    context = make_context()
    jobs = InlineJobs(context.session)
    controller = SimulationController(replace(context, jobs=jobs))  # type: ignore[arg-type]
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    yield controller
    jobs.deleteLater()


def jobs(controller: SimulationController) -> InlineJobs:
    found = controller.context.jobs
    assert isinstance(found, InlineJobs)
    return found


def find(controller: SimulationController, kind: type[W], name: str) -> W:
    widget = controller.page.findChild(kind, name)
    assert widget is not None, name
    return widget


def click(qtbot: QtBot, controller: SimulationController, name: str) -> None:
    qtbot.mouseClick(find(controller, QAbstractButton, name), Qt.MouseButton.LeftButton)


def words(controller: SimulationController) -> str:
    return "\n".join(controller.page.matches.texts)


def choose(controller: SimulationController, data: Path, **movie: object) -> None:
    entry = MovieEntry(path=str(data / "movie" / "movie.tif"), **movie)  # type: ignore[arg-type]
    controller.context.session.update(
        "Set up",
        movies=(entry,),
        camera=CAMERA,
        calibration=CalibrationChoice(mode="gaussian_2d", path=str(data / "flat.h5")),
    )


def compared(qtbot: QtBot, controller: SimulationController, data: Path) -> None:
    choose(controller, data)
    controller.activate()
    qtbot.waitUntil(lambda: "photons per pixel" in words(controller), timeout=20_000)


def test_what_is_missing_is_said_with_a_way_there(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    controller.activate()
    assert "Choose a movie first" in find(controller, QLabel, "simulation-missing").text()
    assert not find(controller, QAbstractButton, "simulation-suggest").isEnabled()
    with qtbot.waitSignal(controller.go_to) as asked:
        click(qtbot, controller, "simulation-go")
    assert asked.args == [Step.MOVIE]
    entry = MovieEntry(path=str(data / "movie" / "movie.tif"))
    controller.context.session.update("Movie", movies=(entry,))
    assert "calibration first" in find(controller, QLabel, "simulation-missing").text()
    assert jobs(controller).specs == []


def test_frames_stand_side_by_side_with_the_same_contrast(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    own = find(controller, FrameView, "simulation-own-view")
    simulated = find(controller, FrameView, "simulation-simulated-view")
    assert own.levels is not None
    assert own.levels == simulated.levels
    spec = jobs(controller).specs[0]
    assert isinstance(spec, SimulateSpec)
    assert spec.size_px == (128, 90)  # the middle of the movie's 150 x 90 px
    # The middle of the ranges: geometric for the density.
    assert spec.simulation.density_min_per_um2 == pytest.approx(np.sqrt(0.3 * 2.5))
    assert spec.simulation.background_max == 35.0
    assert Path(spec.out).is_relative_to(controller.context.session.previews_folder)
    before = own.levels
    find(controller, QSlider, "simulation-contrast").setValue(90)
    assert own.levels == simulated.levels != before
    slider = find(controller, QSlider, "simulation-frame")
    slider.setFocus()
    qtbot.keyClick(slider, Qt.Key.Key_End)
    assert controller.page.pair.frame == 79


def test_heights_are_offered_in_3d_only(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    editor = controller.page.form.editor("z_min_nm")
    qtbot.waitUntil(lambda: not editor.isVisible(), timeout=10_000)
    choice = CalibrationChoice(mode="file", path=str(resource_path("example/calibration.h5")))
    controller.context.session.update("3D", calibration=choice)
    qtbot.waitUntil(editor.isVisible, timeout=10_000)


def test_differences_are_told_in_words(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    found = words(controller)
    assert "brighter than" in found or "times as bright as" in found
    assert 'raise "Photons, mean"' in found
    assert 'Raise "Background, highest"' in found
    assert "as wide as the simulated ones" in found


def test_a_change_simulates_again_and_another_sample_differs(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    editor = controller.page.form.editor("flux_mean").main
    editor.setFocus()
    editor.selectAll()  # type: ignore[attr-defined]
    qtbot.keyClicks(editor, "6000")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert controller.context.session.settings.simulation.flux_mean == 6000.0
    qtbot.waitUntil(lambda: len(jobs(controller).specs) == 2, timeout=10_000)
    qtbot.waitUntil(lambda: "as bright as the simulated" in words(controller), timeout=10_000)
    click(qtbot, controller, "simulation-another")
    kind = find(controller, QComboBox, "simulation-kind")
    qtbot.waitUntil(lambda: len(jobs(controller).specs) == 3, timeout=10_000)
    kind.setFocus()
    qtbot.keyClick(kind, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: len(jobs(controller).specs) == 4, timeout=10_000)
    specs = [s for s in jobs(controller).specs if isinstance(s, SimulateSpec)]
    assert specs[1].seed != specs[2].seed
    assert specs[3].simulation.density_min_per_um2 == 2.5
    assert specs[3].simulation.background_min == 60.0


def test_suggestions_are_proposed_then_applied_as_one_step(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    session = controller.context.session
    before = session.settings.simulation
    click(qtbot, controller, "simulation-suggest")
    accept = find(controller, QAbstractButton, "simulation-accept")
    qtbot.waitUntil(accept.isVisible, timeout=20_000)
    assert session.settings.simulation == before
    specs = [s for s in jobs(controller).specs if isinstance(s, SimulateSpec)]
    suggested = [s for s in specs if Path(s.out).name == "simulation-suggest"]
    assert len(suggested) == ROUNDS
    assert "Photons, mean" in find(controller, QLabel, "simulation-proposal-text").text()
    click(qtbot, controller, "simulation-accept")
    after = session.settings.simulation
    assert after.flux_mean == pytest.approx(6000, rel=0.25)
    assert after.density_min_per_um2 < 0.6 < after.density_max_per_um2
    assert after.background_min < 90 < after.background_max
    assert not accept.isVisible()
    session.undo()
    assert session.settings.simulation == before


def test_a_suggestion_can_be_stopped_and_refused(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    before = controller.context.session.settings.simulation
    jobs(controller).held = True
    click(qtbot, controller, "simulation-suggest")
    assert f"1 of {ROUNDS}" in find(controller, QLabel, "simulation-progress").text()
    click(qtbot, controller, "simulation-stop")
    assert find(controller, QAbstractButton, "simulation-suggest").isVisible()
    jobs(controller).release()
    click(qtbot, controller, "simulation-suggest")
    refuse = find(controller, QAbstractButton, "simulation-refuse")
    qtbot.waitUntil(refuse.isVisible, timeout=20_000)
    click(qtbot, controller, "simulation-refuse")
    assert not refuse.isVisible()
    assert controller.context.session.settings.simulation == before


def test_a_movie_that_is_gone_is_a_card(
    qtbot: QtBot, controller: SimulationController, tmp_path: Path, data: Path
) -> None:
    choose(controller, data)
    entry = MovieEntry(path=str(tmp_path / "gone.tif"))
    controller.context.session.update("Movie", movies=(entry,))
    controller.activate()
    message = find(controller, QLabel, "problem-message")
    qtbot.waitUntil(lambda: "gone.tif" in message.text(), timeout=10_000)
    choose(controller, data)
    qtbot.waitUntil(lambda: "photons per pixel" in words(controller), timeout=20_000)
    assert not message.isVisible()


def test_a_region_too_small_to_compare_is_a_card(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    choose(controller, data, roi_px=(0, 0, 10, 10))
    controller.activate()
    message = find(controller, QLabel, "problem-message")
    qtbot.waitUntil(lambda: "10 x 10 px" in message.text(), timeout=10_000)


def test_an_engine_that_refuses_is_a_card(
    qtbot: QtBot, controller: SimulationController, data: Path, tmp_path: Path
) -> None:
    choose(controller, data)
    choice = CalibrationChoice(mode="file", path=str(tmp_path / "gone.h5"))
    controller.context.session.update("Calibration", calibration=choice)
    controller.activate()
    message = find(controller, QLabel, "problem-message")
    qtbot.waitUntil(lambda: "gone.h5" in message.text(), timeout=10_000)
    assert not find(controller, QLabel, "simulation-busy").text()


def test_nothing_is_simulated_while_the_page_is_not_shown(
    qtbot: QtBot, controller: SimulationController, data: Path
) -> None:
    compared(qtbot, controller, data)
    controller.deactivate()
    number = len(jobs(controller).specs)
    changed = SimulationConfig(flux_mean=1234.0)
    controller.context.session.update("Change", simulation=changed)
    assert not controller._delay.isActive()
    assert len(jobs(controller).specs) == number
    controller.activate()
    qtbot.waitUntil(lambda: len(jobs(controller).specs) == number + 1, timeout=10_000)
