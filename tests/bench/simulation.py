"""How fast frames are simulated: ``python -m tests.bench.simulation [--device cpu]``.

Prints JSON lines, all from one run: emitters rendered per second with a 27 x 27 px spline
(bar: 100,000 per core), the cost of a training sample split by part, and the share of a
training step of the paper's network (forward and backward pass without loss and optimiser, so
the real share is smaller; bar: 15 %). One thread; processor time, so that a busy machine distorts
little.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.calibration import GaussianPsf, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.network.device import autocast_dtype
from decode_engine.network.registry import build_network
from decode_engine.psf.gaussian import GaussianPsfModel
from decode_engine.psf.spline import SplinePsfModel
from decode_engine.psf.spline_coefficients import spline_coefficients
from decode_engine.simulation import draws
from decode_engine.simulation.background import BackgroundProcess
from decode_engine.simulation.camera_noise import CameraNoise
from decode_engine.simulation.emitters import BlinkingProcess, EmitterBatch
from decode_engine.simulation.priors import Box, UniformPrior
from decode_engine.simulation.rendering import render_emitters, render_shared
from decode_engine.simulation.simulator import Simulator

BATCH, FRAMES, PATCH = 16, 3, 40
ROI_PX, DZ_NM, SLICES = 27, 10.0, 121
CAMERAS = {
    "scmos": CameraModel(
        kind="scmos", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=100, e_per_adu=0.47,
        read_noise_e=1.6,
    ),
    "emccd": CameraModel(
        kind="emccd", pixel_size_x_nm=100, pixel_size_y_nm=100, offset_adu=200, e_per_adu=5,
        em_gain=100, read_noise_e=60,
    ),
}  # fmt: skip
CONFIG = SimulationConfig()  # 0.3-2.5 emitters per um^2


def spline(device: torch.device) -> SplinePsfModel:
    """Spline of an astigmatic Gaussian: 27 x 27 samples, 121 slices of 10 nm."""
    half_nm = DZ_NM * (SLICES - 1) / 2
    gaussian = GaussianPsfModel(
        GaussianPsf(
            sigma0_x_nm=120, sigma0_y_nm=120, depth_nm=400, focus_x_nm=200, focus_y_nm=-200,
            z_min_nm=-half_nm, z_max_nm=half_nm,
        ),
        pixel_size_x_nm=100, pixel_size_y_nm=100, dtype=torch.float64,
    )  # fmt: skip
    z_nm = -(torch.arange(SLICES, dtype=torch.float64) * DZ_NM - half_nm)
    zeros = torch.zeros(SLICES, dtype=torch.float64)
    stack = gaussian.value(zeros, zeros, z_nm, ROI_PX)
    parameters = SplinePsf(
        coefficients=spline_coefficients(stack.permute(1, 2, 0).numpy()),
        dz_nm=DZ_NM,
        z0_slice=(SLICES - 1) / 2,
        center_x_px=ROI_PX // 2,
        center_y_px=ROI_PX // 2,
    )
    return SplinePsfModel.from_parameters(parameters, device=device)


def seconds(action: Callable[[], object], device: torch.device, repeats: int = 15) -> float:
    """Return the median time of an action: processor time of the CPU, wall time of a GPU."""
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    times = []
    for _ in range(repeats + 2):
        start = clock()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(clock() - start)
    return statistics.median(times[2:])


def show(bench: str, /, **values: float | str) -> None:
    """Print one line of JSON."""
    rounded = {k: v if isinstance(v, str) else float(f"{v:.4g}") for k, v in values.items()}
    print(json.dumps({"bench": bench, **rounded}), flush=True)


def bench_rendering(psf: SplinePsfModel, device: torch.device) -> None:
    """Emitters per second, every one with its own position."""
    n, size_px = 50_000, 64
    rng = torch.Generator().manual_seed(0)
    u = torch.rand(4, n, generator=rng)
    emitters = EmitterBatch(
        image=torch.randint(100, (n,), generator=rng),
        x_px=u[0] * size_px,
        y_px=u[1] * size_px,
        z_nm=(u[2] - 0.5) * 1100,
        photons=u[3] * 5000,
        emitter_id=torch.arange(n),
    )
    emitters = EmitterBatch(*(column.to(device) for column in emitters))
    centred = torch.zeros(n, device=device)
    whole = seconds(lambda: render_emitters(psf, emitters, 100, size_px, size_px), device, 5)
    alone = seconds(lambda: psf.value(centred, centred, emitters.z_nm, 27), device, 5)
    show("render", support_px=psf.support_px, emitters_per_s=n / whole, psf_only_per_s=n / alone)


def bench_parts(psf: SplinePsfModel, device: torch.device, rng: torch.Generator) -> None:
    """Milliseconds per training sample of each part."""
    margin = psf.support_px / 2
    flat = torch.zeros(BATCH, device=device)
    box = Box(
        x_low_px=-0.5 - margin, x_high_px=PATCH - 0.5 + margin, y_low_px=-0.5 - margin,
        y_high_px=PATCH - 0.5 + margin, z_low_nm=flat - 590, z_high_nm=flat + 590,
        pixel_x_nm=100, pixel_y_nm=100,
    )  # fmt: skip
    # The mean of the log-uniform density of the default configuration.
    mean_on = flat + 1.04 * box.area_um2

    def emit() -> tuple[EmitterBatch, torch.Tensor]:
        process = BlinkingProcess(CONFIG, mean_on, UniformPrior(box))
        return process.advance(FRAMES, rng).emitters(FRAMES)

    def background() -> torch.Tensor:
        process = BackgroundProcess(CONFIG, (BATCH, PATCH, PATCH), rng, device)
        return process.advance(FRAMES, rng)

    emitters, molecule = emit()
    images = (BATCH * FRAMES, PATCH, PATCH)
    light = render_shared(psf, emitters, molecule, images)
    expected = light.reshape(BATCH, FRAMES, PATCH, PATCH) + background()
    noises = {kind: CameraNoise(camera, device) for kind, camera in CAMERAS.items()}
    parts: dict[str, Callable[[], object]] = {
        "emitters": emit,
        "rendering": lambda: render_shared(psf, emitters, molecule, images),
        "background": background,
        "noise_scmos": lambda: noises["scmos"].sample(expected, rng),
        "noise_emccd": lambda: noises["emccd"].sample(expected, rng),
        "poisson_alone": lambda: draws.poisson(expected, rng),
    }
    costs = {name: 1e3 * seconds(part, device) / BATCH for name, part in parts.items()}
    show("parts_ms_per_sample", emitter_rows=emitters.n_rows / BATCH, **costs)


def bench_training(psf: SplinePsfModel, device: torch.device, rng: torch.Generator) -> None:
    """Whole batches, and their share of a step of the paper's network."""
    network = build_network("decode", {}, FRAMES, torch.Generator().manual_seed(0)).to(device)
    for kind, camera in CAMERAS.items():
        simulator = Simulator(psf, camera, CONFIG, device=device)
        batch = simulator.training_batch(BATCH, PATCH, FRAMES, rng)
        simulation = seconds(lambda: simulator.training_batch(BATCH, PATCH, FRAMES, rng), device)  # noqa: B023 - called at once
        show(
            "training_batch",
            camera=kind,
            batches_per_s=1 / simulation,
            ms_per_sample=1e3 * simulation / BATCH,
        )
    precision = autocast_dtype(device, "auto")

    def step() -> None:
        with torch.autocast(device.type, dtype=precision, enabled=precision is not None):
            output = network(batch.frames / 100)
        torch.stack([t.float().square().mean() for t in output]).sum().backward()
        network.zero_grad()

    learning = seconds(step, device, 3)
    show(
        "share_of_step",
        precision="fp32" if precision is None else "bf16",
        network_ms_per_sample=1e3 * learning / BATCH,
        simulation_share=simulation / (simulation + learning),
    )


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    device = torch.device(parser.parse_args().device)
    torch.set_num_threads(1)
    rng = torch.Generator(device).manual_seed(0)
    psf = spline(device)
    show(
        "device", device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu, 1 thread"
    )
    bench_rendering(psf, device)
    bench_parts(psf, device, rng)
    bench_training(psf, device, rng)


if __name__ == "__main__":
    main()
