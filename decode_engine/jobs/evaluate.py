"""Compare localizations with the truth and estimate their resolution."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decode_engine.analysis.frc import frc_resolution
from decode_engine.analysis.metrics import evaluate
from decode_engine.contract.jobs import EvaluateSpec
from decode_engine.io.tables import read_any_localizations, read_emitters_csv
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
    truth = read_emitters_csv(Path(spec.truth))
    context.check()
    estimate = read_any_localizations(Path(spec.localizations))
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
