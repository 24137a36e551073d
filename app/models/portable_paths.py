"""Paths in a project file: relative (``./runs/…``) where inside the project, else absolute.

So a project folder can be moved, copied or opened under another drive letter.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TypeVar

from pydantic import JsonValue

from decode_engine.contract.base import Config

__all__ = ["relocated", "to_absolute", "to_portable"]

_MARK = "./"
ConfigT = TypeVar("ConfigT", bound=Config)


def relocated(value: ConfigT, old: Path, new: Path) -> ConfigT:
    """Let the paths below one folder point to the same places below another."""
    tree = json.loads(value.model_dump_json())
    return type(value).model_validate(to_absolute(to_portable(tree, old), new))


def to_portable(value: JsonValue, folder: Path) -> JsonValue:
    """Make every text that is a path below ``folder`` relative, in a tree of JSON values."""
    if isinstance(value, dict):
        return {key: to_portable(entry, folder) for key, entry in value.items()}
    if isinstance(value, list):
        return [to_portable(entry, folder) for entry in value]
    prefix = str(folder) + os.sep
    if isinstance(value, str) and value.startswith(prefix):
        return _MARK + value[len(prefix) :].replace(os.sep, "/")
    return value


def to_absolute(value: JsonValue, folder: Path) -> JsonValue:
    """Undo `to_portable` for a project that now lies in ``folder``."""
    if isinstance(value, dict):
        return {key: to_absolute(entry, folder) for key, entry in value.items()}
    if isinstance(value, list):
        return [to_absolute(entry, folder) for entry in value]
    if isinstance(value, str) and value.startswith(_MARK):
        return str(folder / value[len(_MARK) :])
    return value
