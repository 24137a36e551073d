"""Which function does which job, and what its failure is called; the only dispatch there is."""

from __future__ import annotations

import errno
import importlib
import traceback
from collections.abc import Mapping
from pathlib import Path

from pydantic import TypeAdapter

from decode_engine.contract.jobs import JobSpec
from decode_engine.contract.messages import FailedEvent, SummaryValue
from decode_engine.errors import EngineError, InputError, OutputError
from decode_engine.io.atomic import explain_os_error
from decode_engine.jobs.context import JobContext

__all__ = ["INPUT_FIELDS", "JOB_MODULES", "describe_failure", "exit_code", "run_job"]

# Modules are named, not imported: torch loads only for the jobs that need it.
JOB_MODULES: Mapping[str, str] = {
    "calibrate": "calibrate",
    "convert-calibration": "convert_calibration",
    "import-cameras": "import_cameras",
    "simulate": "simulate",
    "train": "train",
    "localize": "localize",
    "fit-mle": "fit_mle",
    "render": "render",
    "evaluate": "evaluate",
    "export": "export",
    "import": "import_table",
    "inspect": "inspect",
    "preview": "preview",
    "psf-preview": "psf_preview",
    "example": "example",
}

_SUMMARY: TypeAdapter[dict[str, SummaryValue]] = TypeAdapter(dict[str, SummaryValue])
# Fields of the specifications that name files to read.
INPUT_FIELDS = (
    "beads",
    "calibration",
    "calibration_file",
    "camera",
    "file",
    "init",
    "localizations",
    "mapping",
    "model",
    "movie",
    "movies",
    "truth",
)
_DETAIL_LIMIT = 16_000  # a failed event must fit into one protocol line
_MESSAGE_LIMIT = 500
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
# What a wrong name or a missing right looks like where no room has said it in its own words.
_USERS_ERRORS = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP}
)


def run_job(spec: JobSpec, context: JobContext) -> dict[str, SummaryValue]:
    """Run the job that ``spec`` describes and return its summary.

    Raises
    ------
    EngineError
        For everything a user can act on; other exceptions are defects.
    """
    module = importlib.import_module(f"decode_engine.jobs.{JOB_MODULES[spec.job]}")
    context.check()
    _require_other_output(spec)
    # Checked here, so that a job whose summary cannot be sent fails in every front end alike.
    return _SUMMARY.validate_python(module.run(spec, context))


def _require_other_output(spec: JobSpec) -> None:
    """Raise `OutputError` if the output is one of the inputs; overwriting would destroy it."""
    out = Path(getattr(spec, "out", None) or "")
    if not out.is_file():
        return
    for name in INPUT_FIELDS:
        given = getattr(spec, name, None) or ()
        for path in map(Path, (given,) if isinstance(given, str) else given):
            if path.exists() and path.samefile(out):
                raise OutputError(
                    f"{out} is an input of this job and would be replaced by its result.",
                    hint="Choose another name for the result.",
                )


def exit_code(error: BaseException) -> int:
    """Return the exit code of a command that ended with ``error``."""
    if isinstance(error, EngineError):
        return error.exit_code
    if isinstance(error, OSError) and error.errno in {*_DISK_FULL, *_USERS_ERRORS}:
        return InputError.exit_code
    return EngineError.exit_code


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out; torch says so by a type of its own, or in words (CPU, MPS)."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in words for phrase in _NO_MEMORY)


def describe_failure(error: BaseException) -> FailedEvent:
    """Turn any exception into the words, the code and the way out that the user gets."""
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        error = explain_os_error(error, Path(str(error.filename or "a file")))
    if isinstance(error, EngineError):
        return FailedEvent(
            code=error.code,
            message=error.message,
            hint=error.hint,
            detail=error.detail[-_DETAIL_LIMIT:],
        )
    detail = "".join(traceback.format_exception(error))[-_DETAIL_LIMIT:]
    if _is_out_of_memory(error):
        return FailedEvent(
            code="out_of_memory",
            message="The memory of this computer or of its graphics card is not large enough.",
            hint="Close other programs, or choose smaller tiles, smaller batches or the CPU.",
            detail=detail,
        )
    if isinstance(error, OSError) and error.errno in _USERS_ERRORS:
        named = error.filename or "A file"
        return FailedEvent(
            code=InputError.code,
            message=f"{named} cannot be used: {error.strerror}."[:_MESSAGE_LIMIT],
            hint="Check the name, and that you may read and write there.",
            detail=detail,
        )
    return FailedEvent(
        code="internal_error",
        message=f"Something went wrong that should not: {type(error).__name__}: {error}"[
            :_MESSAGE_LIMIT
        ],
        hint="Please report it with the details below.",
        detail=detail,
    )
