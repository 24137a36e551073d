"""Train a network: calibration + camera -> simulation -> trained model bundle.

The run folder ``<out>.training`` holds ``job.json`` (what was asked, from which files, with which
versions, where), ``history.jsonl`` (all metrics) and ``sample.npz`` (frames of the last validation
with truth and prediction, see `io.training_sample`; announced as a preview each time), which stay;
checkpoints, from which ``spec.resume`` goes on after a kill or a cancel, until the training is
finished; and after a cancel or a divergence ``best.decode``, the best model until then.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from decode_engine.contract.jobs import TrainSpec
from decode_engine.contract.messages import EventBody, MetricEvent
from decode_engine.errors import (
    CancelledError,
    DivergedError,
    EngineError,
    OutputError,
    PeerError,
)
from decode_engine.inference.peaks import extract_peaks
from decode_engine.io.atomic import explain_os_error, require_output
from decode_engine.io.checkpoints import read_latest_checkpoint, remove_checkpoints
from decode_engine.io.history import HistoryWriter
from decode_engine.io.launcher import read_launch
from decode_engine.io.locking import FileLock
from decode_engine.io.models import ModelBundle, write_model
from decode_engine.io.starters import z_orientation
from decode_engine.io.training_sample import TrainingSample, write_training_sample
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.optics import read_optics
from decode_engine.jobs.train_record import (
    TrainInputs,
    machine,
    summary,
    training_record,
    write_job_record,
)
from decode_engine.jobs.train_start import KEPT_START, keep_start, read_start
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.bundle import network_from_bundle, scaling_from_bundle, warm_start
from decode_engine.network.device import choose_device
from decode_engine.network.output import NetworkOutput
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.distributed import Ranks, joined
from decode_engine.training.recalibration import recalibrate
from decode_engine.training.stream import TrainingStream, named_generator
from decode_engine.training.trainer import Trainer, TrainingParts
from decode_engine.training.validation import Validator

__all__ = ["run", "training_folder", "with_uncertainty"]


_RECALIBRATION_SHARE = 2  # frames, of those of a validation
_BEST = "best.decode"
_JOB = "job.json"
_HISTORY = "history.jsonl"
_SAMPLE = "sample.npz"


def training_folder(out: Path) -> Path:
    """Return the run folder of a training; see the module."""
    return out.with_name(out.name + ".training")


def run(spec: TrainSpec, context: JobContext) -> dict[str, Any]:
    """Train a network and write its bundle to ``spec.out``; see the module.

    A training that is asked to finish (`JobContext.finishing`) ends at its next step with its
    best model, as if its budget had been used up.

    Returns
    -------
    dict
        ``model`` (path), ``model_id``, ``ended_by`` (``budget``, ``patience`` or ``request``),
        ``steps``, ``elapsed_s``, ``best_step`` and the metrics of the best validation.
    """
    with joined(read_launch(os.environ)) as ranks:
        return _lead(spec, context, ranks) if ranks.is_first else _follow(spec, context, ranks)


def _lead(spec: TrainSpec, context: JobContext, ranks: Ranks) -> dict[str, Any]:
    """Train as the first process or the only one, which alone speaks and writes."""
    out = Path(spec.out)
    require_output(out, overwrite=spec.overwrite)
    folder = training_folder(out)
    with _own(folder):
        step = ranks.first(lambda: _unfinished_step(folder, spec, context))
        context.stage("Reading calibration and camera")
        inputs = _read(spec, context, ranks)
        context.stage("Preparing the simulation")
        with _worker_threads(ranks.share_of(spec.config.batch_size), inputs.device) as workers:
            parts = _parts(spec, inputs, folder, workers, ranks)
            parts = dataclasses.replace(parts, on_sample=_sample_writer(folder, context))
            _warn_of_other_scaling(inputs, parts, context)
            context.check()
            recorded = _with_history(context, HistoryWriter(folder / _HISTORY, step))
            trainer = Trainer(parts, spec.config, recorded, resume=spec.resume)
            if step == 0:
                keep_start(spec, inputs.parent_path, folder)
                write_job_record(folder / _JOB, spec, inputs, parts.machine)
            _train(trainer, lambda: _bundle(spec, inputs, parts, trainer), recorded)
            bundle = with_uncertainty(_bundle(spec, inputs, parts, trainer), context, inputs.device)
        write_model(bundle, out, overwrite=spec.overwrite)
        context.artifact("model", str(out))
        remove_checkpoints(folder)
        for name in (_BEST, KEPT_START):
            (folder / name).unlink(missing_ok=True)
    facts = {"model": str(out), "model_id": bundle.model_id, "ended_by": trainer.ended_by}
    return {**facts, **summary(trainer.progress)}


def _follow(spec: TrainSpec, context: JobContext, ranks: Ranks) -> dict[str, Any]:
    """Train in step with the first process, without a word; what fails there is said there."""
    silent = JobContext(cancel=context.cancel, clock=context.clock)
    folder = training_folder(Path(spec.out))
    ranks.first(lambda: 0)
    inputs = _read(spec, silent, ranks)
    with _worker_threads(ranks.share_of(spec.config.batch_size), inputs.device) as workers:
        parts = _parts(spec, inputs, folder, workers, ranks)
        trainer = Trainer(parts, spec.config, silent, resume=spec.resume)
        try:
            trainer.run()
        except EngineError as error:
            raise PeerError(error.message, hint=error.hint, detail=error.detail) from error
    return {}


def with_uncertainty(
    bundle: ModelBundle, context: JobContext, device: torch.device, frames: int = 512
) -> ModelBundle:
    """Measure what a model's sigmas and probabilities mean; return it with the corrections."""
    context.stage("Measuring the uncertainties")
    config, camera = bundle.training_config, bundle.camera
    psf = psf_from_calibration(
        bundle.calibration,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
        device=device,
    )
    found = recalibrate(
        network_from_bundle(bundle, device),
        scaling_from_bundle(bundle),
        Simulator(psf, camera, config.simulation, device=device),
        _extract,
        camera,
        config,
        frames=min(frames, _RECALIBRATION_SHARE * config.validation_frames),
        check=context.check,
    )
    if not found.uncertainty.scales:
        text = f"Only {found.pairs} molecules were found to measure uncertainties on; none is."
        context.log(text, "warning")
        return bundle
    factors = ", ".join(f"{axis} {value:.2f}" for axis, value in found.std_before.items())
    context.log(f"Errors were of sigma, before the correction: {factors}.")
    return dataclasses.replace(bundle, uncertainty=found.uncertainty.to_dict())


