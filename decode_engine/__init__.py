"""Decode Desktop's engine: from bead stack and movie to localizations.

The functions of `decode_engine.api` are loaded on first use, so ``import decode_engine`` costs
no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_API = frozenset(
    {
        "calibrate",
        "convert_calibration",
        "evaluate",
        "export",
        "fit_mle",
        "import_cameras",
        "import_table",
        "inspect",
        "localize",
        "localize_many",
        "read_calibration",
        "read_localizations",
        "read_model",
        "render",
        "simulate",
        "train",
    }
)


def __getattr__(name: str) -> Any:
    if name in _API:
        return getattr(importlib.import_module("decode_engine.api"), name)
    raise AttributeError(f"module 'decode_engine' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_API])
