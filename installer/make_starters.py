"""Make a starter model: ``.venv/bin/python installer/make_starters.py --family astigmatic``.

A starter knows a whole family of microscopes instead of one: it is trained on random PSFs
(`psf_families`), cameras, backgrounds, brightnesses and densities (`starter_source`), learns to be
told a PSF (`conditioned_net`), and is what ``train --init starter`` goes on from. Meant for a GPU;
everything is seeded.

    --family NAME     2d, astigmatic or tetrapod
    --members N       microscopes; each tetrapod takes 0.15 GB of memory
    --steps N         of training (with --minutes: whichever ends first)
    --init FILE       an earlier starter of the family to go on from
    --device D        cuda, mps or cpu
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from conditioned_net import ConditionedNet  # beside this script
from numpy.typing import NDArray
from psf_families import FAMILIES, Family, members, spline
from starter_source import (
    CAMERAS,
    StarterStream,
    conditions,
    on_device,
    sketch_images,
    wide_scaling,
)
from torch import Tensor

from decode_engine.contract.configs import TrainingConfig
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.inference.peaks import extract_peaks
from decode_engine.io.models import ModelBundle, read_model, write_model
from decode_engine.jobs.context import JobContext
from decode_engine.network.bundle import warm_start
from decode_engine.network.device import choose_device
from decode_engine.network.output import NetworkOutput
from decode_engine.network.psf_conditioning import (
    Modulation,
    PsfConditioning,
    fold,
    psf_images,
)
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.stream import named_generator
from decode_engine.training.trainer import Trainer, TrainingParts
from decode_engine.training.validation import Validator

MEMBER_SEED = 20_261
_COMPONENTS = 16  # 96 % of what the family's PSFs differ by


def main() -> None:
    """Train and write one starter."""
    parser = argparse.ArgumentParser(description="Make a starter model.")
    parser.add_argument("--family", choices=tuple(FAMILIES), required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--members", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--validations", type=int, default=4)
    parser.add_argument("--init", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    family, device = FAMILIES[options.family], choose_device(options.device)
    config = _config(options, family)
    start = time.monotonic()
    numbers = members(options.family, options.members, MEMBER_SEED, options.workers)
    print(f"{options.members} members after {time.monotonic() - start:.0f} s", flush=True)
    parent = None if options.init is None else read_model(options.init)
    seen = 0 if parent is None else parent.training_record["samples"]
    generator = named_generator(
        config.seed, f"starter {options.family} {seen or ''}".strip(), device
    )
    coefficients = on_device(numbers, device)
    network = conditioned(options.family, config, coefficients, parent).to(device)
    stream = StarterStream(coefficients, family, config, generator, network)
    bundle = train(options.family, config, stream, network, parent)
    write_model(bundle.with_half_precision(), options.out, overwrite=True)


def conditioned(
    name: str, config: TrainingConfig, coefficients: Tensor, parent: ModelBundle | None
) -> ConditionedNet:
    """Return the network with its first weights, random or those of an earlier starter.

    What it knows of PSFs is the parent's too, where the parent knows them.
    """
    family = FAMILIES[name]
    network = ConditionedNet(config.context_frames, named_generator(config.seed, "weights", "cpu"))
    inputs = network.context_inputs()
    channels = [convolution.out_channels for convolution in inputs]
    nominal = psf_from_calibration(nominal_calibration(name))
    if parent is not None:
        warm_start(network, parent, config.network, config.network_options)
    if parent is not None and parent.conditioning:
        conditioning = PsfConditioning.from_arrays(parent.conditioning, channels)
        at_first = conditioning.of_psf(psf_from_calibration(parent.calibration))
        fold(inputs, at_first, _none(channels))
    else:
        conditioning = PsfConditioning.from_images(
            torch.tensor(family.sketch_z_nm, dtype=torch.float32),
            torch.stack([sketch_images(member, family).cpu() for member in coefficients]),
            _COMPONENTS,
            channels,
            named_generator(config.seed, "conditioning", "cpu"),
        )
    images = psf_images(nominal, conditioning.z_nm, family.sketch_px)
    network.condition(conditioning.requires_grad_(True), conditioning.sketch(images))
    return network


def _none(channels: list[int]) -> list[Modulation]:
    return [Modulation(gain=torch.ones(n), shift=torch.zeros(n)) for n in channels]


def train(
    name: str,
    config: TrainingConfig,
    stream: StarterStream,
    network: ConditionedNet,
    parent: ModelBundle | None = None,
) -> ModelBundle:
    """Train a starter; it is validated on the family's nominal member, which it never saw."""
    family, camera, device = FAMILIES[name], CAMERAS[0], network.device
    calibration = nominal_calibration(name)
    psf = psf_from_calibration(calibration, device=device)
    scaling = wide_scaling(family).stabilised(camera)
    one_light = config.simulation.model_copy(update={"flux_spread": 1.0})
    held_out = Simulator(psf, camera, one_light, device=device)
    with tempfile.TemporaryDirectory() as folder:
        parts = TrainingParts(
            network=network,
            stream=stream,
            validator=Validator(
                held_out, psf, camera, scaling, extract, config=config, loss=network.loss
            ),
            scaling=scaling,
            folder=Path(folder),
        )
        trainer = Trainer(parts, config, JobContext())
        progress = trainer.run()
    for entry in progress.history:
        print(json.dumps({k: round(v, 4) for k, v in entry.items()}), flush=True)
    weights, conditioning = _for_nominal(network, trainer.best)
    return ModelBundle(
        network=config.network,
        network_options=config.network_options,
        weights=weights,
        conditioning=conditioning,
        scaling=scaling.to_dict(),
        training_config=config,
        training_record={
            "starter": name,
            "samples": progress.step * config.batch_size
            + (0 if parent is None else parent.training_record["samples"]),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            **progress.to_dict(),
        },
        calibration=calibration,
        camera=camera,
    )


