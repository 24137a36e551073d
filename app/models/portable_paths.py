"""Paths in a project file: relative (``./runs/…``) where inside the project, else absolute.

So a project folder can be moved, copied or opened under another drive letter.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from decode_engine.contract.base import Config

__all__ = ["moved_along", "relocated", "to_absolute", "to_portable"]

_MARK = "./"
ConfigT = TypeVar("ConfigT", bound=Config)


def relocated(value: ConfigT, old: Path, new: Path) -> ConfigT:
    """Let the paths below one folder point to the same places below another."""
    tree = json.loads(value.model_dump_json())
    return type(value).model_validate(to_absolute(to_portable(tree, old), new))


def moved_along(value: ConfigT, old: Path, new: Path) -> ConfigT:
    """Find files outside the project that moved together with it (a drive's other letter).

    A path that is no longer there is replaced by the one that lies from ``new`` as the old one
    lay from ``old``, if there is something. Looks at the disk.
    """
    known: dict[str, str] = {}
    tree = _each_text(json.loads(value.model_dump_json()), lambda t: _moved(t, old, new, known))
    return type(value).model_validate(tree)


def _moved(text: str, old: Path, new: Path, known: dict[str, str]) -> str:
    if not Path(text).is_absolute():
        return text
    if text not in known:
        known[text] = text
        try:
            moved = os.path.normpath(new / os.path.relpath(text, old))
            if not Path(text).exists() and Path(moved).exists():
                known[text] = moved
        except (OSError, ValueError):  # another drive, or no path at all
            pass
    return known[text]


def _each_text(value: JsonValue, change: Callable[[str], str]) -> JsonValue:
    if isinstance(value, dict):
        return {key: _each_text(entry, change) for key, entry in value.items()}
    if isinstance(value, list):
        return [_each_text(entry, change) for entry in value]
    return change(value) if isinstance(value, str) else value


def to_portable(value: JsonValue, folder: Path) -> JsonValue:
    """Make every text that is a path below ``folder`` relative, in a tree of JSON values."""
    prefix = str(folder) + os.sep

    def change(text: str) -> str:
        if text.startswith(prefix):
            return _MARK + text[len(prefix) :].replace(os.sep, "/")
        return text

    return _each_text(value, change)


def to_absolute(value: JsonValue, folder: Path) -> JsonValue:
    """Undo `to_portable` for a project that now lies in ``folder``."""

    def change(text: str) -> str:
        return str(folder / text[len(_MARK) :]) if text.startswith(_MARK) else text

    return _each_text(value, change)
