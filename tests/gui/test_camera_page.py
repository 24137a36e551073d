"""The Camera page by real clicks and keys, on movies written here."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PySide6.QtCore import Qt
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QInputDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.controllers.camera import CameraController
from app.controllers.page_controller import AppContext
from app.models.project import MovieEntry
from app.models.steps import Step, StepStatus
from decode_engine.contract.configs import CameraConfig
from decode_engine.io.cameras import read_camera
from decode_engine.io.movies import write_movie

CAMERA = CameraConfig(pixel_size_x_nm=110.0, offset_adu=100.0, e_per_adu=0.5, read_noise_e=1.6)


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    photons = np.linspace(20, 60, 32)[None, :] * np.ones((20, 24, 1))
    adu = rng.poisson(photons) / 0.5 + rng.normal(0, 3.2, photons.shape) + 100
    frames = adu.round().astype(np.uint16)
    path = tmp_path / "cell.tif"
    write_movie(path, iter(frames), (20, 24, 32), pixel_size_x_nm=110.0)
    return path


@pytest.fixture
def controller(qtbot: QtBot, app_context: AppContext) -> Iterator[CameraController]:
    controller = CameraController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()
    yield controller
    controller.deactivate()


def _child(controller: CameraController, kind: type[Any], name: str) -> Any:
    child = controller.page.findChild(kind, name)
    assert child is not None, name
    return child


def _click(qtbot: QtBot, controller: CameraController, name: str) -> None:
    qtbot.mouseClick(_child(controller, QPushButton, name), Qt.MouseButton.LeftButton)


def _camera(controller: CameraController) -> CameraConfig | None:
    return controller.context.session.settings.camera


def _words(controller: CameraController) -> str:
    return str(_child(controller, QLabel, "camera-words").text())


def _type(qtbot: QtBot, controller: CameraController, field: str, text: str) -> None:
    line = controller.page.form.editor(field).main
    assert isinstance(line, QLineEdit)
    line.selectAll()
    qtbot.keyClicks(line, text)
    qtbot.keyClick(line, Qt.Key.Key_Return)


def _with_movie(
    qtbot: QtBot, controller: CameraController, path: Path, camera: CameraConfig | None = None
) -> None:
    entry = MovieEntry(path=str(path))
    controller.context.session.update("set up", movies=(entry,), camera=camera)
    qtbot.waitUntil(lambda: "photons" in _words(controller), timeout=10_000)
    qtbot.waitUntil(lambda: not controller.context.background.busy, timeout=10_000)


def _light(controller: CameraController, field: str) -> str:
    return str(controller.page.form._rows[field].light.level)


def test_undo_takes_one_setting_back(qtbot: QtBot, controller: CameraController) -> None:
    """Regression: two settings that were typed one after the other were one step of undo."""
    session = controller.context.session
    session.update("Set camera", camera=CameraConfig(pixel_size_x_nm=100.0, kind="emccd"))
    _type(qtbot, controller, "offset_adu", "120")
    _type(qtbot, controller, "em_gain", "200")
    assert session.undo_text.startswith("Change camera: ")
    session.undo()
    camera = _camera(controller)
    assert camera is not None
    assert (camera.offset_adu, camera.em_gain) == (120.0, 1.0)
    assert session.undo_text.startswith("Change camera: ")
    assert "ffset" in session.undo_text


def test_the_page_works_without_a_movie_and_sets_nothing_by_itself(
    qtbot: QtBot, controller: CameraController
) -> None:
    qtbot.waitUntil(lambda: "Add a movie" in _words(controller), timeout=10_000)
    assert _camera(controller) is None
    assert _child(controller, QLabel, "camera-draft-words").isVisible()
    assert not _child(controller, QPushButton, "camera-save").isEnabled()
    _click(qtbot, controller, "camera-accept")
    camera = _camera(controller)
    assert camera is not None
    assert camera.kind == "scmos"
    assert not _child(controller, QLabel, "camera-draft-words").isVisible()
    controller.context.session.undo()
    assert _camera(controller) is None


def test_the_file_s_pixel_size_is_proposed_not_imposed(
    qtbot: QtBot, controller: CameraController, movie: Path
) -> None:
    mine = CAMERA.model_copy(update={"pixel_size_x_nm": 100.0})
    _with_movie(qtbot, controller, movie, mine)
    assert _camera(controller) == mine
    assert "110 nm" in _child(controller, QLabel, "camera-proposal").text()
    qtbot.waitUntil(lambda: _light(controller, "pixel_size_x_nm") == "doubt", timeout=10_000)
    _click(qtbot, controller, "camera-use-file")
    assert _camera(controller) == CAMERA
    qtbot.waitUntil(lambda: _light(controller, "pixel_size_x_nm") == "ok", timeout=10_000)
    assert not _child(controller, QPushButton, "camera-use-file").isVisible()


def test_values_are_typed_judged_and_drawn(
    qtbot: QtBot, controller: CameraController, movie: Path
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA)
    qtbot.waitUntil(lambda: _light(controller, "e_per_adu") == "ok", timeout=10_000)
    assert "No pixel has negative photons" in _words(controller)
    _type(qtbot, controller, "offset_adu", "900")
    camera = _camera(controller)
    assert camera is not None
    assert camera.offset_adu == 900
    qtbot.waitUntil(lambda: _light(controller, "offset_adu") == "bad", timeout=10_000)
    assert "100 % of the pixels have negative photons" in _words(controller)
    controller.context.session.undo()
    qtbot.waitUntil(lambda: _light(controller, "offset_adu") == "ok", timeout=10_000)
    assert _camera(controller) == CAMERA


def test_what_is_no_number_stays_beside_its_reason_and_changes_nothing(
    qtbot: QtBot, controller: CameraController, movie: Path
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA)
    _type(qtbot, controller, "pixel_size_x_nm", "many")
    assert _camera(controller) == CAMERA
    assert controller.page.form.value() is None
    assert controller.page.form.editor("pixel_size_x_nm").main.text() == "many"  # type: ignore[attr-defined]  # a QLineEdit


def test_an_impossible_camera_is_a_card_with_a_way_out(
    qtbot: QtBot, controller: CameraController, movie: Path
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA.model_copy(update={"em_gain": 300.0}))
    message = _child(controller, QLabel, "problem-message")
    qtbot.waitUntil(message.isVisible, timeout=10_000)
    assert "no EM gain" in message.text()
    assert controller.page.form.editor("em_gain").isVisible()  # seen, so that it can be put right
    _type(qtbot, controller, "em_gain", "1")
    qtbot.waitUntil(lambda: not message.isVisible(), timeout=10_000)


def test_an_impossible_value_behind_the_fold_is_shown_and_the_step_is_not_done(
    qtbot: QtBot, controller: CameraController
) -> None:
    controller.context.session.update(
        "set up", camera=CAMERA.model_copy(update={"saturation_adu": 50.0})
    )
    editor = controller.page.form.editor("saturation_adu")
    qtbot.waitUntil(editor.isVisible, timeout=10_000)
    state = controller.context.session.states[Step.CAMERA]
    assert state.status is StepStatus.ATTENTION
    assert "saturation of 50.0 ADU" in state.reason
    assert "First" in controller.context.session.states[Step.SIMULATION].reason


def test_switching_to_emccd_shows_its_fields_and_back_resets_them(
    qtbot: QtBot, controller: CameraController, movie: Path
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA)
    form = controller.page.form
    kind = form.editor("kind").main
    assert isinstance(kind, QComboBox)
    assert not form.editor("em_gain").isVisible()
    _choose(qtbot, kind, "EMCCD")
    assert form.editor("em_gain").isVisible()
    assert _child(controller, QLabel, "camera-mirror-words").isVisible()
    _type(qtbot, controller, "em_gain", "250")
    mirrored = form.editor("em_mirrored").main
    assert isinstance(mirrored, QCheckBox)
    mirrored.click()
    camera = _camera(controller)
    assert camera is not None
    assert (camera.em_gain, camera.em_mirrored) == (250, True)
    _choose(qtbot, kind, "sCMOS or CCD")
    camera = _camera(controller)
    assert camera is not None
    assert (camera.kind, camera.em_gain, camera.em_mirrored) == ("scmos", 1.0, False)
    assert not form.editor("em_gain").isVisible()


def _choose(qtbot: QtBot, box: QComboBox, text: str) -> None:
    box.setFocus()
    box.setCurrentIndex(box.findText(text))
    box.activated.emit(box.currentIndex())


def test_a_preset_is_recognised_in_the_file_and_used_by_a_click(
    qtbot: QtBot, controller: CameraController, tmp_path: Path
) -> None:
    path = tmp_path / "mm.ome.tif"
    xml_camera = {"Detector": {"ID": "Detector:0", "Model": "C14440-20UP"}}
    frames = np.full((4, 16, 16), 130, np.uint16) + np.arange(4, dtype=np.uint16)[:, None, None]
    tifffile.imwrite(path, frames, ome=True, metadata={"axes": "TYX", **xml_camera})
    _patch_camera(path)
    _with_movie(qtbot, controller, path)
    presets = _child(controller, QComboBox, "camera-preset")
    assert presets.currentText().startswith("★ from your file: Hamamatsu ORCA-Fusion")
    assert "Source:" in _child(controller, QLabel, "camera-preset-note").text()
    assert _camera(controller) is None
    _click(qtbot, controller, "camera-use-preset")
    camera = _camera(controller)
    assert camera is not None
    assert camera.e_per_adu == 0.24


def _patch_camera(path: Path) -> None:
    """Write Micro-Manager's side file, which names the camera."""
    frame = {"Camera": "Orca", "Orca-CameraName": "C14440-20UP", "Exposure-ms": 20}
    facts = {"Summary": {"Frames": 4, "Channels": 1, "Slices": 1}, "FrameKey-0-0-0": frame}
    path.with_name("metadata.txt").write_text(json.dumps(facts))