def _train(trainer: Trainer, bundle: Callable[[], ModelBundle], context: JobContext) -> None:
    """Run the training; one that is cut short leaves its best model beside its checkpoints."""
    context.stage("Training")
    try:
        trainer.run()
    except (CancelledError, DivergedError):
        if trainer.progress.best_score is not None:
            best = trainer.folder / _BEST
            write_model(bundle(), best, overwrite=True)
            context.artifact("model", str(best))
        raise
    if trainer.progress.best_score is None:
        text = "The network finds no molecules yet; its latest state is kept. Train longer."
        context.log(text, "warning")


def _sample_writer(folder: Path, context: JobContext) -> Callable[[TrainingSample], None]:
    def write(sample: TrainingSample) -> None:
        path = folder / _SAMPLE
        write_training_sample(path, sample)
        context.preview(str(path), sample.frames.shape, sample.frames.dtype.name)

    return write


@contextmanager
def _own(folder: Path) -> Iterator[None]:
    """Make the run folder and keep other processes out of it."""
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error(error, folder) from error
    lock_path = folder / "lock"
    lock = FileLock(lock_path)
    try:
        yield
    finally:
        lock.release()
        lock_path.unlink(missing_ok=True)
        if is_new and not any(folder.iterdir()):
            folder.rmdir()


