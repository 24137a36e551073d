"""The record of long jobs in the project, from their begin to whatever ended them."""

from __future__ import annotations

from collections.abc import Iterable

from app.controllers.session import ProjectSession
from app.models import runs as run_list
from app.models.job_state import JobState
from app.models.project import RunRecord, RunState
from app.models.steps import Step
from decode_engine.contract.jobs import JobSpec

__all__ = ["RunBook"]


class RunBook:
    """Writes runs down in the session's project.

    The session stays with its project while runs are going on, so a run's record is always there.
    """

    def __init__(self, session: ProjectSession) -> None:
        self._session = session
        self._known: set[str] = set()
        self._interrupted = False

    def knows(self, run_id: str) -> bool:
        """Whether this is a run that was begun or reopened here."""
        return run_id in self._known

    def forget(self) -> None:
        """Know no run any more: another project was opened."""
        self._known.clear()

    def begin(self, step: Step, title: str, run_id: str, spec: JobSpec) -> None:
        """Write down that a run begins."""
        self._known.add(run_id)
        self._session.record_run(
            RunRecord(
                run_id=run_id,
                step=step,
                title=title,
                created=run_list.now_text(),
                spec=spec.model_dump(mode="json"),
                inputs_fingerprint=self._session.fingerprint(spec),
            )
        )

    def can_resume(self, run_id: str) -> bool:
        """Whether a run stopped half-way and its job can go on."""
        record = self._find(run_id)
        return record is not None and run_list.can_resume(record)

    def reopen(self, run_id: str) -> JobSpec:
        """Mark a stopped run as running again; return its specification, set to resume.

        Raises
        ------
        KeyError
            If there is no such run, or `can_resume` is false of it.
        """
        record = self._find(run_id)
        spec = None if record is None else run_list.resumed_spec(record)
        if record is None or spec is None:
            raise KeyError(run_id)
        self._known.add(run_id)
        self._session.record_run(
            record.model_copy(update={"state": "running", "failure": None, "outputs": {}})
        )
        return spec

    def note(self, run_id: str, before: JobState, state: JobState) -> None:
        """Write down what has changed about a run, if it is worth keeping."""
        changed = before.phase != state.phase or before.artifacts != state.artifacts
        record = self._find(run_id)
        if not changed or record is None:
            return
        failure = state.failure
        self._session.record_run(
            record.model_copy(
                update={
                    "state": self._record_state(state),
                    "outputs": _outputs(state.artifacts),
                    "summary": dict(state.summary),
                    "failure": None if failure is None else failure.model_dump(exclude={"event"}),
                }
            )
        )

    def interrupt(self) -> None:
        """Take the cancellations that follow for interruptions: the app is closing."""
        self._interrupted = True

    def _record_state(self, state: JobState) -> RunState:
        if state.phase in ("completed", "failed", "paused"):
            return state.phase
        if state.phase == "cancelled":
            return "interrupted" if self._interrupted else "cancelled"
        return "running"

    def _find(self, run_id: str) -> RunRecord | None:
        runs = self._session.project.runs
        return next((record for record in runs if record.run_id == run_id), None)


def _outputs(artifacts: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the paths by kind; the second of a kind is ``kind-2`` and so on."""
    outputs: dict[str, str] = {}
    for kind, path in artifacts:
        key, number = kind, 2
        while key in outputs:
            key, number = f"{kind}-{number}", number + 1
        outputs[key] = path
    return outputs
