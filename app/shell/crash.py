"""When the app itself fails: save the project, say so in words, and remember it."""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from PySide6.QtCore import QObject, Qt, Signal

from decode_engine.errors import EngineError
from decode_engine.io.locking import FileLock

__all__ = ["CrashGuard", "SessionMark"]

_log = logging.getLogger(__name__)


class CrashGuard(QObject):
    """Catches what nobody else caught.

    Parameters
    ----------
    save : callable
        Saves the project and returns the folder in which it is safe; must not raise.

    Signals
    -------
    caught : str
        An error, the first time it happens; comes in the window's thread.
    """

    caught = Signal(str)
    _elsewhere = Signal(str)

    def __init__(self, save: Callable[[], Path | None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._save = save
        self.saved_in: Path | None = None
        self._seen: set[str] = set()
        self._elsewhere.connect(self._report, Qt.ConnectionType.QueuedConnection)

    def install(self) -> None:
        """Catch errors of this and all other threads."""
        sys.excepthook = self.handle
        threading.excepthook = self._handle_thread

    @staticmethod
    def remove() -> None:
        """Leave errors to Python again."""
        sys.excepthook = sys.__excepthook__
        threading.excepthook = threading.__excepthook__

    def handle(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        """Save, log and report one error."""
        if issubclass(kind, KeyboardInterrupt):
            sys.__excepthook__(kind, error, trace)
            return
        self.saved_in = self._save()
        text = "".join(traceback.format_exception(kind, error, trace))
        _log.error("not caught: %s", text)
        # The same fault may come with each repaint; one window about it is enough.
        where = "".join(traceback.format_tb(trace)) + kind.__name__
        if where not in self._seen:
            self._seen.add(where)
            self._elsewhere.emit(f"{kind.__name__}: {error}")

    def _handle_thread(self, arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_value is not None:
            self.handle(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def _report(self, text: str) -> None:
        self.caught.emit(text)


class SessionMark:
    """A file that exists while the app runs; one that nobody holds tells of a hard crash.

    Python's fault handler writes into the file beside it, so that the next start has the words.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock: FileLock | None = None
        self._faults: IO[str] | None = None
        self._name = f"session-{os.getpid()}"

    def begin(self) -> str | None:
        """Mark this session; return the last words of one that ended hard, None if all is well."""
        crashed: str | None = None
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for path in sorted(self._folder.glob("session-*.lock")):
                words = self._take_over(path)
                crashed = words if words is not None else crashed
            self._lock = FileLock(self._folder / f"{self._name}.lock")
            self._faults = (self._folder / f"{self._name}.txt").open("w", encoding="utf-8")
            faulthandler.enable(self._faults)
        except (OSError, EngineError) as error:
            _log.info("this session is not marked: %s", error)
        return crashed

    def end(self) -> None:
        """Take the mark away: the app ends in order."""
        if self._faults is not None:
            faulthandler.disable()
            self._faults.close()
            self._faults = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None
        for suffix in (".lock", ".txt"):
            with contextlib.suppress(OSError):
                (self._folder / f"{self._name}{suffix}").unlink(missing_ok=True)

    @staticmethod
    def _take_over(path: Path) -> str | None:
        """Return the last words of a session, None where it is still running."""
        try:
            lock = FileLock(path)
        except (EngineError, OSError):
            return None
        lock.release()
        words = path.with_suffix(".txt")
        text = words.read_text(encoding="utf-8", errors="replace") if words.is_file() else ""
        for left in (path, words):
            left.unlink(missing_ok=True)
        return text
