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
    ProgressEvent,
    StageEvent,
)

__all__ = ["JobState", "reduce_event"]

Phase = Literal["idle", "running", "completed", "cancelled", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobState:
    """What is known of a job."""

    phase: Phase = "idle"
    stage: str = ""
    fraction: float | None = None
    eta_s: float | None = None
    artifacts: tuple[tuple[str, str], ...] = ()
    messages: tuple[str, ...] = ()
    failure: FailedEvent | None = None
    summary: dict[str, object] = field(default_factory=dict)


def reduce_event(state: JobState, event: EventBody) -> JobState:
    """Return the state after one more event; events that change nothing return it as it is."""
    if isinstance(event, AcceptedEvent):
        return JobState(phase="running")
    if isinstance(event, StageEvent):
        return replace(state, stage=event.name, fraction=None, eta_s=None)
    if isinstance(event, ProgressEvent):
        fraction = event.done / event.total if event.total > 0 else None
        return replace(state, fraction=fraction, eta_s=event.eta_s)
    if isinstance(event, ArtifactEvent):
        return replace(state, artifacts=(*state.artifacts, (event.kind, event.path)))
    if isinstance(event, LogEvent):
        return replace(state, messages=(*state.messages, event.text))
    if isinstance(event, FailedEvent):
        return replace(state, phase="failed", failure=event)
    if isinstance(event, FinishedEvent):
        return replace(state, phase=event.reason, summary=dict(event.summary), fraction=1.0)
    return state
