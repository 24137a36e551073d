"""Work that is too slow for the window's thread and too small for an engine job."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QTimer, Signal

from app.models.problem import Problem

__all__ = ["Background", "Superseded"]

T = TypeVar("T")
_THREADS = 2
_MOST_THREADS = 8
_STUCK_AFTER_S = 3.0
_LOOK_EVERY_MS = 1000
_PATIENCE_S = 5.0


class Superseded(Exception):
    """Raised by the check in work whose result nobody waits for any more."""


@dataclass(slots=True)
class _Receiver:
    """Who waits for a result, and the result once it is there."""

    done: Callable[[Any], None]
    failed: Callable[[Problem], None]
    unwanted: Callable[[Any], None] | None
    result: Any = None

    def let_go(self) -> None:
        """Give back what the result holds, once."""
        result, self.result = self.result, None
        if result is not None and self.unwanted is not None:
            self.unwanted(result)


class _Workers:
    """Two threads that take tasks in order, and more while some of them are stuck.

    A read from a network drive that hangs does not come back, and nothing can end it. Such a
    thread must neither keep other work waiting nor the app from quitting: the threads are
    daemons, and not those of Qt's pool, which waits for its own without limit.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._busy_since: dict[int, float] = {}  # thread -> when its task began

    def start(self, task: Callable[[], None]) -> None:
        self._tasks.put(task)
        self.relieve()

    @property
    def waiting(self) -> bool:
        return not self._tasks.empty()

    def relieve(self) -> None:
        """Start a thread if tasks wait and too few threads are able to take them."""
        with self._lock:
            now = time.monotonic()
            stuck = sum(now - since > _STUCK_AFTER_S for since in self._busy_since.values())
            if len(self._threads) - stuck >= _THREADS or self._tasks.empty():
                return
            if len(self._threads) < _MOST_THREADS:
                thread = threading.Thread(target=self._work, name="background", daemon=True)
                self._threads.append(thread)
                thread.start()

    def close(self, patience_s: float) -> bool:
        """Let the threads end; return whether all did in that time."""
        for _ in self._threads:
            self._tasks.put(None)
        end = time.monotonic() + patience_s
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        me = threading.get_ident()
        while (task := self._tasks.get()) is not None:
            with self._lock:
                self._busy_since[me] = time.monotonic()
            try:
                task()
            finally:
                with self._lock:
                    del self._busy_since[me]
            del task  # what it holds may be large


class Background(QObject):
    """Runs functions in a few threads; of each key only the latest result arrives.

    Results come back in the window's thread. Work gets a ``check`` that it calls now and then;
    it raises `Superseded` once newer work of the same key was asked for. Work that hangs holds
    nothing up but itself.
    """

    _finished = Signal(str, int, object)  # key, generation, problem

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._workers = _Workers()
        self._numbers = itertools.count(1)
        self._latest: dict[str, int] = {}
        self._receivers: dict[tuple[str, int], _Receiver] = {}
        self._telling = threading.Lock()
        self._closed = False
        self._finished.connect(self._deliver)
        self._relief = QTimer(self)
        self._relief.setInterval(_LOOK_EVERY_MS)
        self._relief.timeout.connect(self._relieve)

    def run(
        self,
        key: str,
        work: Callable[[Callable[[], None]], T],
        done: Callable[[T], None],
        failed: Callable[[Problem], None],
        *,
        unwanted: Callable[[T], None] | None = None,
    ) -> None:
        """Run ``work(check)``; then call ``done(result)`` or ``failed(problem)``.

        ``unwanted(result)`` is called instead of ``done``, from any thread, for a result that
        came too late: what holds a file or a lock must let it go.
        """
        if self._closed:
            return
        generation = next(self._numbers)
        self._latest[key] = generation
        receiver = self._receivers[key, generation] = _Receiver(done, failed, unwanted)

        def check() -> None:
            if self._latest.get(key) != generation:
                raise Superseded

        def task() -> None:
            result: object = None
            problem: Problem | None = None
            try:
                check()
                result = work(check)
            except Superseded:
                pass
            except Exception as error:  # noqa: BLE001 - the thread's rim: becomes a card
                problem = Problem.from_error(error)
            receiver.result = result
            if not self._tell(key, generation, problem):
                receiver.let_go()

        self._workers.start(task)
        if self._workers.waiting and not self._relief.isActive():
            self._relief.start()

    def cancel(self, key: str) -> None:
        """Forget work of a key; its result will not arrive."""
        self._latest.pop(key, None)

    @property
    def busy(self) -> bool:
        """Whether some result is still to come."""
        return bool(self._receivers)

    def close(self, patience_s: float = _PATIENCE_S) -> bool:
        """Forget all work; return whether the threads ended, or False after ``patience_s``.

        What still hangs then finds nobody to tell: no signal leaves a closed background.
        """
        with self._telling:
            self._closed = True
        self._latest.clear()
        for receiver in self._receivers.values():  # results on their way here
            receiver.let_go()
        self._receivers.clear()
        with contextlib.suppress(RuntimeError):  # Qt may have taken its part apart already
            self._relief.stop()
        return self._workers.close(patience_s)

    def _relieve(self) -> None:
        self._workers.relieve()
        if not self._workers.waiting:
            self._relief.stop()

    def _tell(self, key: str, generation: int, problem: Problem | None) -> bool:
        """Call the window's thread to a result; return False if there is none any more."""
        with self._telling:
            if not self._closed:
                with contextlib.suppress(RuntimeError):
                    self._finished.emit(key, generation, problem)
                    return True
        return False

    def _deliver(self, key: str, generation: int, problem: object) -> None:
        receiver = self._receivers.pop((key, generation), None)
        if receiver is None:
            return
        if self._latest.get(key) != generation:
            receiver.let_go()
            return
        del self._latest[key]
        if isinstance(problem, Problem):
            receiver.failed(problem)
        else:
            receiver.done(receiver.result)
