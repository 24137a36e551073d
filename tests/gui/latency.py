"""How late the window's event loop is: a heartbeat that measures its own delay."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

import numpy as np
from PySide6.QtCore import QObject, Qt, QTimer

__all__ = ["Heartbeat"]

_EVERY_MS = 5


class Heartbeat(QObject):
    """Beats every 5 ms while it is entered; lateness is how long the window did not answer."""

    def __init__(self) -> None:
        super().__init__()
        self._late_ms: list[float] = []
        self._last_s = 0.0
        self._timer = QTimer(self)
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.setInterval(_EVERY_MS)
        self._timer.timeout.connect(self._beat)

    def __enter__(self) -> Self:
        self._last_s = time.perf_counter()
        self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._beat()  # a freeze at the very end counts
        self._timer.stop()

    def summary(self) -> dict[str, float]:
        """Return median, 99th percentile and maximum of the lateness, ms."""
        late = np.array(self._late_ms or [0.0])
        return {
            "p50": round(float(np.median(late)), 2),
            "p99": round(float(np.percentile(late, 99)), 2),
            "max": round(float(late.max()), 2),
            "beats": float(late.size),
        }

    def _beat(self) -> None:
        now_s = time.perf_counter()
        self._late_ms.append(max(0.0, (now_s - self._last_s) * 1000 - _EVERY_MS))
        self._last_s = now_s
