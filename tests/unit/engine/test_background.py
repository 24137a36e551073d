"""Background against theory. Thresholds keep false alarms below 1e-6 per check."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.interpolate import BSpline

from decode_engine.contract.configs import SimulationConfig
from decode_engine.simulation.background import BackgroundProcess

SIGMAS = 5.0  # a two-sided false alarm of 6e-7 for a normal statistic
SAMPLES = 8000


def make(n: int, size: tuple[int, int] = (4, 5), seed: int = 0, **settings: float) -> _Made:
    values = {"background_min": 10.0, "background_max": 60.0, **settings}
    generator = torch.Generator().manual_seed(seed)
    config = SimulationConfig(**values)
    return _Made(BackgroundProcess(config, (n, *size), generator, "cpu"), generator)


class _Made:
    def __init__(self, process: BackgroundProcess, generator: torch.Generator) -> None:
        self._process = process
        self._generator = generator

    def advance(self, n_frames: int) -> NDArray[np.float64]:
        return self._process.advance(n_frames, self._generator).numpy().astype(float)


def assert_uniform(sample: NDArray[np.float64], low: float, high: float) -> None:
    assert sample.min() >= low - 1e-4
    assert sample.max() <= high + 1e-4
    limit = math.sqrt(math.log(2 / 1e-6) / (2 * len(sample)))  # DKW, Massart 1990
    result = stats.kstest(sample, stats.uniform(low, high - low).cdf)
    assert result.statistic < limit


def as_normal(uniform: NDArray[np.float64], low: float, high: float) -> NDArray[np.float64]:
    return np.asarray(stats.norm.ppf(np.clip((uniform - low) / (high - low), 1e-6, 1 - 1e-6)))


def assert_correlation(a: NDArray[np.float64], b: NDArray[np.float64], rho: float) -> None:
    """Compare the mean product of unit normals with ``rho``; its variance is 1 + rho^2."""
    assert abs(np.mean(a * b) - rho) < SIGMAS * math.sqrt((1 + rho**2) / len(a))


def test_level_is_uniform_and_flat_without_variation() -> None:
    frames = make(SAMPLES, background_variation=0.0).advance(2)
    assert frames.shape == (SAMPLES, 2, 4, 5)
    np.testing.assert_allclose(np.ptp(frames, axis=(2, 3)), 0, atol=1e-4)
    for frame in range(2):
        assert_uniform(frames[:, frame, 0, 0], 10.0, 60.0)


def test_pattern_is_uniform_at_every_pixel() -> None:
    frames = make(
        SAMPLES, (6, 6), background_max=10.0, background_variation=0.3, background_scale_px=7.0
    ).advance(1)
    for row, column in ((0, 0), (3, 2), (5, 5)):
        assert_uniform(frames[:, 0, row, column], 7.0, 13.0)


def test_frames_are_correlated_as_asked_also_across_windows() -> None:
    made = make(SAMPLES, background_variation=0.0, background_correlation_frames=5.0)
    frames = np.concatenate([made.advance(3), made.advance(2)], axis=1)[:, :, 0, 0]
    unit = as_normal(frames, 10.0, 60.0)
    for lag, first in ((1, 0), (1, 2), (2, 1), (4, 0)):
        assert_correlation(unit[:, first], unit[:, first + lag], math.exp(-lag / 5.0))


def test_three_frames_share_nearly_the_same_background() -> None:
    frames = make(200, (40, 40)).advance(3)
    # With 100 frames of correlation neighbours differ by sqrt(2/100) = 14 % of a standard
    # deviation of the unit normal, 0.4 of whose density turns into 50 photons of level.
    step = np.diff(frames.mean(axis=(2, 3)), axis=1)
    assert np.sqrt(np.mean(step**2)) < 0.14 * 0.4 * 50
    assert np.std(frames.mean(axis=(1, 2, 3))) > 10


def lag_correlation(lag_px: float, scale_px: float) -> float:
    """Correlation of cubic B-spline noise along one axis, averaged over the lattice's phase."""
    bell = BSpline.basis_element([-2, -1, 0, 1, 2], extrapolate=False)
    nodes = np.arange(-3, 12)
    correlations = []
    for phase in np.linspace(0, 1, 501)[:-1]:
        near, far = (np.nan_to_num(bell(phase + d - nodes)) for d in (0, lag_px / scale_px))
        correlations.append(near @ far / np.linalg.norm(near) / np.linalg.norm(far))
    return float(np.mean(correlations))


