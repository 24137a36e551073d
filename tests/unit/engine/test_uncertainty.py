"""Corrections of sigma and probability, and their fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decode_engine.errors import ModelError
from decode_engine.network.uncertainty import N_FEATURES, Peaks, Uncertainty, features, surroundings
from decode_engine.training.recalibration import fit_log_scale, fit_logistic


def peaks(n: int, seed: int = 0, size_px: int = 40) -> Peaks:
    generator = torch.Generator().manual_seed(seed)

    def uniform(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    def integers(high: int) -> torch.Tensor:
        return torch.randint(high, (n,), generator=generator)

    return Peaks(
        image=integers(3),
        row=integers(size_px),
        column=integers(size_px),
        photons=uniform(100, 9000),
        background=uniform(5, 90),
        probability=uniform(0.16, 0.999),
        sigma_x=uniform(0.05, 0.6),
        sigma_y=uniform(0.05, 0.6),
        sigma_z=uniform(10, 90),
        sigma_photons=uniform(30, 900),
    )


def design(rows: Peaks) -> np.ndarray:  # type: ignore[type-arg]
    return features(rows, "x", surroundings(rows)).numpy()


def test_a_log_linear_error_of_sigma_is_found() -> None:
    rows = peaks(40_000)
    theta = np.array([0.3, -0.2, 0.15, -0.1, 0.25, 0.05, 0.1])
    error = np.random.default_rng(0).normal(size=40_000) * np.exp(design(rows) @ theta)
    np.testing.assert_allclose(fit_log_scale(design(rows), error), theta, atol=0.03)


def test_corrected_errors_have_unit_variance_also_with_heavy_tails() -> None:
    rows = peaks(20_000, seed=1)
    error = np.random.default_rng(1).standard_t(4, 20_000)
    theta = fit_log_scale(design(rows), error)
    assert np.mean((error / np.exp(design(rows) @ theta)) ** 2) == pytest.approx(1.0, abs=1e-3)


def test_correct_multiplies_sigma_by_the_fitted_scale() -> None:
    rows = peaks(500, seed=2)
    theta = (0.2, 0.1, 0.0, -0.1, 0.1, 0.0, 0.05)
    corrected = Uncertainty(scales={"x": theta}).correct(rows)
    scale = np.exp(design(rows) @ np.array(theta))
    np.testing.assert_allclose(corrected.sigma_x.numpy(), rows.sigma_x.numpy() * scale)
    assert torch.equal(corrected.sigma_y, rows.sigma_y)
    assert torch.equal(corrected.probability, rows.probability)


def test_extreme_corrections_are_limited() -> None:
    rows = peaks(10)
    corrected = Uncertainty(scales={"z": (9.0, 0, 0, 0, 0, 0, 0)}).correct(rows)
    assert torch.equal(corrected.sigma_z, 3.0 * rows.sigma_z)


def test_a_wrong_probability_is_found_out() -> None:
    rows = peaks(60_000, seed=3)
    logit = torch.logit(rows.probability).numpy()
    truth = 1 / (1 + np.exp(-(0.5 * logit - 0.7)))  # far too sure, and too optimistic
    real = (np.random.default_rng(3).random(60_000) < truth).astype(float)
    theta = tuple(fit_logistic(design(rows), real).tolist())
    corrected = Uncertainty(detection=theta).correct(rows).probability.numpy()
    np.testing.assert_allclose(corrected, truth, atol=0.04)
    assert abs(rows.probability.numpy() - truth).max() > 0.2


def test_crowding_counts_the_others_around() -> None:
    rows = peaks(400, seed=4)
    expected = []
    cells = [(int(i), int(r) // 4, int(c) // 4) for i, r, c in zip(*rows[:3], strict=True)]
    for image, row, column in cells:
        near = [i == image and abs(r - row) <= 1 and abs(c - column) <= 1 for i, r, c in cells]
        expected.append(sum(near) - 1)
    assert surroundings(rows).crowd.tolist() == expected


def test_surroundings_do_not_depend_on_what_else_is_seen() -> None:
    """A tile sees a part of the frame, in the frame's own coordinates."""
    rows = peaks(600, seed=5)
    whole = torch.stack(surroundings(rows))
    part = (rows.row >= 13) & (rows.column < 30)
    seen = Peaks(*(column[part] for column in rows))
    inner = (seen.row >= 13 + 8) & (seen.column < 30 - 8)
    alone = torch.stack(surroundings(seen))
    assert torch.equal(alone[:, inner], whole[:, part][:, inner])


def test_prominence_is_relative_to_the_brightest_around() -> None:
    rows = peaks(3)._replace(
        image=torch.zeros(3, dtype=torch.int64),
        row=torch.tensor([4, 9, 30]),
        column=torch.tensor([4, 4, 30]),
        photons=torch.tensor([500.0, 2000.0, 40.0], dtype=torch.float64),
    )
    assert surroundings(rows).prominence.tolist() == [0.25, 1.0, 1.0]


def test_weights_count_as_repetitions() -> None:
    rows = peaks(3000, seed=7)
    error = np.random.default_rng(2).normal(size=3000) * 1.4
    weight = np.random.default_rng(3).integers(1, 4, 3000)
    repeated = np.repeat(np.arange(3000), weight)
    weighted = fit_log_scale(design(rows), error, weight.astype(float))
    same = fit_log_scale(design(rows)[repeated], error[repeated])
    np.testing.assert_allclose(weighted, same, atol=1e-6)


def test_nothing_is_corrected_without_peaks_or_numbers() -> None:
    theta = (0.1,) * N_FEATURES
    assert len(Uncertainty(scales={"x": theta}, detection=theta).correct(peaks(0)).image) == 0
    rows = peaks(5)
    assert all(map(torch.equal, Uncertainty().correct(rows), rows))


def test_round_trip_and_wrong_numbers() -> None:
    theta = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
    given = Uncertainty(scales={"x": theta, "y": ()}, detection=theta)
    again = Uncertainty.from_dict(given.to_dict())
    assert again == Uncertainty(scales={"x": theta}, detection=theta)
    with pytest.raises(ModelError, match="'x' has 2 numbers"):
        Uncertainty(scales={"x": (1.0, 2.0)})
