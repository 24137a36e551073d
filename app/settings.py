"""Where things are: the engine's command, in a source tree and in a frozen app."""

from __future__ import annotations

import sys

__all__ = ["SettingsStore", "engine_command"]


class SettingsStore:
    """Settings of the user that belong to no project; see the shell."""


def engine_command() -> list[str]:
    """Return the command that starts an engine process.

    A frozen app carries the engine inside its own executable, which serves when its first
    word is ``serve``.
    """
    if getattr(sys, "frozen", False):
        return [sys.executable, "serve"]
    return [sys.executable, "-m", "decode_engine", "serve"]
