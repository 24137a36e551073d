"""Start the window; a frozen app started with ``serve`` becomes an engine instead."""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import sys
from pathlib import Path

import decode_engine

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the app and return its exit code."""
    multiprocessing.freeze_support()
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["serve"]:
        # By name: the window's process must stay free of torch unless it is an engine.
        code: int = importlib.import_module("decode_engine.__main__").main(words)
        return code
    options = _parser().parse_args(words)
    # An engine needs no window system, so Qt is imported only from here on.
    application = importlib.import_module("app.shell.application")
    result: int = application.run(options.project, example=options.example)
    return result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="decode-desktop", description="Decode Desktop")
    parser.add_argument(
        "project", nargs="?", type=Path, metavar="PROJECT",
        help="folder of a project; any other file is opened on its page",
    )  # fmt: skip
    parser.add_argument("--example", action="store_true", help="run the bundled example at once")
    parser.add_argument(
        "--version", action="version", version=f"Decode Desktop {decode_engine.__version__}"
    )
    return parser
