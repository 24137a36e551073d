"""How late the window answers while something goes on: ``python -m tests.bench.latency``.

A 5 ms timer in the window's thread measures its own lateness: how long a click would have waited.
Each part is a process of its own (``start`` from the first line to 10 s after it, ``idle``,
``movie`` playing frames of 2048 × 2048 px, ``train`` and ``localize`` with the real engine, two
threads on two cores). Needs a display (``QT_QPA_PLATFORM=offscreen`` without one). Prints JSON,
milliseconds, with the load average before and after. Panning millions of molecules is in
``tests.bench.explore``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from app.models.steps import Step
from app.shell.collector import begin_start, end_start
from decode_engine.io.resources import resource_path
from tests.e2e.window_path import Person
from tests.gui.latency import Heartbeat
from tests.virtual_display import virtual_display

PARTS = ("start", "idle", "movie", "train", "localize")
_WATCHED_S = 10.0


def main() -> None:
    """Print the lateness of all parts, or measure one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    parser.add_argument("--child", choices=PARTS, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(json.dumps(_measure(options.child)))
        sys.stdout.flush()
        os._exit(0)  # whatever still runs was measured
    with contextlib.ExitStack() as stack:
        if sys.platform == "linux" and not os.environ.get("DISPLAY"):
            os.environ.update(stack.enter_context(virtual_display()))
        found = {part: _in_own_process(part) for part in options.parts or PARTS}
    print(json.dumps(found, indent=2))


def _in_own_process(part: str) -> dict[str, object]:
    before = os.getloadavg()[0]
    command = [sys.executable, "-m", "tests.bench.latency", "--child", part]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    load = [round(before, 1), round(os.getloadavg()[0], 1)]
    return {**found, "load": load}


def _measure(part: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        begin_start()
        person = Person(Path(folder))
        person.window.ready.connect(end_start)
        if part == "start":
            return _watch(person)
        person.wait(lambda: len(person.window.pages_made) >= len(Step) - 1, 60.0, "all pages")
        QTest.qWait(3000)
        parts: dict[str, Callable[[Person], None]] = {
            "idle": lambda _person: None,
            "movie": _play,
            "train": _train,
            "localize": _localize,
        }
        parts[part](person)
        found = _watch(person)
        person.context.jobs.shutdown("kill")
        QTest.qWait(500)
        return found


def _watch(person: Person) -> dict[str, float]:
    del person
    with Heartbeat() as heartbeat:
        QTest.qWait(int(1000 * _WATCHED_S))
    return heartbeat.summary()


def _play(person: Person) -> None:
    path = person.folder / "large.tif"
    rng = np.random.default_rng(0)
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for _ in range(320):
            frame = rng.integers(100, 140, (64, 2048), np.uint16)
            file.write(np.tile(frame, (32, 1)), contiguous=True)
    person.drop(path)
    session = person.context.session
    person.wait(lambda: bool(session.settings.movies), 30.0, "the movie")
    person.show(Step.MOVIE)
    QTest.qWait(2000)
    person.click("movie-play")
    QTest.qWait(500)


def _example(person: Person) -> None:
    session = person.context.session
    for name in ("movie.tif", "calibration.h5", "camera.json", "model.decode"):
        person.drop(resource_path("example", name))
    person.wait(lambda: session.settings.model is not None, 30.0, "the model")
    person.wait(lambda: session.settings.camera is not None, 30.0, "the camera")
    person.wait(lambda: session.settings.calibration.path is not None, 30.0, "the calibration")


def _train(person: Person) -> None:
    _example(person)
    person.show(Step.TRAIN)
    person.type_into(person.find(QWidget, "train-minutes"), "2")
    person.click("train-start")
    jobs = person.context.jobs
    person.wait(
        lambda: any((jobs.state(run).fraction or 0.0) > 0.02 for run in jobs.running()),
        120.0,
        "steps of the training",
    )


def _localize(person: Person) -> None:
    _example(person)
    person.show(Step.LOCALIZE)
    person.click("localize-start")
    jobs = person.context.jobs
    person.wait(
        lambda: any((jobs.state(run).fraction or 0.0) > 0.0 for run in jobs.running()),
        60.0,
        "the first frames",
    )


if __name__ == "__main__":
    main()
