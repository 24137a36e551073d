"""What a job sees of the world outside: thinned progress, cancel, pause."""

from __future__ import annotations

import threading
import typing
from pathlib import Path

import pytest

from decode_engine.contract.jobs import ExportSpec, JobSpec
from decode_engine.contract.messages import EventBody, ProgressEvent
from decode_engine.errors import CancelledError, OutputError
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import INPUT_FIELDS, run_job


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


def test_a_result_never_replaces_an_input(tmp_path: Path) -> None:
    """Regression: ``--overwrite`` with the movie's own name put the result in its place."""
    file = tmp_path / "a.csv"
    file.write_text("frame,x_nm,y_nm,z_nm,photons,background\n0,1,2,3,4,5\n")
    (tmp_path / "sub").mkdir()
    before = file.read_bytes()
    for name in ("a.csv", "sub/../a.csv"):
        spec = ExportSpec(localizations=str(file), out=str(tmp_path / name), overwrite=True)
        with pytest.raises(OutputError, match="is an input of this job"):
            run_job(spec, JobContext())
        assert file.read_bytes() == before


def test_every_specification_names_its_inputs_as_the_check_expects() -> None:
    known = {*INPUT_FIELDS, "file", "out"}
    for spec in typing.get_args(typing.get_args(JobSpec)[0]):
        for name, info in spec.model_fields.items():
            described = (info.description or "").lower()
            if name not in known and info.annotation in (str, str | None, tuple[str, ...]):
                assert "file" not in described, f"{spec.__name__}.{name} may be an input"
