"""Reading a movie ahead of the network, in a thread, with bounded memory."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.geometry import Roi
from decode_engine.io.movies import FrameSource

__all__ = ["FrameBlock", "FrameReader"]

_POLL_S = 0.1  # how long a waiting side sleeps before it looks at the other again
_REFRESH_S = 0.5  # how often a growing movie is looked at
_NATIVE = frozenset({"uint8", "int8", "uint16", "int16", "int32", "float32"})  # torch has these


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameBlock:
    """Consecutive frames.

    Parameters
    ----------
    start : int
        Number of the first frame in the movie.
    adu : (N, h, w) array, ADU
        The wanted window of the frames.
    """

    start: int
    adu: NDArray[Any]


class FrameReader:
    """Iterates over blocks of frames that a thread reads ahead.

    Parameters
    ----------
    source : FrameSource
    start, stop : int, int or None
        Frames to read; to the end of the movie if ``stop`` is None.
    block_frames : int
        Frames in one block; blocks begin at multiples of it, so the first may be shorter.
    window : Roi
        Pixels to keep.
    follow_s : float
        With ``stop=None``: wait this long for new frames at the end of a growing movie.
    check : callable
        Called while waiting for the thread; may raise to give up.

    Notes
    -----
    At most `depth` + 2 blocks exist at a time. An error in the thread is raised from the
    iteration. Use as a context manager: leaving it ends the thread.
    """

    depth = 2

    def __init__(
        self,
        source: FrameSource,
        frames: tuple[int, int | None],
        block_frames: int,
        window: Roi,
        *,
        follow_s: float = 0.0,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._source = source
        self._start, self._stop = frames
        self._block_frames = block_frames
        self._window = window
        self._follow_s = follow_s
        self._check = check
        self._queue: queue.Queue[FrameBlock | BaseException | None] = queue.Queue(self.depth)
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="frame reader", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join()

    def __iter__(self) -> Iterator[FrameBlock]:
        while True:
            try:
                item = self._queue.get(timeout=_POLL_S)
            except queue.Empty:
                self._check()
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def _run(self) -> None:
        try:
            for block in self._blocks():
                self._put(block)
                if self._closing.is_set():
                    return
            self._put(None)
        except BaseException as error:  # noqa: BLE001  # raised again in the waiting thread
            self._put(error)

    def _put(self, item: FrameBlock | BaseException | None) -> None:
        while not self._closing.is_set():
            try:
                self._queue.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return

    def _blocks(self) -> Iterator[FrameBlock]:
        position = self._start
        while True:
            full = end = (position // self._block_frames + 1) * self._block_frames
            if self._stop is not None:
                end = min(end, self._stop)
            elif self._source.n_frames < end:
                end = min(end, self._wait_for(end))
            if end <= position or self._closing.is_set():
                return
            yield FrameBlock(start=position, adu=self._read(position, end))
            if end < full:
                return  # the end; frames that come later are a matter of another run
            position = end

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        w = self._window
        frames = self._source.read(start, stop)
        frames = frames[:, w.y_px : w.y_px + w.height_px, w.x_px : w.x_px + w.width_px]
        dtype = frames.dtype if frames.dtype.name in _NATIVE else np.dtype(np.float32)
        return np.require(frames, dtype.newbyteorder("="), ["C", "W"])

    def _wait_for(self, end: int) -> int:
        """Wait for a growing movie to reach ``end`` frames; return the number that it has.

        The waiting time begins anew with each frame that comes.
        """
        known = self._source.n_frames
        deadline = time.monotonic() + self._follow_s
        while known < end and time.monotonic() < deadline:
            now = self._source.refresh()
            if now > known:
                known, deadline = now, time.monotonic() + self._follow_s
            elif self._closing.wait(min(_REFRESH_S, self._follow_s)):
                break
        return known
