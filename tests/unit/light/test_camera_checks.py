"""Plausibility of camera values, against a simulated movie whose camera is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.models.camera_checks import check_values
from app.models.camera_judgement import CameraJudgement, judge_camera
from app.models.camera_proposal import CameraProposal
from app.models.camera_values import impossible_values
from app.models.movie_sample import MovieSample, sample_movie
from app.models.project import MovieEntry
from decode_engine.analysis.noise_check import dim_pixel_noise
from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.io.movies import MovieMetadata, write_movie

TRUE = CameraConfig(pixel_size_x_nm=100.0, offset_adu=100.0, e_per_adu=0.5, read_noise_e=1.6)


def _movie(seed: int = 1, em: bool = False) -> np.ndarray:
    """Return 32 frames of a background of 20 to 60 photons, as the true camera records them."""
    rng = np.random.default_rng(seed)
    photons = np.linspace(20, 60, 48)[None, :] * np.ones((32, 40, 1))
    electrons = rng.poisson(photons).astype(float)
    if em:
        # gamma-distributed multiplication: twice the shot noise variance
        electrons = rng.gamma(np.maximum(electrons, 1e-9), 200.0)
        return (electrons + rng.normal(0, 50, photons.shape)) / 5.0 + 200.0
    return (electrons + rng.normal(0, 1.6, photons.shape)) / 0.5 + 100.0


def _sample(frames: np.ndarray, roi: Roi | None = None) -> MovieSample:
    counts = np.clip(frames.round(), 0, 65535).astype(np.uint16)
    return MovieSample(
        path=Path("movie.tif"), first=counts[0::2], second=counts[1::2], roi=roi,
        metadata=MovieMetadata(kind="TIFF"),
    )  # fmt: skip


def _judge(sample: MovieSample | None, **changes: Any) -> CameraJudgement:
    return judge_camera(TRUE.model_copy(update=changes), Path(), sample, CameraProposal())


def test_the_noise_of_the_right_camera_fits() -> None:
    camera = CameraModel(
        kind="scmos", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=100, e_per_adu=0.5,
        read_noise_e=1.6,
    )  # fmt: skip
    frames = _movie()
    noise = dim_pixel_noise(frames[0::2], frames[1::2], camera)
    assert noise is not None
    # 9216 differences: a variance has a relative error of sqrt(2 / n) = 0.015; 4 of them
    assert noise.ratio == pytest.approx(1.0, abs=0.06)


def test_em_noise_is_twice_as_large_and_expected() -> None:
    camera = CameraModel(
        kind="emccd", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=200, e_per_adu=5,
        em_gain=200, read_noise_e=50,
    )  # fmt: skip
    frames = _movie(em=True)
    noise = dim_pixel_noise(frames[0::2], frames[1::2], camera)
    assert noise is not None
    assert noise.ratio == pytest.approx(1.0, abs=0.12)  # the gamma's tail adds to the error


def test_constant_frames_tell_nothing() -> None:
    camera = CameraModel(kind="ideal", pixel_size_x_nm=100, pixel_size_y_nm=100)
    frames = np.full((4, 20, 20), 7.0)
    assert dim_pixel_noise(frames, frames, camera) is None


def test_the_true_values_get_no_doubt() -> None:
    judgement = _judge(_sample(_movie()))
    levels = {light.level for light in judgement.lights.values()}
    assert levels <= {"ok", "none"}, judgement.lights
    assert judgement.histogram is not None
    assert judgement.histogram.median == pytest.approx(40, abs=2)
    assert judgement.histogram.negative_share == 0


@pytest.mark.parametrize(
    ("field", "changes", "level", "words"),
    [
        ("offset_adu", {"offset_adu": 400.0}, "bad", "negative photons"),
        ("offset_adu", {"offset_adu": 160.0}, "doubt", "may be too high"),
        ("offset_adu", {"offset_adu": 5.0}, "doubt", "too low"),
        ("e_per_adu", {"e_per_adu": 2.5}, "doubt", "more noise"),
        ("e_per_adu", {"e_per_adu": 0.15}, "doubt", "less noise"),
        ("saturation_adu", {"saturation_adu": 150.0}, "bad", "above this level"),
    ],
)
def test_wrong_values_are_told_by_the_movie(
    field: str, changes: dict[str, float], level: str, words: str
) -> None:
    light = _judge(_sample(_movie()), **changes).lights[field]
    assert light.level == level
    assert words in light.text


def test_the_proposed_conversion_is_near_the_true_one() -> None:
    text = _judge(_sample(_movie()), e_per_adu=2.5, read_noise_e=1.6).lights["e_per_adu"].text
    proposed = float(text.split("About ")[1].split(" ")[0])
    assert proposed == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize(
    ("field", "changes", "level"),
    [
        ("pixel_size_x_nm", {"pixel_size_x_nm": 6500.0}, "bad"),
        ("pixel_size_x_nm", {"pixel_size_x_nm": 300.0}, "doubt"),
        ("em_gain", {"em_gain": 100.0}, "bad"),
        ("em_gain", {"kind": "emccd", "em_gain": 1.0}, "doubt"),
        ("em_gain", {"kind": "emccd", "em_gain": 200.0}, "ok"),
        ("quantum_efficiency", {"quantum_efficiency": 82.0}, "bad"),
        ("read_noise_e", {"read_noise_e": 0.0}, "doubt"),
        ("read_noise_e", {"read_noise_e": -1.0}, "bad"),
        ("read_noise_e", {"kind": "emccd", "em_gain": 200.0, "read_noise_e": 0.3}, "doubt"),
        ("read_noise_e", {"kind": "ideal"}, "bad"),
        ("e_per_adu", {"e_per_adu": -1.0}, "bad"),
        ("saturation_adu", {"saturation_adu": 90.0}, "bad"),
        ("em_mirrored", {"em_mirrored": True}, "doubt"),
        ("spurious_charge_e", {"spurious_charge_e": -0.1}, "bad"),
    ],
)
def test_values_are_judged_by_themselves(field: str, changes: dict[str, Any], level: str) -> None:
    assert check_values(TRUE.model_copy(update=changes))[field].level == level


def test_impossible_values_are_told_without_reading_maps() -> None:
    assert impossible_values(TRUE) == ""
    assert impossible_values(TRUE.model_copy(update={"offset_adu": "/no/such.npy"})) == ""
    assert "no EM gain" in impossible_values(TRUE.model_copy(update={"em_gain": 3.0}))
    nowhere = TRUE.model_copy(update={"offset_adu": "/no/such.npy", "quantum_efficiency": 82.0})
    assert "quantum efficiency of 82.0" in impossible_values(nowhere)


def test_impossible_values_become_a_problem_with_words() -> None:
    judgement = _judge(_sample(_movie()), em_gain=100.0)
    assert judgement.problem is not None
    assert "no EM gain" in judgement.problem.message
    assert judgement.histogram is None


def test_maps_must_cover_the_movie_and_are_cut_to_its_region(tmp_path: Path) -> None:
    np.save(tmp_path / "small.npy", np.full((8, 8), 100.0))
    bad = judge_camera(
        TRUE.model_copy(update={"offset_adu": "small.npy"}), tmp_path, _sample(_movie()),
        CameraProposal(),
    )  # fmt: skip
    assert bad.problem is not None
    assert "8 x 8" in bad.problem.message
    offset = np.full((40, 48), 100.0)
    offset[10:20, 5:15] = 50.0
    np.save(tmp_path / "full.npy", offset)
    roi = Roi(x_px=5, y_px=10, width_px=10, height_px=10)
    good = judge_camera(
        TRUE.model_copy(update={"offset_adu": "full.npy"}), tmp_path, _sample(_movie(), roi),
        CameraProposal(),
    )  # fmt: skip
    assert good.histogram is not None
    assert good.histogram.median == pytest.approx(28 + 25, abs=2)


def test_without_a_movie_values_are_still_judged() -> None:
    judgement = _judge(None, quantum_efficiency=0.9)
    assert judgement.lights["quantum_efficiency"].level == "ok"
    assert "Add a movie" in judgement.words


def test_the_sample_takes_pairs_from_the_chosen_frames(tmp_path: Path) -> None:
    frames = (np.arange(100)[:, None, None] * np.ones((1, 6, 7))).astype(np.uint16)
    write_movie(tmp_path / "m.tif", iter(frames), frames.shape, pixel_size_x_nm=100.0)
    entry = MovieEntry(path=str(tmp_path / "m.tif"), frames=(10, 51), roi_px=(0, 0, 3, 3))
    sample = sample_movie(entry, lambda: None)
    starts = sample.first[:, 0, 0]
    assert starts.min() == 10
    assert starts.max() == 49
    np.testing.assert_array_equal(sample.second[:, 0, 0], starts + 1)
    assert sample.part(sample.first).shape[1:] == (3, 3)
    assert sample.frame_size == (6, 7)


def test_a_single_frame_has_no_pairs(tmp_path: Path) -> None:
    frames = np.full((1, 6, 7), 200, np.uint16)
    write_movie(tmp_path / "m.tif", iter(frames), (1, 6, 7), pixel_size_x_nm=100.0)
    sample = sample_movie(MovieEntry(path=str(tmp_path / "m.tif")), lambda: None)
    assert not sample.has_pairs
    assert _judge(sample).histogram is not None


@pytest.mark.parametrize(
    ("photons", "dark_columns", "words"), [(3.0, 0, "and normal"), (40.0, 4, "more than noise")]
)
def test_negative_photons_are_explained(photons: float, dark_columns: int, words: str) -> None:
    """Read noise takes dim pixels below zero; a tenth of dark columns in a bright field is odd."""
    rng = np.random.default_rng(3)
    electrons = rng.poisson(photons, (16, 40, 40)) + rng.normal(0, 1.6, (16, 40, 40))
    electrons[:, :, :dark_columns] -= photons + 8
    judgement = _judge(_sample(electrons / 0.5 + 100))
    assert judgement.histogram is not None
    assert judgement.histogram.negative_share > 0.02
    assert words in judgement.words
