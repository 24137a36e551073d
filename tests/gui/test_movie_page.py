"""The Movie page by real clicks and keys, on movies written here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import (
    QFileDialog,
    QGraphicsView,
    QInputDialog,
    QLabel,
    QListWidget,
    QPushButton,
    QSlider,
    QSpinBox,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app.controllers.movie import MovieController
from app.controllers.page_controller import AppContext
from app.models.movie_reader import MovieReader
from app.models.project import MovieEntry
from decode_engine.io.movies import write_movie

N, H, W = 30, 24, 32


def _frames(n: int = N, height: int = H, width: int = W) -> NDArray[np.uint16]:
    """Return frames whose first pixel is the frame's number."""
    rng = np.random.default_rng(1)
    frames = rng.integers(100, 200, (n, height, width)).astype(np.uint16)
    frames[:, 0, 0] = np.arange(n)
    return frames


def _write(path: Path, frames: NDArray[np.uint16]) -> Path:
    write_movie(path, iter(frames), frames.shape, pixel_size_x_nm=110.0)  # type: ignore[arg-type]
    return path


@pytest.fixture
def movie(tmp_path: Path) -> Path:
    return _write(tmp_path / "cell.tif", _frames())


@pytest.fixture
def controller(qtbot: QtBot, app_context: AppContext) -> Iterator[MovieController]:
    controller = MovieController(app_context)
    qtbot.addWidget(controller.page)
    controller.page.resize(1040, 720)
    controller.page.show()
    controller.activate()
    yield controller
    controller.deactivate()


def _child(controller: MovieController, kind: type[Any], name: str) -> Any:
    child = controller.page.findChild(kind, name)
    assert child is not None, name
    return child


def _click(qtbot: QtBot, controller: MovieController, name: str) -> None:
    qtbot.mouseClick(_child(controller, QPushButton, name), Qt.MouseButton.LeftButton)


def _shown(controller: MovieController) -> int:
    """Return the number that is written into the frame that is on the screen."""
    frame = controller.page.player.frame._frame
    return -1 if frame is None else int(frame[0, 0])


def _open(qtbot: QtBot, controller: MovieController, *paths: Path) -> None:
    controller.open_paths(paths)
    qtbot.waitUntil(lambda: _shown(controller) == 0, timeout=10_000)
    qtbot.waitUntil(lambda: "looked at" in _text(controller, "movie-scan-text"), timeout=10_000)


def _text(controller: MovieController, name: str) -> str:
    return str(_child(controller, QLabel, name).text())


def _settings(controller: MovieController) -> tuple[MovieEntry, ...]:
    return controller.context.session.settings.movies


def test_a_channel_of_a_hyperstack_is_chosen_on_the_card(
    qtbot: QtBot, controller: MovieController, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "two.tif"
    stack = np.zeros((6, 2, H, W), np.uint16)
    stack[:, 1] = 7
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "TCYX"})
    controller.open_paths([path])
    action = _child(controller, QPushButton, "problem-action")
    qtbot.waitUntil(action.isVisible, timeout=10_000)
    assert action.text() == "Choose channel and slice…"
    answers = iter([(3, True), (1, True), (2, True), (1, True)])
    monkeypatch.setattr(QInputDialog, "getInt", lambda *_: next(answers))
    _click(qtbot, controller, "problem-action")  # there is no third channel: asked again
    message = _child(controller, QLabel, "problem-message")
    qtbot.waitUntil(lambda: "which has 2" in message.text(), timeout=10_000)
    _click(qtbot, controller, "problem-action")
    qtbot.waitUntil(lambda: controller._info is not None, timeout=10_000)
    assert not action.isVisible()
    entry = controller.context.session.settings.movies[0]
    assert (entry.movie_channel, entry.z_slice) == (1, 0)
    assert controller._info is not None
    assert controller._info.n_frames == 6
    row = _child(controller, QListWidget, "movie-list").item(0)
    assert "channel 2, slice 1 chosen" in row.text()


