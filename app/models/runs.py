"""The runs of a project: finding them, numbering them, going on with an interrupted one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from app.models.project import Project, RunRecord
from app.models.steps import Step
from decode_engine.contract.jobs import JobSpec, LocalizeSpec, TrainSpec

__all__ = [
    "can_resume",
    "interrupted",
    "local_time",
    "new_run_folder",
    "now_text",
    "resumed_spec",
    "run_that_made",
    "runs_of",
    "same_path",
    "spec_of",
    "with_run",
]

_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
_OPEN = ("running", "paused")
_RESUMABLE = ("interrupted", "cancelled", "failed", "paused")


def now_text() -> str:
    """Return the time in UTC as it stands in a run's record."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def local_time(created: str) -> str:
    """Return a run's time as the user's clock showed it."""
    try:
        return datetime.fromisoformat(created).astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return created


def runs_of(project: Project, step: Step) -> tuple[RunRecord, ...]:
    """Return the runs of a step, oldest first."""
    return tuple(run for run in project.runs if run.step == step)


def with_run(runs: Iterable[RunRecord], record: RunRecord) -> tuple[RunRecord, ...]:
    """Add a run, or replace the one with its id in place."""
    known = tuple(runs)
    if any(run.run_id == record.run_id for run in known):
        return tuple(record if run.run_id == record.run_id else run for run in known)
    return (*known, record)


def new_run_folder(folder: Path, step: Step, taken: Iterable[str]) -> Path:
    """Make ``runs/<step>-<number>`` with a number that was never used in this project."""
    used = set(taken)
    number = 1
    while True:
        run_id = f"{step.value}-{number:03d}"
        path = folder / "runs" / run_id
        if run_id not in used:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                path.mkdir()
            except FileExistsError:
                pass  # of a run that was lost with a damaged project file: never write into it
            else:
                return path
        number += 1


def run_that_made(project: Project, path: str) -> RunRecord | None:
    """Return the run whose output a file is; None for a file from elsewhere."""
    for run in reversed(project.runs):
        if any(same_path(output, path) for output in run.outputs.values()):
            return run
    return None


def same_path(one: str, other: str) -> bool:
    """Tell whether two paths are spelled for the same file; nothing on disk is looked at."""
    return os.path.normcase(os.path.normpath(one)) == os.path.normcase(os.path.normpath(other))


def interrupted(project: Project) -> Project:
    """Mark runs that were going on when the project's last window died."""
    if not any(run.state in _OPEN for run in project.runs):
        return project
    runs = tuple(
        run.model_copy(update={"state": "interrupted"}) if run.state in _OPEN else run
        for run in project.runs
    )
    return project.model_copy(update={"runs": runs})


def spec_of(record: RunRecord) -> JobSpec | None:
    """Return what a run was asked to do; None where this app does not know such a job."""
    try:
        return _SPEC.validate_python(record.spec)
    except ValidationError:
        return None


def can_resume(record: RunRecord) -> bool:
    """Tell whether an unfinished run can go on where it stopped."""
    return record.state in _RESUMABLE and isinstance(spec_of(record), TrainSpec | LocalizeSpec)


def resumed_spec(record: RunRecord) -> JobSpec | None:
    """Return the job that goes on with a run; None where it has to start over."""
    spec = spec_of(record)
    if isinstance(spec, TrainSpec):
        return spec.model_copy(update={"resume": True})
    if isinstance(spec, LocalizeSpec):
        config = spec.config.model_copy(update={"resume": True})
        return spec.model_copy(update={"config": config})
    return None
