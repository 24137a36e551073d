"""Reads one movie in the background: the wanted frame first, then the brightness scan."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from numpy.typing import NDArray
from PySide6.QtCore import QObject, QTimer, Signal

from app.controllers.background import Background, Superseded
from app.models.movie_reader import MovieReader
from app.models.movie_traces import FrameLevels, MovieTraces, measure_levels, scan_order
from app.models.problem import Problem

__all__ = ["MovieReading"]

_SCAN_FRAMES = 400
_SCAN_SLICE_S = 0.05  # of reading at once: a wanted frame waits no longer than this
_SLOW_MS = 1500


class _Frame(NamedTuple):
    number: int
    image: NDArray[Any]


class _Scanned(NamedTuple):
    levels: list[FrameLevels]


class MovieReading(QObject):
    """One movie, one read at a time, so that a slow drive never holds more than one thread.

    A frame asked for while another is read replaces the one that waits: frames are dropped,
    never late. The scan of the brightness reads small slices in between.
    """

    opened = Signal(object)  # MovieInfo
    frame_ready = Signal(int, object)
    scan_advanced = Signal(object)  # MovieTraces
    grown = Signal(object)  # MovieInfo
    failed = Signal(object)  # Problem
    slow = Signal(bool)

    def __init__(self, background: Background, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._background = background
        self._key = f"movie-{id(self)}"
        self._made: list[MovieReader] = []  # also those whose opening was superseded
        self._reader: MovieReader | None = None
        self._busy = False
        self._wanted: int | None = None
        self._refresh = False
        self._scan: list[int] = []
        self._held = False
        self._traces = MovieTraces(wanted=0)
        self._patience = QTimer(self)
        self._patience.setSingleShot(True)
        self._patience.setInterval(_SLOW_MS)
        self._patience.timeout.connect(lambda: self.slow.emit(True))

    @property
    def idle(self) -> bool:
        """Whether no read is in progress and none waits."""
        return not (self._busy or self._scan or self._wanted is not None)

    @property
    def waits(self) -> bool:
        """Whether a wanted frame has not come yet."""
        return self._wanted is not None

    def open(self, path: Path, *, channel: int | None = None, z_slice: int | None = None) -> None:
        """Open a movie instead of the present one."""
        self.close()
        made = self._made

        def work(check: Callable[[], None]) -> MovieReader:
            reader = MovieReader(path, channel=channel, z_slice=z_slice)
            made.append(reader)
            try:
                check()
            except Superseded:
                reader.retire()
                raise
            return reader

        self._begin(work, self._opened)

    def close(self) -> None:
        """Let the movie go; never waits for a read that hangs."""
        self._background.cancel(self._key)
        for reader in self._made:
            reader.retire()
        self._made = []
        self._reader = None
        self._busy = False
        self._wanted, self._refresh, self._scan = None, False, []
        self._patience.stop()

    def want(self, index: int) -> None:
        """Ask for a frame; the latest asked for is read next."""
        if self._reader is None:
            return
        known = self._reader.cached(index)
        if known is not None:
            self._wanted = None
            self.frame_ready.emit(index, known)
            return
        self._wanted = index
        self._pump()

    def look_for_growth(self) -> None:
        """Look for frames that were added since."""
        self._refresh = True
        self._pump()

    def scan(self, traces: MovieTraces | None = None) -> None:
        """Measure brightness over the movie, going on from traces measured before."""
        if self._reader is None:
            return
        order = scan_order(self._reader.n_frames, _SCAN_FRAMES)
        self._traces = traces or MovieTraces(wanted=len(order))
        self._traces.wanted = len(order)
        known = {level.frame for level in self._traces.levels}
        self._scan = [index for index in order if index not in known]
        self._pump()

    def hold_scan(self, on: bool) -> None:
        """Let the scan wait while a film plays, which needs the drive for itself."""
        self._held = on
        self._pump()

    def stop_scan(self) -> None:
        """Stop measuring; what was measured stays."""
        self._scan = []

    # -- one read after another

    def _pump(self) -> None:
        if self._busy or self._reader is None:
            return
        reader = self._reader
        if self._wanted is not None:
            index = self._wanted
            self._begin(lambda _check: _Frame(index, reader.frame(index)), self._read)
        elif self._refresh:
            self._refresh = False
            self._begin(lambda _check: reader.refresh(), self._refreshed)
        elif self._scan and not self._held:
            left = tuple(self._scan)
            self._begin(lambda check: _measure(reader, left, check), self._scanned)

    def _begin(
        self, work: Callable[[Callable[[], None]], Any], done: Callable[[Any], None]
    ) -> None:
        self._busy = True
        self._patience.start()

        def finish(result: Any) -> None:
            self._rest()
            done(result)
            self._pump()

        self._background.run(self._key, work, finish, self._failed)

    def _rest(self) -> None:
        self._busy = False
        if not self._patience.isActive():
            self.slow.emit(False)
        self._patience.stop()

    def _opened(self, reader: MovieReader) -> None:
        self._reader = reader
        self.opened.emit(reader.info)

    def _read(self, frame: _Frame) -> None:
        if self._wanted == frame.number:
            self._wanted = None
        self.frame_ready.emit(frame.number, frame.image)

    def _refreshed(self, _n_frames: int) -> None:
        if self._reader is not None:
            self.grown.emit(self._reader.info)

    def _scanned(self, part: _Scanned) -> None:
        done = {level.frame for level in part.levels}
        self._scan = [index for index in self._scan if index not in done]
        self._traces.add(part.levels)
        self.scan_advanced.emit(self._traces)

    def _failed(self, problem: Problem) -> None:
        self._rest()
        self._wanted, self._refresh, self._scan = None, False, []
        self.failed.emit(problem)


def _measure(reader: MovieReader, indices: tuple[int, ...], check: Callable[[], None]) -> _Scanned:
    """Measure frames for a moment; at least one."""
    levels: list[FrameLevels] = []
    end = time.monotonic() + _SCAN_SLICE_S
    for index in indices:
        check()
        levels.append(measure_levels(index, reader.frame(index, keep=False)))
        if time.monotonic() > end:
            break
    return _Scanned(levels)
