"""Everything the Camera page shows about a set of values, computed off the window's thread."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.models.camera_checks import check_values, check_with_movie
from app.models.camera_proposal import CameraProposal
from app.models.movie_sample import MovieSample
from app.models.problem import Problem
from app.models.verdict import Light
from decode_engine.analysis.noise_check import dim_pixel_noise
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CameraError
from decode_engine.io.cameras import camera_from_config

__all__ = ["CameraJudgement", "PhotonHistogram", "judge_camera"]

_BINS = 120
_QUANTILES = (0.0005, 0.999)


@dataclass(frozen=True, slots=True, kw_only=True)
class PhotonHistogram:
    """Photons per pixel of a movie under given camera values.

    Parameters
    ----------
    edges : (B + 1,) float64, photons
    counts : (B,) float64, pixels
    negative_share : float
        Of all pixels of the sample.
    median, brightest : float
        Photons per pixel: in the middle, and of the brightest pixel.
    """

    edges: NDArray[np.float64]
    counts: NDArray[np.float64]
    negative_share: float
    median: float
    brightest: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraJudgement:
    """Lights by field, what is impossible, and the photons of the movie."""

    lights: Mapping[str, Light]
    problem: Problem | None = None
    histogram: PhotonHistogram | None = None
    words: str = ""


def judge_camera(
    config: CameraConfig, folder: Path, sample: MovieSample | None, proposal: CameraProposal
) -> CameraJudgement:
    """Judge camera values; map paths are relative to ``folder``."""
    lights = check_values(config)
    try:
        camera = camera_from_config(config, folder)
        if sample is not None:
            camera.require_frame_size(*sample.frame_size)
    except CameraError as error:
        return CameraJudgement(lights=lights, problem=Problem.from_error(error))
    if sample is None:
        words = "Add a movie in the Movie step to see its photons under these values."
        return CameraJudgement(lights=lights, words=words)
    if sample.roi is not None:
        camera = camera.crop(sample.roi)
    first, second = sample.part(sample.first), sample.part(sample.second)
    noise = dim_pixel_noise(first, second, camera) if sample.has_pairs else None
    lights.update(check_with_movie(config, sample, noise, proposal))
    histogram = _histogram(camera, first)
    return CameraJudgement(lights=lights, histogram=histogram, words=_words(histogram, camera))


def _histogram(camera: CameraModel, frames: NDArray[np.generic]) -> PhotonHistogram:
    photons = camera.adu_to_photons(frames).ravel()
    low, high = (float(q) for q in np.quantile(photons[:: max(1, photons.size >> 20)], _QUANTILES))
    step = _bin_width(camera, (high - low) / _BINS)
    edges = np.arange(low - step / 2, max(high, low + step) + step, step)
    counts, _ = np.histogram(photons, bins=edges)
    return PhotonHistogram(
        edges=edges,
        counts=counts.astype(float),
        negative_share=float(np.mean(photons < 0)),
        median=float(np.median(photons)),
        brightest=float(photons.max()),
    )


def _bin_width(camera: CameraModel, wanted: float) -> float:
    """Return a width that is a whole number of counts, else the bars show a comb."""
    one_adu = float(np.mean(camera.e_per_adu)) / (camera.em_gain * camera.quantum_efficiency)
    return one_adu * max(1, round(wanted / one_adu))


def _words(histogram: PhotonHistogram, camera: CameraModel) -> str:
    negative = histogram.negative_share
    percent = f"{100 * negative:.0f}" if negative > 0.1 else f"{100 * negative:.2g}"
    share = f"{percent} % of the pixels have negative photons"
    if negative == 0:
        meaning = "No pixel has negative photons."
    elif histogram.median < 0:
        meaning = f"✕ {share}: the offset is too high."
    elif negative < 0.01 + 2 * _negative_by_noise(histogram.median, camera):
        meaning = f"{share}: that is noise in dark places, and normal."
    else:
        meaning = f"⚠ {share}, more than noise explains: the offset may be too high."
    return (
        f"{meaning} Half of the pixels have more than {histogram.median:.3g} photons (about the "
        f"background), the brightest {histogram.brightest:,.0f}. Background is usually 1-200 "
        "photons per pixel, a molecule's brightest pixel 20-2000."
    )


def _negative_by_noise(photons: float, camera: CameraModel) -> float:
    """Return the share of pixels of this brightness that noise alone takes below zero."""
    read = float(np.mean(np.asarray(camera.read_variance_photons2)))
    shot = camera.excess_noise * max(0.0, photons) / camera.quantum_efficiency
    sigma = math.sqrt(read + shot)
    return 0.5 * math.erfc(photons / (sigma * math.sqrt(2))) if sigma > 0 else 0.0
