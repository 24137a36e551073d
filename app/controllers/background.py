"""Work that is too slow for the window's thread and too small for an engine job."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from typing import Any, TypeVar

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal

from app.models.problem import Problem

__all__ = ["Background", "Superseded"]

T = TypeVar("T")
_THREADS = 2


class Superseded(Exception):
    """Raised by the check in work whose result nobody waits for any more."""


class _Task(QRunnable):
    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__()
        self._run = run

    def run(self) -> None:
        self._run()


class Background(QObject):
    """Runs functions in two threads; of each key only the latest result arrives.

    Results come back in the window's thread. Work gets a ``check`` that it calls now and then;
    it raises `Superseded` once newer work of the same key was asked for.
    """

    _finished = Signal(str, int, object, object)  # key, generation, result, problem

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(_THREADS)
        self._numbers = itertools.count(1)
        self._latest: dict[str, int] = {}
        self._receivers: dict[
            tuple[str, int], tuple[Callable[[Any], None], Callable[[Problem], None]]
        ] = {}
        self._finished.connect(self._deliver)

    def run(
        self,
        key: str,
        work: Callable[[Callable[[], None]], T],
        done: Callable[[T], None],
        failed: Callable[[Problem], None],
    ) -> None:
        """Run ``work(check)``; then call ``done(result)`` or ``failed(problem)``."""
        generation = next(self._numbers)
        self._latest[key] = generation
        self._receivers[key, generation] = (done, failed)

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
            # The window may be gone by now, and with it whoever waits.
            with contextlib.suppress(RuntimeError):
                self._finished.emit(key, generation, result, problem)

        self._pool.start(_Task(task))

    def cancel(self, key: str) -> None:
        """Forget work of a key; its result will not arrive."""
        self._latest.pop(key, None)

    @property
    def busy(self) -> bool:
        """Whether some result is still to come."""
        return bool(self._receivers)

    def close(self) -> None:
        """Forget all work and wait until the threads are idle."""
        self._latest.clear()
        self._receivers.clear()
        self._pool.waitForDone()

    def _deliver(self, key: str, generation: int, result: object, problem: object) -> None:
        receivers = self._receivers.pop((key, generation), None)
        if receivers is None or self._latest.get(key) != generation:
            return
        del self._latest[key]
        done, failed = receivers
        if isinstance(problem, Problem):
            failed(problem)
        else:
            done(result)
