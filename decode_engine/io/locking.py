"""A lock between processes that the operating system releases when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

from decode_engine.errors import OutputError

__all__ = ["FileLock"]

_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)


class FileLock:
    """An exclusive lock on a file; raises `OutputError` where another process holds it.

    File systems that know no locks (some network drives) are used without.
    """

    def __init__(self, path: Path) -> None:
        self._descriptor: int | None = None  # known to release() even if opening fails
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(self._descriptor)
        except OSError as error:
            if error.errno in _BUSY:
                self.release()
                raise OutputError(
                    f"Another job is writing {path.parent}.",
                    hint="Wait until it is finished, or choose another name.",
                ) from error

    def release(self) -> None:
        """Give the lock back."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def __del__(self) -> None:
        self.release()


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 0, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
