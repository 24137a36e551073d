"""Test sets made from their seeds, a model run on them, and the rows that scores are made of."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.analysis.metrics import Judgement, judge, score
from decode_engine.contract.configs import EvaluateConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.models import ModelBundle
from decode_engine.io.movies.source import BaseSource
from decode_engine.network.bundle import (
    network_from_bundle,
    scaling_from_bundle,
    uncertainty_from_bundle,
)
from decode_engine.psf.base import PsfModel
from decode_engine.simulation.simulator import Simulator, _Sample
from decode_engine.training.stream import named_generator
from tests.bench.accuracy.conditions import FRAME_PX, PIXEL_NM, TEST_SEED, MovieSet

AXES = ("x", "y", "z")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WORKING_THRESHOLD = 0.5
PHOTON_EDGES = (100.0, 500.0, 1500.0, 4000.0, math.inf)
_MIN_PHOTONS = 100.0
_RULES = EvaluateConfig(min_photons=_MIN_PHOTONS)
_REPORTED = (
    "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "efficiency_lateral",
    "efficiency_axial", "efficiency_3d", "z_score_x", "z_score_y", "z_score_z",
    "z_score_robust_x", "z_score_robust_y", "z_score_robust_z", "photons_ratio",
    "bias_x_nm", "bias_y_nm", "bias_z_nm",
)  # fmt: skip


class ArrayMovie(BaseSource):
    """A movie in memory."""

    def __init__(self, frames: NDArray[Any]) -> None:
        super().__init__(Path("memory.tif"))
        self._frames = frames
        self._n_frames, self._height_px, self._width_px = frames.shape
        self._dtype = frames.dtype

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return self._frames[start:stop]

    def close(self) -> None:
        return


class PerturbedSimulator(Simulator):
    """Simulates with a PSF and a gain that are wrong by a fixed amount."""

    def __init__(self, psf: PsfModel, camera: CameraModel, movie: MovieSet) -> None:
        super().__init__(psf, camera, movie.simulation())
        self._movie = movie

    def _draw_samples(self, n: int, generator: torch.Generator) -> _Sample:
        sample, movie = super()._draw_samples(n, generator), self._movie
        ones = torch.ones_like(sample.density)
        return sample._replace(
            width_scale=None if movie.width_scale == 1 else movie.width_scale * ones,
            z_scale=None if movie.z_scale == 1 else movie.z_scale * ones,
            gain=movie.gain,
        )


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a model found in one set, judged at every threshold."""

    movie: MovieSet
    truth: Emitters
    estimate: Localizations  # above the lowest threshold
    cpu_s: float  # of incomplete batches too; `throughput` measures the speed

    def at(self, threshold: float) -> tuple[Localizations, Judgement]:
        assert self.estimate.probability is not None
        kept = self.estimate.take(self.estimate.probability >= threshold)
        return kept, judge(self.truth, kept, _RULES)

    def scores(self, threshold: float = WORKING_THRESHOLD) -> dict[str, float]:
        kept, judgement = self.at(threshold)
        evaluation = score(self.truth, kept, judgement)
        return {name: float(getattr(evaluation, name)) for name in _REPORTED}

    def curve(self) -> list[dict[str, float]]:
        """Precision, recall and errors over the threshold."""
        rows = []
        for threshold in THRESHOLDS:
            s = self.scores(threshold)
            names = ("precision", "recall", "jaccard", "efficiency_3d", "rmse_lateral_nm",
                     "rmse_axial_nm")  # fmt: skip
            rows.append({"threshold": threshold, **{n: s[n] for n in names}})
        return rows

    def place_in_pixel(self, bins: int = 10) -> dict[str, list[float]]:
        """How often found emitters lie in each part of a pixel, relative to an even spread."""
        kept, _ = self.at(WORKING_THRESHOLD)
        rows = {}
        for axis in ("x", "y"):
            place = (getattr(kept, f"{axis}_nm") / PIXEL_NM + 0.5) % 1.0
            counts, _ = np.histogram(place, bins, (0.0, 1.0))
            rows[axis] = (counts * bins / max(1, counts.sum())).tolist()
        return rows

    def background_ratio(self) -> float:
        """Median of predicted over true background at the pairs."""
        kept, judgement = self.at(WORKING_THRESHOLD)
        assert self.truth.background is not None
        true = self.truth.background[judgement.truth_index]
        ratios = kept.background[judgement.estimate_index] / true
        return float(np.median(ratios)) if ratios.size else math.nan

    def brightness(self) -> dict[str, NDArray[np.float64]]:
        """Return true and inferred photons and background of the pairs."""
        kept, judgement = self.at(WORKING_THRESHOLD)
        t, e = judgement.truth_index, judgement.estimate_index
        assert self.truth.background is not None
        rows = {
            "photons_true": self.truth.photons[t],
            "photons_inferred": kept.photons[e],
            "background_true": self.truth.background[t],
            "background_inferred": kept.background[e],
        }
        return {name: np.asarray(values, np.float64) for name, values in rows.items()}

    def reliability(self, bins: int = 10) -> dict[str, Any]:
        """Whether probabilities mean what they say: by bin, and the mean gap (ECE)."""
        kept, judgement = self.at(THRESHOLDS[0])
        assert kept.probability is not None
        real = np.zeros(len(kept), dtype=bool)
        real[judgement.estimate_index] = True
        judged = judgement.estimate_judged
        said, real = kept.probability[judged].astype(np.float64), real[judged]
        number = np.clip((said * bins).astype(int), 0, bins - 1)
        rows, gap = [], 0.0
        for k in np.unique(number):
            chosen = number == k
            row = {"said": float(said[chosen].mean()), "real": float(real[chosen].mean())}
            rows.append({"localizations": int(chosen.sum()), **row})
            gap += chosen.sum() * abs(row["said"] - row["real"])
        return {"ece": float(gap / max(1, len(said))), "bins": rows}

    def normal_errors(self) -> dict[str, NDArray[np.float64]]:
        """Error / sigma by axis, and the true photons, of the pairs at the working threshold."""
        kept, judgement = self.at(WORKING_THRESHOLD)
        t, e = judgement.truth_index, judgement.estimate_index
        rows: dict[str, NDArray[np.float64]] = {"photons": self.truth.photons[t].astype(np.float64)}
        for axis in AXES:
            error = getattr(kept, f"{axis}_nm")[e] - getattr(self.truth, f"{axis}_nm")[t]
            rows[axis] = (error / getattr(kept, f"sigma_{axis}_nm")[e]).astype(np.float64)
        return rows


