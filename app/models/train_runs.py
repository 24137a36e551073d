"""The trainings of a project as rows of a table, and how one ended, in words."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from app.models.project import RunRecord
from app.models.runs import local_time
from app.models.train_start import model_of_run

__all__ = ["RunRow", "ended_words", "run_rows"]

_STATES = {
    "running": "running",
    "paused": "paused",
    "completed": "done",
    "cancelled": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}

_ENDED_BY = {
    "request": "Ended early, as asked",
    "patience": "Ended, as it no longer improved,",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One training in words."""

    run_id: str
    begun: str
    state: str
    jaccard: str
    error: str
    time: str
    can_use: bool
    can_resume: bool


def run_rows(
    runs: Sequence[RunRecord], *, in_use: str | None, can_resume: Callable[[str], bool]
) -> tuple[RunRow, ...]:
    """Return the rows, newest first; ``in_use`` is the model with which one localizes."""
    return tuple(_row(run, in_use, can_resume(run.run_id)) for run in reversed(runs))


def ended_words(run: RunRecord, *, in_use: str | None) -> str:
    """Say how a run ended and what that means."""
    has_model = model_of_run(run) is not None
    if run.state == "completed":
        time = _duration(run)
        used = "Its model is in use." if _is_used(run, in_use) else "Another model is in use."
        how = _ENDED_BY.get(str(run.summary.get("ended_by", "")), "Training finished")
        return f"{how}{f' after {time}' if time else ''}. {used}"
    kept = "Its best model so far is kept. " if has_model else ""
    if run.state == "failed":
        return f"This training failed. {kept}".strip()
    if run.state == "cancelled":
        return f"Stopped before its time. {kept}You can go on with it."
    if run.state == "interrupted":
        return (
            f"This training was interrupted, by closing the app or a crash. {kept}"
            "It can go on from the last state that was kept."
        )
    return ""


def _row(run: RunRecord, in_use: str | None, can_resume: bool) -> RunRow:
    state = _STATES[run.state]
    return RunRow(
        run_id=run.run_id,
        begun=local_time(run.created),
        state=f"{state}, in use" if _is_used(run, in_use) else state,
        jaccard=_number(run, "jaccard", "{:.2f}"),
        error=_errors(run),
        time=_duration(run),
        can_use=model_of_run(run) is not None,
        can_resume=can_resume,
    )


def _is_used(run: RunRecord, in_use: str | None) -> bool:
    return in_use is not None and in_use in run.outputs.values()


def _number(run: RunRecord, name: str, pattern: str) -> str:
    value = run.summary.get(name)
    known = isinstance(value, int | float) and math.isfinite(value)
    return pattern.format(value) if known else ""


def _errors(run: RunRecord) -> str:
    errors = [_number(run, f"rmse_{axis}_nm", "{:.0f}") for axis in ("lateral", "axial")]
    return " / ".join(e for e in errors if e)


def _duration(run: RunRecord) -> str:
    value = run.summary.get("elapsed_s")
    if not isinstance(value, int | float) or not math.isfinite(value):
        return ""
    return f"{value:.0f} s" if value < 100 else f"{value / 60:.0f} min"
