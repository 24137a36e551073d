"""Which movie was localized by which run: what the list of the Localize page says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.models.project import MovieEntry, RunRecord
from app.models.steps import Step

__all__ = ["MovieResult", "latest_results"]

_WORDS = {
    "running": "running",
    "paused": "paused",
    "completed": "done",
    "cancelled": "stopped",
    "failed": "failed",
    "interrupted": "interrupted",
}
_RESUMABLE = ("cancelled", "failed", "interrupted")


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieResult:
    """The newest run of one movie, in words; empty texts where there is none."""

    run_id: str = ""
    state: str = "not yet"
    result: str = ""
    resumable: str = ""


def latest_results(
    movies: Sequence[MovieEntry], runs: Sequence[RunRecord]
) -> tuple[MovieResult, ...]:
    """Return what became of each movie, in their order."""
    newest: dict[str, RunRecord] = {}
    for run in runs:
        paths = run.spec.get("movies")
        if run.step is Step.LOCALIZE and isinstance(paths, (list, tuple)):
            for path in paths:
                newest[str(path)] = run
    return tuple(_result(newest.get(movie.path)) for movie in movies)


def _result(run: RunRecord | None) -> MovieResult:
    if run is None:
        return MovieResult()
    words = _WORDS[run.state]
    count = run.summary.get("localizations")
    if run.state == "completed" and isinstance(count, (int, float)):
        words = f"{count:,.0f} found"
    return MovieResult(
        run_id=run.run_id,
        state=words,
        result=run.outputs.get("localizations", "") if run.state == "completed" else "",
        resumable=run.run_id if run.state in _RESUMABLE else "",
    )
