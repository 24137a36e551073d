"""The state of one job as the window shows it: a pure function of its events."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from decode_engine.contract.messages import (
    AcceptedEvent,
    ArtifactEvent,
    EventBody,
    FailedEvent,
    FinishedEvent,
    LogEvent,
    PausedEvent,
    ProgressEvent,
    ResumedEvent,
    StageEvent,
)

__all__ = ["MESSAGES_KEPT", "JobState", "Phase", "reduce_event"]

Phase = Literal["idle", "queued", "running", "paused", "completed", "cancelled", "failed"]

MESSAGES_KEPT = 200
_RATE_WINDOW_S = 20.0  # long enough to smooth batches, short enough to follow a slower part
_RATE_MARKS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What is known of a job.

    Attributes
    ----------
    phase : str
        ``queued`` waits for an earlier job, ``paused`` for the user.
    stage : str
        What it does now, in words.
    fraction, done, total, unit
        How far the stage is: 0 to 1, and in its own units.
    rate_per_s : float or None
        Units per second over the last seconds.
    eta_s : float or None
        Time that is left, as the job itself or the rate says.
    artifacts : tuple of (kind, path)
    messages : tuple of str
        The latest words, at most `MESSAGES_KEPT`.
    failure : FailedEvent or None
        Why it failed.
    summary : dict
        What a finished job answered.
    request : str
        What the user asked for and the job has not done yet: ``pause``, ``cancel``, ``finish``.
    silence : FailedEvent or None
        Why the engine is thought to hang; it may come back.
    """

    phase: Phase = "idle"
    stage: str = ""
    fraction: float | None = None
    done: float = 0.0
    total: float = 0.0
    unit: str = ""
    rate_per_s: float | None = None
    eta_s: float | None = None
    artifacts: tuple[tuple[str, str], ...] = ()
    messages: tuple[str, ...] = ()
    failure: FailedEvent | None = None
    summary: dict[str, object] = field(default_factory=dict)
    request: Literal["", "pause", "cancel", "finish"] = ""
    silence: FailedEvent | None = None
    marks: tuple[tuple[float, float], ...] = ()  # (engine time, done) behind `rate_per_s`

    @property
    def is_active(self) -> bool:
        """Whether the job runs, is paused, or waits for its turn."""
        return self.phase in ("queued", "running", "paused")


def reduce_event(state: JobState, event: EventBody, t_s: float | None = None) -> JobState:
    """Return the state after one more event; events that change nothing return it as it is.

    ``t_s`` is the engine's time of the event; without it no rate is known.
    """
    if isinstance(event, AcceptedEvent):
        return JobState(phase="running", request=state.request)
    if isinstance(event, StageEvent):
        return replace(_without_progress(state), stage=event.name)
    if isinstance(event, ProgressEvent):
        return _with_progress(state, event, t_s)
    if isinstance(event, PausedEvent):
        return replace(state, phase="paused", request="", marks=(), rate_per_s=None, eta_s=None)
    if isinstance(event, ResumedEvent):
        request = "" if state.request == "pause" else state.request
        return replace(state, phase="running", request=request)
    if isinstance(event, ArtifactEvent):
        artifact = (event.kind, event.path)
        others = tuple(a for a in state.artifacts if a != artifact)
        return replace(state, artifacts=(*others, artifact))
    if isinstance(event, LogEvent):
        return replace(state, messages=(*state.messages, event.text)[-MESSAGES_KEPT:])
    if isinstance(event, FailedEvent | FinishedEvent):
        return _ended(state, event)
    return state


def _ended(state: JobState, event: FailedEvent | FinishedEvent) -> JobState:
    state = replace(state, request="", silence=None, eta_s=None, marks=())
    if isinstance(event, FailedEvent):
        return replace(state, phase="failed", failure=event)
    fraction = 1.0 if event.reason == "completed" else state.fraction
    return replace(state, phase=event.reason, summary=dict(event.summary), fraction=fraction)


def _without_progress(state: JobState) -> JobState:
    return replace(
        state, fraction=None, done=0.0, total=0.0, unit="", rate_per_s=None, eta_s=None, marks=()
    )


def _with_progress(state: JobState, event: ProgressEvent, t_s: float | None) -> JobState:
    marks = state.marks
    if event.unit != state.unit or event.done < state.done:
        marks = ()
    if t_s is not None:
        marks = (*(m for m in marks if t_s - m[0] <= _RATE_WINDOW_S), (t_s, event.done))
        marks = marks[-_RATE_MARKS:]
    rate = _rate(marks)
    eta_s = event.eta_s
    if eta_s is None and rate:
        eta_s = max(event.total - event.done, 0.0) / rate
    return replace(
        state,
        fraction=min(event.done / event.total, 1.0) if event.total > 0 else None,
        done=event.done,
        total=event.total,
        unit=event.unit,
        rate_per_s=rate,
        eta_s=eta_s,
        marks=marks,
    )


def _rate(marks: tuple[tuple[float, float], ...]) -> float | None:
    if len(marks) < 2:
        return None
    (began_s, first), (now_s, last) = marks[0], marks[-1]
    return (last - first) / (now_s - began_s) if now_s > began_s else None
