"""Brightness over the movie, from a subsample of its frames that grows from coarse to fine."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameLevels", "MovieTraces", "measure_levels", "saturation_level", "scan_order"]

_BIT_DEPTH_TOPS = (255, 1023, 4095, 16383, 65535)
_NEAR = 0.98  # of the level: pixels above count as saturated (gains and offsets smear the edge)


class FrameLevels(NamedTuple):
    """Darkest, mean and brightest pixel of one frame, and how many pixels have the latter."""

    frame: int
    lowest: float
    mean: float
    highest: float
    n_highest: int


def measure_levels(index: int, frame: NDArray[Any]) -> FrameLevels:
    """Measure one frame (H, W), ADU."""
    highest = frame.max()
    return FrameLevels(
        frame=index,
        lowest=float(frame.min()),
        mean=float(frame.mean()),
        highest=float(highest),
        n_highest=int(np.count_nonzero(frame == highest)),
    )


def scan_order(n_frames: int, most: int) -> list[int]:
    """Return at most ``most`` frames, evenly spread, in an order that goes from coarse to fine.

    A curve drawn from the first few already spans the movie (bit-reversal order).
    """
    count = min(n_frames, most)
    picks = np.linspace(0, n_frames - 1, count).round().astype(int).tolist()
    n_bits = max(1, (count - 1).bit_length())
    ranks = sorted(range(count), key=lambda rank: format(rank, f"0{n_bits}b")[::-1])
    return [picks[rank] for rank in ranks]


@dataclass(slots=True)
class MovieTraces:
    """The levels measured so far, in the order of the frames."""

    wanted: int
    levels: list[FrameLevels] = field(default_factory=list)

    def add(self, measured: list[FrameLevels]) -> None:
        """Take over more frames."""
        self.levels = sorted({*self.levels, *measured})

    @property
    def fraction(self) -> float:
        """How much of the subsample is measured."""
        return len(self.levels) / self.wanted if self.wanted else 1.0

    @property
    def frames(self) -> NDArray[np.float64]:
        """Frame numbers, ascending."""
        return np.array([level.frame for level in self.levels], float)

    def curve(self, name: str) -> NDArray[np.float64]:
        """Return ``lowest``, ``mean`` or ``highest`` in ADU, in the order of `frames`."""
        return np.array([getattr(level, name) for level in self.levels], float)

    def saturated_frames(self, level_adu: float | None) -> int:
        """Count measured frames with pixels at the level at which the camera clips."""
        if level_adu is None:
            return 0
        return sum(level.highest >= _NEAR * level_adu for level in self.levels)


def saturation_level(
    traces: MovieTraces, dtype: str, camera_adu: float | None = None
) -> float | None:
    """Return where pixels clip: the camera's own level, else the top of the pixel type.

    A 12-bit camera writes 16-bit files: where the brightest value of the movie is the top of a
    smaller bit depth, that one is the level. None for floating-point movies.
    """
    if camera_adu is not None:
        return camera_adu
    if not np.issubdtype(np.dtype(dtype), np.integer):
        return None
    top = float(np.iinfo(dtype).max)
    highest = max((level.highest for level in traces.levels), default=0.0)
    return next((float(t) for t in _BIT_DEPTH_TOPS if highest == t and t < top), top)