def _for_nominal(
    network: ConditionedNet, best: Mapping[str, NDArray[np.float32]]
) -> tuple[dict[str, NDArray[np.float32]], dict[str, NDArray[np.float32]]]:
    """Return plain weights that are set to the nominal member, and what sets them to others."""
    network = copy.deepcopy(network).cpu().requires_grad_(False)
    for name, parameter in network.named_parameters():
        parameter.copy_(torch.from_numpy(best[f"best/{name}"]))
    inputs = network.context_inputs()
    channels = [convolution.out_channels for convolution in inputs]
    fold(inputs, _none(channels), network.conditioning(network.validated.cpu()))
    plain = {name: p.numpy().copy() for name, p in network.plain_weights().items()}
    return plain, network.conditioning.arrays()


def nominal_calibration(name: str) -> Calibration:
    """Return the middle of a family as a calibration."""
    family = FAMILIES[name]
    facts = {
        "pixel_size_x_nm": family.nominal.pixel_size_nm,
        "pixel_size_y_nm": family.nominal.pixel_size_nm,
        "em_mirrored": False,
        "source": f"middle of the family {name!r} of computed PSFs (installer/psf_families.py)",
    }
    if not family.is_3d:
        return Calibration(psf=GaussianPsf(sigma0_x_nm=130.0, sigma0_y_nm=130.0), **facts)  # type: ignore[arg-type]
    return Calibration(psf=spline(family, family.nominal), **facts)  # type: ignore[arg-type]


def _config(options: argparse.Namespace, family: Family) -> TrainingConfig:
    simulation = conditions(family)[4]  # the middle one
    if not family.is_3d:
        simulation = simulation.model_copy(update={"z_min_nm": None, "z_max_nm": None})
    plain = {"psf_width_jitter": 0.0, "z_scale_jitter": 0.0, "gain_jitter": 0.0}
    return TrainingConfig(
        network="fast",
        simulation=simulation.model_copy(update=plain),
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        steps=options.steps,
        minutes=options.minutes,
        validate_every_steps=max(1, options.steps // options.validations),
        checkpoint_every_s=1e6,
        ema_decay=0.998,
    )


def extract(
    output: NetworkOutput, scaling: NetworkScaling, threshold: float
) -> dict[str, torch.Tensor]:
    """Return the peaks by name, as the validator wants them."""
    return extract_peaks(output, scaling, threshold)._asdict()


if __name__ == "__main__":
    main()
