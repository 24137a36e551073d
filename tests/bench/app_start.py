"""Time from starting the app to a painted window: ``python -m tests.bench.app_start``.

Each repetition is a process of its own with settings and folders of its own, on whatever display
Qt finds (``QT_QPA_PLATFORM=offscreen`` without one). Prints medians in milliseconds as JSON:
``window_ms`` to the first painted window, ``pages_ms`` to the last page made in the background,
and the steps on the way. The first run of a fresh machine also reads the libraries from disk.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    """Print the medians of several starts, or be one of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--child", type=float, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(_start(options.child)))
        return
    runs = [_measure() for _ in range(options.repeats)]
    medians = {key: round(statistics.median(run[key] for run in runs)) for key in runs[0]}
    slowest = round(max(run["window_ms"] for run in runs))
    print(json.dumps({**medians, "slowest_window_ms": slowest, "repeats": len(runs)}, indent=2))


def _measure() -> dict[str, float]:
    command = [sys.executable, "-m", "tests.bench.app_start", "--child", repr(time.time())]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}
        done = subprocess.run(
            command, env=environment, stdout=subprocess.PIPE, check=True, text=True
        )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def _start(began: float) -> dict[str, float]:
    marks: dict[str, float] = {}

    def mark(name: str) -> None:
        marks[name] = 1000 * (time.time() - began)

    mark("python_ms")
    from PySide6.QtCore import QTimer

    from app.models.steps import Step
    from app.settings import SettingsStore
    from app.shell.application import make_application, make_context
    from app.shell.collector import begin_start, end_start
    from app.shell.desktop import Desktop
    from app.shell.logs import LogBuffer
    from app.shell.theme import Theme

    mark("imports_ms")
    begin_start()
    application = make_application()
    folder = Path(os.environ["XDG_DATA_HOME"])
    context = make_context(SettingsStore(folder / "settings.json"), folder)
    theme = Theme(application)
    theme.apply("light")
    mark("context_ms")
    desktop = Desktop(context, theme, LogBuffer())
    desktop.window.ready.connect(end_start)
    desktop.begin()
    desktop.window.repaint()
    mark("window_ms")
    timer = QTimer()
    timer.setInterval(10)

    def look() -> None:
        if len(desktop.window.pages_made) >= len(Step) - 1:
            mark("pages_ms")
            timer.stop()
            application.quit()

    timer.timeout.connect(look)
    timer.start()
    application.exec()
    context.jobs.shutdown("kill")
    context.session.close()
    context.background.close()
    return marks


if __name__ == "__main__":
    main()
