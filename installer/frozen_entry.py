"""Entry point of the frozen programs: the window, or the engine by the name of the file."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path


def main() -> int:
    """Run what the executable is called."""
    multiprocessing.freeze_support()
    # Windows gives a windowed program no standard streams, so the engine is a program of its
    # own, which is also the command line; both share everything else.
    if Path(sys.executable).stem.lower() == "decode-engine":
        from decode_engine.__main__ import main as engine

        return engine()
    from app.main import main as window

    return window()


if __name__ == "__main__":
    raise SystemExit(main())
