"""What the user is told of exceptions that no room has put into words."""

from __future__ import annotations

import errno

import pytest

from decode_engine.jobs.registry import describe_failure


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        type("OutOfMemoryError", (RuntimeError,), {})("CUDA out of memory. Tried to allocate"),
        RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
    ],
    ids=lambda error: str(error)[:20] or type(error).__name__,
)
def test_all_ways_to_run_out_of_memory_are_one_problem(error: Exception) -> None:
    failure = describe_failure(error)
    assert failure.code == "out_of_memory"
    assert "batches" in failure.hint


def test_other_runtime_errors_are_defects() -> None:
    assert describe_failure(RuntimeError("shape mismatch")).code == "internal_error"


def test_a_full_disk_is_told_with_the_file() -> None:
    failure = describe_failure(OSError(errno.ENOSPC, "No space left", "/data/out.h5"))
    assert failure.code == "disk_full"
    assert "/data/out.h5" in failure.message
