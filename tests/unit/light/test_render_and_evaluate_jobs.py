"""The jobs that draw and score, on small files; neither needs torch."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from decode_engine.contract.configs import (
    EvaluateConfig,
    FilterConfig,
    FilterRange,
    RenderConfig,
)
from decode_engine.contract.jobs import EvaluateSpec, RenderSpec
from decode_engine.contract.messages import ArtifactEvent, EventBody, LogEvent
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.errors import CancelledError, OutputError
from decode_engine.io.tables import write_emitters_csv, write_localizations_csv
from decode_engine.jobs import evaluate, render
from decode_engine.jobs.context import JobContext


def _tables(n: int = 4000) -> tuple[Emitters, Localizations]:
    rng = np.random.default_rng(0)
    site = rng.uniform(300, 2700, (2, n // 8))[:, rng.integers(0, n // 8, n)]
    frame = np.sort(rng.integers(0, 500, n))
    z = rng.uniform(-400, 400, n)
    photons = rng.uniform(100, 5000, n)
    truth = Emitters(frame=frame, x_nm=site[0], y_nm=site[1], z_nm=z, photons=photons)
    sigma = np.full(n, 10.0)
    estimate = Localizations(
        frame=frame,
        x_nm=site[0] + rng.normal(0, sigma),
        y_nm=site[1] + rng.normal(0, sigma),
        z_nm=z + rng.normal(0, 2 * sigma),
        photons=photons,
        background=np.full(n, 10.0),
        sigma_x_nm=sigma,
        sigma_y_nm=sigma,
        sigma_z_nm=2 * sigma,
    )
    return truth, estimate


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("tables")
    truth, estimate = _tables()
    write_emitters_csv(folder / "truth.csv", truth)
    write_localizations_csv(folder / "localizations.csv", estimate)
    return str(folder / "truth.csv"), str(folder / "localizations.csv")


def _collecting() -> tuple[JobContext, list[EventBody]]:
    events: list[EventBody] = []
    return JobContext(emit=events.append), events


def test_tiff_of_densities(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "image.tif"
    config = RenderConfig(pixel_size_nm=20, field_nm=(0, 0, 3000, 3200))
    context, events = _collecting()
    summary = render.run(RenderSpec(localizations=files[1], out=str(out), config=config), context)
    density = tifffile.imread(out)
    assert density.shape == (160, 150)
    assert density.dtype == np.float32
    assert density.sum() == pytest.approx(4000, rel=1e-4)
    assert summary["n_drawn"] == summary["n_localizations"] == 4000
    assert ArtifactEvent(kind="image", path=str(out)) in events


def test_only_what_passes_the_filters_is_drawn(files: tuple[str, str], tmp_path: Path) -> None:
    out = tmp_path / "image.tif"
    filters = FilterConfig(
        ranges=(FilterRange(column="z_nm", low=0.0), FilterRange(column="photons", high=2000.0))
    )
    spec = RenderSpec(
        localizations=files[1],
        out=str(out),
        filters=filters,
        config=RenderConfig(mode="histogram", field_nm=(0, 0, 3000, 3000)),
    )
    summary = render.run(spec, JobContext())
    _, table = _tables()
    passing = (table.z_nm >= 0) & (table.photons <= 2000)
    assert summary["n_drawn"] == passing.sum()
    assert tifffile.imread(out).sum() == passing.sum()


@pytest.mark.parametrize("mode", ["histogram", "gaussian"])
def test_png_in_colour(files: tuple[str, str], tmp_path: Path, mode: str) -> None:
    out = tmp_path / "image.png"
    config = RenderConfig(pixel_size_nm=5, mode=mode, color="z")
    summary = render.run(
        RenderSpec(localizations=files[1], out=str(out), config=config), JobContext()
    )
    with Image.open(out) as image:
        assert image.mode == "RGB"
        assert image.size == (summary["width_px"], summary["height_px"])


def test_an_empty_selection_is_said(files: tuple[str, str], tmp_path: Path) -> None:
    context, events = _collecting()
    config = RenderConfig(sigma_max_nm=1, field_nm=(0, 0, 500, 500))
    spec = RenderSpec(localizations=files[1], out=str(tmp_path / "a.png"), config=config)
    assert render.run(spec, context)["n_drawn"] == 0
    assert any(isinstance(event, LogEvent) and event.level == "warning" for event in events)


def test_bad_outputs_are_refused_before_any_work(files: tuple[str, str], tmp_path: Path) -> None:
    for name, message in (("a.jpg", "neither"), ("taken.png", "exists")):
        out = tmp_path / name
        if name == "taken.png":
            out.touch()
        with pytest.raises(OutputError, match=message):
            render.run(RenderSpec(localizations="missing.h5", out=str(out)), JobContext())


def test_cancelling_leaves_no_image(files: tuple[str, str], tmp_path: Path) -> None:
    context = JobContext()
    context.cancel.cancel()
    with pytest.raises(CancelledError):
        render.run(RenderSpec(localizations=files[1], out=str(tmp_path / "a.png")), context)
    assert not list(tmp_path.iterdir())


def _evaluate(files: tuple[str, str], **settings: Any) -> dict[str, Any]:
    spec = EvaluateSpec(localizations=files[1], truth=files[0], config=EvaluateConfig(**settings))
    return evaluate.run(spec, JobContext())


def test_scores_of_nearly_perfect_localizations(files: tuple[str, str]) -> None:
    scores = _evaluate(files)
    assert scores["n_truth"] == scores["n_localizations"] == 4000
    assert scores["jaccard"] > 0.99
    # sqrt(2) times 10 nm, known to 5 / sqrt(2 * 2 * 4000) of itself (five standard errors)
    assert scores["rmse_lateral_nm"] == pytest.approx(14.14, rel=0.04)
    assert scores["rmse_axial_nm"] == pytest.approx(20, rel=0.06)
    assert scores["z_score_x"] == pytest.approx(1, abs=0.06)
    # Sites with 4 localizations in each half: 2π·10 nm / sqrt(ln(6·4)).
    assert scores["frc_nm"] == pytest.approx(2 * math.pi * 10 / math.sqrt(math.log(24)), rel=0.12)


def test_scores_follow_the_settings(files: tuple[str, str]) -> None:
    assert _evaluate(files, min_photons_quantile=0.25)["n_truth"] == 3000
    assert math.isnan(_evaluate(files, two_dimensional=True)["rmse_axial_nm"])


def test_tables_that_do_not_belong_together_raise_a_warning(
    files: tuple[str, str], tmp_path: Path
) -> None:
    truth, _ = _tables()
    write_emitters_csv(tmp_path / "far.csv", truth.replace(x_nm=truth.x_nm + 1e6))
    context, events = _collecting()
    spec = EvaluateSpec(localizations=files[1], truth=str(tmp_path / "far.csv"))
    assert evaluate.run(spec, context)["jaccard"] == 0
    assert any(isinstance(event, LogEvent) and event.level == "warning" for event in events)
