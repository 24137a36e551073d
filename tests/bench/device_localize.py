"""Speed on one accelerator: ``python -m tests.bench.device_localize [--device cuda]``.

Prints JSON lines: frames per second from memory to localizations (`Predictor`) for both networks
and several frame sizes, of the whole job from TIFF to HDF5, and of a training step by part.
Weights are random but claim a realistic number of emitters. Takes about a minute.
"""

from __future__ import annotations

import argparse
import cProfile
import io
import json
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tifffile
import torch

from decode_engine.contract.configs import LocalizeConfig, TrainingConfig
from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.models import read_model
from decode_engine.jobs import localize
from decode_engine.jobs.context import JobContext
from decode_engine.network.bundle import network_from_bundle, scaling_from_bundle
from decode_engine.network.device import autocast_dtype, choose_device
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.models import psf_from_calibration
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.parallel import GradientWorkers
from decode_engine.training.stream import TrainingStream, named_generator
from decode_engine.training.trainer import _optimizer
from tests.bench.accuracy import conditions, measuring
from tests.bench.localize import frames_of, write_bench_model

_FRAMES = {64: 4096, 256: 512, 512: 128, 2048: 12}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--share", type=float, default=1.0, help="Of the frames.")
    parser.add_argument("--profile", action="store_true")
    options = parser.parse_args()
    device = choose_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    print(json.dumps({"device": name, "torch": torch.__version__}), flush=True)
    for network, batch in (("fast", 256), ("fast", 16), ("decode", 64)):
        _try(lambda n=network, b=batch: training_step(n, b, device))  # type: ignore[misc]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        for network in ("fast", "decode"):
            write_bench_model(folder / f"{network}.decode", 48, network)
            for size, n in _FRAMES.items():
                count = max(8, int(n * options.share))
                _try(lambda a=network, b=size, c=count: from_memory(folder, a, b, c, device))  # type: ignore[misc]
            _try(lambda a=network: whole_job(folder, a, options.share, options.device))  # type: ignore[misc]
        if options.profile:
            print(profile(folder, device, int(1024 * options.share)))


def _try(action: Callable[[], dict[str, Any]]) -> None:
    try:
        print(json.dumps(action()), flush=True)
    except Exception as error:  # noqa: BLE001  # one size must not cost the others
        print(json.dumps({"failed": f"{type(error).__name__}: {error}"[:500]}), flush=True)


def from_memory(
    folder: Path, network: str, size: int, n: int, device: torch.device
) -> dict[str, Any]:
    """Return the frames per second of the predictor, the best of two passes after a short one."""
    predictor = _predictor(folder, network, device)
    movie = frames_of(n, size)
    _pass(predictor, movie[: n // 4])
    seconds, found = min(_pass(predictor, movie) for _ in range(2))
    rate = n / seconds
    return {
        "network": network,
        "size_px": size,
        "frames_per_s": round(rate, 1),
        "mpx_per_s": round(rate * size**2 / 1e6, 2),
        "localizations_per_s": round(found / seconds),
    }


def whole_job(folder: Path, network: str, share: float, device: str) -> dict[str, Any]:
    """Return the frames per second from a TIFF file to the closed table."""
    n = max(8, int(8192 * share))
    tifffile.imwrite(folder / "movie.tif", frames_of(n, 64), photometric="minisblack")
    spec = LocalizeSpec(
        movies=(str(folder / "movie.tif"),),
        model=str(folder / f"{network}.decode"),
        out=str(folder / "out.h5"),
        config=LocalizeConfig(overwrite=True),
        device=device,
    )
    start = time.perf_counter()
    localize.run(spec, JobContext())
    rate = n / (time.perf_counter() - start)
    return {"network": network, "job": "TIFF to HDF5, 64 px", "frames_per_s": round(rate, 1)}


def training_step(network: str, batch_size: int, device: torch.device) -> dict[str, Any]:
    """Return the milliseconds of simulation, gradient and optimiser step."""
    calibration, _ = conditions.calibration()
    camera = conditions.CAMERAS["scmos"]
    simulation = conditions.training_simulation()
    optimizer_name = "muon" if network == "fast" else "adamw"
    config = TrainingConfig(
        network=network, optimizer=optimizer_name, simulation=simulation, batch_size=batch_size
    )
    psf = psf_from_calibration(
        calibration, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, device=device
    )
    net = build_network(network, {}, 3).to(device)
    scaling = NetworkScaling.from_simulation(simulation, calibration)
    if net.stabilised_input:
        scaling = scaling.stabilised(camera)
    stream = TrainingStream(
        Simulator(psf, camera, simulation, device=device),
        config,
        scaling,
        named_generator(0, "speed", device),
    )
    gradients = GradientWorkers(
        net, config, use_z=True, autocast=autocast_dtype(device, "auto"), workers=1
    )
    optimizer = _optimizer(net, config)
    times: dict[str, list[float]] = {"simulation": [], "gradient": [], "optimizer": []}
    for _ in range(14):
        batch = _timed(times["simulation"], stream.next_batch, device)
        _timed(times["gradient"], lambda b=batch: gradients.backward(b), device)  # type: ignore[misc]
        _timed(times["optimizer"], optimizer.step, device)
    ms = {k: round(1e3 * statistics.median(v[4:]), 2) for k, v in times.items()}
    rate = batch_size / (sum(ms.values()) / 1e3)
    return {"network": network, "batch": batch_size, "ms": ms, "samples_per_s": round(rate)}


def profile(folder: Path, device: torch.device, n: int) -> str:
    """Return where the time of small frames goes."""
    predictor, movie = _predictor(folder, "fast", device), frames_of(n, 64)
    profiler = cProfile.Profile()
    profiler.runcall(_pass, predictor, movie)
    text = io.StringIO()
    pstats.Stats(profiler, stream=text).sort_stats("tottime").print_stats(22)
    return text.getvalue()


def _predictor(folder: Path, network: str, device: torch.device) -> Predictor:
    bundle = read_model(folder / f"{network}.decode")
    return Predictor(
        network_from_bundle(bundle, device),
        scaling_from_bundle(bundle),
        bundle.camera,
        device=device,
        options=PredictorOptions(),
    )


def _pass(predictor: Predictor, movie: Any) -> tuple[float, int]:
    start = time.perf_counter()
    batches = predictor.localize(measuring.ArrayMovie(movie))
    found = sum(len(batch.localizations) for batch in batches)
    return time.perf_counter() - start, found


def _timed(times: list[float], action: Callable[[], Any], device: torch.device) -> Any:
    start = time.perf_counter()
    result = action()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    times.append(time.perf_counter() - start)
    return result


if __name__ == "__main__":
    main()
