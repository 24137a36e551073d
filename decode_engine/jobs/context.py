"""What a job may do to the outside: emit events, ask whether to stop, wait while paused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from decode_engine.contract.messages import (
    ArtifactEvent,
    EventBody,
    LogEvent,
    MetricEvent,
    PausedEvent,
    PreviewEvent,
    ProgressEvent,
    ResumedEvent,
    StageEvent,
)
from decode_engine.errors import CancelledError

__all__ = ["CancelToken", "EventSink", "JobContext"]


class EventSink(Protocol):
    """Receives the events of one job, in order."""

    def __call__(self, event: EventBody, /) -> None:
        """Take one event."""
        ...


class CancelToken:
    """Flags that another thread may set: stop, pause, finish early.

    Attributes
    ----------
    seen_s : float
        When the job last showed that it lives (`time.monotonic`).
    """

    def __init__(self) -> None:
        self._cancelled = threading.Event()
        self._finishing = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self.seen_s = time.monotonic()

    def cancel(self) -> None:
        """Ask the job to stop at its next check."""
        self._cancelled.set()
        self._running.set()

    def finish(self) -> None:
        """Ask the job to end soon with the best result it has; ends a pause too."""
        self._finishing.set()
        self._running.set()

    def pause(self) -> None:
        """Ask the job to wait at its next check."""
        self._running.clear()

    def proceed(self) -> None:
        """End the pause."""
        self._running.set()

    @property
    def cancelled(self) -> bool:
        """Whether a stop was asked for."""
        return self._cancelled.is_set()

    @property
    def finishing(self) -> bool:
        """Whether an early end was asked for."""
        return self._finishing.is_set()

    @property
    def paused(self) -> bool:
        """Whether a pause was asked for."""
        return not self._running.is_set()

    def touch(self) -> None:
        """Note a sign of life."""
        self.seen_s = time.monotonic()

    def silent_s(self) -> float:
        """Return how long the job has shown no sign of life; 0 during a pause."""
        return 0.0 if self.paused else time.monotonic() - self.seen_s

    def wait_while_paused(self) -> None:
        """Block until the pause ends or the job is cancelled."""
        self._running.wait()


def _ignore(_event: EventBody) -> None:
    return


@dataclass
class JobContext:
    """Everything a job sees of the outside world besides its files.

    Progress events are thinned to ``max_rate_hz`` here, at the source; the last one
    (``done == total``) always passes.
    """

    emit: EventSink = _ignore
    cancel: CancelToken = field(default_factory=CancelToken)
    clock: Callable[[], float] = time.monotonic
    max_rate_hz: float = 10.0
    _last_progress_s: dict[str, float] = field(default_factory=dict)

    def check(self) -> None:
        """Wait while paused; raise `CancelledError` if the job was cancelled."""
        if self.cancel.paused:
            self.emit(PausedEvent())
            self.cancel.wait_while_paused()
            self.cancel.touch()  # before the event, lest the pause be taken for silence
            self.emit(ResumedEvent())
        self.cancel.touch()
        if self.cancel.cancelled:
            raise CancelledError("The job was cancelled.", hint="What was done so far is kept.")

    @property
    def finishing(self) -> bool:
        """Whether the job should end early and keep the best result it has."""
        return self.cancel.finishing

    def stage(self, name: str) -> None:
        """Say which part of the job begins."""
        self.emit(StageEvent(name=name))

    def progress(
        self, done: float, total: float, unit: str = "", eta_s: float | None = None
    ) -> None:
        """Say how far the job is."""
        now_s = self.clock()
        last_s = self._last_progress_s.get(unit)
        if done < total and last_s is not None and now_s - last_s < 1.0 / self.max_rate_hz:
            return
        self._last_progress_s[unit] = now_s
        self.emit(ProgressEvent(done=done, total=total, unit=unit, eta_s=eta_s))

    def metric(self, step: int, values: Mapping[str, float]) -> None:
        """Report numbers that belong to one step (of training, say)."""
        self.emit(MetricEvent(step=step, values=dict(values)))

    def log(self, text: str, level: str = "info") -> None:
        """Tell the user something in words."""
        self.emit(LogEvent(level="warning" if level == "warning" else "info", text=text))

    def artifact(self, kind: str, path: str) -> None:
        """Announce a file that was written."""
        self.emit(ArtifactEvent(kind=kind, path=path))

    def preview(self, path: str, shape: tuple[int, ...], dtype: str) -> None:
        """Announce an array on disk that the app may show."""
        self.emit(PreviewEvent(path=path, shape=shape, dtype=dtype))
