"""What a training needs from the project, what is missing, and the job itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.models.project import CalibrationChoice, ProjectSettings, RunRecord
from app.models.simulation_words import molecule_words
from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig, SimulationConfig, TrainingConfig
from decode_engine.contract.jobs import TrainSpec
from decode_engine.io.starters import is_starter

__all__ = [
    "PATIENCE",
    "TrainInput",
    "device_choices",
    "expectation",
    "rate_for_start",
    "train_inputs",
    "train_spec",
    "training_folder",
]

# About 20 tests a run: a fifth of the longest time without gain ends it.
PATIENCE = 4
# The default rate throws a trained network back within some ten steps before it learns anew (the
# height error of the example's model doubled); a fifth of it does not. Starters have more to learn:
# after 4 minutes of a processor efficiency was .284 with the default rate, .265 with a third of it.
_FRESH_RATE = float(TrainingConfig().learning_rate)
_WARM_RATE = _FRESH_RATE / 5
_SHORT_CPU_MIN, _SHORT_GPU_MIN = 10.0, 3.0
_CAMERA_WORDS = {"ideal": "ideal camera", "emccd": "EMCCD", "scmos": "sCMOS"}
_DEVICE_WORDS = {"cpu": "Processor", "cuda": "NVIDIA graphics card", "mps": "Apple graphics"}


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainInput:
    """One thing that the network is trained for, with the page where it is chosen."""

    step: Step
    title: str
    text: str
    ok: bool


def train_inputs(settings: ProjectSettings) -> tuple[TrainInput, ...]:
    """Return what the network will be trained for, in words."""
    calibration, found = _calibration_words(settings.calibration)
    camera = settings.camera
    return (
        TrainInput(step=Step.CALIBRATION, title="Calibration", text=calibration, ok=found),
        TrainInput(
            step=Step.CAMERA,
            title="Camera",
            text=_camera_words(camera) if camera is not None else "not set yet",
            ok=camera is not None,
        ),
        TrainInput(
            step=Step.SIMULATION,
            title="Simulation",
            text=_simulation_words(settings.simulation),
            ok=True,
        ),
    )


def train_spec(settings: ProjectSettings, *, camera: str, out: str) -> TrainSpec:
    """Return the job; `train_inputs` must be complete."""
    choice = settings.calibration
    return TrainSpec(
        calibration=choice.path or "",
        camera=camera,
        out=out,
        config=settings.training.model_copy(update={"simulation": settings.simulation}),
        init=settings.train_start.init,
        device=settings.train_start.device,
        region=choice.region if choice.mode == "file" else None,
        channel=choice.channel if choice.mode == "file" else None,
    )


def rate_for_start(rate: float, init: str | None) -> float:
    """Return the learning rate that suits a start; one that the user chose stays."""
    if rate not in (_FRESH_RATE, _WARM_RATE):
        return rate
    return _FRESH_RATE if init is None or is_starter(init) else _WARM_RATE


def training_folder(record: RunRecord) -> Path | None:
    """Return the folder in which a training keeps its history and sample frame."""
    out = record.spec.get("out")
    return Path(f"{out}.training") if isinstance(out, str) and out else None


def device_choices(devices: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return words and names of what can compute, "automatic" first."""
    named = tuple((_device_words(device), device) for device in devices)
    best = f": {named[0][0]}" if named else ""
    return ((f"Automatic{best}", "auto"), *named)


def expectation(
    settings: ProjectSettings, devices: Sequence[str], *, from_nothing: bool = False
) -> str:
    """Say what the chosen time is likely to bring; from nothing it takes three times as long."""
    minutes = settings.training.minutes or 60.0
    device = settings.train_start.device
    if device == "auto":
        device = devices[0] if devices else "cpu"
    on_cpu = device.startswith("cpu")
    short = _SHORT_CPU_MIN if on_cpu else _SHORT_GPU_MIN
    if from_nothing:
        short *= 3
    if minutes < short:
        return (
            f"Short: good to see whether it learns. For a result that you publish plan "
            f"{3 * short:.0f} min or more on this device."
        )
    if minutes < 3 * short:
        return "Enough for sparse molecules; dense frames gain from more."
    if on_cpu:
        return (
            "Ample. (The example's model took 40 min on one processor core and finds 71 % "
            "of the molecules of dense frames.)"
        )
    return "Ample for dense frames."


def _calibration_words(choice: CalibrationChoice) -> tuple[str, bool]:
    if choice.mode == "none":
        return "none chosen yet", False
    if choice.mode == "gaussian_2d":
        words = f"2D, a Gaussian of {choice.psf_sigma_nm:g} nm"
        return (words, True) if choice.path else (f"{words}, being prepared", False)
    if not choice.path:
        return "no file chosen yet", False
    words = Path(choice.path).name
    if choice.region is not None:
        words += f", region {choice.region}"
    if choice.channel is not None:
        words += f", channel {choice.channel}"
    return words, True


def _camera_words(camera: CameraConfig) -> str:
    name = camera.name or _CAMERA_WORDS[camera.kind]
    return f"{name}, pixels of {camera.pixel_size_x_nm:g} nm"


def _simulation_words(simulation: SimulationConfig) -> str:
    return (
        f"{molecule_words(simulation)}, "
        f"background {simulation.background_min:g} to {simulation.background_max:g}"
    )


def _device_words(device: str) -> str:
    kind, _, number = device.partition(":")
    words = _DEVICE_WORDS.get(kind, kind)
    return f"{words} {number} ({device})" if number else f"{words} ({device})"
