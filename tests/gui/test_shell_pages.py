"""The window with its real pages: all are made, shown, and take what is dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from PySide6.QtCore import QEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.controllers.page_controller import AppContext
from app.models.steps import Step, StepStatus
from app.shell import pages
from app.shell.desktop import Desktop
from app.shell.logs import LogBuffer
from app.shell.theme import Theme
from decode_engine.io.resources import resource_path

_HELP_PX = 172  # at its narrowest, with the lines beside it
EXAMPLE = resource_path("example")


@pytest.fixture
def desktop(qtbot: QtBot, app_context: AppContext) -> Iterator[Desktop]:
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    palette, sheet = application.palette(), application.styleSheet()
    theme = Theme(application)
    made = Desktop(app_context, theme, LogBuffer())
    theme.setParent(made)
    made.window.may_close = lambda: True
    qtbot.addWidget(made.window)
    made.begin()
    yield made
    application.setPalette(palette)
    application.setStyleSheet(sheet)


def test_all_pages_are_shown_in_both_themes(qtbot: QtBot, desktop: Desktop) -> None:
    for theme in ("dark", "light"):
        desktop.commands.actions[f"theme-{theme}"].trigger()
        for step in Step:
            desktop.window.show_step(step)
            page = desktop.window.controller(step).page
            assert page.isVisible()
            assert page.step is step
            assert not page.grab().isNull()
    qtbot.waitUntil(lambda: not desktop.context.background.busy, timeout=30_000)


def test_every_page_fits_a_small_window_beside_the_help(desktop: Desktop) -> None:
    desktop.window.show_help(True)
    for step in Step:
        desktop.window.show_step(step)
        QApplication.sendPostedEvents(None, QEvent.Type.LayoutRequest.value)
        page = desktop.window.controller(step).page
        # The window asks for the widest page made so far, the steps beside it and the help.
        room = 1100 - desktop.window.sidebar.width() - _HELP_PX
        assert page.minimumSizeHint().width() <= room, step
        assert page.minimumSizeHint().height() <= 600, step
    assert desktop.window.minimumSizeHint().width() <= 1100
    assert desktop.window.minimumSizeHint().height() <= 700


def test_two_threads_never_import_at_once(
    app_context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regression: a drop right after the start met pyqtgraph half imported (KeyError)."""
    inside, overlaps, entered = threading.Lock(), [], threading.Event()

    def controller(step: Step) -> Callable[[AppContext], object]:
        overlaps.append(not inside.acquire(blocking=False))
        entered.set()
        threading.Event().wait(0.01)  # long enough for the other thread to come
        inside.release()
        return lambda _context: step

    monkeypatch.setattr(pages, "_controller", controller)
    thread = threading.Thread(target=pages.import_libraries, args=(lambda: None,))
    thread.start()
    assert entered.wait(60.0)
    for step in Step:
        pages.make_controller(step, app_context)
    thread.join()
    assert len(overlaps) == 2 * len(Step)
    assert not any(overlaps)


def test_dropped_files_make_the_steps_done(qtbot: QtBot, desktop: Desktop) -> None:
    names = ("movie.tif", "calibration.h5", "camera.json", "model.decode")
    desktop.drop.take([EXAMPLE / name for name in names])
    session = desktop.context.session
    for step in (Step.MOVIE, Step.CALIBRATION, Step.CAMERA, Step.TRAIN):
        qtbot.waitUntil(
            lambda s=step: session.states[s].status is StepStatus.DONE,  # type: ignore[misc]
            timeout=30_000,
        )
    assert desktop.window.current_step is Step.MOVIE
    assert session.settings.model == str(EXAMPLE / "model.decode")
    qtbot.waitUntil(lambda: not desktop.context.background.busy, timeout=30_000)
