"""Train a network: calibration + camera -> simulation -> trained model bundle."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from decode_engine import __version__
from decode_engine.contract.jobs import TrainSpec
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CancelledError, OutputError
from decode_engine.inference.peaks import extract_peaks
from decode_engine.io.atomic import require_output
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.io.checkpoints import read_latest_checkpoint, remove_checkpoints
from decode_engine.io.models import ModelBundle, read_model, write_model
from decode_engine.jobs.context import JobContext
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.bundle import warm_start
from decode_engine.network.device import autocast_dtype, choose_device
from decode_engine.network.output import NetworkOutput
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.stream import TrainingStream, named_generator
from decode_engine.training.trainer import Trainer, TrainingParts
from decode_engine.training.validation import Validator

__all__ = ["run", "training_folder"]


_BEST = "best.decode"


@dataclass(frozen=True, kw_only=True)
class _Inputs:
    calibration: Calibration
    camera: CameraModel
    parent: ModelBundle | None
    device: torch.device


def training_folder(out: Path) -> Path:
    """Return the folder of an unfinished training's checkpoints."""
    return out.with_name(out.name + ".training")


def run(spec: TrainSpec, context: JobContext) -> dict[str, Any]:
    """Train a network and write its bundle to ``spec.out``.

    While it trains, checkpoints lie in the folder ``<out>.training``, from which
    ``spec.resume`` goes on after a kill or a cancel; it is removed at the end.

    Returns
    -------
    dict
        ``model`` (path), ``model_id``, ``steps``, ``elapsed_s``, ``best_step`` and the metrics
        of the best validation.
    """
    out = Path(spec.out)
    require_output(out, overwrite=spec.overwrite)
    folder = training_folder(out)
    _prepare_folder(folder, spec)
    context.stage("Reading calibration and camera")
    inputs = _read(spec)
    context.stage("Preparing the simulation")
    with _worker_threads(spec, inputs.device) as workers:
        parts = _parts(spec, inputs, folder, workers)
        trainer = Trainer(parts, spec.config, context, resume=spec.resume)
        _train(trainer, lambda: _bundle(spec, inputs, parts, trainer), context)
    bundle = _bundle(spec, inputs, parts, trainer)
    write_model(bundle, out, overwrite=spec.overwrite)
    context.artifact("model", str(out))
    remove_checkpoints(folder)
    (folder / _BEST).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    return {"model": str(out), "model_id": bundle.model_id, **_summary(trainer)}


def _train(trainer: Trainer, bundle: Callable[[], ModelBundle], context: JobContext) -> None:
    """Run the training; a cancelled one leaves its best model beside its checkpoints."""
    context.stage("Training")
    try:
        trainer.run()
    except CancelledError:
        if trainer.progress.best_score is not None:
            best = trainer.folder / _BEST
            write_model(bundle(), best, overwrite=True)
            context.artifact("model", str(best))
        raise


@contextmanager
def _worker_threads(spec: TrainSpec, device: torch.device) -> Iterator[int]:
    """Yield how many threads share a batch; each of them then computes alone.

    See `training.parallel` for why. The number of threads that torch was told to use
    (``OMP_NUM_THREADS``, by default the number of cores) is what is shared out.
    """
    threads = torch.get_num_threads()
    workers = min(threads, spec.config.batch_size) if device.type == "cpu" else 1
    torch.set_num_threads(threads // workers)
    try:
        yield workers
    finally:
        torch.set_num_threads(threads)


def _prepare_folder(folder: Path, spec: TrainSpec) -> None:
    unfinished = folder.is_dir() and read_latest_checkpoint(folder) is not None
    if unfinished and not spec.resume:
        if not spec.overwrite:
            raise OutputError(
                f"An unfinished training lies in {folder}.",
                hint="Resume it, allow overwriting, or choose another name.",
            )
        remove_checkpoints(folder)
    folder.mkdir(parents=True, exist_ok=True)


def _read(spec: TrainSpec) -> _Inputs:
    calibration = read_calibration(Path(spec.calibration), region=spec.region, channel=spec.channel)
    return _Inputs(
        calibration=calibration,
        camera=read_camera(Path(spec.camera)),
        parent=read_model(Path(spec.init)) if spec.init is not None else None,
        device=choose_device(spec.device),
    )


def _parts(spec: TrainSpec, inputs: _Inputs, folder: Path, workers: int) -> TrainingParts:
    config, camera, device = spec.config, inputs.camera, inputs.device
    psf = psf_from_calibration(
        inputs.calibration,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
        device=device,
    )
    simulator = Simulator(psf, camera, config.simulation, device=device)
    scaling = NetworkScaling.from_simulation(config.simulation, inputs.calibration)
    generator = named_generator(config.seed, "training", device)
    return TrainingParts(
        network=_network(spec, inputs),
        stream=TrainingStream(simulator, config, scaling, generator),
        validator=Validator(simulator, psf, camera, scaling, _extract, config=config),
        scaling=scaling,
        folder=folder,
        workers=workers,
    )


def _network(spec: TrainSpec, inputs: _Inputs) -> LocalizationNetwork:
    config = spec.config
    network = build_network(
        config.network,
        config.network_options,
        config.context_frames,
        named_generator(config.seed, "weights", "cpu"),
    )
    if inputs.parent is not None:
        warm_start(network, inputs.parent, config.network, config.network_options)
    return network.to(inputs.device)


def _extract(
    output: NetworkOutput, scaling: NetworkScaling, threshold: float
) -> dict[str, torch.Tensor]:
    return extract_peaks(output, scaling, threshold)._asdict()


def _bundle(
    spec: TrainSpec, inputs: _Inputs, parts: TrainingParts, trainer: Trainer
) -> ModelBundle:
    return ModelBundle(
        network=spec.config.network,
        network_options=spec.config.network_options,
        weights={name.removeprefix("best/"): array for name, array in trainer.best.items()},
        scaling=parts.scaling.to_dict(),
        training_config=spec.config,
        training_record=_record(spec, inputs, trainer),
        calibration=inputs.calibration,
        camera=inputs.camera,
    )


def _record(spec: TrainSpec, inputs: _Inputs, trainer: Trainer) -> dict[str, Any]:
    progress, device = trainer.progress, inputs.device
    precision = autocast_dtype(device, spec.config.precision)
    return {
        "engine_version": __version__,
        "torch_version": torch.__version__,
        "python_version": platform.python_version(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "workers": trainer.workers,
        "precision": "fp32" if precision is None else "bf16",
        "parent_model_id": None if inputs.parent is None else inputs.parent.model_id,
        "samples": progress.step * spec.config.batch_size,
        **progress.to_dict(),
    }


def _summary(trainer: Trainer) -> dict[str, Any]:
    progress = trainer.progress
    best = [entry for entry in progress.history if entry["step"] == progress.best_step]
    metrics = best[-1] if best else {}
    return {
        "steps": progress.step,
        "elapsed_s": progress.elapsed_s,
        "cpu_s": progress.cpu_s,
        "best_step": progress.best_step,
        **{
            name: value
            for name, value in metrics.items()
            if name not in ("step", "elapsed_s", "cpu_s")
        },
    }
