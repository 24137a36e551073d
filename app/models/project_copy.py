"""Moving and copying project folders, and the untitled ones that a user has not named yet."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path

from app.models.project import Project
from app.models.project_lock import LOCK_NAME
from app.models.project_store import BACKUP_NAME, PROJECT_NAME, ProjectFile
from app.models.size_words import size_words
from decode_engine.errors import DiskFullError, EngineError, OutputError
from decode_engine.io.atomic import explain_os_error
from decode_engine.io.locking import FileLock

__all__ = [
    "copy_project",
    "make_untitled_folder",
    "remove_if_unused",
    "require_empty",
    "rescue",
    "unnamed_projects",
]

_SCRATCH = "previews"
_NOT_COPIED = {LOCK_NAME, _SCRATCH, PROJECT_NAME, BACKUP_NAME}
_BLOCK_BYTES = 16 << 20
_UNTITLED = "Untitled"
_BEING_MADE_S = 10.0  # between a folder, its lock and its project: another window may be at it


def require_empty(folder: Path) -> None:
    """Raise `OutputError` unless a project can be saved as this folder."""
    if folder.is_file():
        raise OutputError(f"{folder} is a file.", hint="Give the name of a new folder.")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"{folder} is not empty.", hint="Give the name of a new or an empty folder."
        )


def copy_project(source: Path, target: Path, check: Callable[[], None]) -> None:
    """Copy everything but the project file itself, scratch and lock; all of it or nothing.

    Raises
    ------
    OutputError
        If the target is not empty or cannot be written (`DiskFullError` for a full disk).
    """
    try:
        require_empty(target)
        if source in target.parents:
            raise OutputError(
                f"{target} lies inside the project itself.", hint="Choose another place."
            )
        files = [path for path in _below(source) if path.is_file()]
        target.parent.mkdir(parents=True, exist_ok=True)
        _require_space(sum(path.stat().st_size for path in files), target.parent)
        partial = target.with_name(f".{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            for path in files:
                _copy_file(path, partial / path.relative_to(source), check)
            partial.mkdir(exist_ok=True)
            if target.exists():
                target.rmdir()
            partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    except OSError as error:
        raise explain_os_error(error, target) from error


def _below(source: Path) -> list[Path]:
    entries = [e for e in source.iterdir() if e.name not in _NOT_COPIED and e.name[0] != "."]
    inside = [path for entry in entries if entry.is_dir() for path in entry.rglob("*")]
    return [*entries, *inside]


def _require_space(needed: int, folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DiskFullError(
            f"The project needs {size_words(needed)}, but {folder} has {size_words(free)} free.",
            hint="Free space there, or choose another drive.",
        )


def _copy_file(source: Path, target: Path, check: Callable[[], None]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        while block := reader.read(_BLOCK_BYTES):
            check()
            writer.write(block)
    shutil.copystat(source, target)


def make_untitled_folder(home: Path) -> Path:
    """Make a new folder for a project without a name."""
    home.mkdir(parents=True, exist_ok=True)
    stem = f"{_UNTITLED} {datetime.now().astimezone():%Y-%m-%d}"
    number = 1
    while True:
        folder = home / (stem if number == 1 else f"{stem} ({number})")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def rescue(project: Project, homes: Iterable[Path]) -> Path | None:
    """Write a project whose folder cannot be written elsewhere; return the new folder.

    It can be opened as a project; its runs stay where they are. None if nowhere can be written.
    """
    for home in homes:
        for number in range(1, 100):
            ending = "rescued" if number == 1 else f"rescued {number}"
            folder = home / f"{project.name} ({ending})"
            try:
                home.mkdir(parents=True, exist_ok=True)
                folder.mkdir()
                ProjectFile(folder).save(project, 1)
            except FileExistsError:
                continue
            except (OSError, EngineError):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                break
            return folder
    return None


def remove_if_unused(folder: Path) -> None:
    """Remove the folder of an untitled project unless there is something of the user's in it."""
    with contextlib.suppress(OSError):
        for name in (PROJECT_NAME, BACKUP_NAME, LOCK_NAME):
            (folder / name).unlink(missing_ok=True)
        shutil.rmtree(folder / _SCRATCH, ignore_errors=True)
        folder.rmdir()  # refuses where anything else is left


def unnamed_projects(home: Path) -> tuple[Path, ...]:
    """Return untitled projects that were kept (or survived a crash), the newest first.

    Those that some window has open are left out; empty remains of a crash are removed.
    """
    found: list[Path] = []
    for folder in home.glob(f"{_UNTITLED} *"):
        if not folder.is_dir() or not _is_free(folder):
            continue
        if (folder / PROJECT_NAME).exists():
            found.append(folder)
        elif not _is_being_made(folder):
            remove_if_unused(folder)
    return tuple(sorted(found, key=lambda f: (f / PROJECT_NAME).stat().st_mtime, reverse=True))


def _is_being_made(folder: Path) -> bool:
    try:
        return abs(time.time() - folder.stat().st_mtime) < _BEING_MADE_S
    except OSError:
        return True  # another window removed it


def _is_free(folder: Path) -> bool:
    if not (folder / LOCK_NAME).exists():
        return True
    try:
        FileLock(folder / LOCK_NAME).release()
    except (OutputError, OSError):
        return False
    return True
