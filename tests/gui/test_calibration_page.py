"""The Calibration page: load, make, do without, look at, judge, save; all bad files a card."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QAbstractButton,
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QListWidget,
    QSlider,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.controllers.calibration import CalibrationController
from app.controllers.page_controller import AppContext
from app.models.steps import Step
from decode_engine.contract.configs import CalibrateConfig, CameraConfig
from decode_engine.contract.jobs import CalibrateSpec, PsfPreviewSpec
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.io.calibrations import read_calibration, write_calibration
from decode_engine.io.resources import resource_path
from tests.gui.inline_jobs import InlineJobs
from tests.psf_samples import astigmatic_spline
from tests.unit.light.test_calibration_files import uipsf_file

W = TypeVar("W", bound=QWidget)
CAMERA = CameraConfig(kind="scmos", pixel_size_x_nm=100.0)


@pytest.fixture
def controller(
    qtbot: QtBot, make_context: Callable[..., AppContext]
) -> Iterator[CalibrationController]:
    context = make_context()
    jobs = InlineJobs(context.session)
    controller = CalibrationController(replace(context, jobs=jobs))  # type: ignore[arg-type]
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()
    yield controller
    jobs.deleteLater()


def jobs(controller: CalibrationController) -> InlineJobs:
    found = controller.context.jobs
    assert isinstance(found, InlineJobs)
    return found


def find(controller: CalibrationController, kind: type[W], name: str) -> W:
    widget = controller.page.findChild(kind, name)
    assert widget is not None, name
    return widget


def click(qtbot: QtBot, controller: CalibrationController, name: str) -> None:
    qtbot.mouseClick(find(controller, QAbstractButton, name), Qt.MouseButton.LeftButton)


def text(controller: CalibrationController, name: str) -> str:
    return find(controller, QLabel, name).text()


def verdicts(controller: CalibrationController) -> str:
    return "\n".join(controller.page.verdicts.texts)


def write_spline(path: Path, pixel_nm: float | None = 100.0) -> Path:
    calibration = Calibration(
        psf=astigmatic_spline(), pixel_size_x_nm=pixel_nm, pixel_size_y_nm=pixel_nm
    )
    write_calibration(calibration, path, overwrite=True)
    return path


def load(qtbot: QtBot, controller: CalibrationController, path: Path) -> None:
    controller.open_paths([path])
    qtbot.waitUntil(lambda: "located to" in verdicts(controller), timeout=20_000)


def test_a_file_chosen_with_the_button_is_used_and_shown(
    qtbot: QtBot,
    controller: CalibrationController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = write_spline(tmp_path / "cal.h5")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_args: (str(path), ""))
    assert "No calibration yet" in text(controller, "calibration-empty")
    click(qtbot, controller, "calibration-open")
    qtbot.waitUntil(lambda: "located to" in verdicts(controller), timeout=20_000)
    choice = controller.context.session.settings.calibration
    assert (choice.mode, choice.path) == ("file", str(path))
    assert text(controller, "calibration-file-name") == "In use: cal.h5"
    assert text(controller, "calibration-z-text") == "z = 0 nm"
    chart = controller.page.viewer.chart
    assert set(chart.curve_names) == {"x", "y", "height z"}
    z, bound = chart.curve("height z")
    assert (z[0], z[-1]) == pytest.approx((-650, 650))
    assert np.nanmin(bound) > 1


def test_the_slider_moves_through_the_heights(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    load(qtbot, controller, write_spline(tmp_path / "cal.h5"))
    slider = find(controller, QSlider, "calibration-z")
    slider.setFocus()
    qtbot.keyClick(slider, Qt.Key.Key_Home)
    assert text(controller, "calibration-z-text") == "z = -650 nm"
    qtbot.keyClick(slider, Qt.Key.Key_End)
    assert text(controller, "calibration-z-text") == "z = 650 nm"
    find(controller, QComboBox, "calibration-normalisation").setCurrentIndex(1)
    assert text(controller, "calibration-z-text") == "z = 650 nm"


def test_the_precision_follows_photons_and_background(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    load(qtbot, controller, write_spline(tmp_path / "cal.h5"))
    before = np.nanmin(controller.page.viewer.chart.curve("x")[1])
    box = find(controller, QDoubleSpinBox, "calibration-photons")
    box.setFocus()
    box.selectAll()
    qtbot.keyClicks(box, "500")
    qtbot.keyClick(box, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: "500 photons" in verdicts(controller), timeout=10_000)
    qtbot.waitUntil(
        lambda: np.nanmin(controller.page.viewer.chart.curve("x")[1]) > 2 * before, timeout=10_000
    )
    spec = jobs(controller).specs[-1]
    assert isinstance(spec, PsfPreviewSpec)
    assert spec.photons == 500


def test_a_file_that_is_none_is_a_card_with_a_way_out(
    qtbot: QtBot,
    controller: CalibrationController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bad = tmp_path / "holiday.mat"
    bad.write_bytes(b"no calibration at all" * 100)
    good = write_spline(tmp_path / "cal.h5")
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_args: (str(good), ""))
    controller.open_paths([bad])
    qtbot.waitUntil(lambda: "holiday.mat" in text(controller, "problem-message"), timeout=10_000)
    assert jobs(controller).specs == []
    click(qtbot, controller, "problem-action")
    qtbot.waitUntil(lambda: "located to" in verdicts(controller), timeout=20_000)
    assert not find(controller, QLabel, "problem-message").isVisible()


def test_a_missing_file_is_told_and_undo_brings_the_last_one_back(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    load(qtbot, controller, write_spline(tmp_path / "cal.h5"))
    controller.open_paths([tmp_path / "gone.h5"])
    qtbot.waitUntil(lambda: "does not exist" in text(controller, "problem-message"))
    controller.context.session.undo()
    assert controller.context.session.settings.calibration.path == str(tmp_path / "cal.h5")
    qtbot.waitUntil(lambda: not find(controller, QLabel, "problem-message").isVisible())


def test_pixels_that_differ_are_said_in_words(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    load(qtbot, controller, write_spline(tmp_path / "cal.h5"))
    other = CAMERA.model_copy(update={"pixel_size_x_nm": 138.0})
    controller.context.session.update("Camera", camera=other)
    qtbot.waitUntil(lambda: "138 × 138 nm" in verdicts(controller), timeout=10_000)
    assert "Only one can be true" in verdicts(controller)
    controller.context.session.update("Camera again", camera=CAMERA)
    qtbot.waitUntil(lambda: "as the camera says" in verdicts(controller), timeout=10_000)


def test_a_file_without_pixel_size_takes_the_cameras(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    controller.context.session.update("Camera", camera=CAMERA)
    load(qtbot, controller, write_spline(tmp_path / "cal.h5", None))
    assert "is taken from the camera" in verdicts(controller)
    assert np.isfinite(controller.page.viewer.chart.curve("x")[1]).all()


def test_2d_from_the_objective(qtbot: QtBot, controller: CalibrationController) -> None:
    click(qtbot, controller, "calibration-way-gaussian_2d")
    na = find(controller, QDoubleSpinBox, "calibration-na")
    na.setValue(1.4)
    find(controller, QDoubleSpinBox, "calibration-wavelength").setValue(560)
    click(qtbot, controller, "calibration-derive")
    assert find(controller, QDoubleSpinBox, "calibration-sigma").value() == pytest.approx(90.0)
    click(qtbot, controller, "calibration-use-2d")
    qtbot.waitUntil(lambda: "Heights are not measured" in verdicts(controller), timeout=20_000)
    choice = controller.context.session.settings.calibration
    assert choice.mode == "gaussian_2d"
    assert choice.path is not None
    written = read_calibration(Path(choice.path))
    assert written.psf.sigma0_x_nm == pytest.approx(90.0)  # type: ignore[union-attr]
    assert not written.is_3d
    assert Path(choice.path).parent == controller.context.session.folder
    assert "In use: 2D, 90.0 nm." in text(controller, "calibration-2d-state")
    assert not controller.page.viewer.chart.isVisible()


def test_a_calibration_is_made_from_beads_and_used(
    qtbot: QtBot,
    controller: CalibrationController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    beads = str(resource_path("example/beads.tif"))
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_args: ([beads], ""))
    click(qtbot, controller, "calibration-way-beads")
    make = find(controller, QAbstractButton, "calibration-make")
    assert not make.isEnabled()
    assert "Add at least one" in text(controller, "calibration-make-reason")
    click(qtbot, controller, "calibration-add-stacks")
    assert find(controller, QListWidget, "calibration-stacks").count() == 1
    assert "slice distance" in text(controller, "calibration-make-reason")
    form = controller.page.beads_way.form
    for name, value in (("dz_nm", "50"), ("pixel_size_x_nm", "100"), ("roi_px", "21")):
        editor = form.editor(name).main
        editor.setFocus()
        editor.selectAll()  # type: ignore[attr-defined]
        qtbot.keyClicks(editor, value)
        qtbot.keyClick(editor, Qt.Key.Key_Return)
    assert make.isEnabled(), text(controller, "calibration-make-reason")
    click(qtbot, controller, "calibration-make")
    qtbot.waitUntil(lambda: "beads used" in verdicts(controller), timeout=60_000)
    spec = jobs(controller).specs[0]
    assert isinstance(spec, CalibrateSpec)
    assert spec.config.dz_nm == 50
    session = controller.context.session
    run = session.project.runs[-1]
    assert session.settings.calibration.path == run.outputs["calibration"]
    assert Path(spec.out).parent.parent == session.folder / "runs"
    assert "9 beads used, 0 not used." in verdicts(controller)
    assert "slope 1.0" in verdicts(controller)
    assert session.settings.beads.config is not None
    load(qtbot, controller, write_spline(tmp_path / "other.h5"))
    click(qtbot, controller, "calibration-way-file")
    earlier = find(controller, QComboBox, "calibration-earlier")
    assert earlier.isVisible()
    earlier.setFocus()
    qtbot.keyClick(earlier, Qt.Key.Key_Down)
    assert session.settings.calibration.path == run.outputs["calibration"]


def test_the_cameras_pixel_size_is_proposed_and_the_command_copied(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    controller.context.session.update("Camera", camera=CAMERA)
    controller.open_paths([tmp_path / "a b.tif"])
    form = controller.page.beads_way.form
    assert form.editor("pixel_size_x_nm").value() == 100.0
    assert not find(controller, QWidget, "message-pixel_size_x_nm").isVisible()
    assert find(controller, QWidget, "message-dz_nm").isVisible()
    assert not find(controller, QAbstractButton, "calibration-command").isEnabled()
    editor = form.editor("dz_nm").main
    editor.setFocus()
    qtbot.keyClicks(editor, "20")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    click(qtbot, controller, "calibration-command")
    copied = QGuiApplication.clipboard().text()
    assert copied.startswith("decode-engine calibrate")
    assert "a b.tif" in copied
    assert "20" in copied


def test_nothing_is_read_before_the_page_is_shown(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    controller.deactivate()
    controller.open_paths([write_spline(tmp_path / "cal.h5")])
    qtbot.waitUntil(lambda: not controller.context.background.busy)
    assert jobs(controller).specs == []
    controller.activate()
    qtbot.waitUntil(lambda: "located to" in verdicts(controller), timeout=20_000)


def test_stacks_are_removed_from_the_list(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    controller.open_paths([tmp_path / "a.tif", tmp_path / "b.tif"])
    stacks = find(controller, QListWidget, "calibration-stacks")
    stacks.setCurrentRow(0)
    click(qtbot, controller, "calibration-remove-stacks")
    assert controller.context.session.settings.beads.stacks == (str(tmp_path / "b.tif"),)
    stacks.setFocus()
    stacks.setCurrentRow(0)
    qtbot.keyClick(stacks, Qt.Key.Key_Delete)
    assert controller.context.session.settings.beads.stacks == ()


def test_beads_that_cannot_be_used_are_a_card(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    from decode_engine.contract.configs import CalibrateConfig

    controller.open_paths([tmp_path / "a.tif"])
    beads = controller.context.session.settings.beads
    config = CalibrateConfig(dz_nm=20, pixel_size_x_nm=100)
    controller.context.session.update("Beads", beads=beads.model_copy(update={"config": config}))
    click(qtbot, controller, "calibration-make")
    qtbot.waitUntil(lambda: "a.tif" in text(controller, "problem-message"), timeout=10_000)
    assert find(controller, QAbstractButton, "calibration-make").isEnabled()
    assert controller.context.session.settings.calibration.mode == "none"


def test_a_failure_names_the_fields_as_the_form_does(
    qtbot: QtBot, controller: CalibrationController
) -> None:
    controller.open_paths([resource_path("example/movie.tif")])
    beads = controller.context.session.settings.beads
    config = CalibrateConfig(dz_nm=50, pixel_size_x_nm=100, roi_px=21)
    controller.context.session.update("Beads", beads=beads.model_copy(update={"config": config}))
    click(qtbot, controller, "calibration-make")
    qtbot.waitUntil(
        lambda: 'Lower "Distance of beads"' in text(controller, "problem-hint"), timeout=20_000
    )


@pytest.mark.parametrize(("name", "chosen"), [("copy", "SMAP"), ("copy.h5", "")])
def test_a_copy_is_saved_for_other_programs(
    qtbot: QtBot,
    controller: CalibrationController,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    chosen: str,
) -> None:
    load(qtbot, controller, write_spline(tmp_path / "cal.h5"))
    monkeypatch.setattr(
        QFileDialog, "getSaveFileName", lambda *_args: (str(tmp_path / name), chosen)
    )
    click(qtbot, controller, "calibration-save")
    qtbot.waitUntil(lambda: "Saved as" in text(controller, "page-notice"), timeout=10_000)
    path = tmp_path / ("copy_3dcal.mat" if chosen else "copy.h5")
    again = read_calibration(path).psf
    assert isinstance(again, SplinePsf)
    np.testing.assert_allclose(again.coefficients, astigmatic_spline().coefficients, atol=1e-6)


def test_each_channel_of_a_uipsf_file_can_be_chosen(
    qtbot: QtBot, controller: CalibrationController, tmp_path: Path
) -> None:
    narrow, wide = (np.exp(-((np.arange(15) - 7) ** 2) / (2 * s**2)) for s in (1.2, 2.5))
    flat = np.ones(9)
    path = tmp_path / "psfmodel.h5"
    sizes = {"pixelsize_x": 0.1, "pixelsize_y": 0.1, "pixelsize_z": 0.05}
    stack = [[flat, c / c.sum(), c / c.sum()] for c in (narrow, wide)]
    uipsf_file(path, stack, {"channeltype": "multi", **sizes})  # type: ignore[arg-type]
    load(qtbot, controller, path)
    box = find(controller, QComboBox, "calibration-channel")
    assert box.isVisible()
    assert not find(controller, QComboBox, "calibration-region").isVisible()
    assert "uiPSF" in " ".join(label.text() for label in controller.page.findChildren(QLabel))
    before = np.nanmedian(controller.page.viewer.chart.curve("x")[1])
    box.setFocus()
    qtbot.keyClick(box, Qt.Key.Key_Down)
    choice = controller.context.session.settings.calibration
    assert choice.channel == 1
    # The wider PSF of the other channel locates molecules less precisely.
    qtbot.waitUntil(
        lambda: np.nanmedian(controller.page.viewer.chart.curve("x")[1]) > 1.5 * before,
        timeout=10_000,
    )
    assert box.currentData() == 1


def test_undo_of_a_2d_width_brings_its_calibration_back(
    qtbot: QtBot, controller: CalibrationController
) -> None:
    """Regression: one file served all widths, so undo named 130 nm and trained with 90 nm."""
    session = controller.context.session
    for sigma_nm in (130.0, 90.0):
        session.set_page(Step.CALIBRATION)  # ends a row of changes that undo would merge
        controller.page.flat_way.use_requested.emit(sigma_nm)
        qtbot.waitUntil(
            lambda s=sigma_nm: (  # type: ignore[misc]
                session.settings.calibration.path is not None
                and session.settings.calibration.psf_sigma_nm == s
            ),
            timeout=10_000,
        )
    session.undo()
    choice = session.settings.calibration
    assert choice.psf_sigma_nm == 130.0
    written = read_calibration(Path(str(choice.path)))
    assert written.psf.sigma0_x_nm == pytest.approx(130.0)  # type: ignore[union-attr]
