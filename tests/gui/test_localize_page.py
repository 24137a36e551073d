"""The Localize page by real clicks, with a scripted engine."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app.controllers.localize import LocalizeController
from app.controllers.page_controller import AppContext
from app.models.project import MovieEntry
from app.models.steps import Step
from app.views.localize_page import LocalizePage
from decode_engine.contract.configs import CameraConfig, LocalizeConfig
from decode_engine.io.resources import resource_path

MODEL = str(resource_path("example/model.decode"))
MOVIE = str(resource_path("example/movie.tif"))
MakeContext = Callable[..., AppContext]


@pytest.fixture
def open_page(
    qtbot: QtBot, make_context: MakeContext
) -> Iterator[Callable[[str], LocalizeController]]:
    opened: list[LocalizeController] = []

    def open_with(behaviour: str) -> LocalizeController:
        context = make_context(behaviour)
        context.session.update(
            "set up",
            movies=(
                MovieEntry(path=MOVIE),
                MovieEntry(path="/no/such/movie 2.tif", frames=(0, 100), roi_px=(0, 0, 32, 48)),
            ),
            model=MODEL,
        )
        controller = LocalizeController(context)
        qtbot.addWidget(controller.page)
        controller.page.resize(1040, 720)
        controller.page.show()
        controller.activate()
        opened.append(controller)
        qtbot.waitUntil(lambda: "Jaccard" in controller.page.model_words.text(), timeout=20_000)
        return controller

    yield open_with
    for controller in opened:
        controller.deactivate()


def _card(page: LocalizePage) -> str:
    names = ("problem-message", "problem-hint")
    labels = [page.findChild(QLabel, name) for name in names]
    return " ".join(lb.text() for lb in labels if lb is not None and lb.isVisible())


def _untick_the_second(page: LocalizePage) -> None:
    item = page.queue.item(1, 0)
    assert item is not None
    item.setCheckState(Qt.CheckState.Unchecked)


def _state(page: LocalizePage, row: int) -> str:
    item = page.queue.item(row, 2)
    assert item is not None
    return item.text()


def test_the_page_says_what_is_missing(qtbot: QtBot, app_context: AppContext) -> None:
    controller = LocalizeController(app_context)
    page = controller.page
    qtbot.addWidget(page)
    page.show()
    assert not page.start.isEnabled()
    assert "Movie page" in page.why_not.text()
    app_context.session.update("movie", movies=(MovieEntry(path=MOVIE),))
    assert "Choose a model" in page.why_not.text()
    assert not page.preview.button.isEnabled()


def test_a_frame_is_tried_before_the_long_fit(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    controller = open_page("complete")
    page = controller.page
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)
    qtbot.mouseClick(page.preview.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "molecules, median" in page.preview.words.text(), timeout=20_000)
    assert page.preview.words.text().startswith("20 molecules")
    assert page.preview.view.n_points("z (nm)") == 20
    page.preview.color.setCurrentIndex(2)
    assert page.preview.view.n_points("photons (photons)") == 20
    # Another frame takes the overlay away: it belongs to the first one.
    page.preview.slider.setValue(7)
    qtbot.waitUntil(lambda: page.preview.view.n_points("photons (photons)") == 0, timeout=10_000)


def test_what_was_found_in_one_movie_is_not_drawn_on_another(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    """Regression: the answer came after another movie was chosen, at the same frame number."""
    controller = open_page("complete")
    page = controller.page
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)
    copy = Path(controller.context.session.folder) / "copy.tif"
    copy.write_bytes(Path(MOVIE).read_bytes())
    movies = (MovieEntry(path=MOVIE), MovieEntry(path=str(copy)))
    controller.context.session.update("Add a movie", movies=movies)
    qtbot.mouseClick(page.preview.button, Qt.MouseButton.LeftButton)
    with qtbot.waitSignal(
        controller.context.jobs.job_changed,
        timeout=20_000,
        check_params_cb=lambda job, state: "preview" in job and state.phase == "completed",
    ):
        page.queue.selectRow(1)
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)
    qtbot.waitUntil(lambda: not controller.context.background.busy, timeout=10_000)
    assert page.preview.view.n_points("z (nm)") == 0


def test_the_frame_follows_the_list_of_movies(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    """Regression: undo took the shown movie away, and its frame stayed."""
    controller = open_page("complete")
    page, session = controller.page, controller.context.session
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)
    session.update("Remove movies", movies=())
    assert page.preview.number.maximum() == 0
    session.undo()
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)


def test_molecules_lie_where_the_camera_s_pixels_say(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    """Regression: nm became pixels by the model's pixel size, also with another camera."""
    controller = open_page("complete")
    page = controller.page
    qtbot.waitUntil(lambda: page.preview.number.maximum() == 399, timeout=10_000)
    camera = CameraConfig(pixel_size_x_nm=123.0, pixel_size_y_nm=77.0)
    controller.context.session.update("Set camera", camera=camera)
    qtbot.mouseClick(page.preview.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.preview.view.n_points("z (nm)") == 20, timeout=20_000)
    assert page.preview._pixel_size_nm == (123.0, 77.0)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "another.decode"},
        {"camera": CameraConfig(pixel_size_x_nm=90.0)},
        {"localize": LocalizeConfig(probability_threshold=0.9)},
    ],
)
def test_what_was_found_with_other_settings_is_taken_away(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController], change: dict[str, Any]
) -> None:
    """Regression: the molecules of the model before stayed, as if the new one had found them."""
    controller = open_page("complete")
    preview, session = controller.page.preview, controller.context.session
    qtbot.waitUntil(lambda: preview.number.maximum() == 399, timeout=10_000)
    qtbot.mouseClick(preview.button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: preview.view.n_points("z (nm)") == 20, timeout=20_000)
    session.update("of no matter", localize_device="cpu")
    assert preview.view.n_points("z (nm)") == 20
    session.update("change", **change)
    assert preview.view.n_points("z (nm)") == 0
    assert "have changed" in preview.words.text()


