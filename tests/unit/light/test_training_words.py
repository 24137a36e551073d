"""Curves, verdict and start of a training, without a window."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from app.models.project import CalibrationChoice, ProjectSettings, RunRecord
from app.models.steps import Step
from app.models.train_start import example_model, judge_start, start_choices
from app.models.training_curves import TrainingCurves
from app.models.training_verdict import judge_training
from decode_engine.contract.configs import CameraConfig, SimulationConfig, TrainingConfig
from decode_engine.errors import ModelError
from decode_engine.io.history import HistoryEntry
from decode_engine.io.models import read_model, write_model

GOOD = {
    "jaccard": 0.7,
    "recall": 0.72,
    "precision": 0.95,
    "rmse_lateral_nm": 21.0,
    "rmse_axial_nm": 36.0,
    "rmse_over_crlb_robust_x": 1.1,
    "rmse_over_crlb_robust_z": 1.25,
    "z_score_x": 1.1,
    "z_score_z": 0.9,
}


def test_time_follows_from_the_rate() -> None:
    curves = TrainingCurves(batch_size=10)
    # 10 samples a step at 100 samples/s: 600 steps last a minute.
    assert not curves.add(600, {"loss": 2.0, "samples_per_s": 100.0})
    assert curves.add(900, {"validation_loss": 1.5, "jaccard": 0.3})
    assert not curves.add(1200, {"loss": 1.0, "samples_per_s": 100.0})
    assert curves.add(1800, {"validation_loss": 1.2, "jaccard": 0.5})
    loss = curves.curve("loss")
    np.testing.assert_allclose(loss.minutes, [1.0, 2.0])
    np.testing.assert_allclose(loss.values, [2.0, 1.0])
    np.testing.assert_allclose(curves.curve("jaccard").minutes, [1.5, 3.0])
    assert curves.last_validation["jaccard"] == 0.5
    assert curves.n_validations == 2


def test_reported_time_counts_more_than_the_rate() -> None:
    curves = TrainingCurves(batch_size=10)
    curves.add(600, {"loss": 2.0, "samples_per_s": 1.0, "elapsed_s": 30.0})
    curves.add(1200, {"validation_loss": 2.0, "jaccard": 0.5, "elapsed_s": 90.0})
    np.testing.assert_allclose(curves.curve("loss").minutes, [0.5])
    np.testing.assert_allclose(curves.curve("jaccard").minutes, [1.5])


def test_a_resumed_run_goes_back_to_its_checkpoint() -> None:
    curves = TrainingCurves()
    for step in (10, 20, 30):
        curves.add(step, {"loss": float(step), "elapsed_s": float(step)})
    curves.add(15, {"loss": 99.0, "elapsed_s": 15.0})
    np.testing.assert_allclose(curves.curve("loss").values, [10.0, 99.0])


def test_the_best_validation_is_the_one_whose_model_is_kept() -> None:
    curves = TrainingCurves()
    curves.add(1, {"validation_loss": 3.0, "efficiency_3d": math.nan, "jaccard": 0.0})
    curves.add(2, {"validation_loss": 2.0, "efficiency_3d": 0.6, "jaccard": 0.7})
    curves.add(3, {"validation_loss": 1.0, "efficiency_3d": 0.5, "jaccard": 0.8})
    assert curves.best_validation["jaccard"] == 0.7
    assert curves.last_validation["jaccard"] == 0.8


def test_without_a_rate_the_time_is_unknown() -> None:
    curves = TrainingCurves()
    curves.add(10, {"loss": 1.0})
    assert math.isnan(curves.curve("loss").minutes[0])


def test_history_entries_become_the_same_curves() -> None:
    entries = [
        HistoryEntry(step=600, values={"loss": 2.0, "samples_per_s": 100.0}),
        HistoryEntry(step=600, values={"validation_loss": 1.0, "rmse_axial_nm": None}),
    ]
    curves = TrainingCurves.from_history(entries, batch_size=10)
    assert math.isnan(curves.curve("rmse_axial_nm").values[0]) or not len(
        curves.curve("rmse_axial_nm").values
    )
    np.testing.assert_allclose(curves.curve("validation_loss").minutes, [1.0])


def test_a_good_model_is_called_ready() -> None:
    verdict = judge_training(GOOD)
    assert verdict is not None
    assert verdict.level == "ok"
    assert verdict.advice == ""
    text = " ".join(verdict.sentences)
    assert "0.70" in text
    assert "21 nm" in text
    assert "36 nm" in text
    assert "1.2 times" in text


@pytest.mark.parametrize(
    ("changes", "level", "words"),
    [
        ({"jaccard": 0.2}, "bad", "Train longer"),
        ({"jaccard": 0.5}, "doubt", "train on"),
        ({"rmse_over_crlb_robust_z": 3.0}, "bad", "Train longer"),
        ({"z_score_x": 2.0}, "doubt", "uncertainties"),
        ({"z_score_x": 0.4}, "doubt", "uncertainties"),
    ],
)
def test_what_is_poor_is_said_with_a_way_out(
    changes: dict[str, float], level: str, words: str
) -> None:
    verdict = judge_training({**GOOD, **changes})
    assert verdict is not None
    assert verdict.level == level
    assert words in verdict.advice


def test_uncertainties_are_called_too_small_or_too_large() -> None:
    small = judge_training({**GOOD, "z_score_x": 2.0})
    large = judge_training({**GOOD, "z_score_x": 0.4})
    assert small is not None
    assert large is not None
    assert "too small by a factor of about 2.0" in " ".join(small.sentences)
    assert "too large by a factor of about 2.5" in " ".join(large.sentences)


@pytest.mark.parametrize("metrics", [{}, {"jaccard": math.nan}, {"jaccard": "NaN"}])
def test_nothing_found_is_no_verdict(metrics: dict[str, object]) -> None:
    assert judge_training(metrics) is None


def _settings(**changes: object) -> ProjectSettings:
    camera = CameraConfig(pixel_size_x_nm=100.0)
    return ProjectSettings.model_validate({"camera": camera, **changes})


def test_the_example_model_fits_the_default_training() -> None:
    path = example_model()
    assert path is not None
    judgement = judge_start(path, _settings())
    assert judgement.level == "ok"
    assert "100 nm pixels" in judgement.text


def test_differences_are_named() -> None:
    path = example_model()
    assert path is not None
    settings = _settings(
        camera=CameraConfig(pixel_size_x_nm=130.0),
        calibration=CalibrationChoice(mode="gaussian_2d"),
    )
    judgement = judge_start(path, settings)
    assert judgement.level == "doubt"
    assert "130 nm" in judgement.text
    assert "flat" in judgement.text


@pytest.mark.parametrize(("spread", "level"), [(1.0, "doubt"), (5.0, "ok")])
def test_a_model_of_many_brightnesses_suits_dim_molecules(
    tmp_path: Path, spread: float, level: str
) -> None:
    path = example_model()
    assert path is not None
    bundle = read_model(Path(path))
    simulation = bundle.training_config.simulation.model_copy(update={"flux_spread": spread})
    config = bundle.training_config.model_copy(update={"simulation": simulation})
    wide = dataclasses.replace(bundle, training_config=config)
    write_model(wide, tmp_path / "wide.decode", overwrite=False)
    settings = _settings(simulation=SimulationConfig(flux_mean=simulation.flux_mean / 4))
    assert judge_start(str(tmp_path / "wide.decode"), settings).level == level


def test_another_network_is_refused_before_the_training_starts() -> None:
    path = example_model()
    assert path is not None
    other = TrainingConfig(context_frames=1)
    assert judge_start(path, _settings(training=other)).level == "bad"
    wide = TrainingConfig(network_options={"features": 96})
    assert judge_start(path, _settings(training=wide)).level == "bad"


def test_a_file_that_is_no_model_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.decode"
    path.write_bytes(b"nothing")
    with pytest.raises(ModelError):
        judge_start(str(path), _settings())


def test_the_starter_comes_first_then_runs_with_a_model_and_nothing_last(tmp_path: Path) -> None:
    model = tmp_path / "model.decode"
    model.write_bytes(b"x")
    base = RunRecord(run_id="train-001", step=Step.TRAIN, title="Training", created="", spec={})
    runs = (
        base.model_copy(update={"outputs": {"model": str(model)}}),
        base.model_copy(update={"run_id": "train-002", "outputs": {"model": "/gone.decode"}}),
    )
    choices = start_choices(runs, current="/elsewhere/other.decode")
    assert choices[0].path == "auto"
    assert choices[1].path == str(model)
    assert choices[-1].path is None
    assert "/elsewhere/other.decode" in [choice.path for choice in choices]
    assert "/gone.decode" not in [choice.path for choice in choices]
    assert dataclasses.is_dataclass(choices[0])
