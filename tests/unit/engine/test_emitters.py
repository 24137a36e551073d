"""Blinking against theory. Thresholds keep false alarms below 1e-6 per check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats

from decode_engine.contract.configs import SimulationConfig
from decode_engine.simulation.emitters import BlinkingProcess, Molecules, sample_flux
from decode_engine.simulation.priors import Box, UniformPrior

SIGMAS = 5.0  # a two-sided false alarm of 6e-7 for a normal statistic
ALARM = 1e-6
GROUPS = 20_000
MEAN_ON = 0.8


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def box(groups: int = 1) -> Box:
    return Box(
        x_low_px=-5.0,
        x_high_px=45.0,
        y_low_px=-3.0,
        y_high_px=17.0,
        z_low_nm=torch.full((groups,), -500.0),
        z_high_nm=torch.full((groups,), 300.0),
        pixel_x_nm=100.0,
        pixel_y_nm=100.0,
    )


def process(tau: float, groups: int = GROUPS, mean_on: float = MEAN_ON) -> BlinkingProcess:
    config = SimulationConfig(lifetime_frames=tau, flux_mean=1.0, flux_std=0.0)
    return BlinkingProcess(config, torch.full((groups,), mean_on), UniformPrior(box(groups)))


def dkw(n: int) -> float:
    """Largest distance of an empirical from the true distribution (Massart 1990)."""
    return math.sqrt(math.log(2 / ALARM) / (2 * n))


def distance(sample: NDArray[np.float64], cdf: NDArray[np.float64]) -> float:
    """Kolmogorov-Smirnov distance of a sorted sample and the CDF at its points."""
    n = len(sample)
    steps = np.arange(n + 1) / n
    return float(max(np.max(steps[1:] - cdf), np.max(cdf - steps[:-1])))


@pytest.mark.parametrize("tau", [0.5, 2.0, 7.0])
def test_density_counts_every_emitter_on_in_a_frame(tau: float) -> None:
    rows, _ = process(tau).advance(3, generator(0)).emitters(3)
    for frame in range(3):
        counts = np.bincount((rows.image[rows.image % 3 == frame] // 3).numpy(), minlength=GROUPS)
        # Poisson counts: mean and variance are both MEAN_ON.
        assert abs(counts.mean() - MEAN_ON) < SIGMAS * math.sqrt(MEAN_ON / GROUPS)
        spread = (MEAN_ON + 2 * MEAN_ON**2) / GROUPS  # variance of the sample variance
        assert abs(counts.var() - MEAN_ON) < SIGMAS * math.sqrt(spread)


def test_density_stays_over_windows() -> None:
    blinking = process(3.0)
    rng = generator(1)
    for _ in range(10):
        rows, _ = blinking.advance(1, rng).emitters(1)
        mean = rows.n_rows / GROUPS
        assert abs(mean - MEAN_ON) < SIGMAS * math.sqrt(MEAN_ON / GROUPS)


@pytest.mark.parametrize("tau", [0.7, 2.0])
def test_overlap_with_a_frame_follows_theory(tau: float) -> None:
    rows, _ = process(tau).advance(2, generator(2)).emitters(2)
    overlap = np.sort(rows.photons[rows.image % 2 == 1].numpy().astype(float))
    n = len(overlap)
    # Of the emitters in a frame, tau/(tau+1) were on before; theirs last exp(-f/tau) beyond
    # the overlap f. Those that start in it must start before 1 - f too.
    whole = np.mean(overlap > 1 - 1e-6)
    expected = tau / (tau + 1) * math.exp(-1 / tau)
    assert abs(whole - expected) < SIGMAS * math.sqrt(expected * (1 - expected) / n)
    partial = overlap[overlap < 1 - 1e-6]
    cdf = 1 - (1 - partial + tau) / (1 + tau) * np.exp(-partial / tau)
    steps = np.arange(len(partial) + 1) / n
    assert max(np.max(np.abs(steps[1:] - cdf)), np.max(np.abs(steps[:-1] - cdf))) < dkw(n)
    assert abs(overlap.mean() - tau / (tau + 1)) < SIGMAS * overlap.std() / math.sqrt(n)


def test_on_time_is_exponential_across_windows() -> None:
    tau, windows, length = 2.0, 30, 3
    blinking = process(tau, groups=2000)
    rng = generator(3)
    identities, photons, later = [], [], 0
    for window in range(windows):
        molecules = blinking.advance(length, rng)
        rows, _ = molecules.emitters(length)
        identities.append(rows.emitter_id)
        photons.append(rows.photons)
        if window == 0:
            first_new = int(molecules.emitter_id.max()) + 1
        if window == windows // 2:  # 45 frames are left: exp(-22) outlive the simulation
            later = int(molecules.emitter_id.max())
    identity, light = torch.cat(identities), torch.cat(photons)
    total = torch.zeros(int(identity.max()) + 1).scatter_add_(0, identity, light)
    on_time = np.sort(total[first_new : later + 1].numpy().astype(float))
    assert len(on_time) > 10_000
    assert distance(on_time, stats.expon(scale=tau).cdf(on_time)) < dkw(len(on_time))


def test_molecules_keep_position_and_flux_over_windows() -> None:
    blinking = process(20.0, groups=3, mean_on=30.0)
    rng = generator(4)
    before, after = blinking.advance(2, rng), blinking.advance(2, rng)
    common, old, new = np.intersect1d(before.emitter_id, after.emitter_id, return_indices=True)
    assert len(common) > 20
    for name in ("group", "x_px", "y_px", "z_nm", "flux"):
        a, b = getattr(before, name)[old], getattr(after, name)[new]
        assert torch.equal(a, b), name
    assert torch.all(after.start[new] == 0)
    assert torch.all(after.group.diff() >= 0)


def test_uniform_prior_fills_the_box() -> None:
    where, n = UniformPrior(box()), 40_000
    x, y, z = where.sample(torch.zeros(n, dtype=torch.int64), generator(5))
    for values, low, high in ((x, -5, 45), (y, -3, 17), (z, -500, 300)):
        sample = np.sort(values.numpy().astype(float))
        assert sample[0] >= low
        assert sample[-1] <= high
        assert distance(sample, stats.uniform(low, high - low).cdf(sample)) < dkw(n)


def hand_made() -> Molecules:
    start = torch.tensor([0.25, 1.0, 2.5, 2.0, 3.5])
    n = len(start)
    return Molecules(
        group=torch.tensor([0, 0, 0, 1, 1]),
        x_px=torch.arange(n) * 1.0,
        y_px=torch.zeros(n),
        z_nm=torch.zeros(n),
        flux=torch.tensor([100.0, 10.0, 1000.0, 8.0, 1.0]),
        start=start,
        end=torch.tensor([2.5, 2.0, 9.0, 2.0, 3.75]),
        emitter_id=torch.arange(n) + 7,
    )


def test_photons_of_partial_frames_by_hand() -> None:
    rows, molecule = hand_made().emitters(4)
    # 0: 0.25-2.5; 1: exactly frame 1; 2: from 2.5 on; 3: never; 4: a quarter of frame 3.
    assert molecule.tolist() == [0, 0, 0, 1, 2, 2, 4]
    assert rows.image.tolist() == [0, 1, 2, 1, 2, 3, 7]
    assert rows.photons.tolist() == [75.0, 100.0, 50.0, 10.0, 500.0, 1000.0, 0.25]
    assert rows.emitter_id.tolist() == [7, 7, 7, 8, 9, 9, 11]
    assert rows.x_px.tolist() == [0.0, 0.0, 0.0, 1.0, 2.0, 2.0, 4.0]


def test_no_molecules_give_no_rows() -> None:
    molecules = process(2.0, groups=2, mean_on=0.0).advance(3, generator(6))
    rows, molecule = molecules.emitters(3)
    assert (len(molecules), rows.n_rows, len(molecule)) == (0, 0, 0)


MEAN, STD = 3500.0, 1200.0
SPREAD = math.log1p((STD / MEAN) ** 2)
FLUX = {
    "normal": stats.norm(MEAN, STD),
    "lognormal": stats.lognorm(math.sqrt(SPREAD), scale=MEAN * math.exp(-SPREAD / 2)),
    "gamma": stats.gamma((MEAN / STD) ** 2, scale=STD**2 / MEAN),
    "exponential": stats.expon(MEAN - STD, STD),
    "uniform": stats.uniform(MEAN - math.sqrt(3) * STD, 2 * math.sqrt(3) * STD),
}


@pytest.mark.parametrize("kind", list(FLUX))
def test_flux_distribution(kind: str) -> None:
    theory, n = FLUX[kind], 100_000
    assert theory.mean() == pytest.approx(MEAN)
    assert theory.std() == pytest.approx(STD)
    config = SimulationConfig(flux_distribution=kind, flux_mean=MEAN, flux_std=STD)
    flux = np.sort(sample_flux(config, n, generator(7)).numpy().astype(float))
    inside = flux > config.flux_min
    cdf = theory.cdf(flux[inside])
    ranks = np.flatnonzero(inside)
    assert np.max(np.abs(cdf - ranks / n)) < dkw(n) + 1 / n
    clamped_share = theory.cdf(config.flux_min)
    assert abs(np.mean(~inside) - clamped_share) < dkw(n)
    assert abs(flux.mean() - MEAN) < SIGMAS * STD / math.sqrt(n) + MEAN * clamped_share


def test_low_fluxes_are_raised_to_the_minimum() -> None:
    config = SimulationConfig(flux_mean=1000.0, flux_std=1000.0, flux_min=200.0)
    flux = sample_flux(config, 50_000, generator(8)).numpy().astype(float)
    assert flux.min() == 200.0
    # Mean of max(200, X), X ~ N(mu, s): 200 Phi(a) + mu (1 - Phi(a)) + s phi(a).
    a = (200.0 - 1000.0) / 1000.0
    mean = 200 * stats.norm.cdf(a) + 1000 * stats.norm.sf(a) + 1000 * stats.norm.pdf(a)
    assert abs(flux.mean() - mean) < SIGMAS * flux.std() / math.sqrt(len(flux))


@pytest.mark.parametrize("kind", list(FLUX))
def test_no_spread_gives_equal_fluxes(kind: str) -> None:
    config = SimulationConfig(flux_distribution=kind, flux_mean=700.0, flux_std=0.0)
    assert torch.all(sample_flux(config, 5, generator(9)) == 700.0)
