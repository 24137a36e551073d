"""Localize one frame, fast and with small results, for the app."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from decode_engine.contract.jobs import LocalizeSpec, PreviewSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import ConfigError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.tables import write_localizations_csv
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.localize_setup import prepare
from decode_engine.jobs.movie_checks import check_movie, open_chosen, region_of

__all__ = ["run"]


def run(spec: PreviewSpec, context: JobContext) -> dict[str, Any]:
    """Localize ``spec.frame`` and write it beside its localizations.

    Writes ``frame.npy``, the whole frame in ADU, and ``localizations.csv`` into ``spec.out``;
    earlier previews there are replaced. ``config.frames`` does not matter.

    Returns
    -------
    dict
        ``frame``, ``localizations`` (their number), ``frame_file``, ``localizations_file``.
    """
    context.stage("Reading the model")
    # One frame per step: three frames are encoded, not two whole batches.
    config = spec.config.model_copy(update={"frames": None, "batch_frames": 1})
    as_localize = LocalizeSpec(
        movies=(spec.movie,),
        model=spec.model,
        camera=spec.camera,
        out=spec.out,
        config=config,
        device=spec.device,
    )
    setup = prepare(as_localize, context)
    out = Path(spec.out)
    with open_chosen(spec.movie, config) as source:
        if spec.frame >= source.n_frames:
            raise ConfigError(
                f"Frame {spec.frame} was asked of {source.path.name}, which has {source.n_frames}.",
                hint=f"Choose a frame from 0 to {source.n_frames - 1}.",
            )
        for warning in check_movie(source, setup.camera, config):
            context.log(warning, "warning")
        context.stage("Localizing")
        batches = setup.predictor.localize(
            source,
            (spec.frame, spec.frame + 1),
            region=region_of(config),
            check=context.check,
        )
        table = Localizations.concatenate([batch.localizations for batch in batches])
        frame = source.read(spec.frame, spec.frame + 1)[0]
    frame_file, table_file = out / "frame.npy", out / "localizations.csv"
    with atomic_path(frame_file, overwrite=True) as temporary:
        np.save(temporary, frame, allow_pickle=False)
    write_localizations_csv(table_file, table, overwrite=True)
    context.preview(str(frame_file), frame.shape, frame.dtype.name)
    context.artifact("localizations", str(table_file))
    return {
        "frame": spec.frame,
        "localizations": len(table),
        "frame_file": str(frame_file),
        "localizations_file": str(table_file),
    }
