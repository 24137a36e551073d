"""Scores on a frozen simulated set, in physical units and relative to the Cramér-Rao bound."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.analysis.metrics import Evaluation, Judgement, judge, rmse_over_crlb, score
from decode_engine.contract.configs import EvaluateConfig, TrainingConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.io.training_sample import TrainingSample
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.loss import LossFunction, LossTargets, network_loss
from decode_engine.network.output import NetworkOutput
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import crlb, noise_terms
from decode_engine.simulation.simulator import TrainingBatch
from decode_engine.training.stream import (
    BatchSource,
    NetworkBatch,
    named_generator,
    to_network_units,
)

__all__ = [
    "PeakExtractor",
    "ValidationResult",
    "Validator",
    "emitters_of",
    "localizations_of",
]

_CHUNK = 32  # frames at a time: bounds the memory, not the result
_PROBABILITY_THRESHOLD = 0.5
_SAMPLE_FRAMES = 4  # enough to look at, small enough to be written at each validation
_OF_FOUND = ("probability", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm")
_REPORTED = (
    "jaccard",
    "precision",
    "recall",
    "rmse_lateral_nm",
    "rmse_axial_nm",
    "efficiency_lateral",
    "efficiency_axial",
    "efficiency_3d",
    "z_score_x",
    "z_score_y",
    "z_score_z",
    "photons_ratio",
)


class PeakExtractor(Protocol):
    """Turns maps into localizations; given from outside since inference is a sibling room."""

    def __call__(
        self, output: NetworkOutput, scaling: NetworkScaling, threshold: float
    ) -> Mapping[str, Tensor]:
        """Return the columns of `inference.peaks.PeakTable` of peaks above the threshold."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationResult:
    """What one validation found.

    Attributes
    ----------
    loss : float
        Mean loss per frame.
    score : float
        What the best model is chosen by: efficiency_3d, in 2D efficiency_lateral; minus
        infinity while nothing is found.
    metrics : dict
        Numbers in physical units by name, the loss among them; see `contract.metrics`.
    estimate : Localizations or None
        What was found in all frames.
    """

    loss: float
    score: float
    metrics: dict[str, float]
    estimate: Localizations | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bounds:
    """Single-emitter bounds (standard deviations) of the true emitters, (N,) each, in nm."""

    x_nm: NDArray[np.float64]
    y_nm: NDArray[np.float64]
    z_nm: NDArray[np.float64]


