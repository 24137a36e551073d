"""A display of its own for programs that need a window on a screen."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import NoReturn

import pytest

__all__ = ["skip_display", "virtual_display"]


def skip_display(reason: str) -> NoReturn:
    """Skip, or fail where continuous integration must have seen windows on a screen."""
    if os.environ.get("DECODE_REQUIRE_DISPLAY") == "1":
        pytest.fail(f"{reason}, but DECODE_REQUIRE_DISPLAY=1")
    pytest.skip(reason)


@contextlib.contextmanager
def virtual_display(size: str = "1280x800x24") -> Iterator[dict[str, str]]:
    """Start Xvfb and give the environment that shows windows there; skip where there is none."""
    if sys.platform != "linux" or shutil.which("Xvfb") is None:
        skip_display("there is no Xvfb for a display")
    read, write = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), "-screen", "0", size, "+extension", "GLX"],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    try:
        with os.fdopen(read) as pipe:
            number = pipe.readline().strip()
        yield {"DISPLAY": f":{number}", "QT_QPA_PLATFORM": "xcb"}
    finally:
        server.terminate()
        server.wait(10)
