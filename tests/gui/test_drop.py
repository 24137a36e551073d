"""Files dropped on the window: recognised by content and sent to their pages."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QLabel, QPushButton
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.controllers.session import ProjectSession
from app.models.recognition import CAN_BE_DROPPED, Kind, recognize
from app.models.steps import Step
from app.shell import drop
from app.shell.desktop import Desktop
from decode_engine.io.resources import resource_path
from tests.gui.shell_parts import make_desktop, plain

EXAMPLE = resource_path("example")


@pytest.fixture
def desktop(qtbot: QtBot, app_context: AppContext, tmp_path: Path) -> Desktop:
    made = make_desktop(app_context, tmp_path)
    made.window.may_close = lambda: True
    qtbot.addWidget(made.window)
    made.begin()
    return made


def _drop(desktop: Desktop, *paths: Path) -> bool:
    """Drag files into the window and let go; return whether the drag was accepted."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    buttons, keys = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    copy = Qt.DropAction.CopyAction
    enter = QDragEnterEvent(QPoint(400, 300), copy, data, buttons, keys)
    QApplication.sendEvent(desktop.window, enter)
    if enter.isAccepted():
        event = QDropEvent(QPointF(400, 300), copy, data, buttons, keys)
        QApplication.sendEvent(desktop.window, event)
    return enter.isAccepted()


@pytest.mark.parametrize(
    ("name", "step"),
    [
        ("movie.tif", Step.MOVIE),
        ("calibration.h5", Step.CALIBRATION),
        ("camera.json", Step.CAMERA),
        ("model.decode", Step.LOCALIZE),
        ("truth.csv", Step.EXPLORE),
    ],
)
def test_a_file_goes_to_its_page(qtbot: QtBot, desktop: Desktop, name: str, step: Step) -> None:
    assert _drop(desktop, EXAMPLE / name)
    qtbot.waitUntil(lambda: desktop.window.current_step is step)
    assert plain(desktop, step).given == [EXAMPLE / name]


def test_several_files_go_to_several_pages_and_the_first_is_shown(
    qtbot: QtBot, desktop: Desktop
) -> None:
    names = ("model.decode", "camera.json", "movie.tif", "calibration.h5")
    _drop(desktop, *(EXAMPLE / name for name in names))
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.MOVIE)
    for step, name in (
        (Step.MOVIE, "movie.tif"),
        (Step.CALIBRATION, "calibration.h5"),
        (Step.CAMERA, "camera.json"),
        (Step.LOCALIZE, "model.decode"),
    ):
        assert plain(desktop, step).given == [EXAMPLE / name]


def test_two_drops_in_a_row_are_both_taken(qtbot: QtBot, desktop: Desktop) -> None:
    for name in ("movie.tif", "camera.json"):
        _drop(desktop, EXAMPLE / name)
    qtbot.waitUntil(lambda: bool(plain(desktop, Step.MOVIE).given))
    qtbot.waitUntil(lambda: bool(plain(desktop, Step.CAMERA).given))


@pytest.mark.parametrize(
    ("button", "step"), [("question-0", Step.MOVIE), ("question-1", Step.CALIBRATION)]
)
def test_a_short_stack_may_be_beads_so_it_asks(
    qtbot: QtBot, desktop: Desktop, button: str, step: Step
) -> None:
    _drop(desktop, EXAMPLE / "beads.tif")
    qtbot.waitUntil(desktop.window.questions.isVisible)
    text = desktop.window.findChild(QLabel, "question-text")
    assert text is not None
    assert "beads.tif" in text.text()
    assert desktop.window.current_step is Step.START
    choice = desktop.window.findChild(QPushButton, button)
    assert choice is not None
    qtbot.mouseClick(choice, Qt.MouseButton.LeftButton)
    assert plain(desktop, step).given == [EXAMPLE / "beads.tif"]
    assert desktop.window.current_step is step
    assert not desktop.window.questions.isVisible()


def test_the_question_can_be_dismissed(qtbot: QtBot, desktop: Desktop) -> None:
    _drop(desktop, EXAMPLE / "beads.tif")
    qtbot.waitUntil(desktop.window.questions.isVisible)
    dismiss = desktop.window.findChild(QPushButton, "question-2")
    assert dismiss is not None
    qtbot.mouseClick(dismiss, Qt.MouseButton.LeftButton)
    assert not desktop.window.questions.isVisible()
    assert desktop.window.current_step is Step.START


