"""Files dropped anywhere on the window: recognised in the background, sent to their pages."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QObject, Qt, QTimer
from PySide6.QtGui import QDragEnterEvent, QDropEvent

from app.models.problem import Problem
from app.models.steps import Step
from app.shell.main_window import MainWindow
from app.shell.questions import Choice

if TYPE_CHECKING:
    from app.models.recognition import Recognized

__all__ = ["DropTarget"]

_LONGEST = 240  # characters of a reason that fit on a card
_SLOW_MS = 3000  # a drive that takes longer than this is spoken of


class DropTarget(QObject):
    """Takes the drops of a window.

    Parameters
    ----------
    open_project : callable
        Opens the project in a folder.
    """

    def __init__(self, window: MainWindow, open_project: Callable[[Path], None]) -> None:
        super().__init__(window)
        self._window = window
        self._open_project = open_project
        self._numbers = itertools.count(1)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Accept drags with files, and take them when they are dropped."""
        if isinstance(event, QDropEvent):  # drag enter and move events are drop events, too
            paths = _local_paths(event)
            if not paths:
                return False
            event.setDropAction(Qt.DropAction.CopyAction)
            event.accept()
            if event.type() == QEvent.Type.Drop:
                self.take(paths)
            return True
        return super().eventFilter(watched, event)

    def take(self, paths: Sequence[Path]) -> None:
        """Recognise files and send them to their pages."""
        wanted, page = tuple(paths), self._window.current_page
        slow = QTimer(self)
        slow.setSingleShot(True)
        slow.timeout.connect(lambda: page.show_problem(_slow(wanted)))

        def take(found: Sequence[Recognized]) -> None:
            slow.stop()
            slow.deleteLater()
            page.show_problem(None)
            self._sort(found)

        def fail(problem: Problem) -> None:
            slow.stop()
            slow.deleteLater()
            self._window.show_problem(problem)

        page.show_problem(None)
        slow.start(_SLOW_MS)
        # A key for each drop: of equal ones only the last would arrive.
        self._window.context.background.run(
            f"recognize-{next(self._numbers)}", lambda _check: _recognize(wanted), take, fail
        )

    def _sort(self, found: Sequence[Recognized]) -> None:
        projects = [item.path for item in found if item.kind == "project"]
        if projects:
            self._open_project(projects[0])
            return
        self._window.show_problem(_problem([item for item in found if item.kind == "unknown"]))
        unsure = [item.path for item in found if item.kind == "movie or beads"]
        if unsure:
            self._ask(unsure)
        by_step: dict[Step, list[Path]] = {}
        for item in found:
            if item.kind not in ("unknown", "movie or beads"):
                by_step.setdefault(item.step, []).append(item.path)
        for step in sorted(by_step, key=list(Step).index):
            self._window.controller(step).open_paths(by_step[step])
        if by_step:
            self._window.show_step(min(by_step, key=list(Step).index))

    def _ask(self, paths: Sequence[Path]) -> None:
        names = paths[0].name if len(paths) == 1 else f"{paths[0].name} and {len(paths) - 1} more"
        self._window.questions.ask(
            f"{names}: is this a movie of blinking molecules, or a z-scan over beads?",
            [
                Choice(text="Movie", chosen=lambda: self._send(Step.MOVIE, paths),
                       tooltip="Frames over time; goes to the Movie page"),
                Choice(text="Bead stack", chosen=lambda: self._send(Step.CALIBRATION, paths),
                       tooltip="Slices over height; goes to the Calibration page"),
            ],
        )  # fmt: skip

    def _send(self, step: Step, paths: Sequence[Path]) -> None:
        self._window.controller(step).open_paths(paths)
        self._window.show_step(step)


def _recognize(paths: Sequence[Path]) -> list[Recognized]:
    # Readers of all formats take a third of a second to import; not at the start of the app.
    from app.models.recognition import recognize

    return [recognize(path) for path in paths]


def _local_paths(event: QDropEvent | QDragEnterEvent) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def _slow(paths: Sequence[Path]) -> Problem:
    return Problem(
        message=f"{paths[0].name} cannot be read yet: its drive has not answered for "
        f"{_SLOW_MS // 1000} s.",
        hint="If it is a network drive, check the connection. The app goes on by itself once the "
        "drive answers; meanwhile you can work on.",
        code="drive_slow",
    )


def _problem(unknown: Sequence[Recognized]) -> Problem | None:
    if not unknown:
        return None
    from app.models.recognition import CAN_BE_DROPPED

    first = unknown[0]
    more = f" (The same of {len(unknown) - 1} more.)" if len(unknown) > 1 else ""
    plain = f"{first.path.name} is nothing this app can use.{more}"
    return Problem(
        message=f"{first.words}{more}" if len(first.words) < _LONGEST else plain,
        hint=CAN_BE_DROPPED,
        code="unknown_file",
        detail="\n".join(f"{item.path}: {item.words}" for item in unknown),
    )
