"""Ctrl-C in a terminal and the system's polite request to end: quit as if asked by the user."""

from __future__ import annotations

import contextlib
import signal
import socket
from collections.abc import Callable

from PySide6.QtCore import QObject, QSocketNotifier

__all__ = ["EndSignals"]


class EndSignals(QObject):
    """Calls back in the window's thread when the process is asked to end.

    Python runs its handlers between two of its own instructions, which never come while Qt
    waits for events; the byte that Python writes into a socket wakes Qt up.
    """

    def __init__(self, quit_now: Callable[[], None], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._quit_now = quit_now
        self._reader, self._writer = socket.socketpair()
        for end in (self._reader, self._writer):
            end.setblocking(False)
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read, self)
        self._notifier.activated.connect(self._wake)
        self._before_fd = signal.set_wakeup_fd(self._writer.fileno())
        self._before = {
            kind: signal.signal(kind, lambda _number, _frame: None)
            for kind in (signal.SIGINT, signal.SIGTERM)
        }

    def close(self) -> None:
        """Leave signals to Python again."""
        for kind, handler in self._before.items():
            signal.signal(kind, handler)
        signal.set_wakeup_fd(self._before_fd)
        self._notifier.setEnabled(False)
        self._reader.close()
        self._writer.close()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):
            self._reader.recv(64)
        self._quit_now()
