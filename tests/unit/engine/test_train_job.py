"""The train job: what it writes, when it stops, what it refuses, how it recovers."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch

from decode_engine.contract.configs import SimulationConfig
from decode_engine.contract.messages import (
    ArtifactEvent,
    EventBody,
    LogEvent,
    MetricEvent,
    PreviewEvent,
    ProgressEvent,
)
from decode_engine.contract.metrics import METRICS
from decode_engine.domain.calibration import GaussianPsf
from decode_engine.errors import (
    CancelledError,
    DivergedError,
    MismatchError,
    OutputError,
    RunError,
)
from decode_engine.io.calibrations import read_calibration, write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.history import read_history
from decode_engine.io.locking import FileLock
from decode_engine.io.models import read_model
from decode_engine.io.training_sample import read_training_sample
from decode_engine.jobs import train
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.train_record import TrainInputs, training_record
from decode_engine.network.bundle import network_from_bundle
from decode_engine.training.checkpoint import Progress
from decode_engine.training.stream import NetworkBatch, TrainingStream
from decode_engine.training.validation import ValidationResult, Validator
from tests.training_samples import CALIBRATION, CAMERA, train_spec, write_inputs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.set_num_threads(1)
    write_inputs(tmp_path)
    return tmp_path


class Events:
    """Collects a job's events; may cancel at one of them."""

    def __init__(self, cancel_when: Callable[[EventBody], bool] = lambda _: False) -> None:
        self.seen: list[EventBody] = []
        self._cancel_when = cancel_when
        self.context = JobContext(emit=self._take)

    def _take(self, event: EventBody) -> None:
        self.seen.append(event)
        if self._cancel_when(event):
            self.context.cancel.cancel()

    def of(self, kind: type) -> list[Any]:
        return [e for e in self.seen if isinstance(e, kind)]


def cancel_at(step: int) -> Events:
    """Cancel when the validation of a step has been reported."""
    return Events(
        lambda e: isinstance(e, MetricEvent) and e.step >= step and "validation_loss" in e.values
    )


