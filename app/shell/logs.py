"""What the app logs: the last lines in memory, and all of it in a file that stays small."""

from __future__ import annotations

import logging
import logging.handlers
from collections import deque
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QtMsgType, Signal, qInstallMessageHandler

__all__ = ["LogBuffer", "install_qt_handler", "write_to_file"]

_LINES = 2000
_FILE_BYTES = 1 << 20
_FORMAT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"


class LogBuffer(QObject):
    """Keeps the last lines; emits ``line_added`` for each, in whatever thread logged it."""

    line_added = Signal(str)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lines: deque[str] = deque(maxlen=_LINES)
        self._handler = _Forward(self)
        self._handler.setFormatter(logging.Formatter(_FORMAT, "%H:%M:%S"))

    def install(self, level: int = logging.INFO) -> None:
        """Listen to all of Python's logging."""
        root = logging.getLogger()
        root.setLevel(min(root.level or level, level))
        root.addHandler(self._handler)

    def remove(self) -> None:
        """Stop listening."""
        logging.getLogger().removeHandler(self._handler)

    def add(self, line: str) -> None:
        """Add one line."""
        self._lines.append(line)
        self.line_added.emit(line)

    def lines(self, count: int = _LINES) -> list[str]:
        """Return the last lines, the oldest first."""
        return list(self._lines)[-count:]


class _Forward(logging.Handler):
    def __init__(self, buffer: LogBuffer) -> None:
        super().__init__()
        self._buffer = buffer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._buffer.add(self.format(record))
        except RuntimeError:  # the window is gone already: a late line has no reader
            return


def write_to_file(path: Path) -> logging.Handler | None:
    """Log into a file that is renewed at 1 MB; None where it cannot be written."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = logging.handlers.RotatingFileHandler(
            path, maxBytes=_FILE_BYTES, backupCount=1, encoding="utf-8", delay=False
        )
    except OSError:
        logging.getLogger(__name__).info("no log file at %s", path)
        return None
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.getLogger().addHandler(handler)
    return handler


_LEVELS = {
    QtMsgType.QtDebugMsg: logging.DEBUG,
    QtMsgType.QtInfoMsg: logging.INFO,
    QtMsgType.QtWarningMsg: logging.WARNING,
    QtMsgType.QtCriticalMsg: logging.ERROR,
    QtMsgType.QtFatalMsg: logging.CRITICAL,
}


# Qt ends the process right after these: it leaves no time for anything else.
_DISPLAY_LOST = ("The X11 connection broke", "The Wayland connection")


def install_qt_handler(last_chance: Callable[[], object] = lambda: None) -> None:
    """Send Qt's own messages to Python's logging.

    Parameters
    ----------
    last_chance : callable
        Called, perhaps in a thread of Qt's, when the display is lost or Qt gives up: what is not
        on disk after it is lost.
    """
    log = logging.getLogger("qt")

    def take(kind: QtMsgType, _context: object, message: str) -> None:
        if kind is QtMsgType.QtFatalMsg or message.startswith(_DISPLAY_LOST):
            last_chance()
        log.log(_LEVELS.get(kind, logging.INFO), "%s", message)

    qInstallMessageHandler(take)
