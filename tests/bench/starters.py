"""What a starter can do before any training: ``python -m tests.bench.starters FILE [FILE ...]``.

Microscopes of the family that no starter was trained on are drawn, and each model localizes
simulated frames of them, as it is and (where it knows PSFs) set to their PSF. Printed are the
means over the microscopes, a line of JSON each.

    --members N       microscopes
    --frames N        of each
    --known-nm Z      the models are told the PSF from -Z to Z only, as by a short calibration
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import torch

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.bundle import scaling_from_bundle, warm_start
from decode_engine.network.registry import build_network
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.validation import Validator

sys.path.insert(0, str(Path(__file__).parents[2] / "installer"))

import make_starters  # beside the scripts that use it
import psf_families

_FIRST_UNSEEN = 1000  # trainings number their microscopes from 0
_SHOWN = ("efficiency_3d", "efficiency_lateral", "jaccard", "rmse_lateral_nm", "rmse_axial_nm")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--members", type=int, default=10)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--known-nm", type=float)
    options = parser.parse_args()
    for path in options.models:
        bundle = read_model(path)
        rows: dict[str, list[list[float]]] = {"as it is": []}
        if bundle.conditioning:
            rows["set to the PSF"] = []
        for number in range(options.members):
            calibration = unseen(bundle.training_record["starter"], _FIRST_UNSEEN + number)
            judge = validator(bundle, psf_from_calibration(calibration), options.frames)
            told = psf_from_calibration(shortened(calibration, options.known_nm))
            for words, found in rows.items():
                network = started(bundle, told if words == "set to the PSF" else None)
                metrics = judge.validate(network).metrics
                found.append([metrics[name] for name in _SHOWN])
        for words, found in rows.items():
            means = zip(_SHOWN, np.mean(found, axis=0).round(3).tolist(), strict=True)
            print(json.dumps({"model": path.name, "used": words, **dict(means)}), flush=True)


def unseen(family_name: str, number: int) -> Calibration:
    """Return a microscope of a family."""
    family = psf_families.FAMILIES[family_name]
    seed = [make_starters.MEMBER_SEED, number]
    member = family.draw(np.random.default_rng(seed))
    return Calibration(psf=psf_families.spline(family, member))


def shortened(calibration: Calibration, known_nm: float | None) -> Calibration:
    """Return what a bead stack from -known_nm to known_nm would have given; None: all of it."""
    psf = calibration.psf
    assert isinstance(psf, SplinePsf)
    if known_nm is None:
        return calibration
    margin = int(psf.z0_slice - known_nm / psf.dz_nm)
    kept = psf.coefficients[:, :, margin : psf.coefficients.shape[2] - margin]
    short = dataclasses.replace(psf, coefficients=kept, z0_slice=psf.z0_slice - margin)
    return dataclasses.replace(calibration, psf=short)


def validator(bundle: ModelBundle, psf: PsfModel, frames: int) -> Validator:
    """Return frames that a model is judged on, all of one kind of brightness."""
    config = bundle.training_config
    light = config.simulation.model_copy(update={"flux_spread": 1.0})
    return Validator(
        Simulator(psf, bundle.camera, light),
        psf,
        bundle.camera,
        scaling_from_bundle(bundle),
        make_starters.extract,
        config=config.model_copy(update={"validation_frames": frames}),
    )


def started(bundle: ModelBundle, psf: PsfModel | None) -> LocalizationNetwork:
    """Return the network that a training for a PSF would begin with; None: as it is."""
    config = bundle.training_config
    network = build_network(bundle.network, bundle.network_options, config.context_frames)
    warm_start(network, bundle, bundle.network, bundle.network_options, psf=psf)
    return network.eval().requires_grad_(False)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
