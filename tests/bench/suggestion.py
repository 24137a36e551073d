"""How far suggested simulation settings are from the truth of simulated movies.

    python -m tests.bench.suggestion

Prints, for each movie, suggested over true values: 80 frames of 96 x 96 px with the PSF and the
camera of the bundled example, `ROUNDS` rounds, two seeds; then the bundled example itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.analysis.frame_statistics import FrameStatistics, measure_frames
from decode_engine.analysis.simulation_match import (
    ROUNDS,
    Typical,
    apply_typical,
    averaged,
    first_guess,
    refine,
    typical_of,
)
from decode_engine.contract.configs import SimulationConfig
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.io.movies import open_movie
from decode_engine.io.resources import resource_path
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator

FRAMES, SIZE_PX = 80, 96
MOVIES: dict[str, tuple[float, float, float, float, float]] = {
    # density per um2, background, mean flux, its relative spread, on-time
    "usual": (1.0, 30, 3500, 0.57, 2),
    "sparse": (0.1, 30, 3500, 0.57, 2),
    "dense": (3.0, 30, 3500, 0.57, 2),
    "dark and dim": (1.0, 5, 1000, 0.3, 2),
    "bright": (1.0, 100, 6000, 0.17, 1),
    "slow": (1.0, 30, 2000, 0.75, 5),
    "dim": (0.5, 60, 800, 0.25, 3),
}
CAMERA = read_camera(resource_path("example/camera.json"))
PSF = psf_from_calibration(read_calibration(resource_path("example/calibration.h5")))


def simulated(config: SimulationConfig, seed: int, size_px: int = SIZE_PX) -> NDArray[np.uint16]:
    """Return frames in ADU."""
    simulator = Simulator(PSF, CAMERA, config, device="cpu")
    generator = torch.Generator().manual_seed(seed)
    chunks = simulator.movie_chunks(FRAMES, size_px, size_px, generator)
    return np.concatenate([chunk.frames_adu for chunk in chunks])


def suggested(own: FrameStatistics, simulate: Callable[[Typical, int], FrameStatistics]) -> Typical:
    """Return what the app suggests."""
    typical = first_guess(own, typical_of(SimulationConfig()))
    rounds = []
    for number in range(ROUNDS):
        typical = refine(own, simulate(typical, number), typical)
        rounds.append(typical)
    return averaged(rounds)


def ratios(found: Typical, true: Typical) -> dict[str, float]:
    """Return suggested over true values."""
    return {
        name: round(getattr(found, name) / getattr(true, name), 2) for name in Typical.__slots__
    }


def main() -> None:
    """Print the ratios as JSON."""
    base = SimulationConfig()
    for name, (density, background, flux, cv, tau) in MOVIES.items():
        true = Typical(
            density_per_um2=density,
            background=background,
            flux_mean=flux,
            flux_cv=cv,
            lifetime_frames=tau,
        )
        for prior in ("uniform", "filaments") if name == "usual" else ("uniform",):
            config = apply_typical(base, true).model_copy(update={"prior": prior})
            for seed in (101, 202):
                own = measure_frames(simulated(config, seed), CAMERA)
                found = suggested(
                    own, lambda t, n: measure_frames(simulated(apply_typical(base, t), n), CAMERA)
                )
                print(
                    json.dumps({"movie": name, "prior": prior, "seed": seed} | ratios(found, true))
                )
    with open_movie(resource_path("example/movie.tif")) as movie:
        own = measure_frames(movie.read(160, 160 + FRAMES), CAMERA)
        size = movie.width_px
    found = suggested(
        own, lambda t, n: measure_frames(simulated(apply_typical(base, t), n, size), CAMERA)
    )
    line = {"movie": "example", "density_true": 0.8, "flux_true": 3500}
    print(json.dumps(line | rounded(found)))


def rounded(found: Typical) -> dict[str, float]:
    """Return the suggested values themselves."""
    return {name: float(f"{getattr(found, name):.3g}") for name in Typical.__slots__}


if __name__ == "__main__":
    main()
