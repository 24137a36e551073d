"""How accurate a network is on frozen sets: ``python -m tests.bench.accuracy``.

    python -m tests.bench.accuracy --model X.decode --out X.json
    python -m tests.bench.accuracy --network fast --cpu-minutes 5 --out fast.json
    python -m tests.bench.accuracy --plot a.json b.json --png both.png

A network is trained for a budget of processor time (``--option name=value`` for its options),
or a model that was trained for the benchmark's PSF and camera is taken. Written are a JSON file
and a plot beside it: for densities of 0.2 to 8 emitters/um^2 and two SNRs Jaccard, precision,
recall over the threshold, RMSE, efficiencies and std(error / sigma); isolated emitters over z
and photons against the Cramer-Rao bound; and sets in which PSF (aberrations too), z scale, gain
or background are not as the network was told. A second plot, ``X_paper.png``, shows what the
paper's Extended Data figures 4, 5, 6, 9 (with ``--validate``) and 10 show. The seed of the sets
is used nowhere else: tune on the training's own validation, never on these.
"""

from __future__ import annotations

import argparse
import datetime
import json
import math
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from decode_engine.io.models import ModelBundle, read_model
from decode_engine.network.device import autocast_dtype, choose_device
from decode_engine.psf.base import PsfModel
from tests.bench.accuracy import conditions, measuring
from tests.bench.accuracy.drawing import draw
from tests.bench.accuracy.isolated import isolated_repeats, measure_isolated
from tests.bench.accuracy.optics import true_psfs
from tests.bench.accuracy.paper_figures import draw_paper
from tests.bench.accuracy.summarising import (
    brightness_summary,
    calibration_summary,
    headline,
    isolated_summary,
    movie_summary,
)
from tests.bench.accuracy.training import Recipe, train_model


