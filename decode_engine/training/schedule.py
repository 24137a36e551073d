"""How long a training lasts and how its learning rate runs over that time."""

from __future__ import annotations

import math
from dataclasses import dataclass

from decode_engine.contract.configs import TrainingConfig

__all__ = ["DEFAULT_MINUTES", "Budget", "learning_rate_factor"]

DEFAULT_MINUTES = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The end of a training: a number of steps, a time, or whichever comes first.

    With steps alone the whole run is a function of its seed. With minutes the learning rate
    follows the share of the time that has gone (pauses and the time between a kill and its
    resumption do not count), so the run depends on how fast the machine is.
    """

    steps: int | None
    minutes: float | None

    @classmethod
    def from_config(cls, config: TrainingConfig) -> Budget:
        """Return the configured budget; `DEFAULT_MINUTES` if there is none."""
        if config.steps is None and config.minutes is None:
            return cls(steps=None, minutes=DEFAULT_MINUTES)
        return cls(steps=config.steps, minutes=config.minutes)

    def fraction(self, step: int, elapsed_s: float) -> float:
        """Return the used part of the budget, 0 to 1."""
        of_steps = step / self.steps if self.steps else 0.0
        of_time = elapsed_s / (60.0 * self.minutes) if self.minutes else 0.0
        return min(max(of_steps, of_time), 1.0)

    def remaining_s(self, step: int, elapsed_s: float) -> float | None:
        """Estimate the time that is left from the pace so far; None before the first step."""
        fraction = self.fraction(step, elapsed_s)
        return elapsed_s * (1.0 - fraction) / fraction if fraction > 0 else None


def learning_rate_factor(fraction: float, warmup: float, final: float) -> float:
    """Return the learning rate relative to its highest value.

    It rises linearly over the first part ``warmup`` of the budget, then falls as half a cosine
    (Loshchilov & Hutter 2017, arXiv 1608.03983) to ``final`` at its end.
    """
    if fraction < warmup:
        return max(fraction / warmup, 1e-3)
    phase = (fraction - warmup) / max(1.0 - warmup, 1e-12)
    return final + (1.0 - final) * 0.5 * (1.0 + math.cos(math.pi * min(phase, 1.0)))
