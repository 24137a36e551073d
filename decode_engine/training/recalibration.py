"""Measuring what a trained network's sigmas and probabilities mean; see `network.uncertainty`.

The network localizes simulated frames that no training step saw. For each axis the squared
normalised errors of the pairs are taken as gamma distributed with a log-linear mean, which makes
the fit that of a generalised linear model (McCullagh & Nelder 1989) and its mean of
(error / sigma)^2 exactly 1; whether a localization is real is a logistic regression (Platt 1999).
Every frame weighs the same, so that the many molecules of dense frames do not decide for sparse
ones.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.analysis.metrics import judge
from decode_engine.contract.configs import EvaluateConfig, TrainingConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.scaling import NetworkScaling
from decode_engine.network.uncertainty import (
    AXES,
    LOWEST_PROBABILITY,
    Peaks,
    Surroundings,
    Uncertainty,
    features,
    surroundings,
)
from decode_engine.training.stream import BatchSource, named_generator
from decode_engine.training.validation import PeakExtractor, emitters_of, localizations_of

__all__ = ["Recalibration", "fit_log_scale", "fit_logistic", "peaks_of", "recalibrate"]

_BATCH_FRAMES = 16
_PATCH_PX = 64  # most places have their neighbours inside
_FEWEST_PAIRS = 300
_USED_PROBABILITY = 0.5  # sigmas are fitted to what users see
_RIDGE = 1e-3  # of a coefficient, relative to one pair
_NEWTON_STEPS = 60

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recalibration:
    """The corrections and what they were measured on.

    Attributes
    ----------
    uncertainty : Uncertainty
        Empty when there were too few pairs.
    pairs : int
    std_before, std_after : dict
        Standard deviation of error / sigma by axis, on the frames of the fit.
    """

    uncertainty: Uncertainty
    pairs: int
    std_before: dict[str, float]
    std_after: dict[str, float]


def recalibrate(
    network: LocalizationNetwork,
    scaling: NetworkScaling,
    source: BatchSource,
    extract: PeakExtractor,
    camera: CameraModel,
    config: TrainingConfig,
    *,
    frames: int = 512,
    check: Callable[[], None] = lambda: None,
) -> Recalibration:
    """Measure a trained network on held-out frames of its own simulation.

    Parameters
    ----------
    network, scaling, source, extract, camera, config
        Of the training; ``source`` simulates, ``extract`` turns maps into peaks.
    frames : int
        Frames that are simulated; some dozen molecules each.
    check : callable
        Called often; may raise to stop.
    """
    generator = named_generator(config.seed, "recalibration", network.device)
    parts = []
    for _ in range(-(-frames // _BATCH_FRAMES)):
        check()
        parts.append(_part(network, scaling, source, extract, camera, config, generator))
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return _fitted(rows, scaling.is_3d)


def peaks_of(columns: Mapping[str, Tensor]) -> Peaks:
    """Return what the correction needs from the columns of a `PeakTable`."""
    return Peaks(
        image=columns["image"],
        row=columns["row"],
        column=columns["column"],
        photons=columns["photons"],
        background=columns["background"],
        probability=columns["probability"],
        sigma_x=columns["sigma_x_px"],
        sigma_y=columns["sigma_y_px"],
        sigma_z=columns["sigma_z_nm"],
        sigma_photons=columns["sigma_photons"],
    )


@torch.no_grad()
def _part(
    network: LocalizationNetwork,
    scaling: NetworkScaling,
    source: BatchSource,
    extract: PeakExtractor,
    camera: CameraModel,
    config: TrainingConfig,
    generator: torch.Generator,
) -> dict[str, Floats]:
    """Return features, reality and normalised errors of the peaks of one batch."""
    batch = source.training_batch(_BATCH_FRAMES, _PATCH_PX, config.context_frames, generator)
    output = network(scaling.frames_to_network(batch.frames))
    columns = extract(output, scaling, LOWEST_PROBABILITY)
    peaks, estimate = peaks_of(columns), localizations_of(columns, 0, camera)
    truth = emitters_of(batch, 0, camera)
    rules = EvaluateConfig(min_photons=config.label_min_photons, two_dimensional=not scaling.is_3d)
    judgement = judge(truth, estimate, rules)
    pair_of = np.full(len(estimate), -1)
    pair_of[judgement.estimate_index] = judgement.truth_index
    judged = judgement.estimate_judged
    rows: dict[str, Floats] = {"real": (pair_of >= 0).astype(np.float64)[judged]}
    none = Surroundings(peaks.photons, peaks.photons)
    around = surroundings(peaks) if len(peaks.image) else none
    for axis in AXES:
        rows[f"features_{axis}"] = _numbers(features(peaks, axis, around))[judged]
    in_frame = np.bincount(estimate.frame, minlength=1)[estimate.frame]
    rows["weight"] = 1.0 / in_frame[judged]
    for axis in AXES:
        name = "photons" if axis == "photons" else f"{axis}_nm"
        sigma = "sigma_photons" if axis == "photons" else f"sigma_{axis}_nm"
        own = np.asarray(getattr(estimate, name), np.float64)
        true = np.append(getattr(truth, name), np.nan)[pair_of]  # -1 is the NaN
        rows[f"error_{axis}"] = ((own - true) / getattr(estimate, sigma))[judged]
    rows["probability"] = _numbers(peaks.probability)[judged]
    return rows


def _fitted(rows: dict[str, Floats], is_3d: bool) -> Recalibration:
    used = (rows["real"] > 0) & (rows["probability"] >= _USED_PROBABILITY)
    axes = AXES if is_3d else ("x", "y", "photons")
    before = {axis: _std(rows[f"error_{axis}"][used]) for axis in axes}
    pairs = int(used.sum())
    if pairs < _FEWEST_PAIRS or rows["real"].min() == rows["real"].max():
        empty = Uncertainty()
        return Recalibration(uncertainty=empty, pairs=pairs, std_before=before, std_after=before)
    scales, after = {}, {}
    for axis in axes:
        design, error = rows[f"features_{axis}"][used], rows[f"error_{axis}"][used]
        theta = fit_log_scale(design, error, rows["weight"][used])
        scales[axis] = tuple(theta.tolist())
        after[axis] = _std(error / np.exp(design @ theta))
    detection = fit_logistic(rows["features_x"], rows["real"], rows["weight"])
    return Recalibration(
        uncertainty=Uncertainty(scales=scales, detection=tuple(detection.tolist())),
        pairs=pairs,
        std_before=before,
        std_after=after,
    )


def fit_log_scale(design: Floats, error: Floats, weight: Floats | None = None) -> Floats:
    """Return theta such that errors / exp(design @ theta) have unit variance everywhere.

    Minimises ``sum w (s + error^2 exp(-2 s) / 2)`` with ``s = design @ theta`` (convex) by
    Newton's method with halved steps.

    Parameters
    ----------
    design : (P, F) float
        The first column is 1.
    error : (P,) float
    weight : (P,) float, optional
        Relative weights.
    """
    share_of = _unit_mean(weight, len(error))
    squared = error**2

    def cost(theta: Floats) -> float:
        s = design @ theta
        ridge = 0.5 * _RIDGE * float(theta[1:] @ theta[1:]) * len(error)
        with np.errstate(over="ignore"):  # too long a step costs infinitely much, and is halved
            return float(share_of @ (s + 0.5 * squared * np.exp(-2.0 * s))) + ridge

    def derivatives(theta: Floats) -> tuple[Floats, Floats]:
        share = squared * np.exp(-2.0 * (design @ theta))
        return design.T @ (share_of * (1.0 - share)), (design.T * (2.0 * share_of * share)) @ design

    start = np.zeros(design.shape[1])
    start[0] = 0.5 * np.log(max(float(np.mean(share_of * squared)), 1e-12))
    return _newton(start, cost, derivatives, len(error))


def fit_logistic(design: Floats, real: Floats, weight: Floats | None = None) -> Floats:
    """Return theta such that ``sigmoid(design @ theta)`` is the probability of ``real``.

    The cost has a little weight against large coefficients (but the first).
    """
    share_of = _unit_mean(weight, len(real))
    sign = 1.0 - 2.0 * real

    def cost(theta: Floats) -> float:
        ridge = 0.5 * _RIDGE * float(theta[1:] @ theta[1:]) * len(real)
        return float(share_of @ np.logaddexp(0.0, sign * (design @ theta))) + ridge

    def derivatives(theta: Floats) -> tuple[Floats, Floats]:
        probability = 1.0 / (1.0 + np.exp(-(design @ theta)))
        curvature = share_of * probability * (1.0 - probability)
        return design.T @ (share_of * (probability - real)), (design.T * curvature) @ design

    return _newton(np.zeros(design.shape[1]), cost, derivatives, len(real))


def _newton(
    theta: Floats,
    cost: Callable[[Floats], float],
    derivatives: Callable[[Floats], tuple[Floats, Floats]],
    count: int,
) -> Floats:
    ridge = np.full(len(theta), _RIDGE * count)
    ridge[0] = 0.0
    now = cost(theta)
    for _ in range(_NEWTON_STEPS):
        gradient, curvature = derivatives(theta)
        curvature = curvature + np.diag(ridge + 1e-9 * count)
        step = np.linalg.solve(curvature, gradient + ridge * theta)
        for _ in range(30):
            following = cost(theta - step)
            if following <= now:
                break
            step = step / 2
        else:
            return theta
        theta, gain, now = theta - step, now - following, following
        if gain < 1e-9 * count:
            break
    return theta


def _unit_mean(weight: Floats | None, count: int) -> Floats:
    return np.ones(count) if weight is None else weight / weight.mean()


def _std(errors: Floats) -> float:
    return float(np.std(errors)) if len(errors) else float("nan")


def _numbers(tensor: Tensor) -> Floats:
    return np.asarray(tensor.double().cpu().numpy(), np.float64)
