"""Pictures of every page: ``python -m tests.gui.screens OUT [--only train] [--theme dark]``.

Each page is shown empty, busy, done and failed, in the light and the dark theme, at 1280 x 800 and
at 2560 x 1440 with two pixels to a point. Engines are scripted (recorded events), the result that
is shown is a real one: the bundled example is localized once. Look at the pictures; nothing here
can judge them.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.gui.engines import IMPATIENT, scripted_command

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

    from app.controllers.page_controller import AppContext
    from app.models.steps import Step
    from app.shell.main_window import MainWindow
    from app.shell.theme import Theme

STATES = ("empty", "busy", "done", "failed")
SIZES = {1: (1280, 800), 2: (1280, 720)}  # in points; the second has two pixels to each
# Which button begins the page's job.
STARTS = {
    "calibration": "calibration-make",
    "train": "train-start",
    "localize": "localize-start",
    "export": "export-start",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="pages (train, localize, ...)")
    parser.add_argument("--theme", choices=["light", "dark"])
    parser.add_argument("--scale", type=int, choices=[1, 2])
    parser.add_argument("--state", choices=STATES)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.child:
        take(options)
        return 0
    result = localized_example(options.out)
    for theme in [options.theme] if options.theme else ["light", "dark"]:
        for scale in [options.scale] if options.scale else [1, 2]:
            words = [sys.executable, "-m", "tests.gui.screens", str(options.out), "--child"]
            words += ["--theme", theme, "--scale", str(scale)]
            words += ["--state", options.state] if options.state else []
            words += ["--only", *options.only] if options.only else []
            environment = {**os.environ, "QT_SCALE_FACTOR": str(scale), "SCREENS_RESULT": result}
            environment.setdefault("QT_QPA_PLATFORM", "offscreen")
            subprocess.run(words, env=environment, check=True)
    return 0


def localized_example(out: Path) -> str:
    """Localize the bundled example with the real engine, once; return the result's path."""
    result = out / "example.h5"
    if not result.exists():
        from decode_engine.io.resources import resource_path

        movie, model = (str(resource_path("example", n)) for n in ("movie.tif", "model.decode"))
        words = [sys.executable, "-m", "decode_engine", "localize", movie]
        subprocess.run([*words, "--model", model, "--out", str(result)], check=True)
    return str(result)


def take(options: argparse.Namespace) -> None:
    """Take the pictures of one theme and one scale."""
    from app.shell.application import make_application
    from app.shell.theme import Theme

    application = make_application()
    theme = Theme(application)
    theme.apply(options.theme)
    for state in [options.state] if options.state else STATES:
        with tempfile.TemporaryDirectory() as home:
            take_state(application, theme, state, options, Path(home))


def take_state(
    application: QApplication, theme: Theme, state: str, options: argparse.Namespace, home: Path
) -> None:
    from app.models.steps import Step
    from app.shell.desktop import Desktop
    from app.shell.logs import LogBuffer

    behaviour = {"busy": "wait", "failed": "fail"}.get(state, "complete")
    context = make_context(behaviour, home)
    if state != "empty":
        fill(context, os.environ["SCREENS_RESULT"], with_result=state == "done")
    window = Desktop(context, theme, LogBuffer()).window
    window.resize(*SIZES[options.scale])
    window.show()
    context.jobs.start()
    settle(application, lambda: bool(context.jobs.devices), 10.0)
    for step in Step:
        if options.only and step.value not in options.only:
            continue
        window.show_step(step)
        settle(application, lambda: not context.background.busy, 6.0)
        begin(application, window, step, state)
        settle(application, lambda: False, 1.2)
        name = f"{step.value}-{state}-{options.theme}-{options.scale}x.png"
        window.grab().save(str(options.out / name))
    window.may_close = lambda: True
    window.close()
    context.jobs.shutdown("kill")
    context.session.close()
    context.background.close()
    window.deleteLater()
    settle(application, lambda: False, 0.2)


def begin(application: QApplication, window: MainWindow, step: Step, state: str) -> None:
    """Press the page's start button, where this state is about a job."""
    from PySide6.QtWidgets import QPushButton

    name = STARTS.get(step.value)
    if name is None or state == "empty" or (state == "done" and step.value != "train"):
        return
    button = window.controller(step).page.findChild(QPushButton, name)
    if button is None or not button.isEnabled():
        print(f"{step.value}: there is nothing to start in the state {state!r}")
        return
    button.click()
    settle(application, lambda: False, 2.5)


def make_context(behaviour: str, home: Path) -> AppContext:
    from app.controllers.background import Background
    from app.controllers.job_center import JobCenter
    from app.controllers.page_controller import AppContext
    from app.controllers.session import ProjectSession
    from app.settings import SettingsStore

    settings = SettingsStore(home / "settings.json")
    settings.update(tour_seen=True)
    background = Background()
    session = ProjectSession(background, home=home / "projects")
    # Previews are replayed whatever the long jobs do, so that the pages are not bare.
    fine = "complete,preview=complete,simulate=complete,psf-preview=complete"
    special = [f"{job}={behaviour}" for job in ("train", "localize", "calibrate", "export")]
    command = scripted_command(",".join((fine, *special)))
    jobs = JobCenter(session, command, patience=IMPATIENT, runs_at_once=8)
    return AppContext(session=session, jobs=jobs, background=background, settings=settings)


def fill(context: AppContext, result: str, *, with_result: bool) -> None:
    """Set the project up like the example."""
    from app.models.project import BeadSettings, CalibrationChoice, MovieEntry
    from decode_engine.contract.configs import CalibrateConfig
    from decode_engine.io.cameras import read_camera_config
    from decode_engine.io.resources import resource_path

    def example(name: str) -> str:
        return str(resource_path("example", name))

    context.session.update(
        "Set up",
        movies=(MovieEntry(path=example("movie.tif")),),
        calibration=CalibrationChoice(mode="file", path=example("calibration.h5")),
        beads=BeadSettings(
            stacks=(example("beads.tif"),),
            config=CalibrateConfig(dz_nm=25.0, pixel_size_x_nm=100.0),
        ),
        camera=read_camera_config(Path(example("camera.json"))),
        model=example("model.decode"),
        localizations=result if with_result else None,
    )


def settle(application: QApplication, done: Callable[[], bool], seconds: float) -> None:
    """Let the window live until something holds, at most so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        application.processEvents()
        if done():
            return
        time.sleep(0.01)


if __name__ == "__main__":
    raise SystemExit(main())
