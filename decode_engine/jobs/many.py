"""Many movies at once, on whatever runs functions: processes of this machine, or a cluster.

Each movie is a `localize` job of its own. Anything with the interface of
`concurrent.futures.Executor` serves: a `ProcessPoolExecutor`, or of a Dask cluster
``distributed.Client(address).get_executor()``. Files are those that the workers see.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.errors import EngineError
from decode_engine.io.atomic import explain_os_error
from decode_engine.jobs import localize
from decode_engine.jobs.context import JobContext

__all__ = ["MovieOutcome", "localize_many"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieOutcome:
    """How one of many movies ended.

    Attributes
    ----------
    movie, out : str
    summary : dict
        Of `localize.run`; empty when it failed.
    error : str
        Why it failed, with the way out; empty when it did not.
    """

    movie: str
    out: str
    summary: dict[str, Any] = field(default_factory=dict)
    error: str = ""


def localize_many(
    spec: LocalizeSpec,
    executor: Executor,
    on_done: Callable[[MovieOutcome], None] = lambda _: None,
) -> list[MovieOutcome]:
    """Localize each movie of a job by itself; one that fails leaves the others alone.

    Parameters
    ----------
    spec : LocalizeSpec
        ``out`` is a folder. With ``config.resume`` movies that are finished are left as they
        are, so that the same call goes on after whatever stopped it.
    executor : Executor
    on_done : callable
        Told about each movie as it ends.

    Returns
    -------
    list of MovieOutcome
        In the order of the movies.

    Raises
    ------
    OutputError
        If the folder cannot be made, or two movies would have the same result.
    """
    folder = Path(spec.out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    parts = [
        spec.model_copy(update={"movies": (movie,), "out": str(out)})
        for movie, out in zip(spec.movies, localize.output_paths(spec.movies, folder), strict=True)
    ]
    futures = {executor.submit(_one, part): i for i, part in enumerate(parts)}
    outcomes: dict[int, MovieOutcome] = {}
    try:
        for future in as_completed(futures):
            i = futures[future]
            failure = future.exception()
            outcome = future.result() if failure is None else _failed(parts[i], failure)
            outcomes[i] = outcome
            on_done(outcome)
    except BaseException:
        for future in futures:
            future.cancel()
        raise
    return [outcomes[i] for i in range(len(parts))]


def _one(spec: LocalizeSpec) -> MovieOutcome:
    """Do one movie, in a worker."""
    try:
        summary = localize.run(spec, JobContext())
    except EngineError as error:
        return _failed(spec, error)
    return MovieOutcome(movie=spec.movies[0], out=spec.out, summary=summary)


def _failed(spec: LocalizeSpec, error: BaseException) -> MovieOutcome:
    """Say in words what happened; the error itself may not survive the way between machines."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, EngineError):
        text = f"{error.message} {error.hint or ''}".strip()
    return MovieOutcome(movie=spec.movies[0], out=spec.out, error=text)
