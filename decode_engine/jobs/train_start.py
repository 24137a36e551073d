"""From which model a training starts.

A training that is resumed goes on from the starter that it began with, also where another one
is installed by then: its run folder keeps a copy, `KEPT_START`, until it is finished.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.io.atomic import atomic_path
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.io.starters import AUTO, fitting_starter, is_starter, starter_model
from decode_engine.jobs.context import JobContext

__all__ = ["KEPT_START", "keep_start", "read_start"]

KEPT_START = "start.decode"


def read_start(
    spec: TrainSpec, calibration: Calibration, folder: Path, context: JobContext, *, resumes: bool
) -> tuple[Path, ModelBundle] | None:
    """Return the file and the model that a training starts from; None for random weights.

    Parameters
    ----------
    spec : TrainSpec
    calibration : Calibration
        Of the training; decides which starter fits.
    folder : Path
        Of the run.
    context : JobContext
        Is told what becomes of a starter.
    resumes : bool
        The training began earlier.

    Raises
    ------
    ModelError
        If the file is no model, or a starter that is asked for does not exist.
    """
    init, kept = spec.init, folder / KEPT_START
    if not is_starter(init):
        return None if init is None else (Path(init), read_model(Path(init)))
    if resumes and kept.is_file():
        return kept, read_model(kept)
    if init != AUTO:
        path = starter_model(str(init), calibration)
        model = read_model(path)
        context.log(_words(path, model))
        return path, model
    return None if resumes else _fitting(spec, calibration, context)


def keep_start(spec: TrainSpec, start: Path | None, folder: Path) -> None:
    """Copy a starter into the run folder; a file of the user's stays where it is."""
    if start is not None and is_starter(spec.init):
        with atomic_path(folder / KEPT_START, overwrite=True) as temporary:
            shutil.copyfile(start, temporary)


def _fitting(
    spec: TrainSpec, calibration: Calibration, context: JobContext
) -> tuple[Path, ModelBundle] | None:
    path, config = fitting_starter(calibration), spec.config
    if path is None:
        context.log("No starter model fits this PSF: the training starts from nothing.")
        return None
    model = read_model(path)
    if not model.holds(config.network, config.network_options, config.context_frames):
        context.log(
            f"The {path.stem} starter model holds another network or number of frames than is to "
            "be trained: the training starts from nothing.",
            "warning",
        )
        return None
    context.log(_words(path, model))
    return path, model


def _words(path: Path, model: ModelBundle) -> str:
    end = ", set to this PSF." if model.conditioning else "."
    return f"The training starts from the {path.stem} starter model{end}"