def test_several_files_are_added_by_the_dialog(
    qtbot: QtBot, controller: MovieController, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = _write(movie.with_name("other.tif"), _frames(4, 10, 12))
    chosen = ([str(movie), str(second)], "")
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: chosen)
    _click(qtbot, controller, "movie-first-files")
    qtbot.waitUntil(lambda: _shown(controller) == 0, timeout=10_000)
    assert [m.path for m in _settings(controller)] == [str(movie), str(second)]
    labels = " ".join(x.text() for x in controller.page.findChildren(QLabel))
    assert "110 nm" in labels
    assert "not in the file" in labels
    rows = _child(controller, QListWidget, "movie-list")
    place = rows.visualItemRect(rows.item(1)).center()
    qtbot.mouseClick(rows.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: "12 × 10 px" in rows.item(1).text(), timeout=10_000)
    assert "differ in size" in _text(controller, "movie-size-warning")
    _click(qtbot, controller, "movie-up")
    assert [m.path for m in _settings(controller)] == [str(second), str(movie)]
    _click(qtbot, controller, "movie-remove")
    assert [m.path for m in _settings(controller)] == [str(movie)]
    controller.context.session.undo()
    assert len(_settings(controller)) == 2


def test_keys_slider_and_number_go_through_the_frames(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    _open(qtbot, controller, movie)
    view = controller.page.player.frame.findChild(QGraphicsView)
    slider = _child(controller, QSlider, "movie-slider")
    for target, key, expected in (
        (view, Qt.Key.Key_Right, 1),
        (slider, Qt.Key.Key_Right, 2),
        (view, Qt.Key.Key_Left, 1),
        (slider, Qt.Key.Key_PageDown, 2),
        (view, Qt.Key.Key_End, N - 1),
        (view, Qt.Key.Key_Right, N - 1),
        (view, Qt.Key.Key_Home, 0),
    ):
        qtbot.keyClick(target, key)
        qtbot.waitUntil(lambda e=expected: _shown(controller) == e, timeout=5000)
    number = _child(controller, QSpinBox, "movie-frame-number")
    number.selectAll()
    qtbot.keyClicks(number, "17")
    qtbot.keyClick(number, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: _shown(controller) == 17, timeout=5000)
    assert slider.value() == 17


def test_space_plays_and_the_contrast_stays(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    _open(qtbot, controller, movie)
    player = controller.page.player
    levels = player.frame.levels
    qtbot.keyClick(player.frame.findChild(QGraphicsView), Qt.Key.Key_Space)
    qtbot.waitUntil(lambda: _shown(controller) > 2, timeout=10_000)
    assert player.frame.levels == levels
    qtbot.keyClick(player.frame.findChild(QGraphicsView), Qt.Key.Key_Space)
    assert not _child(controller, QPushButton, "movie-play").isChecked()
    assert not controller._timer.isActive()


def test_frames_asked_for_while_a_slow_drive_reads_are_dropped(
    qtbot: QtBot, controller: MovieController, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _open(qtbot, controller, movie)
    qtbot.waitUntil(lambda: controller._reading.idle, timeout=10_000)
    go_on = threading.Event()
    asked: list[int] = []
    read = MovieReader.frame

    def slow(self: MovieReader, index: int, *, keep: bool = True) -> NDArray[Any]:
        asked.append(index)
        assert go_on.wait(20)
        return read(self, index, keep=keep)

    monkeypatch.setattr(MovieReader, "frame", slow)
    slider = _child(controller, QSlider, "movie-slider")
    for value in (5, 9, 12, 20):
        slider.setValue(value)
    assert _shown(controller) == 0  # the window goes on while the drive hangs
    qtbot.waitUntil(lambda: "Waiting for the drive" in _text(controller, "movie-status"))
    go_on.set()
    qtbot.waitUntil(lambda: _shown(controller) == 20, timeout=5000)
    assert asked == [5, 20]
    assert _text(controller, "movie-status") == ""


def test_a_region_is_typed_drawn_and_refused(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    _open(qtbot, controller, movie)
    width = _child(controller, QSpinBox, "movie-roi-w")
    left = _child(controller, QSpinBox, "movie-roi-x")
    assert (left.value(), width.value()) == (0, W)
    left.setValue(4)
    assert "reaches beyond the frame" in _text(controller, "movie-part-error")
    assert _settings(controller)[0].roi_px is None
    width.setValue(10)
    assert _settings(controller)[0].roi_px == (4, 0, 10, H)
    assert not _child(controller, QLabel, "movie-part-error").isVisible()
    _click(qtbot, controller, "movie-roi-whole")
    assert _settings(controller)[0].roi_px is None
    _click(qtbot, controller, "movie-roi-draw")
    _drag_over_frame(qtbot, controller)
    drawn = _settings(controller)[0].roi_px
    assert drawn is not None
    assert drawn[2] < W
    assert width.value() == drawn[2]


def _drag_over_frame(qtbot: QtBot, controller: MovieController) -> None:
    view = controller.page.player.frame.findChild(QGraphicsView)
    canvas: QWidget = view.viewport()
    middle = canvas.rect().center()
    start, end = middle - QPoint(40, 30), middle + QPoint(40, 30)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=start)
    qtbot.mouseMove(canvas, pos=middle)
    qtbot.mouseMove(canvas, pos=end)
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=end)


def test_frames_are_chosen_by_the_shown_frame_and_given_to_all(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    second = _write(movie.with_name("other.tif"), _frames(8))
    _open(qtbot, controller, movie, second)
    _child(controller, QSlider, "movie-slider").setValue(6)
    qtbot.waitUntil(lambda: _shown(controller) == 6, timeout=5000)
    _click(qtbot, controller, "movie-first-here")
    assert _settings(controller)[0].frames == (6, N)
    _child(controller, QSlider, "movie-slider").setValue(20)
    qtbot.waitUntil(lambda: _shown(controller) == 20, timeout=5000)
    _click(qtbot, controller, "movie-last-here")
    assert _settings(controller)[0].frames == (6, 21)
    _click(qtbot, controller, "movie-apply-all")
    assert [m.frames for m in _settings(controller)] == [(6, 21), (6, 21)]
    _child(controller, QListWidget, "movie-list").setCurrentRow(1)
    qtbot.waitUntil(
        lambda: "frames 0 to 7" in _text(controller, "movie-part-error"), timeout=10_000
    )
    _click(qtbot, controller, "movie-all-frames")
    assert _settings(controller)[1].frames is None


def test_a_moved_movie_is_located_and_keeps_its_region(
    qtbot: QtBot, controller: MovieController, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = movie.with_name("before.tif")
    entry = MovieEntry(path=str(gone), roi_px=(1, 2, 8, 9))
    controller.context.session.update("set up", movies=(entry,))
    action = _child(controller, QPushButton, "problem-action")
    qtbot.waitUntil(action.isVisible, timeout=10_000)
    assert "before.tif is not there" in _text(controller, "problem-message")
    assert action.text() == "Locate…"
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(movie), ""))
    qtbot.mouseClick(action, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: _shown(controller) == 0, timeout=10_000)
    assert _settings(controller) == (MovieEntry(path=str(movie), roi_px=(1, 2, 8, 9)),)
    assert not action.isVisible()


def test_a_wrong_file_is_told_in_words(
    qtbot: QtBot, controller: MovieController, tmp_path: Path
) -> None:
    wrong = tmp_path / "notes.txt"
    wrong.write_text("nothing")
    controller.open_paths([wrong])
    message = _child(controller, QLabel, "problem-message")
    qtbot.waitUntil(message.isVisible, timeout=10_000)
    assert "text file" in message.text()
    assert _child(controller, QPushButton, "problem-action").text() == "Try again"


def test_brightness_is_measured_and_saturation_told(
    qtbot: QtBot, controller: MovieController, tmp_path: Path
) -> None:
    frames = _frames(10)
    frames[3, 5, 5] = 65535
    _open(qtbot, controller, _write(tmp_path / "bright.tif", frames))
    qtbot.waitUntil(lambda: "10 of 10" in _text(controller, "movie-scan-text"), timeout=10_000)
    assert "Saturated pixels (at 65535 ADU) in 1 of the 10" in _text(controller, "movie-scan-text")
    x, y = controller.page._chart.curve("mean")
    assert x.tolist() == list(range(10))
    np.testing.assert_allclose(y, frames.mean(axis=(1, 2)))
    controller.page._chart.x_clicked.emit(3.2)
    qtbot.waitUntil(lambda: _shown(controller) == 3, timeout=5000)


def test_measuring_can_be_cancelled_and_goes_on(
    qtbot: QtBot, controller: MovieController, movie: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.controllers.movie_reading._SCAN_SLICE_S", 0.0)  # one frame a slice
    controller.open_paths([movie])
    cancel = _child(controller, QPushButton, "movie-scan-cancel")
    qtbot.waitUntil(cancel.isVisible, timeout=10_000)
    qtbot.mouseClick(cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: controller._reading.idle, timeout=10_000)
    assert controller._traces[str(movie)].fraction < 1
    _click(qtbot, controller, "movie-scan")
    qtbot.waitUntil(lambda: controller._traces[str(movie)].fraction == 1, timeout=10_000)
    assert not _child(controller, QPushButton, "movie-scan").isVisible()


def test_a_growing_movie_is_followed(
    qtbot: QtBot, controller: MovieController, tmp_path: Path
) -> None:
    path = tmp_path / "grows.raw"
    path.with_suffix(".yaml").write_text(f"Width: {W}\nHeight: {H}\nData Type: uint16\n")
    frames = _frames(12)
    path.write_bytes(frames[:5].tobytes())
    _open(qtbot, controller, path)
    with path.open("ab") as file:
        file.write(frames[5:].tobytes())
    qtbot.waitUntil(lambda: controller._reading.idle, timeout=10_000)
    controller._growth.timeout.emit()
    slider = _child(controller, QSlider, "movie-slider")
    qtbot.waitUntil(lambda: slider.maximum() == 11, timeout=10_000)
    slider.setValue(11)
    qtbot.waitUntil(lambda: _shown(controller) == 11, timeout=5000)


def test_leaving_the_page_closes_the_file_and_coming_back_shows_the_same_frame(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    _open(qtbot, controller, movie)
    _child(controller, QSlider, "movie-slider").setValue(11)
    qtbot.waitUntil(lambda: _shown(controller) == 11, timeout=5000)
    reader = controller._reading._reader
    assert reader is not None
    controller.deactivate()
    qtbot.waitUntil(lambda: reader._closed, timeout=5000)
    controller.activate()
    qtbot.waitUntil(lambda: _shown(controller) == 11, timeout=10_000)


def test_every_control_has_a_name_and_a_tooltip(controller: MovieController) -> None:
    kinds: tuple[type[QWidget], ...] = (QPushButton, QSpinBox, QSlider, QListWidget)
    for kind in kinds:
        for widget in controller.page.findChildren(kind):
            if widget.objectName().startswith("movie"):
                assert widget.toolTip(), widget.objectName()
    assert isinstance(_child(controller, QWidget, "movie-frame"), QWidget)


def test_a_drive_that_goes_away_is_told_and_tried_again(
    qtbot: QtBot, controller: MovieController, movie: Path
) -> None:
    _open(qtbot, controller, movie)
    qtbot.waitUntil(lambda: controller._reading.idle, timeout=10_000)
    away = movie.with_name("away.tif")
    movie.rename(away)
    _child(controller, QSlider, "movie-slider").setValue(9)
    message = _child(controller, QLabel, "problem-message")
    qtbot.waitUntil(message.isVisible, timeout=10_000)
    assert "vanished" in message.text()
    assert _shown(controller) == 0  # what was read stays on the screen
    away.rename(movie)
    _click(qtbot, controller, "problem-action")
    qtbot.waitUntil(lambda: _shown(controller) == 9, timeout=10_000)
    assert not message.isVisible()
