"""The first page: the example, recent projects, the ways in; and the dialogs around projects."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QLabel, QListWidget, QPushButton, QToolButton
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.controllers.session import ProjectSession
from app.models.project_store import ProjectFile
from app.models.steps import Step, StepStatus
from app.shell.desktop import Desktop
from decode_engine.errors import DiskFullError
from decode_engine.io.resources import resource_path
from tests.gui.shell_parts import make_desktop

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def open_desktop(
    qtbot: QtBot, make_context: Callable[..., AppContext], tmp_path: Path
) -> Callable[..., Desktop]:
    def open_one(behaviour: str = "complete") -> Desktop:
        desktop = make_desktop(make_context(behaviour), tmp_path)
        desktop.window.may_close = lambda: True
        qtbot.addWidget(desktop.window)
        desktop.begin()
        return desktop

    return open_one


@pytest.fixture
def desktop(open_desktop: Callable[..., Desktop]) -> Desktop:
    return open_desktop()


def _button(desktop: Desktop, name: str) -> QPushButton:
    button = desktop.window.findChild(QPushButton, name)
    assert button is not None, name
    return button


def _card(desktop: Desktop, step: Step = Step.START) -> str:
    page = desktop.window.controller(step).page
    labels = [page.findChild(QLabel, name) for name in ("problem-message", "problem-hint")]
    return " ".join(label.text() for label in labels if label is not None and label.isVisible())


def test_the_example_is_set_up_run_and_shown(qtbot: QtBot, desktop: Desktop) -> None:
    shown: list[Step] = []
    desktop.window.step_shown.connect(shown.append)
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    assert not _button(desktop, "start-example").isEnabled()
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.EXPLORE, timeout=30_000)
    assert shown == [Step.LOCALIZE, Step.EXPLORE]
    session = desktop.context.session
    settings = session.settings
    assert settings.movies[0].path == str(resource_path("example", "movie.tif"))
    assert settings.calibration.path == str(resource_path("example", "calibration.h5"))
    assert settings.model == str(resource_path("example", "model.decode"))
    assert settings.camera is not None
    assert settings.camera.e_per_adu == 0.47
    assert settings.localizations is not None
    assert Path(settings.localizations).is_relative_to(session.folder / "runs")
    assert session.states[Step.LOCALIZE].status is StepStatus.DONE
    assert desktop.context.settings.value.recent_projects == (str(session.folder),)
    assert _button(desktop, "start-example").isEnabled()


def test_the_example_can_be_run_again_in_its_project(qtbot: QtBot, desktop: Desktop) -> None:
    for number in (1, 2):
        desktop.window.show_step(Step.START)
        qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
        qtbot.waitUntil(lambda: desktop.window.current_step is Step.EXPLORE, timeout=30_000)
        assert len(desktop.context.session.runs_of(Step.LOCALIZE)) == number
    assert len(desktop.context.settings.value.recent_projects) == 1


def test_an_example_project_in_use_elsewhere_is_left_alone(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.EXPLORE, timeout=30_000)
    first = desktop.context.session.folder
    desktop.commands.actions["close"].trigger()
    other = ProjectSession()
    assert other.open(first) is None
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.EXPLORE, timeout=30_000)
    assert desktop.context.session.folder == tmp_path / "Decode Desktop example 2"
    other.close()


def test_an_example_that_fails_says_why(qtbot: QtBot, open_desktop: Callable[..., Desktop]) -> None:
    desktop = open_desktop("fail")
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    button = _button(desktop, "start-example")
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.LOCALIZE, timeout=30_000)
    qtbot.waitUntil(button.isEnabled, timeout=30_000)
    desktop.window.show_step(Step.START)
    assert "disk" in _card(desktop).lower()


def test_a_running_example_is_in_the_status_bar_and_cannot_be_started_twice(
    qtbot: QtBot, open_desktop: Callable[..., Desktop]
) -> None:
    """Regression: the second click's refusal was shown as the failure of the running job."""
    desktop = open_desktop("wait")
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    job = desktop.window.findChild(QToolButton, "status-job-0")
    assert job is not None
    qtbot.waitUntil(job.isVisible, timeout=30_000)
    assert "Localize the example movie" in job.text()
    assert not _button(desktop, "start-example").isEnabled()
    desktop.window.show_step(Step.START)
    desktop.start_controller.start_example()
    assert len(desktop.context.session.runs_of(Step.LOCALIZE)) == 1