class Validator:
    """Localizes a frozen set of simulated frames and scores the result.

    Parameters
    ----------
    source : BatchSource
        The simulator; called once, with a generator of the run's seed.
    psf : PsfModel
        For the Cramér-Rao bounds.
    camera : CameraModel
    scaling : NetworkScaling
    extract : PeakExtractor
    config : TrainingConfig
    loss : LossFunction
        The loss that the network is trained with.
    """

    def __init__(
        self,
        source: BatchSource,
        psf: PsfModel,
        camera: CameraModel,
        scaling: NetworkScaling,
        extract: PeakExtractor,
        *,
        config: TrainingConfig,
        loss: LossFunction = network_loss,
    ) -> None:
        self._camera = camera
        self._terms = loss
        self._scaling = scaling
        self._extract = extract
        self._config = config
        generator = named_generator(config.seed, "validation", psf.device)
        self._batches = [
            source.training_batch(n, config.patch_px, config.context_frames, generator)
            for n in _split(config.validation_frames)
        ]
        self._truth = self._true_emitters()
        self._bounds = self._crlb(psf)

    @property
    def n_emitters(self) -> int:
        """Number of true emitters in the set."""
        return len(self._truth)

    @torch.no_grad()
    def blind_loss(self) -> float:
        """Return the loss of a predictor that knows the averages of the set and nothing else.

        A network that has been better than this and is worse again has diverged.
        """
        inputs = [self._scaled(batch) for batch in self._batches]
        photons, z = (torch.cat([getattr(t, n) for _, t in inputs]) for n in ("photons", "z"))
        background = torch.cat([targets.background for _, targets in inputs])
        share = torch.tensor((photons.numel() + 1) / background.numel()).clamp(max=0.5)
        total = 0.0
        for _, targets in inputs:
            ones = torch.ones_like(targets.background)
            output = NetworkOutput(
                logit=torch.logit(share).to(ones) * ones,
                x=0 * ones,
                y=0 * ones,
                z=_mean(z) * ones,
                photons=_mean(photons) * ones,
                sigma_x=0.5 * ones,
                sigma_y=0.5 * ones,
                sigma_z=_spread(z) * ones,
                sigma_photons=_spread(photons) * ones,
                background=background.mean() * ones,
            )
            total += ones.shape[0] * self._loss(output, targets)
        return total / background.shape[0]

    @torch.no_grad()
    def validate(
        self, network: LocalizationNetwork, check: Callable[[], None] = lambda: None
    ) -> ValidationResult:
        """Score a network; ``check`` is called often and may raise to stop."""
        estimate, loss = self._predict(network, check)
        judgement = judge(self._truth, estimate, self._rules())
        evaluation = score(self._truth, estimate, judgement)
        metrics = {"validation_loss": loss}
        metrics |= {name: float(getattr(evaluation, name)) for name in _REPORTED}
        metrics |= self._bound_ratios(estimate, judgement)
        return ValidationResult(
            loss=loss, score=_score(evaluation), metrics=metrics, estimate=estimate
        )

    def sample(self, estimate: Localizations, step: int) -> TrainingSample:
        """Return the first frames with their truth and what was found in them."""
        frames = self._batches[0].frames[:_SAMPLE_FRAMES]
        middle = frames[:, frames.shape[1] // 2].float().cpu().numpy()
        shown = self._truth.frame < len(middle)
        if self._config.label_min_photons > 0:
            shown &= self._truth.photons >= self._config.label_min_photons
        truth = self._truth.take(shown)
        found = estimate.take(estimate.frame < len(middle))
        return TrainingSample(
            step=step,
            pixel_size_nm=(self._camera.pixel_size_x_nm, self._camera.pixel_size_y_nm),
            frames=middle,
            truth_frame=truth.frame.astype(np.int64),
            truth=self._positions(truth),
            found_frame=found.frame.astype(np.int64),
            found={
                **self._positions(found),
                **{name: _column(found, name) for name in _OF_FOUND},
            },
        )

    def _positions(self, table: Emitters | Localizations) -> dict[str, NDArray[np.float32]]:
        return {
            "x_px": (table.x_nm / self._camera.pixel_size_x_nm).astype(np.float32),
            "y_px": (table.y_nm / self._camera.pixel_size_y_nm).astype(np.float32),
            "z_nm": table.z_nm.astype(np.float32),
            "photons": table.photons.astype(np.float32),
        }

    def _scaled(self, batch: TrainingBatch) -> NetworkBatch:
        return to_network_units(batch, self._scaling, self._config.label_min_photons)

    def _loss(self, output: NetworkOutput, targets: LossTargets) -> float:
        terms = self._terms(output, targets, use_z=self._scaling.is_3d)
        return float(terms.total(self._config.count_weight, self._config.background_weight))

    def _predict(
        self, network: LocalizationNetwork, check: Callable[[], None]
    ) -> tuple[Localizations, float]:
        """Return the localizations of all frames and the mean loss per frame."""
        tables: list[Localizations] = []
        total, first = 0.0, 0
        for batch in self._batches:
            check()
            frames, targets = self._scaled(batch)
            output = network(frames)
            total += frames.shape[0] * self._loss(output, targets)
            peaks = self._extract(output, self._scaling, _PROBABILITY_THRESHOLD)
            tables.append(localizations_of(peaks, first, self._camera))
            first += frames.shape[0]
        return Localizations.concatenate(tables), total / first

    def _rules(self) -> EvaluateConfig:
        return EvaluateConfig(
            min_photons=self._config.label_min_photons, two_dimensional=not self._scaling.is_3d
        )

    def _true_emitters(self) -> Emitters:
        tables, first = [], 0
        for batch in self._batches:
            tables.append(emitters_of(batch, first, self._camera))
            first += batch.frames.shape[0]
        return Emitters.concatenate(tables)

    def _crlb(self, psf: PsfModel) -> _Bounds:
        truth, camera = self._truth, self._camera
        x_px, y_px = truth.x_nm / camera.pixel_size_x_nm, truth.y_nm / camera.pixel_size_y_nm
        background = np.zeros(len(truth)) if truth.background is None else truth.background

        def tensor(values: NDArray[np.floating]) -> Tensor:
            return torch.tensor(values, dtype=psf.dtype, device=psf.device)

        noise = noise_terms(camera)
        bound = crlb(
            psf,
            dx_px=tensor(x_px - np.round(x_px)),
            dy_px=tensor(y_px - np.round(y_px)),
            z_nm=tensor(truth.z_nm),
            photons=tensor(truth.photons),
            background=tensor(background),
            roi_px=psf.support_px,
            excess_noise=noise.excess_noise,
            read_variance=float(np.mean(noise.read_variance)),  # of a typical pixel, for maps
        )
        return _Bounds(
            x_nm=bound.x_px.double().cpu().numpy() * camera.pixel_size_x_nm,
            y_nm=bound.y_px.double().cpu().numpy() * camera.pixel_size_y_nm,
            z_nm=bound.z_nm.double().cpu().numpy(),
        )

    def _bound_ratios(self, estimate: Localizations, judgement: Judgement) -> dict[str, float]:
        """Return RMSE / sqrt(CRLB) of the pairs: root mean square and robust, by axis."""
        t, e = judgement.truth_index, judgement.estimate_index
        ratios: dict[str, float] = {}
        for axis in ("x", "y", "z") if self._scaling.is_3d else ("x", "y"):
            error = getattr(estimate, f"{axis}_nm")[e] - getattr(self._truth, f"{axis}_nm")[t]
            ratio = rmse_over_crlb(error, getattr(self._bounds, f"{axis}_nm")[t])
            ratios[f"rmse_over_crlb_{axis}"] = ratio.rms
            ratios[f"rmse_over_crlb_robust_{axis}"] = ratio.robust
        return ratios


def _column(table: Localizations, name: str) -> NDArray[np.float32]:
    values = getattr(table, name)
    missing = np.full(len(table), np.nan) if values is None else values
    return np.asarray(missing, np.float32)


def _mean(values: Tensor) -> Tensor:
    return values.mean() if values.numel() else values.new_zeros(())


def _spread(values: Tensor) -> Tensor:
    return values.std().clamp(min=0.01) if values.numel() > 1 else values.new_ones(())


def _split(frames: int) -> list[int]:
    return [min(_CHUNK, frames - first) for first in range(0, frames, _CHUNK)]


def _score(evaluation: Evaluation) -> float:
    value = (
        evaluation.efficiency_lateral if evaluation.two_dimensional else evaluation.efficiency_3d
    )
    return value if math.isfinite(value) else -math.inf


def emitters_of(batch: TrainingBatch, first: int, camera: CameraModel) -> Emitters:
    """Return the true emitters of a batch whose frames are numbered from ``first``."""
    targets = batch.targets
    image, slot = targets.valid.nonzero(as_tuple=True)
    x_px, y_px = targets.x_px[image, slot], targets.y_px[image, slot]
    height, width = batch.background.shape[1:]
    row = y_px.round().long().clamp(0, height - 1)
    column = x_px.round().long().clamp(0, width - 1)
    return Emitters(
        frame=(image + first).cpu().numpy(),
        x_nm=(x_px * camera.pixel_size_x_nm).cpu().numpy(),
        y_nm=(y_px * camera.pixel_size_y_nm).cpu().numpy(),
        z_nm=targets.z_nm[image, slot].cpu().numpy(),
        photons=targets.photons[image, slot].cpu().numpy(),
        background=batch.background[image, row, column].cpu().numpy(),
    )


def localizations_of(peaks: Mapping[str, Tensor], first: int, camera: CameraModel) -> Localizations:
    """Return peaks of a batch whose frames are numbered from ``first`` as a table."""
    x_nm, y_nm = camera.pixel_size_x_nm, camera.pixel_size_y_nm
    columns = {
        "frame": peaks["image"] + first,
        "x_nm": peaks["x_px"] * x_nm,
        "y_nm": peaks["y_px"] * y_nm,
        "sigma_x_nm": peaks["sigma_x_px"] * x_nm,
        "sigma_y_nm": peaks["sigma_y_px"] * y_nm,
    }
    same = ("z_nm", "photons", "background", "probability", "sigma_z_nm", "sigma_photons")
    columns |= {name: peaks[name] for name in same}
    return Localizations(**{name: values.cpu().numpy() for name, values in columns.items()})
