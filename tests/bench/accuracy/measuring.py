"""Test sets made from their seeds, a model run on them, and the rows that scores are made of."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.analysis.metrics import Judgement, judge, score
from decode_engine.contract.configs import EvaluateConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.inference.peaks import correct_peaks, extract_peaks
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.models import ModelBundle
from decode_engine.io.movies.source import BaseSource
from decode_engine.network.bundle import (
    network_from_bundle,
    scaling_from_bundle,
    uncertainty_from_bundle,
)
from decode_engine.network.device import autocast_dtype
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import crlb, noise_terms
from decode_engine.simulation.camera_noise import CameraNoise
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.rendering import render_emitters
from decode_engine.simulation.simulator import Simulator, _Sample
from decode_engine.training.stream import named_generator
from tests.bench.accuracy.conditions import (
    BACKGROUND,
    FRAME_PX,
    ISOLATED_PHOTONS,
    ISOLATED_REPEATS,
    ISOLATED_Z_NM,
    PIXEL_NM,
    TEST_SEED,
    MovieSet,
)

AXES = ("x", "y", "z")
THRESHOLDS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WORKING_THRESHOLD = 0.5
PHOTON_EDGES = (100.0, 500.0, 1500.0, 4000.0, math.inf)
_MIN_PHOTONS = 100.0
_RULES = EvaluateConfig(min_photons=_MIN_PHOTONS)
_ISOLATED_PX = 32
_CHUNK_FRAMES = 16  # fixed: random numbers depend on it
_REPORTED = (
    "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "efficiency_lateral",
    "efficiency_axial", "efficiency_3d", "z_score_x", "z_score_y", "z_score_z",
    "z_score_robust_x", "z_score_robust_y", "z_score_robust_z", "photons_ratio",
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
    cpu_s: float

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


def measure(model: Model, psf: PsfModel, movie: MovieSet) -> Result:
    """Simulate one set and localize it."""
    generator = named_generator(TEST_SEED, f"accuracy/{movie.seed_name}", "cpu")
    simulator = PerturbedSimulator(psf, model.bundle.camera, movie)
    chunks = list(
        simulator.movie_chunks(
            movie.n_frames, FRAME_PX, FRAME_PX, generator, chunk_frames=_CHUNK_FRAMES
        )
    )
    frames = np.concatenate([chunk.frames_adu for chunk in chunks])
    estimate, cpu_s = model.localize(frames)
    truth = Emitters.concatenate([chunk.emitters for chunk in chunks])
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


def measure_isolated(model: Model, psf: PsfModel, repeats: int) -> dict[str, NDArray[np.float64]]:
    """Localize single emitters, on in the middle frame of three.

    Returns
    -------
    dict
        Per emitter: ``z_nm``, ``photons``, ``found`` (0 or 1), and for each axis the error, the
        bound and the predicted sigma (``error_x``, ``bound_x``, ``sigma_x``) in nm; NaN if missed.
    """
    rows = [part for part in _isolated_parts(model, psf, repeats)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _isolated_parts(
    model: Model, psf: PsfModel, repeats: int
) -> Iterator[dict[str, NDArray[np.float64]]]:
    generator = named_generator(TEST_SEED, "accuracy/isolated", "cpu")
    for photons in ISOLATED_PHOTONS:
        z_nm = torch.tensor(ISOLATED_Z_NM).repeat_interleave(repeats)
        n = len(z_nm)
        shift = torch.rand(2, n, generator=generator) - 0.5
        middle = (_ISOLATED_PX - 1) // 2
        emitters = EmitterBatch(
            image=torch.arange(n) * 3 + 1,
            x_px=middle + shift[0],
            y_px=middle + shift[1],
            z_nm=z_nm,
            photons=torch.full((n,), photons),
            emitter_id=torch.arange(n),
        )
        light = render_emitters(psf, emitters, 3 * n, _ISOLATED_PX, _ISOLATED_PX) + BACKGROUND
        noise = CameraNoise(model.bundle.camera)
        frames = noise.to_photons(noise.sample(light, generator))
        frames = frames.view(n, 3, _ISOLATED_PX, _ISOLATED_PX)
        yield _isolated_rows(model, psf, emitters, frames)


@torch.inference_mode()
def _isolated_rows(
    model: Model, psf: PsfModel, emitters: EmitterBatch, frames: Tensor
) -> dict[str, NDArray[np.float64]]:
    n, pixel_nm = len(frames), model.bundle.camera.pixel_size_x_nm
    best = np.full((n, 7), np.nan)  # error and sigma of x, y, z, and the probability
    dtype = autocast_dtype(model.device, "auto")
    context = model.network.context_frames
    first = 1 - context // 2
    for start in range(0, n, 16):
        part = frames[start : start + 16, first : first + context]
        with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None):
            output = model.network(model.scaling.frames_to_network(part.to(model.device)))
        peaks = extract_peaks(output, model.scaling, WORKING_THRESHOLD)
        peaks = correct_peaks(peaks, model.uncertainty, peaks.row, peaks.column)
        for i in range(len(peaks)):
            k = start + int(peaks.image[i])
            dx = (float(peaks.x_px[i]) - float(emitters.x_px[k])) * pixel_nm
            dy = (float(peaks.y_px[i]) - float(emitters.y_px[k])) * pixel_nm
            dz = float(peaks.z_nm[i]) - float(emitters.z_nm[k])
            p = float(peaks.probability[i])
            if math.hypot(dx, dy) <= 250 and abs(dz) <= 500 and not p <= best[k, 6]:
                sigma = (peaks.sigma_x_px[i] * pixel_nm, peaks.sigma_y_px[i] * pixel_nm)
                best[k] = (dx, dy, dz, *map(float, sigma), float(peaks.sigma_z_nm[i]), p)
    bounds = _bounds(psf, model.bundle.camera, emitters)
    rows = {"z_nm": emitters.z_nm.double().numpy(), "photons": emitters.photons.double().numpy()}
    rows["found"] = np.isfinite(best[:, 6]).astype(np.float64)
    for i, axis in enumerate(AXES):
        rows |= {f"error_{axis}": best[:, i], f"sigma_{axis}": best[:, 3 + i]}
        rows[f"bound_{axis}"] = bounds[axis]
    return rows


def _bounds(
    psf: PsfModel, camera: CameraModel, emitters: EmitterBatch
) -> dict[str, NDArray[np.float64]]:
    noise = noise_terms(camera)
    x, y = emitters.x_px.to(psf.dtype), emitters.y_px.to(psf.dtype)
    bound = crlb(
        psf,
        dx_px=x - x.round(),
        dy_px=y - y.round(),
        z_nm=emitters.z_nm.to(psf.dtype),
        photons=emitters.photons.to(psf.dtype),
        background=torch.full_like(x, BACKGROUND),
        roi_px=psf.support_px,
        excess_noise=noise.excess_noise,
        read_variance=float(np.mean(noise.read_variance)),
    )
    return {
        "x": bound.x_px.double().numpy() * camera.pixel_size_x_nm,
        "y": bound.y_px.double().numpy() * camera.pixel_size_y_nm,
        "z": bound.z_nm.double().numpy(),
    }


def isolated_repeats(scale: float) -> int:
    return max(2, round(ISOLATED_REPEATS * scale))
