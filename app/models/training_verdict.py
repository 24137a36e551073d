"""How good a trained network is, in words, from its scores on simulated frames."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.models.verdict import Level, worst

__all__ = ["TrainingVerdict", "judge_training"]

# Robust RMSE over the single-molecule bound; the bound ignores neighbours, so dense frames
# stay above 1 however long one trains.
_NEAR_BOUND, _FAR_BOUND = 1.4, 2.0
_GOOD_JACCARD, _POOR_JACCARD = 0.6, 0.4
_HONEST = (0.8, 1.25)  # standard deviation of error / sigma


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingVerdict:
    """What to think of a model.

    Attributes
    ----------
    level : str
        ``ok``, ``doubt`` or ``bad``.
    headline : str
    sentences : tuple of str
        One each about detection, precision and stated uncertainties, with numbers.
    advice : str
        What to do; empty where nothing is needed.
    """

    level: Level
    headline: str
    sentences: tuple[str, ...]
    advice: str


def judge_training(metrics: Mapping[str, Any]) -> TrainingVerdict | None:
    """Judge the scores of a validation; None where it found nothing to judge by.

    Parameters
    ----------
    metrics : mapping
        ``jaccard``, ``recall``, ``precision``, ``rmse_lateral_nm``, ``rmse_axial_nm``,
        ``rmse_over_crlb_robust_*``, ``z_score_*`` as the engine reports them.
    """
    jaccard = _number(metrics, "jaccard")
    if jaccard is None:
        return None
    ratio = _worst(metrics, "rmse_over_crlb_robust_", highest=True)
    spread = _worst(metrics, "z_score_", highest=None)
    levels = [_detection_level(jaccard), _precision_level(ratio), _honesty_level(spread)]
    level = worst(levels)
    headline = {
        "ok": "This model is ready to use.",
        "doubt": "This model is usable, but longer training would improve it.",
        "bad": "This model has not learned enough yet.",
    }[level]
    sentences = (_detection(metrics, jaccard), _precision(metrics, ratio), _honesty(spread))
    return TrainingVerdict(
        level=level,
        headline=headline,
        sentences=tuple(s for s in sentences if s),
        advice=_advice(*levels),
    )


def _detection_level(jaccard: float) -> Level:
    if jaccard >= _GOOD_JACCARD:
        return "ok"
    return "doubt" if jaccard >= _POOR_JACCARD else "bad"


def _precision_level(ratio: float | None) -> Level:
    if ratio is None or ratio <= _NEAR_BOUND:
        return "ok"
    return "doubt" if ratio <= _FAR_BOUND else "bad"


def _honesty_level(spread: float | None) -> Level:
    return "ok" if spread is None or _HONEST[0] <= spread <= _HONEST[1] else "doubt"


def _detection(metrics: Mapping[str, Any], jaccard: float) -> str:
    recall, precision = _number(metrics, "recall"), _number(metrics, "precision")
    text = f"Finding molecules: Jaccard index {jaccard:.2f}"
    if recall is not None and precision is not None:
        text += f" (it finds {recall:.0%} of them; {precision:.0%} of what it finds is true)"
    return f"{text}, in frames as dense as you simulated."


def _precision(metrics: Mapping[str, Any], ratio: float | None) -> str:
    lateral, axial = _number(metrics, "rmse_lateral_nm"), _number(metrics, "rmse_axial_nm")
    if lateral is None:
        return ""
    text = f"Precision: {lateral:.0f} nm sideways"
    if axial is not None:
        text += f", {axial:.0f} nm in height"
    if ratio is not None:
        text += f"; the typical error is {ratio:.1f} times the best that the photons allow (CRLB)"
    return f"{text}."


def _honesty(spread: float | None) -> str:
    if spread is None:
        return ""
    if _HONEST[0] <= spread <= _HONEST[1]:
        return "Stated uncertainties: true within 25 %."
    word = "too small" if spread > 1 else "too large"
    factor = spread if spread > 1 else 1 / spread
    return f"Stated uncertainties: {word} by a factor of about {factor:.1f}."


def _advice(detection: Level, precision: Level, honesty: Level) -> str:
    if "bad" in (detection, precision):
        return (
            "Train longer (start from this model to go on from here). If that does not help, "
            "simulate fewer molecules per area or check calibration and camera."
        )
    if "doubt" in (detection, precision):
        return "For dense or demanding data, train on: start from this model with more minutes."
    if honesty == "doubt":
        return "Train on for a while: uncertainties become true later than positions do."
    return ""


def _number(metrics: Mapping[str, Any], name: str) -> float | None:
    value = metrics.get(name)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None


def _worst(metrics: Mapping[str, Any], prefix: str, *, highest: bool | None) -> float | None:
    """Return the worst of three axes: the highest, or (None) the farthest from 1."""
    values = [v for axis in "xyz" if (v := _number(metrics, f"{prefix}{axis}")) is not None]
    values = [v for v in values if v > 0]
    if not values:
        return None
    return max(values) if highest else max(values, key=lambda v: abs(math.log(v)))