def main() -> None:
    options = _parser().parse_args()
    if options.plot:
        draw([json.loads(Path(p).read_text("utf-8")) for p in options.plot], options.png)
        return
    torch.set_num_threads(options.threads)
    device = choose_device(options.device)
    calibration, source = conditions.calibration()
    camera = conditions.CAMERAS[options.camera]
    report: dict[str, Any] = {
        "benchmark_version": conditions.VERSION,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "command": _command(sys.argv[1:]),
        "device": _device_words(device),
        "psf": source,
        "camera": options.camera,
        "scale": options.scale,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = options.model or (options.keep or Path(folder) / "model.decode")
        if options.model is None:
            recipe = _recipe(options)
            report["training"] = _plain(train_model(recipe, calibration, camera, path, device.type))
        bundle = read_model(path)
    _require_benchmark_optics(bundle, calibration.fingerprint(), camera.fingerprint())
    report |= _described(bundle)
    report |= evaluate(measuring.Model(bundle, device), options.scale)
    entries = (f"{json.dumps(k)}: {json.dumps(v)}" for k, v in _rounded(report).items())
    text = "{\n" + ",\n".join(entries) + "\n}"
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(text + "\n", encoding="utf-8")
    draw([json.loads(text)], options.out.with_suffix(".png"))
    draw_paper(json.loads(text), options.out.with_name(f"{options.out.stem}_paper.png"))
    print(json.dumps({"network": bundle.network, **report["headline"]}))


def evaluate(model: measuring.Model, scale: float) -> dict[str, Any]:
    """Return every number of one model."""
    psfs = true_psfs(model.bundle.calibration, model.bundle.camera)
    psf = psfs["told"]
    dense = [measuring.measure(model, psf, m) for m in conditions.density_sets(scale)]
    perturbed = [
        measuring.measure(model, psfs[m.psf], m) for m in conditions.perturbed_sets(scale, psfs)
    ]
    uneven = [measuring.measure(model, psf, m) for m in conditions.background_sets(scale)]
    isolated = measure_isolated(model, psf, isolated_repeats(scale))
    movies = [movie_summary(result) for result in dense]
    return {
        "headline": headline(movies),
        "densities": movies,
        "sigma_by_photons": {
            snr: calibration_summary([r for r in dense if r.movie.snr == snr])
            for snr in ("high", "low")
        },
        "isolated": isolated_summary(isolated),
        "perturbed": [movie_summary(result) for result in perturbed],
        "uneven_background": [brightness_summary(result) for result in uneven],
        "throughput": throughput(model, psf),
    }


def throughput(model: measuring.Model, psf: PsfModel) -> dict[str, float]:
    """Frames per second from memory to localizations at 1 emitter/um^2, median of three."""
    rates: dict[str, float] = {}
    for size_px, n_frames in ((64, 64), (256, 8)):
        frames = measuring.frames_of_size(model, psf, size_px, n_frames)
        model.localize(frames[: n_frames // 2])
        times = [_timed(model, frames) for _ in range(3)]
        for i, name in enumerate(("per_cpu_s", "per_s")):
            rates[f"frames_{name}_{size_px}px"] = n_frames / float(np.median([t[i] for t in times]))
    return rates


def _timed(model: measuring.Model, frames: np.ndarray[Any, Any]) -> tuple[float, float]:
    start = time.perf_counter()
    cpu_s = model.localize(frames)[1]
    return cpu_s, time.perf_counter() - start


def _described(bundle: ModelBundle) -> dict[str, Any]:
    record, config = bundle.training_record, bundle.training_config
    return {
        "network": bundle.network,
        "network_options": bundle.network_options,
        "parameters": sum(int(w.size) for w in bundle.weights.values()),
        "context_frames": config.context_frames,
        "seed": config.seed,
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "steps": record.get("step"),
        "samples": record.get("samples"),
        "training_cpu_minutes": (record.get("cpu_s") or math.nan) / 60,
        "history": record.get("history", []),
    }


def _require_benchmark_optics(bundle: ModelBundle, calibration: str, camera: str) -> None:
    own = (bundle.calibration.fingerprint(), bundle.camera.fingerprint())
    if own != (calibration, camera):
        raise SystemExit(
            "This model was trained for another PSF or camera than the benchmark's "
            "(--camera chooses it): its scores would say nothing."
        )


def _recipe(options: argparse.Namespace) -> Recipe:
    if options.network is None:
        raise SystemExit("Give --model, or --network with --cpu-minutes.")
    return Recipe(
        network=options.network,
        options={k: _value(v) for k, v in (pair.split("=", 1) for pair in options.option)},
        changes={k: _value(v) for k, v in (pair.split("=", 1) for pair in options.simulation)},
        cpu_minutes=options.cpu_minutes,
        seed=options.seed,
        context_frames=options.context_frames,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        validations=options.validate,
        init=options.init,
    )


def _value(text: str) -> int | float | str | bool:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _device_words(device: torch.device) -> str:
    precision = "fp32" if autocast_dtype(device, "auto") is None else "bf16"
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {precision}"
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{device.type} {capability}, {torch.get_num_threads()} thread(s), {precision}"


def _command(words: list[str]) -> str:
    """Return the command line with the names of files only."""
    names = (Path(word).name if "/" in word else word for word in words)
    return " ".join(("python -m tests.bench.accuracy", *names))


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what depends on where it ran."""
    return {k: v for k, v in values.items() if k not in ("model", "model_id")}


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_rounded(v) for v in value]
    if isinstance(value, float):
        return float(f"{value:.4g}") if math.isfinite(value) else None
    return value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="Model to score.")
    parser.add_argument("--network", help="Network to train and score.")
    parser.add_argument("--option", action="append", default=[], help="name=value, repeatable.")
    parser.add_argument("--simulation", action="append", default=[], help="name=value.")
    parser.add_argument("--cpu-minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0, help="Of the training.")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--validate", action="store_true", help="Follow the training over time.")
    parser.add_argument("--init", help="starter or a model to begin with.")
    parser.add_argument("--context-frames", type=int, default=3, choices=(1, 3))
    parser.add_argument("--camera", choices=tuple(conditions.CAMERAS), default="scmos")
    parser.add_argument("--scale", type=float, default=1.0, help="Size of the test sets.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="Where to leave the trained model.")
    parser.add_argument("--out", type=Path, default=Path("accuracy.json"))
    parser.add_argument("--plot", nargs="+", help="Results to draw together.")
    parser.add_argument("--png", type=Path, default=Path("accuracy.png"))
    return parser


if __name__ == "__main__":
    main()