def test_a_finished_fit_becomes_the_project_s_localizations(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    controller = open_page("complete")
    page, session = controller.page, controller.context.session
    _untick_the_second(page)
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: session.settings.localizations is not None, timeout=20_000)
    result = Path(str(session.settings.localizations))
    assert result.is_file()
    assert _state(page, 0) == "1,356 found"
    assert _state(page, 1) == "not yet"
    assert page.result.isEnabled()
    assert session.settings.render.color == "z"
    qtbot.waitUntil(lambda: page.live.words.startswith("1,3"), timeout=10_000)
    run = session.runs_of(Step.LOCALIZE)[0]
    assert run.state == "completed"
    assert run.spec["movies"] == [MOVIE]


def test_a_result_is_taken_without_a_step_of_undo(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    """Regression: undo took the finished result away instead of the user's own last change."""
    controller = open_page("complete")
    page, session = controller.page, controller.context.session
    _untick_the_second(page)
    session.update("Choose the device", localize_device="cpu")
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: session.settings.localizations is not None, timeout=20_000)
    result = session.settings.localizations
    assert session.undo_text == "Choose the device"
    session.undo()
    assert session.settings.localizations == result
    assert session.settings.localize_device == "auto"
    session.redo()
    assert session.settings.localizations == result


def test_a_result_does_not_push_out_the_table_that_is_looked_at(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController], tmp_path: Path
) -> None:
    """Regression: each movie of a queue that was done replaced the picture in Explore."""
    controller = open_page("complete")
    page, session = controller.page, controller.context.session
    other = str(tmp_path / "another.h5")
    session.select_localizations(other)
    _untick_the_second(page)
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    controller.deactivate()  # the user goes on to Explore
    qtbot.waitUntil(lambda: "found" in _state(page, 0), timeout=20_000)
    assert session.settings.localizations == other
    notice = page.findChild(QLabel, "page-notice")
    assert notice is not None
    assert "movie.tif is localized" in notice.text()
    assert "another.h5" in notice.text()
    controller.activate()
    qtbot.mouseClick(page.result, Qt.MouseButton.LeftButton)
    result = session.runs_of(Step.LOCALIZE)[0].outputs["localizations"]
    assert session.settings.localizations == result
    assert notice.text() == ""
    session.undo()  # the user's own choice is a step
    assert session.settings.localizations == other


