"""Measurements in a region and along a line, against what was put in."""

from __future__ import annotations

import math

import numpy as np
import pytest

from decode_engine.analysis.point_store import PointStore
from decode_engine.analysis.view_statistics import (
    FWHM_PER_SIGMA,
    fit_profile,
    line_profile,
    region_statistics,
    strip_corners,
)
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError


def _filament(sigma_nm: float, n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Localizations around the line y = 500 + x / 2, and an even background."""
    rng = np.random.default_rng(seed)
    along, off = rng.uniform(-1000, 1000, n), rng.normal(0, sigma_nm, n)
    direction = np.array([2.0, 1.0]) / math.sqrt(5)
    x = 1000 + along * direction[0] - off * direction[1]
    y = 1000 + along * direction[1] + off * direction[0]
    background = rng.uniform(0, 2000, (2, 3000))
    return np.concatenate([x, background[0]]), np.concatenate([y, background[1]])


def test_a_profile_across_a_filament_has_its_width_within_the_stated_error() -> None:
    pulls = []
    for seed in range(40):
        x, y = _filament(25.0, 20_000, seed)
        # Across: perpendicular to (2, 1), through a point that lies on the filament.
        across = np.array([-1.0, 2.0]) / math.sqrt(5)
        middle = np.array([1000.0, 1000.0])
        start, end = middle - 170 * across, middle + 230 * across
        profile = line_profile(x, y, tuple(start), tuple(end), 100.0, bin_nm=5.0)
        fit = fit_profile(profile)
        assert fit is not None
        pulls.append(
            (
                (fit.centre_nm - 170) / fit.centre_error_nm,
                (fit.fwhm_nm - FWHM_PER_SIGMA * 25) / fit.fwhm_error_nm,
            )
        )
        assert fit.fwhm_error_nm < 4
        assert fit.curve_per_um2.max() == pytest.approx(profile.density_per_um2.max(), rel=0.3)
    # Standard normal: the mean of 40 within 4 / sqrt(40), the deviation within 4 / sqrt(80).
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.63
    assert np.abs(np.std(pulls, axis=0) - 1).max() < 0.45


def test_a_profile_counts_what_lies_in_the_strip() -> None:
    x = np.array([5.0, 15.0, 15.0, 15.0, 35.0, -1.0, 41.0])
    y = np.array([0.0, 4.9, -4.9, 5.1, 0.0, 0.0, 0.0])
    profile = line_profile(x, y, (0, 0), (40, 0), 10.0, bin_nm=10.0)
    np.testing.assert_array_equal(profile.counts, [1, 2, 0, 1])
    np.testing.assert_allclose(profile.position_nm, [5, 15, 25, 35])
    np.testing.assert_allclose(profile.density_per_um2, profile.counts / 1e-4)
    back = line_profile(x, y, (40, 0), (0, 0), 10.0, bin_nm=10.0)
    np.testing.assert_array_equal(back.counts, profile.counts[::-1])


def test_a_line_in_any_direction_sees_the_same() -> None:
    x, y = _filament(30.0, 4000, 0)
    angle = 0.7
    turned = np.cos(angle) * x - np.sin(angle) * y, np.sin(angle) * x + np.cos(angle) * y

    def turn(px: float, py: float) -> tuple[float, float]:
        return math.cos(angle) * px - math.sin(angle) * py, math.sin(angle) * px + math.cos(
            angle
        ) * py

    straight = line_profile(x, y, (900, 1200), (1100, 800), 150)
    rotated = line_profile(*turned, turn(900, 1200), turn(1100, 800), 150)
    assert np.abs(straight.counts - rotated.counts).sum() <= 2  # rounding at the edges of bins


def test_profiles_without_a_peak_are_not_measured() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 1000, (2, 5000))
    assert fit_profile(line_profile(x[:5], y[:5], (0, 500), (1000, 500), 50)) is None
    assert fit_profile(line_profile(x, y, (0, 0), (20, 0), 50)) is None  # four bins
    empty = np.empty(0)
    assert fit_profile(line_profile(empty, empty, (0, 0), (100, 0), 50)) is None


def test_lines_without_an_area_are_refused() -> None:
    none = np.empty(0)
    for end, width in (((0.0, 0.0), 10.0), ((10.0, 0.0), 0.0)):
        with pytest.raises(ConfigError, match="no area"):
            line_profile(none, none, (0.0, 0.0), end, width)


def test_the_strip_of_a_line_is_what_its_profile_counts() -> None:
    x, y = _filament(60.0, 5000, 1)
    zero = np.zeros(x.size)
    table = Localizations(
        frame=zero.astype(int), x_nm=x, y_nm=y, z_nm=zero, photons=zero, background=zero
    )
    start, end = (700.0, 1300.0), (1250.0, 820.0)
    rows = PointStore.build(table).rows_in(strip_corners(start, end, 180.0))
    inside = line_profile(table.x_nm[rows], table.y_nm[rows], start, end, 180.0)
    everything = line_profile(table.x_nm, table.y_nm, start, end, 180.0)
    assert rows.size == inside.counts.sum()
    np.testing.assert_array_equal(inside.counts, everything.counts)


def test_statistics_of_a_region_are_those_of_its_rows() -> None:
    table = Localizations(
        frame=[7, 7, 9, 1],
        x_nm=[10, 20, 30, 999],
        y_nm=[0, 0, 0, 999],
        z_nm=[-100, np.nan, 100, 999],
        photons=[100, 200, 600, 999],
        background=np.zeros(4),
        sigma_x_nm=[3, 3, 3, 999],
        sigma_y_nm=[4, 4, 4, 999],
    )
    found = region_statistics(table, np.array([0, 1, 2]), 0.5)
    assert (found.n, found.density_per_um2, found.n_frames) == (3, 6.0, 2)
    assert (found.first_frame, found.last_frame) == (7, 9)
    assert (found.photons_mean, found.photons_median) == (300, 200)
    assert found.sigma_xy_nm == pytest.approx(math.sqrt(12.5))
    assert math.isnan(found.sigma_z_nm)
    assert (found.z_mean_nm, found.z_std_nm) == (0, pytest.approx(100 * math.sqrt(2)))
    assert (found.x_mean_nm, found.spread_nm) == (20, pytest.approx(10 / math.sqrt(2)))


def test_an_empty_region_has_no_numbers() -> None:
    found = region_statistics(Localizations.empty(), np.empty(0, np.int64), 1.0)
    assert (found.n, found.density_per_um2, found.first_frame) == (0, 0.0, -1)
    assert math.isnan(found.photons_mean)
    assert math.isnan(found.spread_nm)
