"""Files and specifications of trainings that take a second."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from decode_engine.contract.configs import SimulationConfig, TrainingConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera

__all__ = ["CALIBRATION", "CAMERA", "train_spec", "write_inputs"]

CALIBRATION = Calibration(
    psf=GaussianPsf(
        sigma0_x_nm=130.0,
        sigma0_y_nm=130.0,
        depth_nm=400.0,
        focus_x_nm=250.0,
        focus_y_nm=-250.0,
        z_min_nm=-500.0,
        z_max_nm=500.0,
    ),
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=110.0,
)
CAMERA = CameraModel(
    kind="scmos",
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=110.0,
    offset_adu=100.0,
    e_per_adu=0.5,
    read_noise_e=1.5,
)


def write_inputs(folder: Path) -> None:
    """Write ``cal.h5`` and ``cam.json``."""
    write_calibration(CALIBRATION, folder / "cal.h5", overwrite=False)
    write_camera(CAMERA, folder / "cam.json", overwrite=False)


def train_spec(folder: Path, **changes: Any) -> TrainSpec:
    """Return a training of a tiny network; changes go to the specification or its settings."""
    settings: dict[str, Any] = {
        "network": "decode",
        "network_options": {"features": 2},
        "simulation": SimulationConfig(flux_mean=5000.0, flux_std=500.0, margin_px=2.0),
        "patch_px": 16,
        "batch_size": 2,
        "steps": 6,
        "validation_frames": 8,
        "validate_every_steps": 2,
        "ema_decay": 0.9,
    }
    files: dict[str, Any] = {
        "calibration": str(folder / "cal.h5"),
        "camera": str(folder / "cam.json"),
        "out": str(folder / "model.decode"),
        "device": "cpu",
    }
    for name, value in changes.items():
        (files if name in TrainSpec.model_fields else settings)[name] = value
    return TrainSpec(**files, config=TrainingConfig(**settings))
