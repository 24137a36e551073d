"""The life of the application: from the first line to the last saved file."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import sys
import tempfile
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QStandardPaths, Qt
from PySide6.QtGui import QGuiApplication, QIcon
from PySide6.QtWidgets import QApplication

import decode_engine
from app.controllers.background import Background
from app.controllers.job_center import JobCenter
from app.controllers.page_controller import AppContext
from app.controllers.session import ProjectSession
from app.engine_link.path_mapping import PathMap
from app.settings import SettingsStore, engine_command
from app.shell.collector import begin_start, end_start
from app.shell.crash import CrashGuard, SessionMark
from app.shell.desktop import Desktop
from app.shell.logs import LogBuffer, install_qt_handler, write_to_file
from app.shell.signals import EndSignals
from app.shell.theme import Theme
from decode_engine.errors import InputError
from decode_engine.io.resources import resource_path

__all__ = ["make_application", "make_context", "run"]


def run(project: Path | None = None, *, example: bool = False) -> int:
    """Show the window until it is closed; return the exit code."""
    begin_start()
    application = make_application()
    data = _folder(QStandardPaths.StandardLocation.AppLocalDataLocation)
    config = _folder(QStandardPaths.StandardLocation.AppConfigLocation)
    log = LogBuffer()
    log.install()
    write_to_file(data / "decode-desktop.log")
    install_qt_handler()
    logging.getLogger(__name__).info(
        "Decode Desktop %s on Python %s", decode_engine.__version__, platform.python_version()
    )
    mark = SessionMark(data)
    crashed = mark.begin()
    context = make_context(SettingsStore(config / "settings.json"), data)
    guard = CrashGuard(context.session.emergency_save)
    guard.install()
    install_qt_handler(context.session.emergency_save)
    theme = Theme(application)
    theme.apply(context.settings.value.theme)
    desktop = Desktop(context, theme, log, data)
    guard.caught.connect(lambda what: desktop.report_crash(what, guard.saved_in))
    desktop.window.closed.connect(application.quit)
    desktop.window.ready.connect(end_start)
    # The system shuts down: everything to disk before it asks the windows to close.
    application.commitDataRequest.connect(lambda _manager: context.session.save_now())
    desktop.begin(project, example=example)
    if crashed is not None:
        desktop.report_hard_crash(crashed)
    context.jobs.start()
    signals = EndSignals(desktop.closing.quit_now)
    code = application.exec()
    signals.close()
    context.session.close()
    ended = context.background.close()
    guard.remove()
    log.remove()
    mark.end()
    if not ended:
        # A thread hangs in a read from a drive that does not answer; Python would not end it.
        sys.stdout.flush()
        os._exit(code)
    return code


def make_application() -> QApplication:
    """Return the application object, with what Qt wants to know before it exists."""
    QCoreApplication.setAttribute(Qt.ApplicationAttribute.AA_ShareOpenGLContexts)
    QGuiApplication.setHighDpiScaleFactorRoundingPolicy(
        Qt.HighDpiScaleFactorRoundingPolicy.PassThrough
    )
    application = QApplication([sys.argv[0]])
    application.setApplicationName("Decode Desktop")
    application.setApplicationVersion(decode_engine.__version__)
    application.setDesktopFileName("decode-desktop")
    with contextlib.suppress(InputError):  # an app without its icon works, too
        icon = resource_path("icons", "decode-desktop.png")
        application.setWindowIcon(QIcon(str(icon)))
    application.setQuitOnLastWindowClosed(False)  # engines are stopped behind the closed window
    return application


def make_context(settings: SettingsStore, data: Path) -> AppContext:
    """Return what the controllers share."""
    value = settings.value
    background = Background()
    home = Path(value.cache_folder) if value.cache_folder else data / "untitled"
    try:
        home.mkdir(parents=True, exist_ok=True)
        session = ProjectSession(background, home=home)
    except OSError:  # the folder of the settings is gone, or full: the app starts all the same
        session = ProjectSession(background)
    command = value.engine_command or engine_command()
    return AppContext(
        session=session,
        jobs=JobCenter(session, command, path_map=PathMap.of(value.path_map)),
        background=background,
        settings=settings,
    )


def _folder(location: QStandardPaths.StandardLocation) -> Path:
    return Path(QStandardPaths.writableLocation(location) or tempfile.gettempdir())
