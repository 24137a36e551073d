"""What is written down about a training: its identity, circumstances, course and result."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decode_engine import __version__
from decode_engine.contract.configs import TrainingConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.io.atomic import atomic_path, sha256_file
from decode_engine.io.models import ModelBundle
from decode_engine.network.device import autocast_dtype
from decode_engine.training.checkpoint import Progress

__all__ = ["TrainInputs", "machine", "summary", "training_record", "write_job_record"]

_CURVE_POINTS = 200  # validations kept in the model; some 100 KB
_TIMES = ("step", "elapsed_s", "cpu_s")


@dataclass(frozen=True, kw_only=True)
class TrainInputs:
    """What a training is made from, as read from its files."""

    calibration: Calibration
    camera: CameraModel
    parent: ModelBundle | None
    parent_path: Path | None
    device: torch.device

    def identities(self) -> dict[str, str]:
        """Return what must be the same when the training is resumed."""
        return {
            "calibration": self.calibration.fingerprint(),
            "camera": self.camera.fingerprint(),
            "parent model": "none" if self.parent is None else self.parent.model_id,
            "device": self.device.type,
        }


def machine(config: TrainingConfig, inputs: TrainInputs, workers: int) -> dict[str, str]:
    """Return where and with what a training runs, as far as it changes rounding."""
    device = inputs.device
    is_cuda = device.type == "cuda"
    precision = autocast_dtype(device, config.precision)
    return {
        "device": torch.cuda.get_device_name(device) if is_cuda else device.type,
        "processor": platform.machine(),
        "threads": str(workers),
        "precision": "fp32" if precision is None else "bf16",
        "engine": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def write_job_record(
    path: Path, spec: TrainSpec, inputs: TrainInputs, circumstances: Mapping[str, str]
) -> None:
    """Write ``job.json``: what was asked, from which files, with which versions, where."""
    files = {"calibration": spec.calibration, "camera": spec.camera, "init": inputs.parent_path}
    record = {
        "spec": spec.model_dump(mode="json"),
        "seed": spec.config.seed,
        "inputs": inputs.identities(),
        "files_sha256": {name: sha256_file(Path(p)) for name, p in files.items() if p is not None},
        "machine": dict(circumstances),
    }
    with atomic_path(path, overwrite=True) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def training_record(
    spec: TrainSpec,
    inputs: TrainInputs,
    circumstances: Mapping[str, str],
    progress: Progress,
) -> dict[str, Any]:
    """Return the model's record: circumstances, counters, and the curve of the validations."""
    return {
        "machine": dict(circumstances),
        "parent_model_id": None if inputs.parent is None else inputs.parent.model_id,
        "samples": progress.step * spec.config.batch_size,
        **progress.to_dict(),
        "history": _thinned(progress.history, progress.best_step),
    }


def summary(progress: Progress) -> dict[str, Any]:
    """Return what the job answers about the course of the training."""
    best = [entry for entry in progress.history if entry["step"] == progress.best_step]
    metrics = best[-1] if best else {}
    return {
        "steps": progress.step,
        "elapsed_s": progress.elapsed_s,
        "cpu_s": progress.cpu_s,
        "best_step": progress.best_step,
        **{name: value for name, value in metrics.items() if name not in _TIMES},
    }


def _thinned(history: list[dict[str, float]], best_step: int) -> list[dict[str, float]]:
    """Return at most about `_CURVE_POINTS` entries, the best and the last among them."""
    every = -(-len(history) // _CURVE_POINTS)
    last = len(history) - 1
    return [
        entry
        for i, entry in enumerate(history)
        if i % every == 0 or i == last or entry["step"] == best_step
    ]
