"""Which function does which job, and what its failure is called; the only dispatch there is."""

from __future__ import annotations

import errno
import importlib
import traceback
from collections.abc import Mapping

from pydantic import TypeAdapter

from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import FailedEvent, SummaryValue
from decode_engine.errors import DiskFullError, EngineError
from decode_engine.jobs.context import JobContext

__all__ = ["JOB_MODULES", "describe_failure", "run_job"]

# Modules are named, not imported: torch loads only for the jobs that need it.
JOB_MODULES: Mapping[str, str] = {
    "calibrate": "calibrate",
    "simulate": "simulate",
    "train": "train",
    "localize": "localize",
    "fit-mle": "fit_mle",
    "render": "render",
    "evaluate": "evaluate",
    "export": "export",
    "inspect": "inspect",
    "preview": "preview",
    "example": "example",
}

_SUMMARY: TypeAdapter[dict[str, SummaryValue]] = TypeAdapter(dict[str, SummaryValue])
_DETAIL_LIMIT = 16_000  # a failed event must fit into one protocol line


def run_job(spec: JobSpec, context: JobContext) -> dict[str, SummaryValue]:
    """Run the job that ``spec`` describes and return its summary.

    Raises
    ------
    EngineError
        For everything a user can act on; other exceptions are defects.
    """
    module = importlib.import_module(f"decode_engine.jobs.{JOB_MODULES[spec.job]}")
    context.check()
    # Checked here, so that a job whose summary cannot be sent fails in every front end alike.
    return _SUMMARY.validate_python(module.run(spec, context))


def describe_failure(error: BaseException) -> FailedEvent:
    """Turn any exception into the words, the code and the way out that the user gets."""
    if isinstance(error, EngineError):
        return FailedEvent(
            code=error.code,
            message=error.message,
            hint=error.hint,
            detail=error.detail[-_DETAIL_LIMIT:],
        )
    detail = "".join(traceback.format_exception(error))[-_DETAIL_LIMIT:]
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return FailedEvent(
            code="out_of_memory",
            message="The memory of this computer or of its graphics card is not large enough.",
            hint="Close other programs, or choose smaller tiles, batches or the CPU.",
            detail=detail,
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FailedEvent(
            code=DiskFullError.code,
            message=f"The disk is full: {error.filename or 'a file'} could not be written.",
            hint="Free space and resume; what was written so far is kept.",
            detail=detail,
        )
    return FailedEvent(
        code="internal_error",
        message=f"Something went wrong that should not: {type(error).__name__}: {error}"[:500],
        hint="Please report it with the details below.",
        detail=detail,
    )