@pytest.mark.parametrize("lag", [1, 3, 6, 16])
def test_pattern_varies_over_the_asked_length(lag: int) -> None:
    made = make(
        SAMPLES, (17, 17), background_max=10.0, background_variation=0.5, background_scale_px=4.0
    )
    unit = as_normal(made.advance(1)[:, 0], 5.0, 15.0)
    expected = lag_correlation(lag, 4.0)
    assert expected == pytest.approx(math.exp(-(lag**2) / (4 * 4.0**2 / 3)), abs=0.03)
    # Averaging over the phase adds a little to the variance of the product.
    for a, b in ((unit[:, 0, 0], unit[:, lag, 0]), (unit[:, 0, 0], unit[:, 0, lag])):
        assert abs(np.mean(a * b) - expected) < SIGMAS * np.std(a * b) / math.sqrt(SAMPLES)


def test_pattern_hides_its_lattice() -> None:
    """Isotropic: as much correlation along a diagonal as along an axis over the same length."""
    made = make(
        SAMPLES, (17, 17), background_max=10.0, background_variation=0.5, background_scale_px=4.0
    )
    unit = as_normal(made.advance(1)[:, 0], 5.0, 15.0)
    axis, diagonal = unit[:, 0, 5], (unit[:, 3, 4])  # both 5 px from the corner
    products = unit[:, 0, 0] * (axis - diagonal)
    assert abs(np.mean(products)) < SIGMAS * np.std(products) / math.sqrt(SAMPLES) + 0.02


def test_pattern_is_smooth() -> None:
    made = make(
        50, (120, 120), background_max=10.0, background_variation=0.5, background_scale_px=100.0
    )
    unit = as_normal(made.advance(1)[:, 0], 5.0, 15.0)
    slope = 1 / (0.816 * 100)  # standard deviation of a Gaussian-correlated field's slope
    for axis in (1, 2):
        # 700,000 values, but only a few hundred independent ones: 7 standard deviations.
        assert np.max(np.abs(np.diff(unit, axis=axis))) < 7 * slope


def test_variance_stays_over_time() -> None:
    made = make(40_000, (1, 1), background_variation=0.0, background_correlation_frames=2.0)
    unit = as_normal(made.advance(12)[:, -1, 0, 0], 10.0, 60.0)
    assert abs(np.mean(unit**2) - 1) < SIGMAS * math.sqrt(2 / 40_000)


def test_pattern_drifts_too() -> None:
    frames = make(
        SAMPLES,
        background_max=10.0,
        background_variation=0.5,
        background_correlation_frames=2.0,
    ).advance(3)
    unit = as_normal(frames[:, :, 2, 2], 5.0, 15.0)
    assert_correlation(unit[:, 0], unit[:, 2], math.exp(-1.0))


def test_samples_are_independent() -> None:
    frames = make(2 * SAMPLES, background_variation=0.0).advance(1)[:, 0, 0, 0]
    unit = as_normal(frames, 10.0, 60.0)
    assert_correlation(unit[::2], unit[1::2], 0.0)


def test_never_negative_even_at_the_limit() -> None:
    frames = make(
        50, (64, 64), background_min=0.0, background_max=2.0, background_variation=0.99
    ).advance(2)
    assert frames.min() >= 0.0


def test_a_frame_smaller_than_the_scale_works() -> None:
    assert make(2, (1, 1), background_scale_px=1000.0).advance(1).shape == (2, 1, 1, 1)
