"""How much the post-processing matters: ``python -m tests.bench.peaks MODEL``.

Prints JSON lines: a trained model on frames simulated as for its training (another seed), once
for each way to join pixels to peaks and each threshold: Jaccard, RMSE, efficiency and the
spread of error / sigma (1 is true), and the share of the time that joining takes.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from decode_engine.inference.peaks import PeakMethod, extract_peaks
from decode_engine.io.models import ModelBundle, read_model
from decode_engine.network.bundle import network_from_bundle, scaling_from_bundle
from decode_engine.network.output import NetworkOutput
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.validation import Validator

SHOWN = (
    "jaccard", "precision", "recall", "rmse_lateral_nm", "rmse_axial_nm", "efficiency_3d",
    "z_score_x", "z_score_y", "z_score_z",
)  # fmt: skip


class Extractor:
    """Joins pixels in one way and adds up the time that it takes.

    Its own threshold replaces the validator's.
    """

    def __init__(self, method: PeakMethod, threshold: float) -> None:
        self.method: PeakMethod = method
        self.threshold = threshold
        self.seconds = 0.0

    def __call__(
        self, output: NetworkOutput, scaling: NetworkScaling, threshold: float
    ) -> dict[str, Tensor]:
        del threshold
        start = time.process_time()
        peaks = extract_peaks(output, scaling, self.threshold, method=self.method)
        self.seconds += time.process_time() - start
        return peaks._asdict()


def compare(bundle: ModelBundle, frames: int, seed: int) -> list[dict[str, Any]]:
    config = bundle.training_config.model_copy(update={"validation_frames": frames, "seed": seed})
    camera = bundle.camera
    psf = psf_from_calibration(
        bundle.calibration,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
    )
    simulator = Simulator(psf, camera, config.simulation, device="cpu")
    scaling, network = scaling_from_bundle(bundle), network_from_bundle(bundle)
    rows = []
    methods: tuple[PeakMethod, ...] = ("collapse", "integration")
    for method in methods:
        for threshold in (0.3, 0.5, 0.7):
            extract = Extractor(method, threshold)
            validator = Validator(simulator, psf, camera, scaling, extract, config=config)
            start = time.process_time()
            metrics = validator.validate(network).metrics
            seconds = time.process_time() - start
            row: dict[str, Any] = {"method": method, "threshold": threshold}
            row |= {name: round(metrics[name], 4) for name in SHOWN}
            rows.append({**row, "share_of_time": round(extract.seconds / seconds, 4)})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--frames", type=int, default=256)
    parser.add_argument("--seed", type=int, default=1234)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bundle = read_model(options.model)
    print(json.dumps({"model": bundle.model_id, "steps": bundle.training_record.get("step")}))
    for row in compare(bundle, options.frames, options.seed):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