def test_the_first_example_shows_its_picture_and_then_offers_the_tour(
    qtbot: QtBot, desktop: Desktop
) -> None:
    """Regression: the tour lay over the first run, and no picture came until it had ended."""
    desktop.context.settings.update(tour_seen=False)
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.EXPLORE, timeout=30_000)
    assert not desktop.commands.tour.running
    offer = _button(desktop, "question-0")
    assert offer.text() == "Take the tour"
    qtbot.mouseClick(offer, LEFT)
    assert desktop.commands.tour.running
    assert desktop.window.current_step is Step.START  # the tour's first stop
    desktop.commands.tour.stop()
    assert desktop.context.settings.value.tour_seen


def test_a_tour_is_not_disturbed_by_a_job_that_ends(qtbot: QtBot, desktop: Desktop) -> None:
    qtbot.mouseClick(_button(desktop, "start-example"), LEFT)
    desktop.commands.tour.start()
    qtbot.waitUntil(lambda: bool(desktop.context.session.settings.localizations), timeout=30_000)
    assert desktop.window.current_step is Step.START
    desktop.commands.tour.stop()
    assert desktop.window.current_step is Step.EXPLORE


def test_the_ways_in_lead_to_their_pages(qtbot: QtBot, desktop: Desktop) -> None:
    for name, step in (
        ("start-way-model", Step.MOVIE),
        ("start-way-calibration", Step.CALIBRATION),
        ("start-way-beads", Step.CALIBRATION),
    ):
        desktop.window.show_step(Step.START)
        qtbot.mouseClick(_button(desktop, name), LEFT)
        assert desktop.window.current_step is step


# Projects


def _answer(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(path), ""))
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(path))


def _recent(desktop: Desktop) -> QListWidget:
    widget = desktop.window.findChild(QListWidget, "start-recent")
    assert widget is not None
    return widget


def test_a_new_project_is_made_named_and_remembered(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, tmp_path / "Actin")
    desktop.context.settings.update(device="cpu")
    qtbot.mouseClick(_button(desktop, "start-new"), LEFT)
    assert desktop.context.session.settings.localize_device == "cpu"
    assert desktop.context.session.settings.train_start.device == "cpu"
    assert (tmp_path / "Actin" / "project.json").is_file()
    assert desktop.window.current_step is Step.MOVIE
    assert desktop.window.windowTitle() == "Actin - Decode Desktop"
    assert desktop.context.settings.value.recent_projects == (str(tmp_path / "Actin"),)


def test_a_recent_project_opens_where_it_was_left(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(monkeypatch, tmp_path / "Actin")
    desktop.commands.actions["new"].trigger()
    desktop.window.show_step(Step.CAMERA)
    desktop.commands.actions["close"].trigger()
    assert desktop.window.current_step is Step.START
    assert desktop.context.session.is_untitled
    recent = _recent(desktop)
    qtbot.waitUntil(lambda: recent.count() == 1)
    assert "changed" in recent.item(0).text()
    place = recent.visualItemRect(recent.item(0)).center()
    qtbot.mouseClick(recent.viewport(), LEFT, pos=place)
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.CAMERA)
    assert desktop.context.session.folder == tmp_path / "Actin"