def test_an_own_preset_is_kept_beside_the_settings(
    qtbot: QtBot, controller: CameraController, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA)
    monkeypatch.setattr(QInputDialog, "getText", lambda *_a, **_k: ("Scope 2", True))
    _click(qtbot, controller, "camera-save-preset")
    settings = controller.context.settings.path
    assert settings is not None
    assert (settings.parent / "cameras" / "scope-2.json").is_file()
    presets = _child(controller, QComboBox, "camera-preset")
    index = presets.findText("your preset: Scope 2 – saved values")
    assert index > 0
    controller.context.session.update("other", camera=None)
    presets.setCurrentIndex(index)
    _click(qtbot, controller, "camera-use-preset")
    camera = _camera(controller)
    assert camera is not None
    assert (camera.e_per_adu, camera.pixel_size_x_nm) == (0.5, 110.0)


def test_maps_are_chosen_checked_and_saved_with_the_camera_file(
    qtbot: QtBot,
    controller: CameraController,
    movie: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _with_movie(qtbot, controller, movie, CAMERA)
    message = _child(controller, QLabel, "problem-message")
    wrong, right = tmp_path / "wrong.npy", tmp_path / "right.npy"
    np.save(wrong, np.full((5, 5), 100.0))
    np.save(right, np.full((24, 32), 101.0))
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(wrong), ""))
    _click(qtbot, controller, "camera-map-offset_adu")
    qtbot.waitUntil(message.isVisible, timeout=10_000)
    assert "5 x 5 pixels" in message.text()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(right), ""))
    _click(qtbot, controller, "camera-map-offset_adu")
    qtbot.waitUntil(lambda: not message.isVisible(), timeout=10_000)
    target = tmp_path / "out" / "camera.json"
    target.parent.mkdir()
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    _click(qtbot, controller, "camera-save")
    qtbot.waitUntil(target.is_file, timeout=10_000)
    assert read_camera(target).map_shape == (24, 32)
    controller.context.session.update("other", camera=None)
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(target), ""))
    _click(qtbot, controller, "camera-load")
    qtbot.waitUntil(lambda: _camera(controller) is not None, timeout=10_000)
    camera = _camera(controller)
    assert camera is not None
    assert Path(str(camera.offset_adu)) == target.parent / "camera.offset_adu.npy"


