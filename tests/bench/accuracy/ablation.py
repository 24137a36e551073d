"""What each part is worth: ``python -m tests.bench.accuracy.ablation --cpu-minutes 10``.

Trains the paper's network and loss, the new trunk with the old loss (the default), and that with
the set loss, with a last level at full resolution, without temporal context, without Muon,
from the starter and without measured uncertainties, each for the same processor time and from each
seed, and prints a table of efficiencies and reliabilities on some of the frozen sets. What was
measured is kept in ``--out``
row by row: a second call goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decode_engine.io.models import read_model
from decode_engine.network.device import choose_device
from tests.bench.accuracy import conditions, measuring
from tests.bench.accuracy.optics import true_psfs
from tests.bench.accuracy.training import Recipe, train_model

_SETS = ("density 0.5 high", "density 2 high", "density 4 high", "density 2 low")
_BASE = Recipe(network="fast", options={}, cpu_minutes=0.0)
_DEFAULT = "new trunk, paper's loss"
RECIPES = {
    "paper's network and loss": dataclasses.replace(_BASE, network="decode"),
    _DEFAULT: _BASE,
    "... with the set loss": dataclasses.replace(_BASE, options={"loss": "set"}),
    "... with a last level": dataclasses.replace(_BASE, options={"detail": 32}),
    "... without context": dataclasses.replace(_BASE, context_frames=1),
    "... with AdamW": dataclasses.replace(
        _BASE, learning_rate=3e-3, settings={"optimizer": "adamw"}
    ),
    "... from the starter": dataclasses.replace(_BASE, init="starter"),
}
_UNCORRECTED = " (uncorrected uncertainties)"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpu-minutes", type=float, default=10.0)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--only", nargs="+", choices=tuple(RECIPES), default=list(RECIPES))
    parser.add_argument("--scale", type=float, default=1.0, help="Size of the test sets.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("ablation.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = _read(options.out)
    done = {(row["name"], row["seed"], row["cpu_minutes"]) for row in rows}
    for seed in options.seeds:
        for name in options.only:
            if (name, seed, options.cpu_minutes) not in done:
                new = _measure(name, seed, options)
                with options.out.open("a", encoding="utf-8") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
                rows += new
    print(table([row for row in rows if row["cpu_minutes"] == options.cpu_minutes]))


def table(rows: list[dict[str, Any]]) -> str:
    """Return a Markdown table: means over the seeds, and their spread where there are several."""
    lines = [
        "| | seeds | " + " | ".join(name.removeprefix("density ") for name in _SETS)
        + " | std(error/sigma) x, z at 4 high | gap of probability |",
        "|---|---|" + "---|" * (len(_SETS) + 2),
    ]  # fmt: skip
    for name in dict.fromkeys(row["name"] for row in rows):
        same = [row for row in rows if row["name"] == name]
        cells = [_spread([row["efficiency_3d"][s] for row in same]) for s in _SETS]
        sigmas = ", ".join(_spread([row[f"std_{axis}"] for row in same]) for axis in "xz")
        gap = _spread([row["probability_gap"] for row in same])
        lines.append(f"| {name} | {len(same)} | {' | '.join(cells)} | {sigmas} | {gap} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    mean = f"{np.mean(values):.3f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values, ddof=1):.3f}"


def _measure(name: str, seed: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    recipe = dataclasses.replace(RECIPES[name], seed=seed, cpu_minutes=options.cpu_minutes)
    device = choose_device(options.device)
    calibration, _ = conditions.calibration()
    camera = conditions.CAMERAS["scmos"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.decode"
        train_model(recipe, calibration, camera, path, device.type)
        bundle = read_model(path)
    rows = [_row(name, seed, options, measuring.Model(bundle, device))]
    if name == _DEFAULT:
        plain = dataclasses.replace(bundle, uncertainty={})
        rows.append(_row(name + _UNCORRECTED, seed, options, measuring.Model(plain, device)))
    return rows


def _row(name: str, seed: int, options: argparse.Namespace, model: measuring.Model) -> Any:
    psf = true_psfs(model.bundle.calibration, model.bundle.camera)["told"]
    movies = [m for m in conditions.density_sets(options.scale) if m.name in _SETS]
    results = {movie.name: measuring.measure(model, psf, movie) for movie in movies}
    scores = {movie: result.scores() for movie, result in results.items()}
    dense = scores["density 4 high"]
    return {
        "name": name,
        "seed": seed,
        "cpu_minutes": options.cpu_minutes,
        "steps": model.bundle.training_record["step"],
        "efficiency_3d": {movie: s["efficiency_3d"] for movie, s in scores.items()},
        "std_x": dense["z_score_x"],
        "std_z": dense["z_score_z"],
        "probability_gap": results["density 4 high"].reliability()["ece"],
    }


def _read(path: Path) -> list[dict[str, Any]]:
    lines = path.read_text("utf-8").splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]


if __name__ == "__main__":
    main()
