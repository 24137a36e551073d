"""The bundled example keeps its promise: a picture and honest scores with no training."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from decode_engine.contract.jobs import ExampleSpec
from decode_engine.contract.messages import ArtifactEvent, EventBody, ProgressEvent
from decode_engine.io.localizations import read_localization_metadata, read_localizations
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.registry import run_job


def test_the_example_finds_the_filaments(tmp_path: Path) -> None:
    events: list[EventBody] = []
    summary = run_job(ExampleSpec(out=str(tmp_path / "out")), JobContext(emit=events.append))

    # Floors well below what the shipped model reaches (README); a broken convention (an axis,
    # a sign, a frame, half a pixel) drops Jaccard or an error far beyond them.
    assert summary["jaccard"] > 0.6
    assert summary["rmse_lateral_nm"] < 40
    assert summary["rmse_axial_nm"] < 80
    for axis in ("x", "y", "z"):
        assert abs(summary[f"bias_{axis}_nm"]) < 10
        assert 0.5 < summary[f"z_score_robust_{axis}"] < 1.5

    table = read_localizations(Path(summary["localizations"]))
    not_judged = summary["n_localizations_not_judged"]
    assert len(table) == summary["n_localizations"] + not_judged
    assert np.isfinite(table.sigma_z_nm).all()
    metadata = read_localization_metadata(Path(summary["localizations"]))
    assert metadata.model_id
    with Image.open(summary["image"]) as image:
        assert image.mode == "RGB"
        assert np.asarray(image).max() > 200
    scores = json.loads(Path(summary["scores"]).read_text())
    assert scores["jaccard"] == summary["jaccard"]

    kinds = {e.kind for e in events if isinstance(e, ArtifactEvent)}
    assert {"localizations", "image", "scores"} <= kinds
    assert any(isinstance(e, ProgressEvent) for e in events)
