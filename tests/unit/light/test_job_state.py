"""The reducer behind the window: events in, state out, no Qt."""

from __future__ import annotations

from app.models.job_state import JobState, reduce_event
from decode_engine.contract.messages import (
    AcceptedEvent,
    ArtifactEvent,
    EventBody,
    FailedEvent,
    FinishedEvent,
    LogEvent,
    MetricEvent,
    ProgressEvent,
    StageEvent,
)


def _after(*events: EventBody) -> JobState:
    state = JobState()
    for event in events:
        state = reduce_event(state, event)
    return state


def test_a_whole_run() -> None:
    state = _after(
        AcceptedEvent(),
        StageEvent(name="Fitting"),
        ProgressEvent(done=1, total=4, eta_s=3.0),
        ArtifactEvent(kind="image", path="a.png"),
        ArtifactEvent(kind="image", path="b.png"),
        LogEvent(text="hm"),
        FinishedEvent(reason="completed", summary={"n": 3}),
    )
    assert state.phase == "completed"
    assert state.fraction == 1.0
    assert state.artifacts == (("image", "a.png"), ("image", "b.png"))
    assert state.messages == ("hm",)
    assert state.summary == {"n": 3}


def test_a_stage_forgets_the_progress_of_the_last() -> None:
    state = _after(AcceptedEvent(), ProgressEvent(done=1, total=4), StageEvent(name="Next"))
    assert (state.stage, state.fraction) == ("Next", None)


def test_progress_without_a_total_is_unknown() -> None:
    assert _after(ProgressEvent(done=0, total=0)).fraction is None


def test_failure_and_a_fresh_start() -> None:
    failure = FailedEvent(code="x", message="m")
    state = _after(AcceptedEvent(), failure)
    assert (state.phase, state.failure) == ("failed", failure)
    assert reduce_event(state, AcceptedEvent()) == JobState(phase="running")


def test_events_that_do_not_matter_change_nothing() -> None:
    state = _after(AcceptedEvent())
    assert reduce_event(state, MetricEvent(step=1, values={})) is state