def script(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let the validations find these scores, one after the other; the losses are real."""
    rest = iter(scores)

    class Scripted(Validator):
        def validate(self, *args: Any) -> ValidationResult:
            return dataclasses.replace(super().validate(*args), score=next(rest))

    monkeypatch.setattr(train, "Validator", Scripted)


def spoil(monkeypatch: pytest.MonkeyPatch, bad: range) -> None:
    """Put a NaN into the batches of these numbers (from 1)."""
    original, drawn = TrainingStream.next_batch, [0]

    def next_batch(self: TrainingStream) -> NetworkBatch:
        batch = original(self)
        drawn[0] += 1
        if drawn[0] in bad:
            batch.frames[0, 0, 0, 0] = math.nan
        return batch

    monkeypatch.setattr(TrainingStream, "next_batch", next_batch)


def validations(path: Path) -> list[int]:
    return [e.step for e in read_history(path) if "validation_loss" in e.values]


def test_model_and_run_folder_say_how_it_was_made(folder: Path) -> None:
    spec, events = train_spec(folder, region=None), Events()
    summary = train.run(spec, events.context)
    bundle = read_model(folder / "model.decode")
    assert summary["model"] == spec.out == events.of(ArtifactEvent)[-1].path
    assert summary["model_id"] == bundle.model_id
    assert summary["steps"] == 6
    assert bundle.training_config == spec.config
    assert bundle.calibration.fingerprint() == CALIBRATION.fingerprint()
    assert bundle.camera.fingerprint() == CAMERA.fingerprint()
    network = network_from_bundle(bundle)
    assert set(bundle.weights) == {name for name, _ in network.named_parameters()}

    record = bundle.training_record
    assert [entry["step"] for entry in record["history"]] == [2, 4, 6]
    wanted = {"validation_loss", "jaccard", "rmse_lateral_nm", "z_score_x", "rmse_over_crlb_z"}
    assert wanted <= set(record["history"][0])
    assert (record["step"], record["samples"], record["parent_model_id"]) == (6, 12, None)
    assert record["machine"]["torch"] == torch.__version__
    assert record["elapsed_s"] > 0

    run_folder = train.training_folder(folder / "model.decode")
    assert sorted(p.name for p in run_folder.iterdir()) == [
        "history.jsonl",
        "job.json",
        "sample.npz",
    ]
    job = json.loads((run_folder / "job.json").read_text())
    assert job["spec"] == spec.model_dump(mode="json")
    assert job["seed"] == 0
    assert job["inputs"]["calibration"] == CALIBRATION.fingerprint()
    content = (folder / "cal.h5").read_bytes()
    assert job["files_sha256"]["calibration"] == hashlib.sha256(content).hexdigest()
    assert validations(run_folder / "history.jsonl") == [2, 4, 6]


def test_same_seed_gives_the_same_model(folder: Path) -> None:
    ids = [
        train.run(train_spec(folder, out=str(folder / name), seed=seed, steps=2), JobContext())[
            "model_id"
        ]
        for name, seed in (("a", 0), ("b", 0), ("c", 1))
    ]
    assert ids[0] == ids[1] != ids[2]


def test_long_curves_are_thinned(folder: Path) -> None:
    history = [{"step": float(n), "validation_loss": 1.0 / n} for n in range(1, 1006)]
    inputs = TrainInputs(
        calibration=CALIBRATION,
        camera=CAMERA,
        parent=None,
        parent_path=None,
        device=torch.device("cpu"),
    )
    progress = Progress(step=1005, best_step=503, history=history)
    thinned = training_record(train_spec(folder), inputs, {}, progress)["history"]
    assert len(thinned) <= 202
    steps = [entry["step"] for entry in thinned]
    assert steps == sorted(steps)
    assert {1.0, 503.0, 1005.0} <= set(steps)


def test_cancel_keeps_the_best_model_and_resuming_its_history(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_folder = train.training_folder(folder / "model.decode")
    script(monkeypatch, [0.3, 0.1])
    events = cancel_at(4)
    with pytest.raises(CancelledError):
        train.run(train_spec(folder), events.context)
    assert events.of(ArtifactEvent)[-1].path == str(run_folder / "best.decode")
    best = read_model(run_folder / "best.decode")
    assert best.training_record["best_step"] == 2
    assert not (folder / "model.decode").exists()

    # A kill later than the last checkpoint leaves later lines, the last of them torn.
    with (run_folder / "history.jsonl").open("a") as handle:
        handle.write('{"step": 5, "values": {"loss": 1.0}}\n{"step": 6, "val')
    with pytest.raises(OutputError, match="unfinished"):
        train.run(train_spec(folder), JobContext())
    script(monkeypatch, [0.2])
    summary = train.run(train_spec(folder, resume=True), JobContext())
    assert (summary["steps"], summary["best_step"]) == (6, 2)
    for name, values in read_model(folder / "model.decode").weights.items():
        np.testing.assert_array_equal(values, best.weights[name])
    steps = [entry.step for entry in read_history(run_folder / "history.jsonl")]
    assert validations(run_folder / "history.jsonl") == [2, 4, 6]
    assert steps == sorted(steps)
    assert 5 not in steps
    assert not (run_folder / "best.decode").exists()


def test_resuming_without_a_checkpoint_starts_anew_and_says_so(folder: Path) -> None:
    events = Events()
    train.run(train_spec(folder, steps=1, resume=True), events.context)
    assert any("no checkpoint" in e.text for e in events.of(LogEvent))


def test_overwriting_an_unfinished_training_forgets_it(folder: Path) -> None:
    run_folder = train.training_folder(folder / "model.decode")
    with pytest.raises(CancelledError):
        train.run(train_spec(folder), cancel_at(2).context)
    train.run(train_spec(folder, seed=1, steps=2, overwrite=True), JobContext())
    assert read_model(folder / "model.decode").training_record["step"] == 2
    assert json.loads((run_folder / "job.json").read_text())["seed"] == 1
    assert validations(run_folder / "history.jsonl") == [2]


def test_two_trainings_cannot_share_a_run_folder(folder: Path) -> None:
    run_folder = train.training_folder(folder / "model.decode")
    run_folder.mkdir()
    lock = FileLock(run_folder / "lock")
    with pytest.raises(OutputError, match="Another job"):
        train.run(train_spec(folder), JobContext())
    lock.release()


def test_resuming_from_other_files_is_refused(folder: Path) -> None:
    with pytest.raises(CancelledError):
        train.run(train_spec(folder), cancel_at(2).context)
    psf = dataclasses.replace(CALIBRATION.psf, sigma0_x_nm=140.0)
    write_calibration(
        dataclasses.replace(CALIBRATION, psf=psf), folder / "other.h5", overwrite=False
    )
    other = train_spec(folder, calibration=str(folder / "other.h5"), seed=3, resume=True)
    with pytest.raises(MismatchError) as error:
        train.run(other, JobContext())
    ours, theirs = (
        p.fingerprint()[:12] for p in (CALIBRATION, read_calibration(folder / "other.h5"))
    )
    assert f"calibration ({ours}… then, {theirs}… now)" in error.value.message
    assert "seed (0 then, 3 now)" in error.value.message
    assert "camera" not in error.value.message
    assert train.run(train_spec(folder, resume=True), JobContext())["steps"] == 6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pixel_size_x_nm": 160.0}, ["100 nm", "160 nm", "along x"]),
        ({"pixel_size_y_nm": 117.0}, ["110 nm", "117 nm", "along y"]),
        ({"em_mirrored": True}, ["camera is mirrored", "calibration is not"]),
    ],
)
def test_calibration_of_another_camera_is_refused(
    folder: Path, changes: dict[str, Any], words: list[str]
) -> None:
    write_calibration(
        dataclasses.replace(CALIBRATION, em_mirrored=False), folder / "cal.h5", overwrite=True
    )
    write_camera(dataclasses.replace(CAMERA, **changes), folder / "cam.json", overwrite=True)
    with pytest.raises(MismatchError) as error:
        train.run(train_spec(folder), JobContext())
    assert all(w in error.value.message for w in words)
    assert error.value.hint
    assert not train.training_folder(folder / "model.decode").exists()


def test_old_gaussian_calibration_gets_its_pixels_from_the_camera(folder: Path) -> None:
    """SMAP's ``outforfit``: widths in pixels, depths in micrometres, no pixel size."""
    vector = [[1.2, 0.0, 0.0, 0.0, 0.0, 0.25, 0.4, 1.3]]
    scipy.io.savemat(folder / "old.mat", {"outforfit": np.array(vector)})
    train.run(train_spec(folder, calibration=str(folder / "old.mat"), steps=1), JobContext())
    psf = read_model(folder / "model.decode").calibration.psf
    assert isinstance(psf, GaussianPsf)
    assert (psf.sigma0_x_nm, psf.sigma0_y_nm) == pytest.approx((120.0, 143.0))


def test_patience(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(monkeypatch, [0.5, 0.6, 0.6, 0.2, 0.9])
    summary = train.run(train_spec(folder, steps=100, patience=2), JobContext())
    assert (summary["steps"], summary["best_step"]) == (8, 4)


def test_minutes_end_in_time(folder: Path) -> None:
    """A clock that goes on by a second at each look: at most one step beyond the end."""
    now = [0.0]

    def clock() -> float:
        now[0] += 1.0
        return now[0]

    context = JobContext(clock=clock)
    summary = train.run(
        train_spec(folder, steps=None, minutes=1.0, validate_every_steps=None), context
    )
    assert 60.0 <= summary["elapsed_s"] <= 70.0
    history = read_model(folder / "model.decode").training_record["history"]
    assert history[-1]["step"] == summary["steps"]
    assert len(history) == len({entry["step"] for entry in history}) >= 5


def test_batches_that_are_not_finite_are_skipped(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, range(2, 4))
    train.run(train_spec(folder), JobContext())
    record = read_model(folder / "model.decode").training_record
    assert (record["step"], record["skipped"], record["rollbacks"]) == (6, 2, 0)


def test_five_in_a_row_roll_back_with_half_the_rate(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(monkeypatch, range(3, 8))
    events = Events()
    train.run(train_spec(folder, steps=9), events.context)
    record = read_model(folder / "model.decode").training_record
    assert (record["step"], record["skipped"], record["rollbacks"]) == (9, 5, 1)
    assert record["rate_scale"] == 0.5
    (warning,) = (e.text for e in events.of(LogEvent) if "diverged" in e.text)
    assert "0.5 of the learning rate" in warning


def test_endless_divergence_is_an_error_that_keeps_the_best_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(monkeypatch, [0.5] * 50)
    spoil(monkeypatch, range(3, 1000))
    with pytest.raises(DivergedError, match="diverged") as error:
        train.run(train_spec(folder, steps=1000, validate_every_steps=2), JobContext())
    assert error.value.exit_code == 3
    best = read_model(train.training_folder(folder / "model.decode") / "best.decode")
    assert best.training_record["best_step"] == 2
    assert not (folder / "model.decode").exists()


def test_a_warm_start_says_which_ranges_the_parent_had(folder: Path) -> None:
    train.run(train_spec(folder, steps=1), JobContext())
    parent = str(folder / "model.decode")
    same, other = Events(), Events()
    spec = train_spec(folder, steps=1, init=parent, out=str(folder / "same.decode"))
    train.run(spec, same.context)
    brighter = SimulationConfig(flux_mean=9000.0, flux_std=500.0, margin_px=2.0)
    spec = train_spec(
        folder, steps=1, init=parent, out=str(folder / "other.decode"), simulation=brighter
    )
    train.run(spec, other.context)
    said = [e.text for e in other.of(LogEvent) if "other ranges" in e.text]
    assert len(said) == 1
    assert "photon_max (" in said[0]
    assert not any("other ranges" in e.text for e in same.of(LogEvent))


def test_a_training_that_is_asked_to_finish_writes_its_best_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of three validations, not the last state, is the result; nothing else is left."""
    script(monkeypatch, [0.3, 0.5, 0.4])
    events = Events()

    def emit(event: EventBody) -> None:
        events.seen.append(event)
        if isinstance(event, MetricEvent) and event.step == 4 and "jaccard" in event.values:
            events.context.cancel.finish()

    events.context.emit = emit
    spec = train_spec(folder, steps=1000, validate_every_steps=2)
    summary = train.run(spec, events.context)
    assert (summary["steps"], summary["best_step"], summary["ended_by"]) == (4, 4, "request")
    bundle = read_model(Path(spec.out))
    assert bundle.model_id == summary["model_id"]
    run_folder = train.training_folder(Path(spec.out))
    assert "best.decode" not in {p.name for p in run_folder.iterdir()}
    assert not list(run_folder.glob("*.safetensors"))


def test_finishing_between_validations_validates_once_more(folder: Path) -> None:
    events = Events()
    events.context.max_rate_hz = math.inf

    def emit(event: EventBody) -> None:
        events.seen.append(event)
        if isinstance(event, ProgressEvent) and event.done >= 3:
            events.context.cancel.finish()

    events.context.emit = emit
    summary = train.run(train_spec(folder, steps=1000, validate_every_steps=500), events.context)
    assert (summary["steps"], summary["best_step"]) == (3, 3)
    assert [e.step for e in events.of(MetricEvent) if "jaccard" in e.values] == [3]


def test_finishing_before_the_first_step_says_that_there_is_no_model(folder: Path) -> None:
    events = Events()
    events.context.cancel.finish()
    with pytest.raises(RunError, match="before its first step"):
        train.run(train_spec(folder), events.context)
    assert not (folder / "model.decode").exists()


def test_each_validation_shows_frames_with_truth_and_prediction(folder: Path) -> None:
    events = Events()
    spec = train_spec(folder, steps=4, validate_every_steps=2, label_min_photons=500.0)
    train.run(spec, events.context)
    shown = events.of(PreviewEvent)
    path = train.training_folder(Path(spec.out)) / "sample.npz"
    assert [e.path for e in shown] == [str(path)] * 2
    sample = read_training_sample(path)
    assert sample.step == 4
    assert sample.frames.shape == (4, 16, 16) == shown[-1].shape
    assert sample.pixel_size_nm == (100.0, 110.0)
    assert set(sample.truth_frame.tolist()) <= {0, 1, 2, 3}
    assert len(sample.truth_frame) > 0
    assert (sample.truth["photons"] >= 500.0).all()
    for index, frame in enumerate(sample.frames):
        truth = sample.truth_of(index)
        inside = (abs(truth["x_px"] - 7.5) < 6) & (abs(truth["y_px"] - 7.5) < 6)
        bright = inside & (truth["photons"] > 3000) & (abs(truth["z_nm"]) < 300)
        rows = np.rint(truth["y_px"][bright]).astype(int)
        columns = np.rint(truth["x_px"][bright]).astype(int)
        # Where a bright molecule is, its frame is brighter than usual.
        assert (frame[rows, columns] > np.median(frame)).all()


def test_every_number_that_a_training_reports_is_explained(folder: Path) -> None:
    events = Events()
    ticks = iter(range(10**6))
    events.context.clock = lambda: float(next(ticks))
    train.run(train_spec(folder, steps=4), events.context)
    reported = {name for e in events.of(MetricEvent) for name in e.values}
    assert {"loss", "learning_rate", "samples_per_s", "jaccard", "elapsed_s"} <= reported
    assert reported <= set(METRICS)
