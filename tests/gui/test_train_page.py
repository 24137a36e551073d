"""The Train page by real clicks, with a scripted engine that replays a real training."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QComboBox,
    QDoubleSpinBox,
    QFileDialog,
    QLabel,
    QPushButton,
    QRadioButton,
    QTabWidget,
    QTreeWidget,
)
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.controllers.train import TrainController
from app.models.project import CalibrationChoice, RunRecord, TrainStart
from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig, TrainingConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.errors import OutputError
from decode_engine.io.cameras import read_camera
from decode_engine.io.resources import resource_path
from tests.gui.engines import scripted_command

MODEL = str(resource_path("example", "model.decode"))
CALIBRATION = str(resource_path("example", "calibration.h5"))
WAIT_MS = 20_000
MakeContext = Callable[..., AppContext]


@pytest.fixture
def open_page(qtbot: QtBot, make_context: MakeContext) -> Callable[..., TrainController]:
    def open_with(behaviour: str = "complete", *, ready: bool = True) -> TrainController:
        context = make_context(behaviour)
        if ready:
            context.session.update(
                "set up",
                calibration=CalibrationChoice(mode="file", path=CALIBRATION),
                camera=CameraConfig(pixel_size_x_nm=100.0),
                training=TrainingConfig(minutes=30.0, patch_px=48),
            )
        return _show(qtbot, context)

    return open_with


def _show(qtbot: QtBot, context: AppContext) -> TrainController:
    controller = TrainController(context)
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()
    return controller


def _button(controller: TrainController, name: str) -> QPushButton:
    button = controller.page.findChild(QPushButton, name)
    assert button is not None, name
    return button


def _text(controller: TrainController, name: str) -> str:
    label = controller.page.findChild(QLabel, name)
    assert label is not None, name
    return label.text() if label.isVisible() else ""


def _click(qtbot: QtBot, controller: TrainController, name: str) -> None:
    button = _button(controller, name)
    assert button.isVisible(), f"{name} is not visible"
    assert button.isEnabled(), f"{name} is not enabled"
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def _runs(controller: TrainController) -> tuple[RunRecord, ...]:
    return controller.context.session.runs_of(Step.TRAIN)


def _wait_for_state(qtbot: QtBot, controller: TrainController, state: str) -> RunRecord:
    qtbot.waitUntil(
        lambda: bool(_runs(controller)) and _runs(controller)[-1].state == state, timeout=WAIT_MS
    )
    return _runs(controller)[-1]


def _spec(run: RunRecord) -> TrainSpec:
    return TrainSpec.model_validate(run.spec)


def test_what_is_missing_is_said_with_links(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page(ready=False)
    assert not _button(controller, "train-start").isEnabled()
    assert "Calibration, Camera" in _text(controller, "train-reason")
    assert "Nothing trained yet" in _text(controller, "train-empty")
    link = controller.page.findChild(QLabel, "train-for-camera")
    assert link is not None
    with qtbot.waitSignal(controller.go_to) as signal:
        link.setFocus()
        qtbot.keyClick(link, Qt.Key.Key_Tab)  # to the link
        link.linkActivated.emit("camera")
    assert signal.args == [Step.CAMERA]
    _click(qtbot, controller, "train-copy-command")
    assert "first" in _text(controller, "train-reason")


def test_a_training_runs_to_its_end_and_its_model_is_used(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page()
    _click(qtbot, controller, "train-start")
    run = _wait_for_state(qtbot, controller, "completed")
    session = controller.context.session
    folder = session.folder / "runs" / run.run_id
    spec = _spec(run)
    assert spec.calibration == CALIBRATION
    assert Path(spec.camera) == folder / "camera.json"
    assert read_camera(Path(spec.camera)).pixel_size_x_nm == 100.0
    assert spec.config.patch_px == 48
    assert spec.config.simulation == session.settings.simulation
    assert spec.init == "auto"
    assert session.settings.model == str(folder / "model.decode")
    qtbot.waitUntil(lambda: "in use" in _text(controller, "train-ended"), timeout=WAIT_MS)
    # What the replayed training found is drawn and judged.
    curves = controller.page.progress.curves
    minutes, jaccard = curves.chart("Molecules found").curve("Jaccard index")
    assert len(jaccard) > 3
    assert np.all(np.diff(minutes) > 0)
    # (The recorded training is so short that it finds nothing yet.)
    assert curves.chart("Limit").curve_names == ()
    assert "not learned enough" in _text(controller, "train-verdict-headline")
    assert len(curves.chart("Loss").curve("while learning")[0]) > 0
    assert _text(controller, "train-number-recall") == "0%"
    assert _text(controller, "train-number-rmse_lateral_nm") == "–"
    sample = controller.page.progress.sample
    qtbot.waitUntil(lambda: sample.frame.n_points("true") > 0, timeout=WAIT_MS)
    for index in range(controller.page.progress.curves.count()):
        curves.setCurrentIndex(index)
        controller.page.grab()


def test_a_trained_model_does_not_push_out_the_one_in_use(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    """Regression: a training that ended changed the model under a user on Localize."""
    controller = open_page()
    session = controller.context.session
    session.select_model(MODEL)
    _click(qtbot, controller, "train-start")
    controller.deactivate()  # the user goes on to Localize
    _wait_for_state(qtbot, controller, "completed")
    assert session.settings.model == MODEL
    assert session.undo_text == "Choose model"
    assert "is finished" in _text(controller, "page-notice")
    _click(qtbot, controller, "train-use-model")
    assert session.settings.model == _runs(controller)[0].outputs["model"]
    assert _text(controller, "page-notice") == ""


def test_pause_resume_and_stop_keep_the_best(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page("slow")
    _click(qtbot, controller, "train-start")
    qtbot.waitUntil(lambda: _button(controller, "job-pause").isVisible(), timeout=WAIT_MS)
    assert not _button(controller, "train-start").isEnabled()
    assert "going on" in _text(controller, "train-reason")
    _click(qtbot, controller, "job-pause")
    qtbot.waitUntil(lambda: _button(controller, "job-resume").isVisible(), timeout=WAIT_MS)
    assert "Paused" in _text(controller, "job-stage")
    _click(qtbot, controller, "job-resume")
    qtbot.waitUntil(lambda: _button(controller, "job-pause").isVisible(), timeout=WAIT_MS)
    finish = _button(controller, "job-finish")
    assert not finish.isVisible()  # Regression: it was offered with nothing to keep yet
    qtbot.waitUntil(finish.isVisible, timeout=WAIT_MS)
    assert controller.page.progress.curves.chart("Molecules found").curve_names
    _click(qtbot, controller, "job-finish")
    run = _wait_for_state(qtbot, controller, "completed")
    assert controller.context.session.settings.model == run.outputs["model"]
    assert _button(controller, "train-start").isEnabled()


def test_a_training_that_could_not_start_leaves_no_folder(
    qtbot: QtBot, open_page: Callable[..., TrainController], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the run's folder stayed, empty, when the camera could not be written."""

    def full(_camera: CameraConfig, path: Path) -> str:
        raise OutputError(f"{path} could not be written.", hint="Free some space.")

    monkeypatch.setattr("app.controllers.train.write_camera_file", full)
    controller = open_page()
    _click(qtbot, controller, "train-start")
    qtbot.waitUntil(
        lambda: "could not be written" in _text(controller, "problem-message"), timeout=WAIT_MS
    )
    assert list((controller.context.session.folder / "runs").iterdir()) == []
    assert _button(controller, "train-start").isEnabled()


