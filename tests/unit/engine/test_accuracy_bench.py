"""The frozen benchmark stays what it was, and scores what is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.resources import resource_path
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration
from decode_engine.training.stream import named_generator
from tests.bench.accuracy import ablation, conditions, measuring, optics
from tests.bench.accuracy.summarising import movie_summary

PINNED = (246, 796369.2, 767086.6)  # molecules, photons, and where


def truth_of(name: str) -> Emitters:
    """Return the molecules of a small edition of a set; they do not depend on the PSF."""
    (movie,) = (m for m in conditions.density_sets(0.1) if m.name == name)
    psf = psf_from_calibration(read_calibration(resource_path("example", "calibration.h5")))
    simulator = measuring.PerturbedSimulator(psf, conditions.CAMERAS["scmos"], movie)
    generator = named_generator(conditions.TEST_SEED, f"accuracy/{movie.seed_name}", "cpu")
    (chunk,) = simulator.movie_chunks(
        movie.n_frames, conditions.FRAME_PX, conditions.FRAME_PX, generator, chunk_frames=16
    )
    return chunk.emitters


def answer(truth: Emitters, shift_nm: float = 0.0, sigma_nm: float = 10.0) -> Localizations:
    n = len(truth)
    full = np.full(n, sigma_nm, np.float32)
    return Localizations(
        frame=truth.frame,
        x_nm=truth.x_nm + np.float32(shift_nm),
        y_nm=truth.y_nm,
        z_nm=truth.z_nm,
        photons=truth.photons,
        background=np.full(n, 30.0, np.float32),
        probability=np.full(n, 0.95, np.float32),
        sigma_x_nm=full,
        sigma_y_nm=full,
        sigma_z_nm=full,
        sigma_photons=full,
    )


def result(truth: Emitters, estimate: Localizations) -> measuring.Result:
    movie = next(conditions.density_sets(0.1))
    return measuring.Result(movie=movie, truth=truth, estimate=estimate, cpu_s=1.0)


def test_the_sets_are_frozen() -> None:
    truth = truth_of("density 1 high")
    assert len(truth) == PINNED[0]
    assert float(truth.photons.sum()) == pytest.approx(PINNED[1], rel=1e-5)
    assert float(truth.x_nm.sum()) == pytest.approx(PINNED[2], rel=1e-5)


def test_a_perfect_answer_scores_one() -> None:
    truth = truth_of("density 1 high")
    summary = movie_summary(result(truth, answer(truth)))
    assert summary["efficiency_3d"] == pytest.approx(1.0)
    assert summary["jaccard"] == 1.0


def test_known_errors_are_measured() -> None:
    truth = truth_of("density 1 high")
    rng = np.random.default_rng(0)
    wrong = answer(truth, sigma_nm=10.0)
    error = rng.normal(0, 15.0, len(truth)).astype(np.float32)
    wrong = Localizations(**{**wrong.columns(), "x_nm": truth.x_nm + error})
    scores = result(truth, wrong).scores()
    assert scores["z_score_x"] == pytest.approx(1.5, rel=0.15)
    assert scores["rmse_lateral_nm"] == pytest.approx(15.0, rel=0.15)


def test_probabilities_are_compared_with_what_is_real() -> None:
    """Half of the answers lie nowhere, while all claim 95 %."""
    truth = truth_of("density 1 high")
    far = answer(truth, shift_nm=40_000.0)
    both = Localizations.concatenate([answer(truth), far])
    reliability = result(truth, both).reliability()
    assert reliability["ece"] == pytest.approx(0.45, abs=0.02)


def example_psfs() -> dict[str, PsfModel]:
    told = read_calibration(resource_path("example", "calibration.h5"))
    return optics.true_psfs(told, conditions.CAMERAS["scmos"])


def test_aberrated_psfs_differ_a_little_and_keep_the_light() -> None:
    psfs = example_psfs()
    z_nm = torch.tensor([-400.0, 0.0, 400.0])
    images = {
        name: psf.value(torch.zeros(3), torch.zeros(3), z_nm, 21) for name, psf in psfs.items()
    }
    told = images.pop("told")
    assert len(images) == 3
    for image in images.values():
        difference = float((image - told).square().sum().sqrt() / told.square().sum().sqrt())
        assert 0.03 < difference < 0.4  # lambda / 20
        assert float(image.sum() / told.sum()) == pytest.approx(1.0, abs=0.02)


def test_perturbed_sets_show_the_same_molecules() -> None:
    psfs = example_psfs()
    sets = [m for m in conditions.perturbed_sets(0.1, psfs) if not m.name.startswith("background")]
    truths = [
        measuring.simulate(psfs[m.psf], conditions.CAMERAS["scmos"], m)[1]
        for m in sets
        if m.name in ("none", "gain +10 %", "aberration 1", "uneven background")
    ]
    assert len(truths) == 4
    for truth in truths[1:]:
        np.testing.assert_array_equal(truth.x_nm, truths[0].x_nm)
        np.testing.assert_array_equal(truth.photons, truths[0].photons)


def test_an_ablation_is_a_table_of_means() -> None:
    row = {
        "name": "a", "cpu_minutes": 1.0, "std_x": 1.0, "std_z": 1.1, "probability_gap": 0.02,
        "efficiency_3d": dict.fromkeys(ablation._SETS, 0.5), "seed": 0,
    }  # fmt: skip
    other = {**row, "seed": 1, "efficiency_3d": dict.fromkeys(ablation._SETS, 0.7)}
    lines = ablation.table([row, other]).splitlines()
    assert len(lines) == 3
    assert "| a | 2 | 0.600 ± 0.141 |" in lines[2]