def test_what_is_unknown_is_named_with_what_can_be_dropped(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear all")
    _drop(desktop, letter)
    page = desktop.window.controller(Step.START).page
    message, hint = (page.findChild(QLabel, f"problem-{x}") for x in ("message", "hint"))
    assert message is not None
    assert hint is not None
    qtbot.waitUntil(message.isVisible)
    assert "letter.txt" in message.text()
    assert hint.text() == CAN_BE_DROPPED


def test_a_drive_that_does_not_answer_is_spoken_of(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a file on a drive that hung was dropped, and nothing at all happened."""
    answers = threading.Event()
    monkeypatch.setattr(drop, "_SLOW_MS", 20)
    monkeypatch.setattr(drop, "_recognize", lambda paths: answers.wait(30.0) and [])
    _drop(desktop, tmp_path / "far away.tif")
    message = desktop.window.controller(Step.START).page.findChild(QLabel, "problem-message")
    assert message is not None
    qtbot.waitUntil(message.isVisible)
    assert "far away.tif" in message.text()
    answers.set()
    qtbot.waitUntil(lambda: not message.isVisible())


def test_what_is_known_among_unknown_files_is_taken(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    (tmp_path / "notes.docx").write_bytes(b"PK\x03\x04rest")
    _drop(desktop, tmp_path / "notes.docx", EXAMPLE / "camera.json")
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.CAMERA)
    assert plain(desktop, Step.CAMERA).given == [EXAMPLE / "camera.json"]


@pytest.mark.parametrize("name", ["", "project.json"])
def test_a_project_is_opened(qtbot: QtBot, desktop: Desktop, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "Ünïcode földer"
    made = ProjectSession()
    assert made.new(folder) is None
    made.close()
    _drop(desktop, folder / name if name else folder)
    qtbot.waitUntil(lambda: desktop.context.session.folder == folder)


def test_drags_without_files_are_left_to_others(desktop: Desktop) -> None:
    data = QMimeData()
    data.setText("only words")
    enter = QDragEnterEvent(
        QPoint(4, 4), Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )  # fmt: skip
    QApplication.sendEvent(desktop.window, enter)
    assert not enter.isAccepted()


def _tiff(path: Path, frames: int) -> Path:
    tifffile.imwrite(path, np.zeros((frames, 8, 8), np.uint16))
    return path


def test_a_file_that_was_cut_off_is_told_in_words(tmp_path: Path) -> None:
    """Regression: the words of the HDF5 library were shown ("sblock->base_addr = 0 …")."""
    whole = (EXAMPLE / "calibration.h5").read_bytes()
    (tmp_path / "half.h5").write_bytes(whole[: len(whole) // 2])
    assert "half.h5 is an HDF5 file, but damaged" in recognize(tmp_path / "half.h5").words


@pytest.mark.parametrize("axes", ["TCYX", "TZYX", "ZCYX"])
def test_a_hyperstack_is_a_movie_whose_channel_is_chosen_later(tmp_path: Path, axes: str) -> None:
    """Regression: a dropped hyperstack was unknown, with the command line's words."""
    path = tmp_path / "two.tif"
    stack = np.zeros((30, 2, 8, 9), np.uint16)
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": axes})
    assert recognize(path).kind in ("movie", "movie or beads")


def test_a_file_that_may_not_be_read_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: the card said "[Errno 13] Permission denied"."""

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    (tmp_path / "secret.tif").write_bytes(b"II*")
    monkeypatch.setattr("app.models.recognition.file_type", refuse)
    words = recognize(tmp_path / "secret.tif").words
    assert words.startswith("You may not read")
    assert "secret.tif" in words


def _renamed(folder: Path) -> Path:
    return Path(shutil.copy(EXAMPLE / "calibration.h5", folder / "holiday.jpg"))


def _hdf5(folder: Path) -> Path:
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = 1
    return folder / "other.h5"


THUNDERSTORM = (
    b'"id","frame","x [nm]","y [nm]","sigma [nm]","intensity [photon]","offset [photon]",'
    b'"bkgstd [photon]","uncertainty [nm]"\n1,1,10.0,20.0,130,1000,10,3,8.0\n'
)


def _picasso(folder: Path) -> Path:
    fields = [("frame", "u4"), *((name, "f4") for name in ("x", "y", "photons", "bg"))]
    with h5py.File(folder / "cell_locs.hdf5", "w") as file:
        file["locs"] = np.zeros(3, fields)
    return folder / "cell_locs.hdf5"


def _written(name: str, content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_bytes(content)
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda folder: _tiff(folder / "run.tif", 301), "movie"),
        (lambda folder: _tiff(folder / "run.tif", 41), "movie or beads"),
        (lambda folder: _tiff(folder / "Beads_1.tif", 301), "movie or beads"),
        (_renamed, "calibration"),
        (_hdf5, "unknown"),
        (_written("empty.tif", b""), "unknown"),
        (_written("cut.tif", b"II*\0\x08\0"), "unknown"),
        (_written("cut.h5", b"\x89HDF\r\n\x1a\n"), "unknown"),
        (_written("cut.mat", b"MATLAB 5.0 MAT-file"), "unknown"),
        (_written("wrong.json", b"{}"), "unknown"),
        (_written("broken.json", b"{"), "unknown"),
        (_written("table.csv", b"frame,x_nm,y_nm,z_nm,photons\n0,1,2,3,4\n"), "localizations"),
        # Regression: only tables with our own column names were recognised.
        (_written("ts.csv", THUNDERSTORM), "localizations"),
        (_picasso, "localizations"),
        (_written("table.csv", b"name,age\n"), "unknown"),
        (lambda folder: folder / "missing.tif", "unknown"),
        (lambda folder: folder, "unknown"),
    ],
)
def test_content_decides_not_the_name(
    tmp_path: Path, make: Callable[[Path], Path], kind: Kind
) -> None:
    found = recognize(make(tmp_path))
    assert found.kind == kind
    assert bool(found.words) == (kind == "unknown")