def test_a_cancelled_training_goes_on_where_it_stopped(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page("wait")
    _click(qtbot, controller, "train-start")
    qtbot.waitUntil(lambda: "%" in _text(controller, "job-facts"), timeout=WAIT_MS)
    _click(qtbot, controller, "job-cancel")
    _wait_for_state(qtbot, controller, "cancelled")
    assert "go on" in _text(controller, "train-ended")
    _click(qtbot, controller, "train-resume-run")
    qtbot.waitUntil(lambda: _button(controller, "job-cancel").isVisible(), timeout=WAIT_MS)
    assert len(_runs(controller)) == 1
    _click(qtbot, controller, "job-cancel")
    _wait_for_state(qtbot, controller, "cancelled")


def test_a_diverged_training_offers_a_smaller_learning_rate(
    qtbot: QtBot, make_context: MakeContext
) -> None:
    context = make_context("fail")
    context.jobs.use_engine(scripted_command("fail", code="diverged"))
    context.session.update(
        "set up",
        calibration=CalibrationChoice(mode="file", path=CALIBRATION),
        camera=CameraConfig(pixel_size_x_nm=100.0),
    )
    controller = _show(qtbot, context)
    _click(qtbot, controller, "train-start")
    _wait_for_state(qtbot, controller, "failed")
    assert _text(controller, "problem-message") == "It is diverged."
    assert "failed" in _text(controller, "train-ended")
    _click(qtbot, controller, "problem-action")
    qtbot.waitUntil(lambda: len(_runs(controller)) == 2, timeout=WAIT_MS)
    assert _spec(_runs(controller)[1]).config.learning_rate == 0.0005
    assert context.session.settings.training.learning_rate == 0.0005
    _wait_for_state(qtbot, controller, "failed")


def test_a_crash_is_told_and_the_training_can_go_on(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page("crash")
    _click(qtbot, controller, "train-start")
    _wait_for_state(qtbot, controller, "failed")
    assert _text(controller, "problem-message")
    assert _button(controller, "problem-action").text() == "Go on with this training"
    assert controller.context.session.settings.model is None
    _click(qtbot, controller, "problem-dismiss")
    controller.context.session.update("something else", localize_device="cpu")
    assert _text(controller, "problem-message") == ""


def test_a_model_that_does_not_fit_cannot_be_started_from(
    qtbot: QtBot, open_page: Callable[..., TrainController], monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = open_page()
    session = controller.context.session
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_, **__: (MODEL, ""))
    _click(qtbot, controller, "train-from-file")
    assert session.settings.train_start.init == MODEL
    # A trained network is not to be thrown back by the rate for random weights.
    assert session.settings.training.learning_rate == 0.0002
    qtbot.waitUntil(
        lambda: _text(controller, "train-from-words").startswith("Compatible"), timeout=WAIT_MS
    )
    session.update("frames", training=TrainingConfig(minutes=1.0, context_frames=1))
    qtbot.waitUntil(
        lambda: _text(controller, "train-from-words").startswith("Not compatible"), timeout=WAIT_MS
    )
    assert not _button(controller, "train-start").isEnabled()
    choices = controller.page.findChild(QComboBox, "train-from")
    assert choices is not None
    choices.setFocus()
    qtbot.keyClick(choices, Qt.Key.Key_End)
    assert session.settings.train_start.init is None
    assert session.settings.training.learning_rate == 0.001
    assert _button(controller, "train-start").isEnabled()


def test_a_start_file_that_is_no_model_is_said_beside_it(
    qtbot: QtBot, open_page: Callable[..., TrainController], tmp_path: Path
) -> None:
    controller = open_page()
    bad = tmp_path / "bad.decode"
    bad.write_bytes(b"no model")
    controller.context.session.update("x", train_start=TrainStart(init=str(bad)))
    qtbot.waitUntil(lambda: "bad.decode" in _text(controller, "train-from-words"), timeout=WAIT_MS)
    assert not _button(controller, "train-start").isEnabled()


def test_the_goal_is_a_time_or_the_end_of_progress(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page()
    session = controller.context.session
    minutes = controller.page.findChild(QDoubleSpinBox, "train-minutes")
    assert minutes is not None
    minutes.setFocus()
    minutes.selectAll()
    qtbot.keyClicks(minutes, "4")
    qtbot.keyClick(minutes, Qt.Key.Key_Return)
    assert session.settings.training.minutes == 4.0
    assert session.settings.training.patience is None
    assert "Short" in _text(controller, "train-expectation")
    quality = controller.page.findChild(QRadioButton, "train-goal-quality")
    assert quality is not None
    qtbot.mouseClick(quality, Qt.MouseButton.LeftButton)
    assert session.settings.training.patience is not None
    assert session.settings.training.minutes == 4.0
    session.undo()
    session.undo()
    assert session.settings.training.minutes == 30.0
    assert minutes.value() == 30.0


def test_the_command_that_does_the_same_is_copied(
    qtbot: QtBot, open_page: Callable[..., TrainController]
) -> None:
    controller = open_page()
    _click(qtbot, controller, "train-copy-command")
    qtbot.waitUntil(lambda: "clipboard" in _text(controller, "train-reason"), timeout=WAIT_MS)
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:2] == ["decode-engine", "train"]
    assert f"--calibration={CALIBRATION}" in words
    assert "--patch-px=48" in words
    camera = next(w.partition("=")[2] for w in words if w.startswith("--camera="))
    assert read_camera(Path(camera)).pixel_size_x_nm == 100.0


def _earlier_run(context: AppContext, number: int, jaccard: float) -> RunRecord:
    """Record a training of an earlier session with its history file."""
    run_id, folder = context.session.begin_run(Step.TRAIN, "Training")
    model = folder / "model.decode"
    model.write_bytes(Path(MODEL).read_bytes())
    history = folder / "model.decode.training" / "history.jsonl"
    history.parent.mkdir()
    history.write_text(
        "".join(
            json.dumps(
                {
                    "step": 10 * i,
                    "values": {
                        "validation_loss": 5.0 - i,
                        "jaccard": jaccard * i / 4,
                        "efficiency_3d": 0.1 * i,
                        "rmse_over_crlb_robust_x": 3.0 - 0.4 * i,
                        "rmse_over_crlb_robust_z": 3.0 - 0.3 * i,
                        "elapsed_s": 60.0 * i,
                    },
                }
            )
            + "\n"
            for i in range(1, 5)
        )
    )
    spec = TrainSpec(calibration=CALIBRATION, camera="camera.json", out=str(model))
    record = RunRecord(
        run_id=run_id,
        step=Step.TRAIN,
        title="Training",
        created=f"2026-11-2{number}T10:00:00+00:00",
        state="completed" if number == 1 else "interrupted",
        spec=spec.model_dump(mode="json"),
        outputs={"model": str(model)},
        summary={"jaccard": jaccard, "elapsed_s": 240.0} if number == 1 else {},
    )
    context.session.record_run(record)
    return record


def test_earlier_trainings_are_drawn_compared_and_used(
    qtbot: QtBot, make_context: MakeContext
) -> None:
    context = make_context("complete")
    first = _earlier_run(context, 1, 0.8)
    second = _earlier_run(context, 2, 0.4)
    controller = _show(qtbot, context)
    chart = controller.page.progress.curves.chart("Molecules found")
    qtbot.waitUntil(lambda: "Jaccard index" in chart.curve_names, timeout=WAIT_MS)
    minutes, jaccard = chart.curve("Jaccard index")
    np.testing.assert_allclose(minutes, [1, 2, 3, 4])
    np.testing.assert_allclose(jaccard, [0.1, 0.2, 0.3, 0.4])
    limit = controller.page.progress.curves.chart("Limit")
    np.testing.assert_allclose(limit.curve("ideal")[1], [1, 1])
    np.testing.assert_allclose(limit.curve("z")[1], [2.7, 2.4, 2.1, 1.8])
    assert _text(controller, "train-number-rmse_over_crlb_robust") == "1.8×"
    # The last one was cut short: it says so, judges its best model, and can go on.
    assert "interrupted" in _text(controller, "train-ended")
    assert _text(controller, "train-verdict-headline")
    assert _button(controller, "train-resume-run").isVisible()

    tabs = controller.page.findChild(QTabWidget, "train-curves")
    table = controller.page.findChild(QTreeWidget, "train-runs")
    assert tabs is not None
    assert table is not None
    tabs.setCurrentIndex(tabs.count() - 1)
    assert [table.topLevelItem(i).text(0) for i in range(2)] == [second.run_id, first.run_id]
    assert table.topLevelItem(1).text(3) == "0.80"
    table.setFocus()
    table.setCurrentItem(table.topLevelItem(1))
    qtbot.keyClick(table, Qt.Key.Key_Space)  # ticks it
    name = f"Jaccard index, {first.run_id}"
    qtbot.waitUntil(lambda: name in chart.curve_names, timeout=WAIT_MS)
    assert f"Jaccard index, {second.run_id}" in chart.curve_names
    np.testing.assert_allclose(chart.curve(name)[1], [0.2, 0.4, 0.6, 0.8])

    _click(qtbot, controller, "train-runs-use")
    assert context.session.settings.model == first.outputs["model"]
    assert "in use" in table.topLevelItem(1).text(2)


def test_a_missing_history_is_no_riddle(qtbot: QtBot, make_context: MakeContext) -> None:
    context = make_context("complete")
    record = _earlier_run(context, 2, 0.4)
    folder = Path(record.spec["out"] + ".training")
    (folder / "history.jsonl").unlink()
    (folder / "sample.npz").write_bytes(b"damaged")
    controller = _show(qtbot, context)
    qtbot.waitUntil(lambda: not context.background.busy, timeout=WAIT_MS)
    assert "interrupted" in _text(controller, "train-ended")
    assert "No test frame" in _text(controller, "train-sample-hint")


def test_another_project_starts_with_an_empty_page(
    qtbot: QtBot, make_context: MakeContext, tmp_path: Path
) -> None:
    context = make_context("complete")
    _earlier_run(context, 2, 0.4)
    controller = _show(qtbot, context)
    chart = controller.page.progress.curves.chart("Molecules found")
    qtbot.waitUntil(lambda: "Jaccard index" in chart.curve_names, timeout=WAIT_MS)
    assert context.session.new(tmp_path / "other") is None
    assert "Nothing trained yet" in _text(controller, "train-empty")
    assert chart.curve_names == ()
    assert "Calibration, Camera" in _text(controller, "train-reason")
