"""The project folder on disk: one readable ``project.json``, and a copy of the previous one.

project.json      settings, runs and the page; indented JSON with a version
project.json.bak  the last good one before it
project.lock      who has the project open
runs/<run_id>/    what a run wrote
previews/         scratch
exports/          what the user took out
"""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue, ValidationError

from app.models.portable_paths import to_absolute, to_portable
from app.models.project import Project
from app.models.project_lock import ProjectLock
from decode_engine.errors import InputError, OutputError
from decode_engine.io.atomic import atomic_path, explain_os_error

__all__ = [
    "BACKUP_NAME",
    "PROJECT_NAME",
    "UPGRADES",
    "DamagedProjectError",
    "LoadedProject",
    "NewerProjectError",
    "NoProjectError",
    "ProjectFile",
    "parse_project",
    "read_project",
]

PROJECT_NAME = "project.json"
BACKUP_NAME = "project.json.bak"
_VERSION = 1
_MAX_BYTES = 64 << 20
_PATIENCE_S = 10.0
_WAITS_S = (0.02, 0.1)

# Version -> function that turns the JSON of that version into the next one's.
UPGRADES: dict[int, Callable[[dict[str, JsonValue]], dict[str, JsonValue]]] = {}


class NoProjectError(InputError):
    """A folder holds no project."""

    code = "no_project"


class DamagedProjectError(InputError):
    """A project file cannot be understood."""

    code = "damaged_project"


class NewerProjectError(InputError):
    """A project was written by a newer version of the app."""

    code = "newer_project"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedProject:
    """A project as it was read, and what was wrong with its file (empty: nothing)."""

    project: Project
    damage: str = ""
    upgraded_from: int | None = None


def read_project(folder: Path) -> LoadedProject:
    """Read the project in ``folder``, from the backup where the file is damaged.

    Nothing on disk is changed.

    Raises
    ------
    NoProjectError
        If there is neither a project file nor a backup.
    NewerProjectError
        If a newer version of the app wrote it.
    DamagedProjectError
        If file and backup are both damaged.
    """
    file, backup = folder / PROJECT_NAME, folder / BACKUP_NAME
    try:
        return _read(file, folder)
    except FileNotFoundError as error:
        if not backup.exists():
            raise NoProjectError(
                f"{folder} is not a Decode Desktop project: there is no {PROJECT_NAME} in it.",
                hint="Choose the folder that contains it, or make a new project.",
            ) from error
        damage = f"{PROJECT_NAME} is missing"
    except (OSError, ValueError) as error:  # ValueError: no path at all (a null character)
        raise InputError(
            f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.",
            hint="Check that the drive is connected and that you may read the file.",
        ) from error
    except DamagedProjectError as error:
        damage = error.message
    try:
        loaded = _read(backup, folder)
    except (OSError, DamagedProjectError) as error:
        raise DamagedProjectError(
            f"{damage}, and there is no good backup of it.",
            hint=f"Your results are safe in {folder / 'runs'}; make a new project and load them.",
            detail=str(error),
        ) from error
    return LoadedProject(project=loaded.project, damage=damage)


def _read(path: Path, folder: Path) -> LoadedProject:
    with path.open("rb") as handle:
        data = handle.read(_MAX_BYTES + 1)
    return parse_project(data, folder, name=path.name)


def parse_project(data: bytes, folder: Path, *, name: str = PROJECT_NAME) -> LoadedProject:
    """Understand the contents of a project file; see `read_project`."""
    tree, version = _tree(data, name)
    if version > _VERSION:
        app_version = tree.get("app_version") or "a newer version"
        raise NewerProjectError(
            f"This project was saved by a newer Decode Desktop ({app_version}).",
            hint="Update Decode Desktop to open it; the project was not changed.",
            detail=f"schema_version {version}, this app knows {_VERSION}",
        )
    try:
        for number in range(version, _VERSION):
            tree = UPGRADES[number](tree)
        project = Project.model_validate(to_absolute(tree, folder))
    except ValidationError as error:
        raise _invalid(error, name) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedProjectError(
            f"{name} cannot be brought to today's format", detail=repr(error)
        ) from error
    return LoadedProject(project=project, upgraded_from=version if version < _VERSION else None)


