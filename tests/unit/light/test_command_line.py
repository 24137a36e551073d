"""A job's command line, read back by the command line's own parser, is the same job."""

from __future__ import annotations

import shlex

import pytest

from app.models.command_line import command_line
from decode_engine.cli.flags import join_negative
from decode_engine.cli.main import build_parser
from decode_engine.cli.verbs import build_spec
from decode_engine.contract.configs import (
    CalibrateConfig,
    FilterConfig,
    FilterRange,
    LocalizeConfig,
    RenderConfig,
    SimulationConfig,
    TrainingConfig,
)
from decode_engine.contract.jobs import (
    CalibrateSpec,
    ExportSpec,
    JobSpec,
    LocalizeSpec,
    RenderSpec,
    SimulateSpec,
    TrainSpec,
)

SPECS: list[JobSpec] = [
    CalibrateSpec(
        beads=("a b.tif", "c.tif"),
        out="cal.h5",
        config=CalibrateConfig(dz_nm=-10.0, pixel_size_x_nm=100.0, em_mirrored=True, z_slices=81),
    ),
    SimulateSpec(
        calibration="cal.h5",
        camera="camera.json",
        out="sim",
        frames=100,
        size_px=(64, 48),
        density_per_um2=0.5,
        drift_nm=(-10.0, 5.0, 0.0),
        simulation=SimulationConfig(flux_mean=2000.0, prior="rings", z_min_nm=-300.0),
    ),
    TrainSpec(
        calibration="c'al.h5",
        camera="camera.json",
        out="model.decode",
        init="old.decode",
        region=2,
        config=TrainingConfig(
            minutes=30.0,
            network_options={"features": 24},
            simulation=SimulationConfig(density_max_per_um2=1.0),
        ),
    ),
    LocalizeSpec(
        movies=("märz 1.tif",),
        model="m.decode",
        out="locs.h5",
        config=LocalizeConfig(frames=(10, 200), roi=(0, 1, 32, 33), overwrite=True),
    ),
    RenderSpec(
        localizations="locs.h5",
        out="p.png",
        config=RenderConfig(color="z", z_min_nm=-400.0, scale_bar_nm=0.0),
    ),
    ExportSpec(
        localizations="locs.h5",
        out="t.csv",
        filters=FilterConfig(
            ranges=(
                FilterRange(column="z_nm", low=-300.0, high=300.5),
                FilterRange(column="photons", low=500.0),
                FilterRange(column="sigma_x_nm", high=1e-3),
            )
        ),
    ),
]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.job)
def test_the_command_line_says_the_same_job(spec: JobSpec) -> None:
    words = shlex.split(command_line(spec))
    assert words[0] == "decode-engine"
    namespace = build_parser().parse_args(join_negative(words[1:]))
    assert build_spec(namespace.verb, namespace) == spec


def test_defaults_are_left_out() -> None:
    spec = ExportSpec(localizations="locs.h5", out="t.csv")
    assert command_line(spec) == "decode-engine export locs.h5 --out=t.csv"
