"""A training that begins with a model's weights begins where that model ended."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from decode_engine.contract.messages import EventBody, MetricEvent
from decode_engine.domain.calibration import GaussianPsf
from decode_engine.errors import CancelledError, ModelError
from decode_engine.io import starters
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.jobs import train
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.network.scaling import NetworkScaling
from tests.training_samples import CALIBRATION, train_spec, write_inputs

OWN = NetworkScaling(
    input_offset=30, input_scale=4, photon_max=2e4, z_center_nm=0, z_half_range_nm=720,
    background_max=100, input_excess=1.0, input_variance=2.5,
)  # fmt: skip
PARENT = dataclasses.replace(
    OWN, input_offset=40, photon_max=6e4, z_half_range_nm=900, background_max=300,
    input_excess=2.0, input_variance=0.1,
)  # fmt: skip


def test_wider_ranges_of_the_parent_are_kept_and_the_cameras_noise_is_own() -> None:
    kept = OWN.continued_from(PARENT)
    assert (kept.input_excess, kept.input_variance) == (1.0, 2.5)
    assert dataclasses.replace(kept, input_excess=2.0, input_variance=0.1) == PARENT


@pytest.mark.parametrize(
    "narrow",
    [
        {"photon_max": 1e4},
        {"background_max": 50.0},
        {"z_half_range_nm": 500.0},
        {"z_center_nm": 400.0},
        {"z_half_range_nm": 0.0},
        {"input_excess": 0.0},
    ],
)
def test_too_narrow_or_other_ranges_are_not(narrow: dict[str, float]) -> None:
    assert OWN.continued_from(dataclasses.replace(PARENT, **narrow)) == OWN


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_inputs(tmp_path)
    return tmp_path


def trained(
    folder: Path, name: str, context: JobContext | None = None, **changes: object
) -> ModelBundle:
    spec = train_spec(
        folder,
        out=str(folder / name),
        network="fast",
        network_options={"width": 3},
        **changes,
    )
    train.run(spec, context or JobContext())
    return read_model(folder / name)


def turned(folder: Path) -> None:
    """Write the calibration with x and y exchanged."""
    psf = CALIBRATION.psf
    assert isinstance(psf, GaussianPsf)
    other = dataclasses.replace(psf, focus_x_nm=psf.focus_y_nm, focus_y_nm=psf.focus_x_nm)
    write_calibration(
        dataclasses.replace(CALIBRATION, psf=other), folder / "cal.h5", overwrite=True
    )


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_starter_is_found_by_the_calibration_and_turned_where_needed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, is_turned: bool
) -> None:
    parent = trained(folder, "astigmatic.decode", steps=2)
    monkeypatch.setattr(
        starters, "installed_starters", lambda: {"astigmatic": folder / "astigmatic.decode"}
    )
    if is_turned:
        turned(folder)
    still = {"learning_rate": 1e-12, "weight_decay": 0.0, "steps": 1}
    child = trained(folder, "child.decode", init="starter", **still)
    assert child.training_record["parent_model_id"] == parent.model_id
    assert child.scaling == parent.scaling
    rows = slice(12, 16)  # z is the fourth map, and each map has four pixels of a cell
    expected = parent.weights["last.weight"].copy()
    if is_turned:
        expected[rows] *= -1
    np.testing.assert_allclose(child.weights["last.weight"], expected, atol=1e-9)


def test_automatic_takes_a_starter_that_fits_and_else_begins_from_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = trained(folder, "astigmatic.decode", steps=2)
    installed = {"astigmatic": folder / "astigmatic.decode"}
    monkeypatch.setattr(starters, "installed_starters", lambda: installed)
    child = trained(folder, "child.decode", init="auto", steps=1)
    assert child.training_record["parent_model_id"] == parent.model_id
    other = trained(folder, "one.decode", init="auto", steps=1, context_frames=1)
    assert other.training_record["parent_model_id"] is None
    installed.clear()
    alone = trained(folder, "alone.decode", init="auto", steps=1)
    assert alone.training_record["parent_model_id"] is None


@pytest.mark.parametrize("began_with_one", [True, False])
def test_a_training_goes_on_from_the_starter_that_it_began_with(
    folder: Path, monkeypatch: pytest.MonkeyPatch, began_with_one: bool
) -> None:
    """Regression: a starter that was replaced meanwhile made every paused training refuse."""
    first = trained(folder, "astigmatic.decode", steps=2)
    second = trained(folder, "other.decode", steps=3)
    assert second.model_id != first.model_id
    installed = {"astigmatic": folder / "astigmatic.decode"} if began_with_one else {}
    monkeypatch.setattr(starters, "installed_starters", lambda: installed)
    cancel = CancelToken()

    def stop_at_two(event: EventBody) -> None:
        if isinstance(event, MetricEvent) and event.step >= 2:
            cancel.cancel()

    with pytest.raises(CancelledError):
        trained(folder, "child.decode", JobContext(emit=stop_at_two, cancel=cancel), init="auto")
    run_folder = folder / "child.decode.training"
    assert (run_folder / "start.decode").is_file() == began_with_one
    installed["astigmatic"] = folder / "other.decode"
    child = trained(folder, "child.decode", init="auto", resume=True)
    assert child.training_record["step"] == 6
    assert child.training_record["parent_model_id"] == (first.model_id if began_with_one else None)
    assert not (run_folder / "start.decode").exists()


def test_options_that_a_training_leaves_open_are_the_models(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    parent, child = (str(tmp_path / f"{name}.decode") for name in ("parent", "child"))
    options = {"width": 3, "detail": 8}
    train.run(
        train_spec(tmp_path, out=parent, network="fast", network_options=options), JobContext()
    )
    spec = train_spec(tmp_path, out=child, network="fast", network_options={}, init=parent)
    train.run(spec, JobContext())
    assert read_model(Path(child)).network_options == options
    other = train_spec(
        tmp_path, out=child, network="fast", network_options={"detail": 0}, init=parent,
        overwrite=True,
    )  # fmt: skip
    with pytest.raises(ModelError, match="cannot start from this model"):
        train.run(other, JobContext())