def _tree(data: bytes, name: str) -> tuple[dict[str, JsonValue], int]:
    if not data.strip(b"\0 \r\n\t"):
        raise DamagedProjectError(f"{name} is empty")
    if len(data) > _MAX_BYTES:
        raise DamagedProjectError(f"{name} is far too large for a project file")
    try:
        tree: Any = json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise DamagedProjectError(f"{name} is damaged", detail=str(error)) from error
    version = tree.get("schema_version") if isinstance(tree, dict) else None
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise DamagedProjectError(f"{name} is not a project file")
    return tree, version


def _invalid(error: ValidationError, name: str) -> InputError:
    problems = error.errors(include_url=False, include_context=False)
    where = ".".join(str(part) for part in problems[0]["loc"])
    if all(problem["type"] == "extra_forbidden" for problem in problems):
        return NewerProjectError(
            f"This project has a setting that this Decode Desktop does not know: {where}.",
            hint="Update Decode Desktop to open it; the project was not changed.",
            detail=str(error),
        )
    return DamagedProjectError(
        f"{name} has an impossible value at {where}: {problems[0]['msg']}", detail=str(error)
    )


class ProjectFile:
    """Writes one project; may be called from several threads, the latest state wins.

    Parameters
    ----------
    folder : Path
    lock : ProjectLock, optional
        Checked before each write: another window may have taken the project over.
    """

    def __init__(self, folder: Path, lock: ProjectLock | None = None) -> None:
        self.folder = folder
        self._project_lock = lock
        self._writing = threading.Lock()
        self._written = 0
        self._good: bytes | None = None

    def save(self, project: Project, generation: int) -> None:
        """Write a project, unless a later generation is on disk already.

        Raises
        ------
        OutputError
            If it cannot be written (`DiskFullError` for a full disk); the last good file stays.
        ProjectLockedError
            If another window has taken the project over.
        """
        data = self.encode(project.model_copy(update={"saved_in": str(self.folder)}))
        if not self._writing.acquire(timeout=_PATIENCE_S):
            raise OutputError(
                f"{self.folder} does not answer.", hint="Check that its drive is connected."
            )
        try:
            if generation > self._written:
                self._write(data)
                self._written = generation
        except OSError as error:
            raise explain_os_error(error, self.folder / PROJECT_NAME) from error
        finally:
            self._writing.release()

    def encode(self, project: Project) -> bytes:
        """Return the contents of the project's file."""
        tree = to_portable(json.loads(project.model_dump_json()), self.folder)
        text = json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False)
        return (text + "\n").encode("utf-8")

    def _write(self, data: bytes) -> None:
        if self._project_lock is not None:
            self._project_lock.verify()
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / PROJECT_NAME
        if self._good is None:
            self._remove_leftovers()
            self._good = self._good_on_disk(path)
        # The backup is written before the file is replaced, so that one of them is always good.
        if self._good is not None and self._good != data:
            _write(self.folder / BACKUP_NAME, self._good)
        _write(path, data)
        self._good = data

    def _good_on_disk(self, path: Path) -> bytes | None:
        """Return what is on disk if it can be a backup; a damaged file is put aside instead."""
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        try:
            loaded = parse_project(data, self.folder)
        except InputError:
            path.replace(_free_name(path, "damaged"))
            return None
        if loaded.upgraded_from is not None:
            _write(_free_name(path, f"v{loaded.upgraded_from}"), data)
        return data

    def _remove_leftovers(self) -> None:
        """Remove temporary files of a process that was killed while it saved."""
        for pattern in (".project.*.json", ".project.json.*.bak"):
            for leftover in self.folder.glob(pattern):
                leftover.unlink(missing_ok=True)


def _free_name(path: Path, ending: str) -> Path:
    names = (path.with_name(f"{path.name}.{ending}-{number}") for number in itertools.count(1))
    return next(name for name in names if not name.exists())


def _write(path: Path, data: bytes) -> None:
    for wait_s in (*_WAITS_S, 0.0):
        try:
            with atomic_path(path, overwrite=True) as temporary, temporary.open("wb") as handle:
                handle.write(data)
        except OutputError as error:
            # On Windows a virus scanner or another window may hold the file for a moment.
            if not wait_s or not isinstance(error.__cause__, PermissionError):
                raise
            time.sleep(wait_s)
        else:
            return