def test_a_dropped_file_that_is_no_camera_changes_nothing(
    qtbot: QtBot, controller: CameraController, tmp_path: Path
) -> None:
    controller.context.session.update("set up", camera=CAMERA)
    bad = tmp_path / "camera.json"
    bad.write_text('{"pixel_size_x_nm": 100, "pixelsize": 100}')
    controller.open_paths([bad])
    message = _child(controller, QLabel, "problem-message")
    qtbot.waitUntil(lambda: "pixelsize" in message.text(), timeout=10_000)
    assert "pixel_size_x_nm" in _child(controller, QLabel, "problem-hint").text()
    assert _camera(controller) == CAMERA


def test_the_cameras_of_picasso_become_presets_and_stay_as_the_user_has_them(
    qtbot: QtBot, controller: CameraController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "config.yaml"
    listed.write_text("Cameras:\n  Nikon left: {Baseline: 103, Sensitivity: 0.37}\n")
    presets = _child(controller, QComboBox, "camera-preset")
    n_before = presets.count()
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(listed), ""))
    _click(qtbot, controller, "camera-load")
    qtbot.waitUntil(lambda: presets.count() == n_before + 1, timeout=10_000)
    titles = [presets.itemText(i) for i in range(presets.count())]
    presets.setCurrentIndex(next(i for i, title in enumerate(titles) if "Nikon left" in title))
    _click(qtbot, controller, "camera-use-preset")
    camera = _camera(controller)
    assert camera is not None
    assert (camera.offset_adu, camera.e_per_adu) == (103.0, 0.37)
    notices = [label.text() for label in controller.page.findChildren(QLabel)]
    assert any("Presets added from config.yaml: Nikon left" in text for text in notices)
    _click(qtbot, controller, "camera-load")

    def told() -> bool:
        texts = [label.text() for label in controller.page.findChildren(QLabel)]
        return any("not replaced: Nikon left" in text for text in texts)

    qtbot.waitUntil(told, timeout=10_000)
    assert presets.count() == n_before + 1


def test_a_missing_movie_is_told_and_the_values_stay_usable(
    qtbot: QtBot, controller: CameraController
) -> None:
    entry = MovieEntry(path="/no/such/movie.tif")
    controller.context.session.update("set up", movies=(entry,), camera=CAMERA)
    qtbot.waitUntil(lambda: "See the Movie step" in _words(controller), timeout=10_000)
    _type(qtbot, controller, "read_noise_e", "2.5")
    camera = _camera(controller)
    assert camera is not None
    assert camera.read_noise_e == 2.5


def test_fields_say_unit_usual_range_and_where_to_find_them(controller: CameraController) -> None:
    for field in ("pixel_size_x_nm", "offset_adu", "e_per_adu", "read_noise_e", "em_gain"):
        tip = controller.page.form.editor(field).main.toolTip()
        assert "Usual" in tip, field
    for button in controller.page.findChildren(QPushButton):
        if button.objectName().startswith("camera"):
            assert button.toolTip(), button.objectName()
    assert isinstance(_child(controller, QWidget, "camera-histogram"), QWidget)