def test_several_movies_wait_for_each_other(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    controller = open_page("complete")
    page, session = controller.page, controller.context.session
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "found" in _state(page, 1), timeout=30_000)
    assert "found" in _state(page, 0)
    second = session.runs_of(Step.LOCALIZE)[1]
    assert second.spec["config"]["frames"] == [0, 100]
    assert second.spec["config"]["roi"] == [0, 0, 32, 48]


def test_a_fit_can_be_paused_resumed_and_cancelled(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    controller = open_page("wait")
    page, session = controller.page, controller.context.session
    _untick_the_second(page)
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    pause = page.job._pause
    qtbot.waitUntil(lambda: pause.isVisible() and pause.isEnabled(), timeout=20_000)
    assert not page.resume.isEnabled()  # it runs; there is nothing to resume
    qtbot.mouseClick(pause, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: page.job._resume.isVisible(), timeout=10_000)
    qtbot.waitUntil(lambda: page.job._resume.isEnabled(), timeout=10_000)
    qtbot.mouseClick(page.job._resume, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: pause.isVisible() and pause.isEnabled(), timeout=10_000)
    qtbot.mouseClick(page.job._cancel, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: _state(page, 0) == "stopped", timeout=10_000)
    assert session.settings.localizations is None
    qtbot.waitUntil(page.resume.isEnabled, timeout=5_000)
    qtbot.mouseClick(page.resume, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: _state(page, 0) == "running", timeout=10_000)


@pytest.mark.parametrize(
    ("behaviour", "words"), [("fail", "disk is full"), ("crash", "stopped unexpectedly")]
)
def test_what_goes_wrong_is_a_card_and_can_be_resumed(
    qtbot: QtBot,
    open_page: Callable[[str], LocalizeController],
    behaviour: str,
    words: str,
) -> None:
    controller = open_page(f"complete,localize={behaviour}")
    page = controller.page
    _untick_the_second(page)
    qtbot.mouseClick(page.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: _card(page) != "", timeout=20_000)
    assert words in _card(page)
    qtbot.waitUntil(page.resume.isEnabled, timeout=5_000)


def test_a_missing_movie_is_named(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    page = open_page("complete").page
    page.queue.selectRow(1)
    qtbot.waitUntil(lambda: "movie 2.tif" in _card(page), timeout=10_000)


def test_a_file_that_is_no_model_is_named(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController], tmp_path: Path
) -> None:
    controller = open_page("complete")
    bad = tmp_path / "not a model.decode"
    bad.write_bytes(b"hello")
    controller.open_paths([bad])
    page = controller.page
    qtbot.waitUntil(lambda: "not a model.decode" in page.model_words.text(), timeout=10_000)
    assert not page.start.isEnabled()
    assert "not a model.decode" in _card(page)
    controller.open_paths([resource_path("example/model.decode")])
    qtbot.waitUntil(page.start.isEnabled, timeout=10_000)
    # Regression: a file that was dropped had no card at all.
    qtbot.waitUntil(lambda: not _card(page), timeout=10_000)


def test_the_command_line_is_copied(
    qtbot: QtBot, open_page: Callable[[str], LocalizeController]
) -> None:
    page = open_page("complete").page
    qtbot.mouseClick(page.command, Qt.MouseButton.LeftButton)
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:3] == ["decode-engine", "localize", MOVIE]
    assert f"--model={MODEL}" in words
