"""The bundled example: localize its movie, draw the result, score it against the truth."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from decode_engine.contract.checking import strict_json
from decode_engine.contract.configs import EvaluateConfig, LocalizeConfig, RenderConfig
from decode_engine.contract.jobs import EvaluateSpec, ExampleSpec, LocalizeSpec, RenderSpec
from decode_engine.contract.messages import EventBody, StageEvent
from decode_engine.io.atomic import atomic_path
from decode_engine.io.resources import resource_path
from decode_engine.jobs import evaluate, localize, render
from decode_engine.jobs.context import JobContext

__all__ = ["run"]


def run(spec: ExampleSpec, context: JobContext) -> dict[str, Any]:
    """Run the example into the folder ``spec.out``.

    Returns
    -------
    dict
        The paths ``localizations``, ``image``, ``image_tiff``, ``scores`` and the numbers of
        `decode_engine.jobs.evaluate` and ``frames_per_s``.
    """
    out = Path(spec.out)
    results = {
        "localizations": out / "localizations.h5",
        "image": out / "image.png",
        "image_tiff": out / "image.tif",
        "scores": out / "scores.json",
    }
    fitted = _localize(spec, results["localizations"], context)
    _render(spec, results, context)
    scores = _evaluate(spec, results, context)
    return {
        **{name: str(path) for name, path in results.items()},
        "frames_per_s": fitted["frames_per_s"],
        **scores,
    }


def _localize(spec: ExampleSpec, out: Path, context: JobContext) -> dict[str, Any]:
    context.stage("Localizing the example movie")
    job = LocalizeSpec(
        movies=(str(resource_path("example", "movie.tif")),),
        model=str(resource_path("example", "model.decode")),
        out=str(out),
        config=LocalizeConfig(overwrite=spec.overwrite, chunk_frames=50),
        device=spec.device,
    )
    return localize.run(job, _part(context))


def _render(spec: ExampleSpec, results: dict[str, Path], context: JobContext) -> None:
    context.stage("Drawing the picture")
    # The tails of the z distribution would take most of the colours.
    config = RenderConfig(pixel_size_nm=5.0, color="z", sigma_max_nm=40.0, overwrite=spec.overwrite)
    for name, color in (("image", "z"), ("image_tiff", "none")):
        job = RenderSpec(
            localizations=str(results["localizations"]),
            out=str(results[name]),
            config=config.model_copy(update={"color": color}),
        )
        render.run(job, _part(context))


def _evaluate(spec: ExampleSpec, results: dict[str, Path], context: JobContext) -> dict[str, Any]:
    context.stage("Scoring against the truth")
    job = EvaluateSpec(
        localizations=str(results["localizations"]),
        truth=str(resource_path("example", "truth.csv")),
        config=EvaluateConfig(min_photons=50.0),
    )
    scores = evaluate.run(job, _part(context))
    with atomic_path(results["scores"], overwrite=spec.overwrite) as temporary:
        temporary.write_text(strict_json(scores, indent=2))
    context.artifact("scores", str(results["scores"]))
    return scores


def _part(context: JobContext) -> JobContext:
    """Return a context for a part of the job: the same events, without its own stages."""

    def emit(event: EventBody) -> None:
        if not isinstance(event, StageEvent):
            context.emit(event)

    return dataclasses.replace(context, emit=emit)
