"""The whole way through the window with the real engine, by drops, clicks and keys.

    python -m tests.e2e.window_path FOLDER [--minutes 1]

Needs a display (the test gives it a virtual one). Opens the example's files by dropping them,
makes a calibration from the beads, sets the camera, simulates, trains, tries one frame,
localizes, filters, explores, exports and closes. Prints what came out as JSON; pictures of each
page go into FOLDER.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PySide6.QtCore import QMimeData, QPoint, QPointF, QRect, QSize, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QCheckBox, QComboBox, QLabel, QLineEdit, QWidget

from app.models.steps import Step
from app.settings import SettingsStore
from app.shell.application import make_application, make_context
from app.shell.desktop import Desktop
from app.shell.logs import LogBuffer
from app.shell.theme import Theme
from decode_engine.io.resources import resource_path
from tests.gui.latency import Heartbeat

W = TypeVar("W", bound=QWidget)
LEFT = Qt.MouseButton.LeftButton


class Person:
    """Does what a person does at the window."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.application = make_application()
        theme = Theme(self.application)
        theme.apply("light")
        settings = SettingsStore(folder / "settings.json")
        settings.update(tour_seen=True)
        self.context = make_context(settings, folder / "data")
        self.log = LogBuffer()
        self.log.install()
        self.desktop = Desktop(self.context, theme, self.log)
        self.window = self.desktop.window
        self.window.resize(1280, 800)
        self.desktop.begin()
        self.context.jobs.start()

    def wait(self, done: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        while not done():
            if time.monotonic() > end:
                self.picture("stuck")
                cards = [lb.text() for lb in self.window.findChildren(QLabel, "problem-message")]
                raise SystemExit(f"waited {seconds:g} s in vain for {what}; cards: {cards}")
            QTest.qWait(20)

    def find(self, kind: type[W], name: str) -> W:
        found = [w for w in self.window.findChildren(kind, name) if w.isVisible()]
        if not found:
            self.picture("stuck")
            raise SystemExit(f"no {kind.__name__} called {name!r} can be seen")
        return found[0]

    def sees(self, name: str) -> bool:
        return any(w.isVisible() for w in self.window.findChildren(QWidget, name))

    def click(self, name: str) -> None:
        button = self.find(QAbstractButton, name)
        self.wait(button.isEnabled, 20.0, f"{name} to be enabled")
        # Of a check box only the box and its words react, not the room to their right.
        at_box = QPoint(10, button.height() // 2)
        place = at_box if isinstance(button, QCheckBox) else button.rect().center()
        QTest.mouseClick(button, LEFT, pos=place)

    def type_into(self, edit: QWidget, text: str) -> None:
        edit.setFocus()
        QTest.keyClick(edit, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
        QTest.keyClicks(edit, text)
        QTest.keyClick(edit, Qt.Key.Key_Return)

    def drop(self, *paths: Path) -> None:
        mime = QMimeData()
        mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
        copy, none = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
        place = QPoint(600, 400)
        self.application.sendEvent(self.window, QDragEnterEvent(place, copy, mime, LEFT, none))
        self.application.sendEvent(self.window, QDropEvent(QPointF(place), copy, mime, LEFT, none))

    def show(self, step: Step) -> None:
        sidebar = self.window.sidebar
        place = sidebar.visualItemRect(sidebar.item(list(Step).index(step))).center()
        QTest.mouseClick(sidebar.viewport(), LEFT, pos=place)
        self.wait(lambda: self.window.current_step is step, 5.0, f"the page {step.value}")

    def picture(self, name: str) -> None:
        QTest.qWait(300)
        self.window.grab().save(str(self.folder / f"{name}.png"))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, default=1.0)
    options = parser.parse_args()
    began = time.monotonic()
    person = Person(options.folder)
    report: dict[str, Any] = {}
    movie_and_calibration(person, report)
    camera_and_simulation(person, report)
    training(person, report, options.minutes)
    localization(person, report)
    correction_and_picture(person, report)
    export(person, report)
    ended: list[bool] = []
    person.context.jobs.all_closed.connect(lambda: ended.append(True))
    person.window.close()
    person.wait(lambda: bool(ended), 60.0, "the engines to end")
    report["warnings"] = [line for line in person.log.lines() if "WARNING" in line]
    report["seconds"] = round(time.monotonic() - began, 1)
    person.context.session.close()
    person.context.background.close()
    print(json.dumps(report))
    return 0


def movie_and_calibration(person: Person, report: dict[str, Any]) -> None:
    session = person.context.session
    person.drop(resource_path("example", "movie.tif"))
    person.wait(lambda: bool(session.settings.movies), 30.0, "the movie")
    person.wait(lambda: person.window.current_step is Step.MOVIE, 5.0, "the Movie page")
    person.picture("movie")
    person.show(Step.CALIBRATION)
    person.click("calibration-way-beads")
    person.drop(resource_path("example", "beads.tif"))
    person.wait(
        lambda: bool(session.settings.beads.stacks) or person.sees("question-1"),
        30.0,
        "the bead stack",
    )
    if not session.settings.beads.stacks:
        person.click("question-1")  # "Bead stack"
        person.wait(lambda: bool(session.settings.beads.stacks), 10.0, "the bead stack")
    form = person.find(QWidget, "calibration-beads-form")
    for field, value in (("dz_nm", "50"), ("pixel_size_x_nm", "100"), ("roi_px", "21")):
        person.type_into(_editor(form, field), value)
    person.click("calibration-make")
    person.wait(lambda: session.settings.calibration.path is not None, 180.0, "a calibration")
    report["calibration"] = session.runs_of(Step.CALIBRATION)[0].state
    report["beads_used"] = session.runs_of(Step.CALIBRATION)[0].summary.get("beads_used")
    person.picture("calibration")


def camera_and_simulation(person: Person, report: dict[str, Any]) -> None:
    session = person.context.session
    person.drop(resource_path("example", "camera.json"))
    person.wait(lambda: session.settings.camera is not None, 30.0, "the camera")
    person.picture("camera")
    person.show(Step.SIMULATION)
    person.click("simulation-suggest")
    person.wait(lambda: person.sees("simulation-accept"), 120.0, "a suggestion")
    before = session.settings.simulation
    person.click("simulation-accept")
    report["simulation_changed"] = session.settings.simulation != before
    QTest.qWait(6000)  # simulated and compared once more
    person.picture("simulation")


def training(person: Person, report: dict[str, Any], minutes: float) -> None:
    session = person.context.session
    person.show(Step.TRAIN)
    start = person.find(QComboBox, "train-from")
    example = next(i for i in range(start.count()) if "example" in start.itemText(i).lower())
    start.setFocus()
    while start.currentIndex() != example:
        key = Qt.Key.Key_Down if start.currentIndex() < example else Qt.Key.Key_Up
        QTest.keyClick(start, key)
    person.type_into(person.find(QWidget, "train-minutes"), f"{minutes:g}")
    person.click("train-start")
    with Heartbeat() as heartbeat:
        person.wait(lambda: session.settings.model is not None, minutes * 60 + 240, "a model")
    report["latency_training_ms"] = heartbeat.summary()
    run = session.runs_of(Step.TRAIN)[0]
    report["training"] = run.state
    report["training_jaccard"] = run.summary.get("jaccard")
    person.picture("train")


def localization(person: Person, report: dict[str, Any]) -> None:
    session = person.context.session
    person.show(Step.LOCALIZE)
    person.click("localize-preview")
    words = person.find(QLabel, "localize-preview-words")
    person.wait(lambda: "molecules, median" in words.text(), 60.0, "molecules in one frame")
    person.picture("localize-preview")
    person.click("localize-start")
    with Heartbeat() as heartbeat:
        person.wait(lambda: session.settings.localizations is not None, 180.0, "localizations")
    report["latency_localizing_ms"] = heartbeat.summary()
    run = session.runs_of(Step.LOCALIZE)[0]
    report["localizations"] = run.summary.get("localizations")
    person.picture("localize")


def correction_and_picture(person: Person, report: dict[str, Any]) -> None:
    session = person.context.session
    person.show(Step.CORRECT)
    person.click("correct-suggest")
    person.wait(lambda: bool(session.settings.filters.ranges), 20.0, "filters")
    person.picture("correct")
    person.show(Step.EXPLORE)
    person.wait(lambda: person.sees("explore-canvas"), 60.0, "the canvas")
    canvas = person.find(QWidget, "explore-canvas")
    person.wait(lambda: _colored(person.window, canvas) > 0.002, 60.0, "a picture")
    with Heartbeat() as heartbeat:
        for step in range(12):
            place = QPoint(200 + 10 * step, 200)
            QTest.mousePress(canvas, LEFT, pos=place)
            QTest.mouseMove(canvas, place + QPoint(30, 10))
            QTest.qWait(60)
            QTest.mouseRelease(canvas, LEFT, pos=place + QPoint(30, 10))
    report["latency_exploring_ms"] = heartbeat.summary()
    person.picture("explore")
    person.wait(lambda: _colored(person.window, canvas) > 0.0, 20.0, "the moved picture")
    report["picture_colored"] = round(_colored(person.window, canvas), 4)


def export(person: Person, report: dict[str, Any]) -> None:
    session = person.context.session
    person.show(Step.EXPORT)
    person.click("export-tiff")
    person.click("export-start")
    runs = lambda: session.runs_of(Step.EXPORT)  # noqa: E731 - short
    person.wait(
        lambda: len(runs()) == 3 and all(r.state == "completed" for r in runs()), 90.0, "files"
    )
    report["exported"] = sorted(Path(str(r.spec["out"])).name for r in runs())
    person.picture("export")


def _editor(form: QWidget, field: str) -> QWidget:
    found = [e for e in form.findChildren(QLineEdit) if field in e.objectName()]
    if not found:
        raise SystemExit(f"the form has no editor for {field!r}")
    return found[0]


def _colored(window: QWidget, canvas: QWidget) -> float:
    """Return the share of coloured pixels in the upper part of the canvas, above its scales.

    Of the whole window: a canvas grabbed by itself leaves out what OpenGL drew.
    """
    corner = canvas.mapTo(window, QPoint(0, 0))
    place = QRect(corner, QSize(canvas.width(), canvas.height() * 3 // 4))
    image = window.grab(place).toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), -1)
    rgb = rows[:, : 3 * image.width()].reshape(image.height(), image.width(), 3)
    return float((np.ptp(rgb, axis=2) > 60).mean())


if __name__ == "__main__":
    sys.exit(main())