@contextmanager
def _worker_threads(samples: int, device: torch.device) -> Iterator[int]:
    """Yield how many threads share a batch; each of them then computes alone.

    See `training.parallel` for why. The number of threads that torch was told to use
    (``OMP_NUM_THREADS``, by default the number of cores) is what is shared out.
    """
    threads = torch.get_num_threads()
    workers = min(threads, samples) if device.type == "cpu" else 1
    torch.set_num_threads(threads // workers)
    try:
        yield workers
    finally:
        torch.set_num_threads(threads)


def _unfinished_step(folder: Path, spec: TrainSpec, context: JobContext) -> int:
    """Return the step from which the training goes on; 0 for one that begins."""
    checkpoint = read_latest_checkpoint(folder)
    if checkpoint is not None and spec.resume:
        return checkpoint.step
    if checkpoint is not None and not spec.overwrite:
        raise OutputError(
            f"An unfinished training lies in {folder}.",
            hint="Resume it (--resume), allow overwriting (--overwrite), or rename it.",
        )
    if spec.resume:
        context.log("There is no checkpoint to go on from; the training starts anew.")
    remove_checkpoints(folder)
    for name in (_JOB, _HISTORY, _SAMPLE, _BEST, KEPT_START):
        (folder / name).unlink(missing_ok=True)
    return 0


def _with_history(context: JobContext, history: HistoryWriter) -> JobContext:
    """Return a context that also writes all metrics down."""

    def emit(event: EventBody) -> None:
        if isinstance(event, MetricEvent):
            history.append(event.step, event.values)
        context.emit(event)

    return dataclasses.replace(context, emit=emit)


def _read(spec: TrainSpec, context: JobContext, ranks: Ranks) -> TrainInputs:
    with ranks.together():
        ranks.share_of(spec.config.batch_size)  # refused before anything is read
        device = choose_device(ranks.own_device(spec.device))
        if ranks.size > 1 and device.type == "cuda":
            torch.cuda.set_device(device)  # where NCCL works
        return _inputs(spec, context, device)


def _inputs(spec: TrainSpec, context: JobContext, device: torch.device) -> TrainInputs:
    optics = read_optics(spec, context, allow_mismatch=spec.allow_mismatch)
    folder = training_folder(Path(spec.out))
    resumes = spec.resume and (folder / _JOB).is_file()
    start = read_start(spec, optics.calibration, folder, context, resumes=resumes)
    return TrainInputs(
        calibration=optics.calibration,
        camera=optics.camera,
        parent=start and start[1],
        parent_path=start and start[0],
        device=device,
    )


def _parts(
    spec: TrainSpec, inputs: TrainInputs, folder: Path, workers: int, ranks: Ranks
) -> TrainingParts:
    with ranks.together():
        parts = _own_parts(spec, inputs, folder, ranks)
        circumstances = machine(spec.config, inputs, workers)
        if ranks.size > 1:
            circumstances["processes"] = str(ranks.size)
        return dataclasses.replace(parts, workers=workers, machine=circumstances, ranks=ranks)


def _own_parts(spec: TrainSpec, inputs: TrainInputs, folder: Path, ranks: Ranks) -> TrainingParts:
    """Make the parts of this process, whose stream has its share of each batch."""
    config, camera, device = spec.config, inputs.camera, inputs.device
    psf = psf_from_calibration(
        inputs.calibration,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
        device=device,
    )
    simulator = Simulator(psf, camera, config.simulation, device=device)
    network, scaling = _network(spec, inputs, psf)
    generator = named_generator(config.seed, ranks.stream_name(), device)
    share = config.model_copy(update={"batch_size": ranks.share_of(config.batch_size)})
    return TrainingParts(
        network=network,
        stream=TrainingStream(simulator, share, scaling, generator),
        validator=Validator(
            simulator, psf, camera, scaling, _extract, config=config, loss=network.loss
        ),
        scaling=scaling,
        folder=folder,
        inputs=inputs.identities(),
    )


def _network(
    spec: TrainSpec, inputs: TrainInputs, psf: PsfModel
) -> tuple[LocalizationNetwork, NetworkScaling]:
    """Return the network with its first weights, random or a model's, and its scaling."""
    config, parent = spec.config, inputs.parent
    network = build_network(
        config.network,
        _network_options(spec, inputs),
        config.context_frames,
        named_generator(config.seed, "weights", "cpu"),
    )
    scaling = NetworkScaling.from_simulation(config.simulation, inputs.calibration)
    if network.stabilised_input:
        scaling = scaling.stabilised(inputs.camera)
    if parent is not None:
        first = scaling_from_bundle(parent)
        directions = (z_orientation(parent.calibration), z_orientation(inputs.calibration))
        mirrored = -1 in directions and 1 in directions
        warm_start(
            network, parent, config.network, config.network_options, psf=psf, mirrored_z=mirrored
        )
        if mirrored and network.flip_z():
            # An astigmatic PSF turned by 90 degrees is the same one with z reversed.
            first = first.mirrored_z()
        scaling = scaling.continued_from(first)
    return network.to(inputs.device), scaling


def _network_options(spec: TrainSpec, inputs: TrainInputs) -> dict[str, int | float | str | bool]:
    """Return the options asked for; those left open are those of the model to start from."""
    parents = {} if inputs.parent is None else inputs.parent.network_options
    return {**parents, **spec.config.network_options}


def _warn_of_other_scaling(inputs: TrainInputs, parts: TrainingParts, context: JobContext) -> None:
    """Say which ranges differ from the parent's: its outputs begin stretched by them."""
    if inputs.parent is None:
        return
    own, other = parts.scaling.to_dict(), inputs.parent.scaling
    own = {k: v for k, v in own.items() if k not in ("input_excess", "input_variance")}
    changed = [f"{k} ({other.get(k)} then, {v} now)" for k, v in own.items() if other.get(k) != v]
    if changed:
        context.log(
            f"The model to start from was made for other ranges: {', '.join(changed)}. "
            "Its first predictions are off by that; training corrects them.",
            "warning",
        )


def _extract(
    output: NetworkOutput, scaling: NetworkScaling, threshold: float
) -> dict[str, torch.Tensor]:
    return extract_peaks(output, scaling, threshold)._asdict()


def _bundle(
    spec: TrainSpec, inputs: TrainInputs, parts: TrainingParts, trainer: Trainer
) -> ModelBundle:
    return ModelBundle(
        network=spec.config.network,
        network_options=_network_options(spec, inputs),
        weights={name.removeprefix("best/"): array for name, array in trainer.best.items()},
        scaling=parts.scaling.to_dict(),
        training_config=spec.config,
        training_record=training_record(spec, inputs, parts.machine, trainer.progress),
        calibration=inputs.calibration,
        camera=inputs.camera,
    )