def test_a_missing_project_is_grey_says_why_and_can_be_forgotten(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    desktop.context.settings.remember_project(tmp_path / "gone")
    recent = _recent(desktop)
    qtbot.waitUntil(lambda: recent.count() == 1)
    item = recent.item(0)
    assert "missing" in item.text()
    assert "not there" in item.toolTip()
    assert not item.flags() & Qt.ItemFlag.ItemIsEnabled
    recent.setCurrentItem(item)
    recent.actions()[0].trigger()
    qtbot.waitUntil(lambda: recent.count() == 0)
    menu = desktop.projects.list_recent()
    assert [action.text() for action in menu.actions()] == ["No project yet"]


def test_the_recent_menu_greys_what_is_missing(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    desktop.context.settings.remember_project(tmp_path / "gone")
    (action,) = desktop.projects.list_recent().actions()
    # Regression: looked for in the window's thread, one on a dead drive froze the window.
    qtbot.waitUntil(lambda: not action.isEnabled())
    assert "missing" in action.text()
    assert "not there" in action.toolTip()


def test_opening_a_folder_without_project_is_told_on_the_page(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plain").mkdir()
    _answer(monkeypatch, tmp_path / "plain")
    qtbot.mouseClick(_button(desktop, "start-open"), LEFT)
    qtbot.waitUntil(lambda: "not a Decode Desktop project" in _card(desktop))


def test_a_project_of_a_newer_version_is_told_and_left_alone(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    newer = json.dumps({"schema_version": 99, "app_version": "9.0"})
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "project.json").write_text(newer)
    desktop.projects.open_folder(tmp_path / "newer")
    qtbot.waitUntil(lambda: "newer" in _card(desktop))
    assert (tmp_path / "newer" / "project.json").read_text() == newer


def test_a_project_opened_from_its_backup_says_so_on_the_page_it_opens(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path
) -> None:
    """Regression: the card was on the Start page, and gone before anybody could read it."""
    other, folder = ProjectSession(), tmp_path / "hurt"
    assert other.new(folder) is None
    other.set_page(Step.CAMERA)
    assert other.save_now() is None
    other.remember("twice", value=True)  # so that the backup has the page, too
    assert other.save_now() is None
    other.close()
    other.deleteLater()
    (folder / "project.json").write_text("{{{")
    desktop.projects.open_folder(folder)
    qtbot.waitUntil(lambda: desktop.window.current_step is Step.CAMERA)
    assert "opened from its backup" in _card(desktop, Step.CAMERA)


def test_two_windows_on_one_project_ask(qtbot: QtBot, desktop: Desktop, tmp_path: Path) -> None:
    other = ProjectSession()
    assert other.new(tmp_path / "shared") is None
    desktop.projects.open_folder(tmp_path / "shared")
    qtbot.waitUntil(desktop.window.questions.isVisible)
    qtbot.mouseClick(_button(desktop, "question-0"), LEFT)
    qtbot.waitUntil(lambda: desktop.context.session.folder == tmp_path / "shared")
    assert desktop.context.session.read_only
    assert "to look only" in desktop.window.windowTitle()
    other.close()


def test_a_project_without_a_name_is_found_again(qtbot: QtBot, desktop: Desktop) -> None:
    session = desktop.context.session
    session.update("Choose device", localize_device="cpu")
    folder = session.folder
    desktop.commands.actions["close"].trigger()
    assert session.folder != folder
    recent = _recent(desktop)
    qtbot.waitUntil(lambda: recent.count() == 1)
    assert str(folder) in recent.item(0).text()
    qtbot.waitUntil(lambda: not desktop.context.background.busy)


def test_a_full_disk_is_told_until_the_project_is_saved_again(
    qtbot: QtBot, desktop: Desktop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise DiskFullError("The disk is full.", hint="Free some space.")

    session = desktop.context.session
    with monkeypatch.context() as patch:
        patch.setattr(ProjectFile, "save", full)
        session.update("Choose device", localize_device="cpu")
        assert session.save_now() is not None
        assert _card(desktop) == "The disk is full. Free some space."
    desktop.window.show_step(Step.TRAIN)
    assert session.save_now() is None
    desktop.window.show_step(Step.START)
    assert _card(desktop) == ""


def test_save_as_moves_an_untitled_project(
    qtbot: QtBot, desktop: Desktop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    desktop.context.session.update("Choose device", localize_device="cpu")
    _answer(monkeypatch, tmp_path / "Named")
    desktop.commands.actions["save-as"].trigger()
    qtbot.waitUntil(lambda: not desktop.context.session.is_untitled)
    assert desktop.window.windowTitle() == "Named - Decode Desktop"
    assert str(tmp_path / "Named") in desktop.context.settings.value.recent_projects
