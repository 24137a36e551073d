"""What all tests of the window share: a context with a scripted engine, and a strict eye."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent, Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from app.controllers.background import Background
from app.controllers.job_center import JobCenter
from app.controllers.page_controller import AppContext
from app.controllers.session import ProjectSession
from app.settings import SettingsStore
from tests.gui.engines import IMPATIENT, scripted_command

# Vispy's canvas shares its textures; Qt takes this only before its application exists.
QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)


@pytest.fixture
def make_context(qtbot: QtBot, tmp_path: Path) -> Iterator[Callable[..., AppContext]]:
    """Make contexts whose engine does what the behaviour says; all are closed at the end."""
    made: list[AppContext] = []

    def make(behaviour: str = "complete") -> AppContext:
        settings = SettingsStore(tmp_path / "settings.json")
        settings.update(engine_command=scripted_command(behaviour), tour_seen=True)
        background = Background()
        session = ProjectSession(background, home=tmp_path / "projects")
        context = AppContext(
            session=session,
            jobs=JobCenter(session, scripted_command(behaviour), patience=IMPATIENT),
            background=background,
            settings=settings,
        )
        made.append(context)
        return context

    yield make
    for context in made:
        context.jobs.shutdown("kill")
        context.session.close()
        context.background.close()
        for part in (context.jobs, context.session, context.background):
            part.deleteLater()


@pytest.fixture
def app_context(make_context: Callable[..., AppContext]) -> AppContext:
    """Return a context with an untitled project and an engine that completes its jobs."""
    return make_context()


@pytest.fixture
def make_session(qtbot: QtBot) -> Iterator[Callable[..., ProjectSession]]:
    made: list[ProjectSession] = []

    def make(**options: Any) -> ProjectSession:
        session = ProjectSession(**options)
        made.append(session)
        return session

    yield make
    for session in made:
        session.close()
        session.deleteLater()


def _windows() -> dict[int, QWidget]:
    application = QApplication.instance()
    if not isinstance(application, QApplication):
        return {}
    return {id(w): w for w in application.topLevelWidgets() if w.parent() is None}


@pytest.fixture(autouse=True)
def _no_widget_is_left() -> Iterator[None]:
    """Fail a test that leaves a window behind; qtbot.addWidget or deleteLater prevent it.

    pytest-qt closes the widgets it knows before fixtures are torn down.
    """
    before = _windows()
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    if set(_windows()) - set(before):
        gc.collect()
    left = [w for key, w in _windows().items() if key not in before]
    names = [f"{type(w).__name__} {w.objectName()!r}" for w in left]
    for widget in left:
        widget.deleteLater()
    assert not names, f"windows were left behind: {names}"


@pytest.fixture(autouse=True)
def _no_warning_is_logged(
    request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> Iterator[None]:
    """Fail a test during which a warning was logged; ``@pytest.mark.expects_warnings`` allows."""
    yield
    if request.node.get_closest_marker("expects_warnings") is not None:
        return
    records = [r for phase in ("setup", "call") for r in caplog.get_records(phase)]
    warned = [r.getMessage() for r in records if r.levelno >= logging.WARNING]
    assert not warned, f"warnings were logged: {warned}"
