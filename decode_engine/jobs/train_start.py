"""From which model a training starts."""

from __future__ import annotations

from pathlib import Path

from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.io.starters import AUTO, fitting_starter, is_starter, starter_model
from decode_engine.jobs.context import JobContext

__all__ = ["read_start"]


def read_start(
    spec: TrainSpec, calibration: Calibration, context: JobContext
) -> tuple[Path, ModelBundle] | None:
    """Return the file and the model that a training starts from; None for random weights.

    Raises
    ------
    ModelError
        If the file is no model, or a starter that is asked for does not exist.
    """
    init = spec.init
    if not is_starter(init):
        return None if init is None else (Path(init), read_model(Path(init)))
    path = fitting_starter(calibration) if init == AUTO else starter_model(str(init), calibration)
    model = None if path is None else read_model(path)
    config = spec.config
    wanted = (config.network, config.network_options, config.context_frames)
    if path is None or model is None or (init == AUTO and not model.holds(*wanted)):
        context.log("No starter model fits this training: it starts from nothing.")
        return None
    context.log(f"The training starts from the {path.stem} starter model.")
    return path, model
