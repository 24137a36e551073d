"""Train several recipes side by side on one accelerator and score them all.

    python -m tests.bench.device_training RECIPES.json --out FOLDER [--at-once 4]

``RECIPES.json`` is a list of ``{"name": ..., "network": ..., "options": {...}, "config": {...},
"simulation": {...}}``; ``config`` and ``simulation`` change the benchmark's training
configuration (``{"steps": 4000, "minutes": 2, "batch_size": 256}``: whichever ends first);
``"optics": "example"`` takes the bundled example's PSF and camera; ``{"name": ..., "command":
[...]}`` runs a program of this environment instead, with ``{out}`` for the model's path. Each
recipe runs in a process of its own, so that one that fails leaves the others alone; small
networks leave a large GPU idle between their kernels, which others fill. Written are
``name.decode``, ``name.json`` (as `tests.bench.accuracy` writes it) and a line on the screen.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from decode_engine.contract.configs import SimulationConfig, TrainingConfig
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.io.models import read_model, write_model
from decode_engine.io.resources import resource_path
from decode_engine.network.device import choose_device
from tests.bench.accuracy import conditions, measuring
from tests.bench.accuracy.__main__ import evaluate
from tests.bench.accuracy.training import train_config


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("recipes", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--at-once", type=int, default=4)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--scale", type=float, default=0.5, help="Size of the test sets.")
    parser.add_argument("--only", help="Run this recipe here, in this process.")
    options = parser.parse_args()
    recipes = {recipe["name"]: recipe for recipe in json.loads(options.recipes.read_text("utf-8"))}
    options.out.mkdir(parents=True, exist_ok=True)
    if options.only:
        print(json.dumps(run(recipes[options.only], options)), flush=True)
        return
    with ThreadPoolExecutor(options.at_once) as pool:
        jobs = {n: pool.submit(_in_process, r, options.out) for n, r in recipes.items()}
        for name, job in jobs.items():
            (options.out / f"{name}.log").write_text(job.result(), encoding="utf-8")


def _in_process(recipe: dict[str, Any], out: Path) -> str:
    name, path = recipe["name"], str(out / f"{recipe['name']}.decode")
    command = [sys.executable, "-m", "tests.bench.device_training", *sys.argv[1:], "--only", name]
    if "command" in recipe:
        command = [sys.executable, *(word.replace("{out}", path) for word in recipe["command"])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.strip().splitlines()
    print(lines[-1] if lines and not done.returncode else f"{name}: {done.stderr[-1500:]}")
    sys.stdout.flush()
    return done.stdout + done.stderr


def run(recipe: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """Train, score and write one recipe; return its line."""
    torch.set_num_threads(2)
    device = choose_device(options.device)
    if recipe.get("optics") == "example":
        calibration = read_calibration(resource_path("example", "calibration.h5"))
        camera = read_camera(resource_path("example", "camera.json"))
    else:
        calibration, _ = conditions.calibration()
        camera = conditions.CAMERAS["scmos"]
    simulation = conditions.training_simulation().model_dump() | recipe.get("simulation", {})
    config = TrainingConfig(
        network=recipe["network"],
        network_options=recipe.get("options", {}),
        simulation=SimulationConfig(**simulation),
        validation_frames=256,
        **recipe["config"],
    )
    path = options.out / f"{recipe['name']}.decode"
    start = time.monotonic()
    training = train_config(config, calibration, camera, path, device.type)
    trained_s = time.monotonic() - start
    bundle = read_model(path)
    scores = evaluate(measuring.Model(bundle, device), options.scale)
    write_model(bundle.with_half_precision(), path, overwrite=True)
    shutil.rmtree(path.with_name(path.name + ".training"), ignore_errors=True)
    keep = ("steps", "elapsed_s", "efficiency_3d", "jaccard", "rmse_lateral_nm", "rmse_axial_nm")
    line = {
        "name": recipe["name"],
        **{k: training.get(k) for k in keep},
        "samples_per_s": training["steps"] * config.batch_size / training["elapsed_s"],
        "wall_s": [trained_s, time.monotonic() - start - trained_s],
        "headline": list(scores["headline"].values()),
        "isolated": [
            [row.get(f"rmse_over_bound_{axis}") for axis in "xyz"]
            for row in scores["isolated"]["by_photons"]
        ],
        "perturbed": {m["name"]: m["efficiency_3d"] for m in scores["perturbed"]},
        "throughput": scores["throughput"],
    }
    text = json.dumps({"recipe": recipe, "training": training, **line, "scores": scores})
    (options.out / f"{recipe['name']}.json").write_text(text, encoding="utf-8")
    return json.loads(json.dumps(line), parse_float=lambda t: round(float(t), 3))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
