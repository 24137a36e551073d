"""Entry point of ``decode-engine`` and ``python -m decode_engine``."""

from __future__ import annotations

import multiprocessing
import sys

__all__ = ["main"]


def main(arguments: list[str] | None = None) -> int:
    """Return the exit code: 0 done, 2 bad input, 3 failed, 4 cancelled."""
    multiprocessing.freeze_support()
    words = sys.argv[1:] if arguments is None else arguments
    if words[:1] == ["serve"]:
        # Before anything else can print: standard output belongs to the protocol.
        from decode_engine.serve import serve

        return serve()
    from decode_engine.cli import main as run_command_line

    return run_command_line(words)


if __name__ == "__main__":
    raise SystemExit(main())
