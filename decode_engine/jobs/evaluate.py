"""Compare localizations with the truth and estimate their resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decode_engine.analysis.frc import frc_resolution
from decode_engine.analysis.metrics import evaluate
from decode_engine.contract.jobs import EvaluateSpec
from decode_engine.domain.localizations import Emitters
from decode_engine.io.dialects.base import ReadOptions
from decode_engine.io.dialects.convention import Geometry
from decode_engine.io.dialects.registry import read_table, recognise
from decode_engine.io.tables import read_emitters_csv
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: EvaluateSpec, context: JobContext) -> dict[str, Any]:
    """Score ``spec.localizations`` against ``spec.truth``.

    Returns
    -------
    dict
        All fields of `decode_engine.analysis.metrics.Evaluation`, and ``frc_nm``, the
        resolution by Fourier ring correlation of the localizations alone, with ``frc_reason``
        where there is none. NaN stands for what does not exist.
    """
    context.stage("Reading tables")
    imported = read_table(Path(spec.localizations))
    estimate = imported.table
    context.check()
    truth = _truth(Path(spec.truth), imported.geometry, context)
    context.check()
    context.stage("Matching")
    scores = evaluate(truth, estimate, spec.config)
    if len(truth) and len(estimate) and scores.n_matched == 0:
        context.log(
            "Nothing matches: check that both tables count frames from 0 and use the same "
            "origin, axes and units.",
            "warning",
        )
    context.check()
    context.stage("Estimating the resolution")
    frc = frc_resolution(estimate, check=context.check)
    return {**scores.as_dict(), "frc_nm": frc.resolution_nm, "frc_reason": frc.reason}


def _truth(path: Path, geometry: Geometry, context: JobContext) -> Emitters:
    """Read our own truth, or that of a challenge; half pixels are those of the localizations."""
    claim = recognise(path)
    if claim is None or claim.dialect.name == "csv":
        return read_emitters_csv(path)
    options = ReadOptions(
        pixel_size_x_nm=geometry.pixel_size_x_nm, pixel_size_y_nm=geometry.pixel_size_y_nm
    )
    found = read_table(path, options)
    for text in (*map(str, found.guesses), *found.notes):
        context.log(f"{path.name}: {text}")
    columns = found.table.columns()
    return Emitters(**{s.name: columns[s.name] for s in Emitters.specs() if s.name in columns})