class Model:
    """A trained model ready to be measured."""

    def __init__(self, bundle: ModelBundle, device: torch.device) -> None:
        self.bundle = bundle
        self.network = network_from_bundle(bundle, device)
        self.scaling = scaling_from_bundle(bundle)
        self.uncertainty = uncertainty_from_bundle(bundle)
        self.device = device
        options = PredictorOptions(probability_threshold=THRESHOLDS[0])
        self.predictor = Predictor(
            self.network,
            self.scaling,
            bundle.camera,
            device=device,
            options=options,
            uncertainty=self.uncertainty,
        )

    def localize(self, frames: NDArray[Any]) -> tuple[Localizations, float]:
        """Return what is found in a movie and the processor time that it took."""
        start = time.process_time()
        parts = [batch.localizations for batch in self.predictor.localize(ArrayMovie(frames))]
        return Localizations.concatenate(parts), time.process_time() - start


def simulate(
    psf: PsfModel, camera: CameraModel, movie: MovieSet
) -> tuple[NDArray[np.uint16], Emitters]:
    """Return the (N, H, W) frames of a set, in ADU, and its truth."""
    generator = named_generator(TEST_SEED, f"accuracy/{movie.seed_name}", "cpu")
    simulator = PerturbedSimulator(psf, camera, movie)
    chunks = list(
        simulator.movie_chunks(
            movie.n_frames, FRAME_PX, FRAME_PX, generator, chunk_frames=movie.chunk_frames
        )
    )
    frames = np.concatenate([chunk.frames_adu for chunk in chunks])
    return frames, Emitters.concatenate([chunk.emitters for chunk in chunks])


def measure(model: Model, psf: PsfModel, movie: MovieSet) -> Result:
    """Simulate one set and localize it."""
    frames, truth = simulate(psf, model.bundle.camera, movie)
    estimate, cpu_s = model.localize(frames)
    return Result(movie=movie, truth=truth, estimate=estimate, cpu_s=cpu_s)


def frames_of_size(model: Model, psf: PsfModel, size_px: int, n_frames: int) -> NDArray[Any]:
    """Return frames with 1 emitter/um^2 to measure the speed with."""
    movie = MovieSet(
        name="speed", group="speed", density_per_um2=1.0, snr="high", n_frames=n_frames
    )
    generator = named_generator(TEST_SEED, f"accuracy/speed {size_px}", "cpu")
    simulator = PerturbedSimulator(psf, model.bundle.camera, movie)
    return np.concatenate(
        [c.frames_adu for c in simulator.movie_chunks(n_frames, size_px, size_px, generator)]
    )
