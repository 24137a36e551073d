"""What is known of the files that a project names; looked at in the background."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QObject, Signal

from app.controllers.background import Background
from app.models.fingerprints import FileStamp, stamp_file
from app.models.problem import Problem

__all__ = ["FileWatch"]

_KEY = "project-files"


class FileWatch(QObject):
    """Stamps files and remembers the stamps.

    At most one look is under way: on a network drive that hangs it would take a thread each.
    """

    changed = Signal()

    def __init__(self, background: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._paths: tuple[str, ...] = ()
        self._stamps: dict[str, FileStamp] = {}
        self._wanted: set[str] = set()
        self._is_looking = False

    @property
    def stamps(self) -> Mapping[str, FileStamp]:
        """Path -> what is known; without those that were not looked at yet."""
        return self._stamps

    @property
    def is_looking(self) -> bool:
        """Whether some stamp is still to come."""
        return self._is_looking

    def watch(self, paths: Sequence[str]) -> None:
        """Say which files count from now on; those not known yet are looked at."""
        self._paths = tuple(paths)
        self._wanted.update(path for path in paths if path not in self._stamps)
        self._look()

    def recheck(self, paths: Sequence[str] | None = None) -> None:
        """Look at files again, at all of them when none are named."""
        self._wanted.update(self._paths if paths is None else paths)
        self._look()

    def forget(self) -> None:
        """Forget everything, for another project."""
        self._paths = ()
        self._stamps = {}
        self._wanted.clear()

    def _look(self) -> None:
        if self._is_looking or not self._wanted:
            return
        self._is_looking = True
        paths, self._wanted = sorted(self._wanted), set()
        earlier = dict(self._stamps)

        def work(check: Callable[[], None]) -> dict[str, FileStamp]:
            return {path: stamp_file(Path(path), earlier.get(path), check) for path in paths}

        self._background.run(_KEY, work, self._take, self._fail)

    def _take(self, stamps: dict[str, FileStamp]) -> None:
        self._is_looking = False
        new = {path: stamp for path, stamp in stamps.items() if self._stamps.get(path) != stamp}
        self._stamps.update(stamps)
        if new:
            self.changed.emit()
        self._look()

    def _fail(self, _problem: Problem) -> None:
        # `stamp_file` turns what can go wrong into a status; here only a fault of ours arrives.
        self._is_looking = False
