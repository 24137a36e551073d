"""Two windows on one project: who holds it, and the way out when the holder is dead."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import project_lock
from app.models.project import Project
from app.models.project_lock import (
    LOCK_NAME,
    Holder,
    ProjectLock,
    ProjectLockedError,
    ProjectProtectedError,
    read_holder,
)
from app.models.project_store import ProjectFile

_HOLD = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from app.models.project_lock import ProjectLock

    lock = ProjectLock(Path(sys.argv[1]))
    print("held", flush=True)
    sys.stdin.read()
    lock.release()
    """
)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that has the project open until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == b"held"
    yield process
    process.kill()
    process.communicate()


def _pretend(folder: Path, holder: Holder) -> None:
    data = {"host": holder.host, "pid": holder.pid, "since": holder.since}
    (folder / LOCK_NAME).write_bytes(b"\0" + json.dumps(data).encode())


def test_living_holder_is_named(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ProjectLockedError) as caught:
        ProjectLock(tmp_path)
    assert caught.value.certain
    assert str(holder.pid) in caught.value.message
    assert "look only" in caught.value.hint


def test_living_holder_cannot_be_overruled(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    with pytest.raises(ProjectLockedError):
        ProjectLock(tmp_path, take_over=True)


def test_project_is_free_after_the_holder_closed_it(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    holder.communicate()
    ProjectLock(tmp_path).release()
    assert read_holder(tmp_path) is None


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_project_is_free_after_the_holder_died(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert read_holder(tmp_path) is not None
    lock = ProjectLock(tmp_path)
    named = read_holder(tmp_path)
    assert named is not None
    assert named.pid == os.getpid()
    lock.release()


def test_holder_on_another_computer_is_asked_about(tmp_path: Path) -> None:
    _pretend(tmp_path, Holder(host="microscope-2", pid=17, since="2026-11-25T10:00:00+00:00"))
    with pytest.raises(ProjectLockedError) as caught:
        ProjectLock(tmp_path)
    assert not caught.value.certain
    assert "microscope-2" in caught.value.message
    assert "2026-11-25 10:00" in caught.value.message
    ProjectLock(tmp_path, take_over=True).release()
    ProjectLock(tmp_path).release()


def test_drive_without_locks_goes_by_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where locks never refuse, a living process of this computer still does."""
    monkeypatch.setattr(project_lock.ProjectLock, "_locks_work", lambda _self: False)
    alive = Holder.this_process()
    _pretend(tmp_path, Holder(host=alive.host, pid=os.getppid(), since=alive.since))
    with pytest.raises(ProjectLockedError):
        ProjectLock(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    _pretend(tmp_path, Holder(host=alive.host, pid=ended.pid, since=alive.since))
    ProjectLock(tmp_path).release()


@pytest.mark.parametrize("rubbish", [b"", b"\0", b"\0{", b"\0[1]", b'\0{"host": 3}', b"\xff" * 99])
def test_damaged_lock_file_is_nobodys(tmp_path: Path, rubbish: bytes) -> None:
    (tmp_path / LOCK_NAME).write_bytes(rubbish)
    ProjectLock(tmp_path).release()


def test_protected_folder_is_said_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object) -> int:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ProjectProtectedError) as caught:
        ProjectLock(tmp_path)
    assert "look only" in caught.value.hint


def test_full_disk_does_not_keep_a_project_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    _pretend(tmp_path, Holder(host="microscope-2", pid=17, since="2026-11-25T10:00:00+00:00"))
    monkeypatch.setattr(os, "write", full)
    lock = ProjectLock(tmp_path, take_over=True)
    lock.verify()
    lock.release()


def test_window_that_lost_its_project_does_not_write(tmp_path: Path) -> None:
    """Another window took the project over (a drive without locks): the first stops writing."""
    lock = ProjectLock(tmp_path)
    file = ProjectFile(tmp_path, lock)
    file.save(Project(name="mine"), 1)
    other = Holder(host="microscope-2", pid=17, since="2026-11-25T10:00:00+00:00")
    _pretend(tmp_path, other)
    with pytest.raises(ProjectLockedError, match="microscope-2"):
        file.save(Project(name="mine again"), 2)
    lock.release()
    assert read_holder(tmp_path) == other, "the other one's name stays"
