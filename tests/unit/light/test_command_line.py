"""The command that the app copies is read back by the command line as the same job."""

from __future__ import annotations

import shlex

import pytest

from app.models.command_line import command_line, command_words
from decode_engine.cli.flags import join_negative
from decode_engine.cli.main import build_parser
from decode_engine.cli.verbs import build_spec
from decode_engine.contract import jobs
from decode_engine.contract.configs import (
    CalibrateConfig,
    EvaluateConfig,
    FilterConfig,
    FilterRange,
    FitMleConfig,
    LocalizeConfig,
    RenderConfig,
    SimulationConfig,
    TrainingConfig,
)

_SIMULATION = SimulationConfig(flux_mean=1234.5, z_min_nm=-300, z_max_nm=300, prior="filaments")
SPECS: list[jobs.JobSpec] = [
    jobs.TrainSpec(calibration="c.h5", camera="c.json", out="m.decode", init="auto"),
    jobs.TrainSpec(
        calibration="my cal.h5",
        camera="runs/train-001/camera.json",
        out="m.decode",
        config=TrainingConfig(
            minutes=12.5,
            patience=4,
            network_options={"features": 24},
            simulation=_SIMULATION,
            context_frames=1,
            learning_rate=1e-4,
        ),
        init="it's.decode",
        device="cuda:1",
        region=2,
        allow_mismatch=True,
    ),
    jobs.LocalizeSpec(
        movies=("a b.tif", "c.tif"),
        model="m.decode",
        out="out",
        config=LocalizeConfig(frames=(10, 200), roi=(1, 2, 30, 40), probability_threshold=0.7),
    ),
    jobs.SimulateSpec(
        calibration="c.h5",
        camera="c.json",
        out="o",
        frames=100,
        size_px=(64, 32),
        density_per_um2=0.5,
        drift_nm=(-60.0, 10.0, 0.0),
        simulation=_SIMULATION,
    ),
    jobs.CalibrateSpec(
        beads=("1.tif", "2.tif"),
        out="c.mat",
        config=CalibrateConfig(dz_nm=-50, pixel_size_x_nm=127.5, z_reference="middle"),
    ),
    jobs.FitMleSpec(
        movie="m.tif",
        calibration="c.h5",
        camera="c.json",
        out="o.h5",
        config=FitMleConfig(z_starts_nm=(-300.0, 0.0, 300.0)),
    ),
    jobs.RenderSpec(
        localizations="l.h5",
        out="i.png",
        config=RenderConfig(color="z", z_min_nm=-250.0, field_nm=(-1.0, 0.0, 5000.0, 4000.0)),
    ),
    jobs.EvaluateSpec(
        localizations="l.h5", truth="t.csv", config=EvaluateConfig(two_dimensional=True)
    ),
    jobs.ExportSpec(
        localizations="l.h5",
        out="l.csv",
        filters=FilterConfig(
            ranges=(
                FilterRange(column="photons", low=500),
                FilterRange(column="z_nm", low=-300, high=300.5),
            )
        ),
        overwrite=True,
    ),
    jobs.InspectSpec(file="x.tif"),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.job)
def test_the_copied_command_is_the_same_job(spec: jobs.JobSpec) -> None:
    words = shlex.split(command_line(spec, windows=False))
    assert words == command_words(spec)
    assert words[0] == "decode-engine"
    namespace = build_parser().parse_args(join_negative(words[1:]))
    assert build_spec(namespace.verb, namespace) == spec


def test_a_choice_among_numbers_can_be_given() -> None:
    """Regression: ``--context-frames 1`` was refused with "should be 1 or 3"."""
    words = [
        "train",
        "--calibration",
        "c.h5",
        "--camera",
        "c.json",
        "--out",
        "m.decode",
        "--context-frames",
        "1",
    ]
    namespace = build_parser().parse_args(words)
    spec = build_spec(namespace.verb, namespace)
    assert isinstance(spec, jobs.TrainSpec)
    assert spec.config.context_frames == 1


def test_defaults_are_left_out() -> None:
    spec = jobs.TrainSpec(calibration="c.h5", camera="c.json", out="m.decode")
    expected = "decode-engine train --calibration=c.h5 --camera=c.json --out=m.decode"
    assert command_line(spec, windows=False) == expected


def test_a_resumed_job_is_given_as_the_whole_job() -> None:
    spec = jobs.TrainSpec(calibration="c.h5", camera="c.json", out="m.decode", resume=True)
    assert "--resume" not in command_words(spec)


def test_windows_quotes_with_double_quotes() -> None:
    assert command_line(jobs.InspectSpec(file=r"C:\my data\x.tif"), windows=True).endswith(
        r'inspect "C:\my data\x.tif"'
    )
