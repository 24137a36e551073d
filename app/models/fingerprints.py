"""Fingerprints of settings and files: equal exactly where a result can be used again."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from decode_engine.contract.jobs import JobSpec
from decode_engine.io.starters import is_starter

__all__ = [
    "UNKNOWN",
    "FileStamp",
    "FileStatus",
    "digest",
    "input_paths",
    "is_pending",
    "spec_fingerprint",
    "stamp_file",
]

FileStatus = Literal["present", "missing", "away", "unreadable"]

UNKNOWN = "?"  # part of a fingerprint whose files were not looked at yet
_EDGE_BYTES = 64 * 1024
_WHOLE_BYTES = 4 << 20  # smaller files are hashed completely
_SAMPLES = 16
_SAMPLE_BYTES = 4096
_MAX_ENTRIES = 2000

# Where a job puts its results and how fast it works does not change what they are.
_NO_INPUT = frozenset(
    {
        "out",
        "device",
        "overwrite",
        "resume",
        "chunk_frames",
        "batch_frames",
        "tile_px",
        "follow_s",
        "write_every_s",
        "checkpoint_every_s",
    }
)
_INPUT_FIELDS = (
    "beads",
    "calibration",
    "camera",
    "init",
    "movie",
    "movies",
    "model",
    "localizations",
    "truth",
    "file",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileStamp:
    """What is known of a file or a folder of frames.

    Attributes
    ----------
    status : str
        "missing": the folder is there, the file is not; "away": the folder is gone as well
        (a drive that is not connected); "unreadable": it is there and cannot be read.
    digest : str
        Of the contents: equal for a copy. Large files are sampled at both ends and between.
    """

    status: FileStatus
    size: int = 0
    modified_ns: int = 0
    digest: str = ""
    detail: str = ""


def digest(value: object) -> str:
    """Return a short digest of a JSON value; dictionaries in any order are equal."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:20]


def stamp_file(
    path: Path, earlier: FileStamp | None = None, check: Callable[[], None] = lambda: None
) -> FileStamp:
    """Look at a file; contents are only read where size or time differ from ``earlier``."""
    try:
        info = path.stat()
        if path.is_dir():
            return _stamp_folder(path, info.st_mtime_ns, check)
        if not stat.S_ISREG(info.st_mode):  # reading a pipe or a device may never end
            return FileStamp(status="unreadable", detail="it is no file")
        known = earlier is not None and earlier.status == "present" and earlier.digest
        if (
            known
            and earlier
            and (earlier.size, earlier.modified_ns)
            == (
                info.st_size,
                info.st_mtime_ns,
            )
        ):
            return earlier
        return FileStamp(
            status="present",
            size=info.st_size,
            modified_ns=info.st_mtime_ns,
            digest=_sampled_digest(path, info.st_size, check),
        )
    except (FileNotFoundError, NotADirectoryError) as error:
        status: FileStatus = "missing" if path.parent.exists() else "away"
        return FileStamp(status=status, detail=str(error))
    except (OSError, ValueError) as error:
        return FileStamp(status="unreadable", detail=str(error))


def _sampled_digest(path: Path, size: int, check: Callable[[], None]) -> str:
    result = hashlib.sha256(str(size).encode())
    with path.open("rb", buffering=0) as handle:
        for start, length in _samples(size):
            check()
            handle.seek(start)
            result.update(handle.read(length))
    return result.hexdigest()[:20]


def _samples(size: int) -> list[tuple[int, int]]:
    if size <= _WHOLE_BYTES:
        return [(start, 1 << 20) for start in range(0, size, 1 << 20)]
    between = range(1, _SAMPLES + 1)
    middle = [(size * k // (_SAMPLES + 1), _SAMPLE_BYTES) for k in between]
    return [(0, _EDGE_BYTES), *middle, (size - _EDGE_BYTES, _EDGE_BYTES)]


def _stamp_folder(path: Path, modified_ns: int, check: Callable[[], None]) -> FileStamp:
    with os.scandir(path) as entries:
        found = sorted((e for e in entries if e.is_file()), key=lambda entry: entry.name)
    listed: list[tuple[str, int]] = []
    for entry in found[:_MAX_ENTRIES]:
        check()
        listed.append((entry.name, entry.stat().st_size))
    ends = [
        _sampled_digest(Path(entry.path), entry.stat().st_size, check)
        for entry in (*found[:1], *found[1:][-1:])
    ]
    return FileStamp(
        status="present",
        size=sum(size for _, size in listed),
        modified_ns=modified_ns,
        digest=digest([len(found), listed, ends]),
    )


def input_paths(spec: JobSpec) -> tuple[str, ...]:
    """Return the files that a job reads."""
    found: list[str] = []
    for field in _INPUT_FIELDS:
        value = getattr(spec, field, None)
        if isinstance(value, str) and not is_starter(value):
            found.append(value)
        elif isinstance(value, tuple):
            found.extend(value)
    return tuple(found)


def file_digest(path: str | None, files: Mapping[str, FileStamp]) -> str | None:
    """Return what stands for a file in a fingerprint: its contents where they are known."""
    if path is None or is_starter(path):
        return path  # a starter is known by its name
    stamp = files.get(path)
    return stamp.digest if stamp is not None and stamp.digest else UNKNOWN


def spec_fingerprint(spec: JobSpec, files: Mapping[str, FileStamp]) -> str:
    """Return the fingerprint of a job: its settings and the contents of its input files.

    It starts with `UNKNOWN` where the contents of some file are not known yet.
    """
    tree = _inputs_only(json.loads(spec.model_dump_json()))
    for field in _INPUT_FIELDS:
        value = tree.get(field)
        if isinstance(value, str):
            tree[field] = file_digest(value, files)
        elif isinstance(value, list):
            tree[field] = [file_digest(path, files) for path in value]
    known = all(file_digest(path, files) != UNKNOWN for path in input_paths(spec))
    return ("" if known else UNKNOWN) + digest(tree)


def is_pending(fingerprint: str) -> bool:
    """Tell whether files of a fingerprint were not looked at yet."""
    return fingerprint.startswith(UNKNOWN)


def _inputs_only(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {k: _inputs_only(value) for k, value in tree.items() if k not in _NO_INPUT}
    if isinstance(tree, list):
        return [_inputs_only(value) for value in tree]
    return tree
