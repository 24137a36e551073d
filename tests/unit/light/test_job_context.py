"""What a job sees of the world outside: thinned progress, cancel, pause."""

from __future__ import annotations

import threading

import pytest

from decode_engine.contract.messages import EventBody, ProgressEvent
from decode_engine.errors import CancelledError
from decode_engine.jobs.context import JobContext


def _context(events: list[EventBody], times: list[float]) -> JobContext:
    return JobContext(emit=events.append, clock=lambda: times[0])


def test_progress_is_thinned_but_the_last_one_always_passes() -> None:
    events: list[EventBody] = []
    times = [0.0]
    context = _context(events, times)
    for done in range(101):
        times[0] = done * 0.01  # a hundred a second, ten a second allowed
        context.progress(done, 100)
    counts = [e.done for e in events if isinstance(e, ProgressEvent)]
    assert counts[0] == 0
    assert counts[-1] == 100
    assert 10 <= len(counts) <= 12


def test_check_raises_once_cancelled() -> None:
    context = JobContext()
    context.check()
    context.cancel.cancel()
    with pytest.raises(CancelledError):
        context.check()


def test_check_waits_while_paused_and_cancel_ends_the_wait() -> None:
    context = JobContext()
    context.cancel.pause()
    results: list[str] = []

    def work() -> None:
        try:
            context.check()
            results.append("went on")
        except CancelledError:
            results.append("cancelled")

    for release, expected in ((context.cancel.proceed, "went on"),):
        thread = threading.Thread(target=work)
        thread.start()
        assert thread.is_alive()
        release()
        thread.join(timeout=5)
        assert results[-1] == expected
    context.cancel.pause()
    thread = threading.Thread(target=work)
    thread.start()
    context.cancel.cancel()
    thread.join(timeout=5)
    assert results[-1] == "cancelled"
