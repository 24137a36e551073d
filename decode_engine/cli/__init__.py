"""The command line ``decode-engine``: verbs, flags derived from the configurations, progress."""

from __future__ import annotations

from decode_engine.cli.main import main

__all__ = ["main"]
