"""The reducer behind the window: events in, state out, no Qt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.models.job_state import MESSAGES_KEPT, JobState, reduce_event
from decode_engine.contract.messages import (
    AcceptedEvent,
    ArtifactEvent,
    EventBody,
    FailedEvent,
    FinishedEvent,
    LogEvent,
    MetricEvent,
    PausedEvent,
    ProgressEvent,
    ResumedEvent,
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


def test_pausing_and_stopping_are_shown_until_they_have_happened() -> None:
    asked = replace(_after(AcceptedEvent()), request="pause")
    paused = reduce_event(asked, PausedEvent())
    assert (paused.phase, paused.request, paused.is_active) == ("paused", "", True)
    going = reduce_event(replace(paused, request="finish"), ResumedEvent())
    assert (going.phase, going.request) == ("running", "finish")
    done = reduce_event(going, FinishedEvent(reason="completed"))
    assert (done.phase, done.request, done.is_active) == ("completed", "", False)


def test_rate_and_time_left_follow_the_last_seconds() -> None:
    state = _after(AcceptedEvent(), StageEvent(name="Localizing"))
    for t_s in range(100):
        frames = 10.0 * t_s if t_s < 50 else 500.0 + 2.0 * (t_s - 50)
        event = ProgressEvent(done=frames, total=1000, unit="frames")
        state = reduce_event(state, event, float(t_s))
    assert state.rate_per_s == pytest.approx(2.0)
    assert state.eta_s == pytest.approx((1000 - 598) / 2.0)
    resumed = reduce_event(reduce_event(state, PausedEvent(), 100.0), ResumedEvent(), 4000.0)
    assert resumed.rate_per_s is None
    for t_s, done in ((4001.0, 600.0), (4003.0, 604.0)):
        resumed = reduce_event(resumed, ProgressEvent(done=done, total=1000, unit="frames"), t_s)
    assert resumed.rate_per_s == pytest.approx(2.0)  # the pause does not count


def test_what_the_job_itself_says_of_its_end_counts() -> None:
    state = reduce_event(_after(AcceptedEvent()), ProgressEvent(done=1, total=9, eta_s=7.0), 1.0)
    assert state.eta_s == 7.0


def test_messages_are_bounded_and_the_latest_stay() -> None:
    state = _after(AcceptedEvent(), *(LogEvent(text=str(n)) for n in range(MESSAGES_KEPT + 50)))
    assert len(state.messages) == MESSAGES_KEPT
    assert state.messages[-1] == str(MESSAGES_KEPT + 49)


def test_an_artifact_that_is_written_again_is_listed_once() -> None:
    event = ArtifactEvent(kind="model", path="best")
    assert _after(AcceptedEvent(), event, event).artifacts == (("model", "best"),)


def test_an_end_takes_the_silence_away() -> None:
    silence = FailedEvent(code="not_responding", message="m")
    state = replace(_after(AcceptedEvent()), silence=silence)
    assert reduce_event(state, FinishedEvent(reason="cancelled")).silence is None
