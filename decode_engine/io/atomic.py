"""Writing files so that nothing is ever half-written: temporary name, then rename."""

from __future__ import annotations

import errno
import hashlib
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from decode_engine.errors import DiskFullError, OutputError

__all__ = ["atomic_path", "explain_os_error", "require_output", "sha256_file"]


def require_output(path: Path, *, overwrite: bool) -> None:
    """Raise `OutputError` unless ``path`` can be written; make its folder if it is missing."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder.", hint="Give the name of a file.")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path} exists already.",
            hint="Choose another name, or allow overwriting (--overwrite).",
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, path.parent) from error
    if not os.access(path.parent, os.W_OK):
        raise OutputError(f"The folder {path.parent} is not writable.", hint="Choose another.")


@contextmanager
def atomic_path(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it on success, remove it on failure.

    Raises
    ------
    OutputError
        If the file exists (and ``overwrite`` is False) or the folder cannot be written.
    DiskFullError
        If the disk filled up inside the block.
    """
    require_output(path, overwrite=overwrite)
    temporary = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}{path.suffix}")
    try:
        yield temporary
        with temporary.open("rb") as handle:
            os.fsync(handle.fileno())
        if not overwrite:
            require_output(path, overwrite=False)  # another process may have been faster
        temporary.replace(path)
    except OSError as error:
        raise explain_os_error(error, path) from error
    finally:
        temporary.unlink(missing_ok=True)


def explain_os_error(error: OSError, path: Path) -> OutputError:
    """Turn an operating-system error while writing ``path`` into one with a way out."""
    # numpy tells of a full disk without a number: "406400 requested and 13216 written".
    cut_short = error.errno is None and "requested and" in str(error)
    if cut_short or error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"The disk is full: {path} could not be written.",
            hint="Free space and resume; what was written so far is kept.",
            detail=str(error),
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError(
            f"{path} is not writable.", hint="Choose another folder.", detail=str(error)
        )
    return OutputError(
        f"{path} could not be written: {error.strerror or error}.",
        hint="Choose another place.",
        detail=str(error),
    )


def sha256_file(path: Path, *, head_bytes: int | None = None) -> str:
    """Return the SHA-256 of a file, or of its first ``head_bytes`` bytes and its size."""
    digest = hashlib.sha256()
    remaining = path.stat().st_size if head_bytes is None else head_bytes
    with path.open("rb") as handle:
        while remaining > 0 and (block := handle.read(min(1 << 20, remaining))):
            digest.update(block)
            remaining -= len(block)
    if head_bytes is not None:
        digest.update(str(path.stat().st_size).encode())
    return digest.hexdigest()
