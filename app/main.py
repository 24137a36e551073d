"""Start the window; a frozen app started with ``serve`` becomes an engine instead."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path

from PySide6.QtCore import QStandardPaths
from PySide6.QtWidgets import QApplication

import decode_engine
from app.engine_link.client import EngineClient
from app.settings import engine_command
from app.shell.main_window import MainWindow

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Run the app and return its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["serve"]:
        # By name: the window's process must stay free of torch unless it is an engine.
        code: int = importlib.import_module("decode_engine.__main__").main(words)
        return code
    parser = argparse.ArgumentParser(prog="decode-desktop", description="Decode Desktop")
    parser.add_argument("--example", action="store_true", help="run the bundled example at once")
    parser.add_argument(
        "--version", action="version", version=f"Decode Desktop {decode_engine.__version__}"
    )
    options = parser.parse_args(words)
    application = QApplication([sys.argv[0]])
    application.setApplicationName("Decode Desktop")
    client = EngineClient(engine_command())
    window = MainWindow(client, _results_folder())
    if options.example:
        client.hello.connect(lambda _hello: window.run_example())
    window.show()
    client.start()
    return application.exec()


def _results_folder() -> Path:
    location = QStandardPaths.StandardLocation.DocumentsLocation
    documents = QStandardPaths.writableLocation(location) or str(Path.home())
    return Path(documents) / "Decode Desktop example"
