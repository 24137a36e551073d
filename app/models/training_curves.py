"""The course of a training as curves over time, from its events or from its history file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from decode_engine.io.history import HistoryEntry

__all__ = ["Curve", "TrainingCurves"]

_VALIDATION = "validation_loss"  # an entry that has it is a validation


@dataclass(frozen=True, slots=True)
class Curve:
    """One metric over the course of a training.

    Attributes
    ----------
    minutes : (N,) float64
        Computing time since the start (pauses do not count).
    values : (N,) float64
    """

    minutes: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(slots=True)
class TrainingCurves:
    """Collects the metrics of one training.

    The engine reports by step, with the working time since the start. Where a history (of an
    earlier version) has no time, it follows from the samples per second.

    Parameters
    ----------
    batch_size : int
        Samples a step, of the training's configuration.
    """

    batch_size: int = 8
    _steps: dict[int, dict[str, float]] = field(default_factory=dict)
    _validations: dict[int, dict[str, float]] = field(default_factory=dict)

    @classmethod
    def from_history(cls, entries: Iterable[HistoryEntry], batch_size: int) -> TrainingCurves:
        """Take over the entries of a ``history.jsonl``."""
        curves = cls(batch_size=batch_size)
        for entry in entries:
            curves.add(entry.step, {k: v for k, v in entry.values.items() if v is not None})
        return curves

    def add(self, step: int, values: Mapping[str, float]) -> bool:
        """Take one report; say whether it was a validation.

        What was known of later steps is dropped: a resumed run goes back to its last checkpoint.
        """
        for known in (self._steps, self._validations):
            for later in [s for s in known if s > step]:
                del known[later]
        is_validation = _VALIDATION in values
        target = self._validations if is_validation else self._steps
        target[step] = dict(values)
        return is_validation

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._steps and not self._validations

    @property
    def n_validations(self) -> int:
        """How often the network was judged."""
        return len(self._validations)

    @property
    def last_validation(self) -> Mapping[str, float]:
        """The newest scores; empty before the first validation."""
        return self._validations[max(self._validations)] if self._validations else {}

    @property
    def best_validation(self) -> Mapping[str, float]:
        """The scores of the model that is kept; empty before the first validation."""
        return max(self._validations.values(), key=_score, default={})

    def curve(self, name: str) -> Curve:
        """Return one metric; NaN where a report has none."""
        source = self._validations
        if not any(name in values for values in source.values()):
            source = self._steps
        steps = sorted(source)
        values = np.array([source[s].get(name, math.nan) for s in steps], dtype=np.float64)
        return Curve(self._minutes(steps), values)

    def _minutes(self, steps: list[int]) -> NDArray[np.float64]:
        known = sorted(
            (step, minutes)
            for reports in (self._steps, self._validations)
            for step, values in reports.items()
            if math.isfinite(minutes := self._time_of(step, values))
        )
        wanted = np.asarray(steps, dtype=np.float64)
        if not known:
            return np.full(wanted.shape, math.nan)
        at, minutes_at = (np.array(column, dtype=np.float64) for column in zip(*known, strict=True))
        inside = np.interp(wanted, np.r_[0.0, at], np.r_[0.0, minutes_at])
        # Behind the last report that has a time, the speed is the average so far.
        return np.where(wanted > at[-1], wanted * minutes_at[-1] / max(at[-1], 1.0), inside)

    def _time_of(self, step: int, values: Mapping[str, float]) -> float:
        if "elapsed_s" in values:
            return values["elapsed_s"] / 60
        rate = values.get("samples_per_s", 0.0)
        return step * self.batch_size / rate / 60 if rate > 0 else math.nan


def _score(values: Mapping[str, float]) -> float:
    """Return what the engine chooses its best model by."""
    score = values.get("efficiency_3d", values.get("efficiency_lateral", math.nan))
    if not math.isfinite(score):
        score = values.get("efficiency_lateral", math.nan)
    return score if math.isfinite(score) else -math.inf
