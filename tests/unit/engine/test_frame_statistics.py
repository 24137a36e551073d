"""Frame statistics and the suggested simulation settings against simulated truth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.stats import norm

from decode_engine.analysis.frame_statistics import measure_frames
from decode_engine.analysis.simulation_match import (
    ROUNDS,
    Typical,
    apply_typical,
    averaged,
    first_guess,
    refine,
    suggest_settings,
    typical_of,
)
from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CancelledError
from decode_engine.simulation.simulator import Simulator
from tests.psf_samples import gaussian_model

CAMERA = CameraModel(
    kind="scmos",
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=100.0,
    offset_adu=100.0,
    e_per_adu=0.5,
    read_noise_e=1.5,
)
EM = CameraModel(
    kind="emccd",
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=100.0,
    offset_adu=200.0,
    e_per_adu=10.0,
    em_gain=100.0,
    read_noise_e=60.0,
)
PSF = gaussian_model(torch.float32)


def simulated(
    config: SimulationConfig, seed: int, *, camera: CameraModel = CAMERA, frames: int = 80
) -> NDArray[np.uint16]:
    generator = torch.Generator().manual_seed(seed)
    chunks = Simulator(PSF, camera, config, device="cpu").movie_chunks(frames, 96, 96, generator)
    return np.concatenate([chunk.frames_adu for chunk in chunks])


def spots_adu(photons: float, sigma_px: float, background: float) -> NDArray[np.float64]:
    """Frames with 16 well separated spots each, Poisson noise, 2 ADU a photon and offset 100."""
    rng = np.random.default_rng(3)
    frames = np.full((10, 96, 96), background)
    edges = np.arange(97) - 0.5
    for frame in frames:
        for y in range(12, 96, 24):
            for x in range(12, 96, 24):
                at_x, at_y = x + rng.uniform(-0.5, 0.5), y + rng.uniform(-0.5, 0.5)
                along_x = np.diff(norm.cdf(edges, at_x, sigma_px))
                along_y = np.diff(norm.cdf(edges, at_y, sigma_px))
                frame += photons * along_y[:, None] * along_x
    return 100.0 + 2.0 * rng.poisson(frames)


@pytest.mark.parametrize("camera", [CAMERA, EM], ids=["scmos", "emccd"])
@pytest.mark.parametrize("level", [4.0, 60.0])
def test_empty_frames_show_their_background_and_no_spots(camera: CameraModel, level: float) -> None:
    config = SimulationConfig(
        density_min_per_um2=1e-9,
        density_max_per_um2=1e-9,
        background_min=level,
        background_max=level,
        background_variation=0.0,
    )
    found = measure_frames(simulated(config, 1, camera=camera, frames=20), camera)
    assert float(np.median(found.background)) == pytest.approx(level, rel=0.08)
    # EM noise has a long bright tail, so a few of its pixels look like spots.
    assert float(found.spots_per_um2.mean()) < (0.003 if camera is CAMERA else 0.02)
    assert np.isnan(found.persistence)


def test_separate_spots_are_counted_weighed_and_measured() -> None:
    sigma_px, photons = 1.2, 3000.0
    found = measure_frames(spots_adu(photons, sigma_px, 20.0), CAMERA)
    assert found.spots_per_um2 == pytest.approx(16 / found.area_um2, rel=0.02)
    inside = (2 * norm.cdf(3.5 / sigma_px) - 1) ** 2
    assert float(np.median(found.spot_photons)) == pytest.approx(photons * inside, rel=0.04)
    # Width of the pixel-integrated Gaussian; the window cuts a little off its tails.
    expected_nm = 100 * np.sqrt(sigma_px**2 + 1 / 12)
    assert float(np.nanmedian(found.spot_width_nm)) == pytest.approx(expected_nm, rel=0.06)
    assert float(np.median(found.background)) == pytest.approx(20.0, rel=0.05)


def test_molecules_that_stay_on_longer_persist() -> None:
    config = SimulationConfig(density_min_per_um2=0.5, density_max_per_um2=0.5)
    shares = [
        measure_frames(
            simulated(config.model_copy(update={"lifetime_frames": tau}), 2), CAMERA
        ).persistence
        for tau in (0.5, 2.0, 8.0)
    ]
    # tau / (tau + 1) of the molecules touch the next frame too, but those that are lit for a
    # part of a frame only, or next to a brighter one, may be missed in either frame.
    assert 0.2 < shares[0] < shares[1] < shares[2] < 8 / 9
    assert shares[2] > 0.6


def test_frames_smaller_than_a_spot_are_refused_and_work_can_be_cancelled() -> None:
    with pytest.raises(ValueError, match="5 x 20 px"):
        measure_frames(np.zeros((3, 20, 5)), CAMERA)

    def stop() -> None:
        raise CancelledError("stop")

    with pytest.raises(CancelledError):
        measure_frames(np.full((3, 20, 20), 100), CAMERA, check=stop)


@pytest.mark.parametrize(
    "truth",
    [
        {"density": 1.0, "background": 30.0, "flux_mean": 3500.0, "flux_std": 2000.0, "tau": 2.0},
        {"density": 0.3, "background": 60.0, "flux_mean": 1500.0, "flux_std": 400.0, "tau": 4.0},
        {"density": 2.5, "background": 10.0, "flux_mean": 6000.0, "flux_std": 2000.0, "tau": 1.0},
    ],
    ids=["usual", "sparse and dim", "dense and bright"],
)
def test_suggestions_find_the_settings_of_a_simulated_movie(truth: dict[str, float]) -> None:
    """Bounds are about twice the errors seen over two seeds and seven settings."""
    true = Typical(
        density_per_um2=truth["density"],
        background=truth["background"],
        flux_mean=truth["flux_mean"],
        flux_cv=truth["flux_std"] / truth["flux_mean"],
        lifetime_frames=truth["tau"],
    )
    base = SimulationConfig()
    own = measure_frames(simulated(apply_typical(base, true), 77), CAMERA)
    typical = first_guess(own, typical_of(base))
    rounds = []
    for number in range(ROUNDS):
        last = measure_frames(simulated(apply_typical(base, typical), number), CAMERA)
        typical = refine(own, last, typical)
        rounds.append(typical)
    found = averaged(rounds)
    assert found.density_per_um2 == pytest.approx(true.density_per_um2, rel=0.4)
    assert found.background == pytest.approx(true.background, rel=0.2)
    assert found.flux_mean == pytest.approx(true.flux_mean, rel=0.3)
    assert found.lifetime_frames == pytest.approx(true.lifetime_frames, rel=0.35)
    proposed = suggest_settings(own, last, found, base)
    assert proposed.density_min_per_um2 < true.density_per_um2 < proposed.density_max_per_um2
    assert proposed.background_min < true.background < proposed.background_max


def test_typical_settings_are_of_one_brightness() -> None:
    """Regression: movies to compare with were bright or dim by chance."""
    base = SimulationConfig(flux_spread=5.0)
    assert apply_typical(base, typical_of(base)).flux_spread == 1.0


def test_a_dark_movie_changes_only_what_it_can_tell() -> None:
    base = SimulationConfig()
    empty = apply_typical(
        base,
        Typical(
            density_per_um2=1e-9, background=25.0, flux_mean=10, flux_cv=0.1, lifetime_frames=1.0
        ),
    )
    own = measure_frames(simulated(empty, 5, frames=20), CAMERA)
    start = first_guess(own, typical_of(base))
    assert (start.flux_mean, start.lifetime_frames) == (base.flux_mean, base.lifetime_frames)
    assert start.background == pytest.approx(25.0, rel=0.1)
    after = refine(own, measure_frames(simulated(apply_typical(base, start), 6), CAMERA), start)
    assert (after.flux_mean, after.lifetime_frames) == (base.flux_mean, base.lifetime_frames)
