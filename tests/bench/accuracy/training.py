"""Training of any registered network for a given amount of processor time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from decode_engine.contract.configs import TrainingConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.jobs import train
from decode_engine.jobs.context import JobContext
from tests.bench.accuracy.conditions import training_simulation

_NEVER = 10**9


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What is trained, and for how long."""

    network: str
    options: dict[str, int | float | str | bool]
    cpu_minutes: float
    seed: int = 0
    context_frames: int = 3
    batch_size: int = 8
    learning_rate: float = 1e-3
    validations: bool = False
    changes: dict[str, Any] | None = None  # of the simulation
    settings: dict[str, Any] | None = None  # of the training
    init: str | None = None

    def config(self) -> TrainingConfig:
        """Return the training's configuration.

        Without intermediate validations the whole budget is spent on learning, and the average
        of the last steps is what is scored.
        """
        simulation = training_simulation().model_copy(update=self.changes or {})
        config = TrainingConfig(
            network=self.network,
            network_options=self.options,
            context_frames=3 if self.context_frames == 3 else 1,
            simulation=simulation,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            minutes=self.cpu_minutes,
            validate_every_steps=None if self.validations else _NEVER,
            checkpoint_every_s=600.0,
            seed=self.seed,
        )
        return config.model_copy(update=self.settings or {})


def train_model(
    recipe: Recipe, calibration: Calibration, camera: CameraModel, out: Path, device: str
) -> dict[str, Any]:
    """Train into ``out``; the budget is processor time (on a GPU: wall time)."""
    return train_config(recipe.config(), calibration, camera, out, device, recipe.init)


def train_config(
    config: TrainingConfig,
    calibration: Calibration,
    camera: CameraModel,
    out: Path,
    device: str,
    init: str | None = None,
) -> dict[str, Any]:
    """Train a whole configuration into ``out``."""
    write_calibration(calibration, out.with_suffix(".calibration.h5"), overwrite=True)
    write_camera(camera, out.with_suffix(".camera.json"), overwrite=True)
    spec = TrainSpec(
        calibration=str(out.with_suffix(".calibration.h5")),
        camera=str(out.with_suffix(".camera.json")),
        out=str(out),
        config=config,
        init=init,
        device=device,
        overwrite=True,
    )
    clock = time.process_time if device == "cpu" else time.monotonic
    return train.run(spec, JobContext(clock=clock))
