"""Who has a project open: a lock of the operating system, with the holder's name beside it.

The system releases the lock when its holder dies, so a crash leaves no project locked. Drives
that know no locks, or only locks within one computer, are told apart by the holder's name,
which is removed when a project is closed.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from decode_engine.errors import OutputError
from decode_engine.io.atomic import explain_os_error
from decode_engine.io.locking import FileLock

__all__ = [
    "LOCK_NAME",
    "Holder",
    "ProjectLock",
    "ProjectLockedError",
    "ProjectProtectedError",
    "read_holder",
]

LOCK_NAME = "project.lock"
# Windows denies reading the locked byte, which is the first one.
_NAME_OFFSET = 1
_NAME_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The process that has a project open."""

    host: str
    pid: int
    since: str

    @classmethod
    def this_process(cls) -> Self:
        """Name this process."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(host=_this_host(), pid=os.getpid(), since=now)

    @property
    def is_here(self) -> bool:
        """Whether it runs on this computer."""
        return self.host == _this_host()

    def __str__(self) -> str:
        where = "this computer" if self.is_here else f"the computer {self.host}"
        return f"process {self.pid} on {where}, since {self.since[:16].replace('T', ' ')} UTC"


def _this_host() -> str:
    return socket.gethostname()[:200]


class ProjectLockedError(OutputError):
    """Another window has the project open, or may have."""

    code = "project_locked"

    def __init__(self, folder: Path, holder: Holder | None, *, certain: bool) -> None:
        who = f" ({holder})" if holder else ""
        if certain:
            message = f"{folder.name} is open in another window{who}."
            hint = (
                "Close it there, or open it here to look only. "
                "A window that no longer answers can be ended with the task manager."
            )
        else:
            message = f"{folder.name} was not closed by its last window{who}."
            hint = "If that computer still has it open, close it there; otherwise open it anyway."
        super().__init__(message, hint=hint, detail=str(folder))
        self.holder = holder
        self.certain = certain


class ProjectProtectedError(OutputError):
    """A project lies where nothing can be written."""

    code = "project_protected"

    def __init__(self, folder: Path, detail: str) -> None:
        super().__init__(
            f"{folder} is write-protected.",
            hint="Open it to look only, or copy the folder to a place that can be written.",
            detail=detail,
        )


class ProjectLock:
    """Holds a project for this process until `release`.

    Parameters
    ----------
    take_over : bool
        Open a project although a window on another computer may have it open.

    Raises
    ------
    ProjectLockedError
        If another window has the project open, or (``certain`` is False) may have.
    ProjectProtectedError
        If nothing can be written there; `OutputError` for other obstacles.
    """

    def __init__(self, folder: Path, *, take_over: bool = False) -> None:
        self._path = folder / LOCK_NAME
        holder = read_holder(folder)
        try:
            self._lock: FileLock | None = FileLock(self._path)
        except OutputError as error:
            raise ProjectLockedError(folder, holder, certain=True) from error
        except OSError as error:
            raise _why_not(error, folder) from error
        if holder is not None and not take_over:
            self._refuse_living(folder, holder)
        self._holder = Holder.this_process()
        try:
            self._write(json.dumps(asdict(self._holder)))
        except OSError:
            # A full disk, say: the lock itself holds, and the user must be able to open.
            self._holder = read_holder(folder) or self._holder

    def _refuse_living(self, folder: Path, holder: Holder) -> None:
        if not holder.is_here:
            self._drop()
            raise ProjectLockedError(folder, holder, certain=False)
        if not self._locks_work() and _is_alive(holder.pid) and holder.pid != os.getpid():
            self._drop()
            raise ProjectLockedError(folder, holder, certain=False)

    def _locks_work(self) -> bool:
        """Tell whether this drive knows locks: a second one must be refused."""
        try:
            FileLock(self._path).release()
        except OutputError:
            return True
        return False

    def _write(self, text: str) -> None:
        descriptor = os.open(self._path, os.O_RDWR)
        try:
            os.lseek(descriptor, _NAME_OFFSET, os.SEEK_SET)
            # Always of one length: Windows may refuse to cut a file that is locked.
            os.write(descriptor, text.encode("ascii").ljust(_NAME_BYTES))
        finally:
            os.close(descriptor)

    def _drop(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def verify(self) -> None:
        """Raise `ProjectLockedError` if another window has taken the project over."""
        holder = read_holder(self._path.parent)
        if self._lock is None or (holder is not None and holder != self._holder):
            raise ProjectLockedError(self._path.parent, holder, certain=True)

    def release(self) -> None:
        """Give the project back."""
        if self._lock is None:
            return
        # The file stays: removing it would let two others lock two different files.
        with contextlib.suppress(OSError):
            if read_holder(self._path.parent) == self._holder:
                self._write("")
        self._drop()


def _why_not(error: OSError, folder: Path) -> OutputError:
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return ProjectProtectedError(folder, str(error))
    return explain_os_error(error, folder / LOCK_NAME)


def read_holder(folder: Path) -> Holder | None:
    """Return who has a project open or did not close it; None for nobody."""
    try:
        with (folder / LOCK_NAME).open("rb", buffering=0) as handle:
            handle.seek(_NAME_OFFSET)
            return Holder(**json.loads(handle.read(4096)))
    except (OSError, ValueError, TypeError):
        return None


if sys.platform == "win32":
    import ctypes

    def _is_alive(pid: int) -> bool:
        query, still_active = 0x1000, 259
        kernel = ctypes.windll.kernel32
        handle = kernel.OpenProcess(query, False, pid)
        if not handle:
            return False
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        kernel.CloseHandle(handle)
        return code.value == still_active

else:

    def _is_alive(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except OSError:
            return True
        return True
