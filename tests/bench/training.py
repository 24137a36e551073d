"""What a training step costs, by part: ``python -m tests.bench.training [--quick]``.

The paper's network, 8 samples of 3 frames of 40 x 40 px, a 27 x 27 px spline, one thread.
Prints JSON lines, all from one run. Times are processor time (on a GPU: wall time), so that
other programs on the machine matter little. The loss is timed alone, forwards and backwards
from given network outputs. Bars: simulation and loss take at most 15 % of a step each.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn.utils import clip_grad_norm_

from decode_engine.contract.configs import TrainingConfig
from decode_engine.network.device import autocast_dtype
from decode_engine.network.loss import network_loss
from decode_engine.network.output import NetworkOutput
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.simulation.simulator import Simulator
from decode_engine.training.checkpoint import moments, weights
from decode_engine.training.ema import WeightAverage
from decode_engine.training.parallel import GradientWorkers
from decode_engine.training.stream import NetworkBatch, TrainingStream
from tests.bench.simulation import CAMERAS, show, spline

BAR = 0.15


class Step:
    """One training step in pieces that can be timed."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.config = TrainingConfig()
        psf = spline(device)
        simulator = Simulator(psf, CAMERAS["scmos"], self.config.simulation, device=device)
        low, high = psf.z_range_nm
        simulation = self.config.simulation
        self.scaling = NetworkScaling(
            input_offset=35.0,
            input_scale=70.0,
            photon_max=simulation.flux_mean + 8 * simulation.flux_std,
            z_center_nm=(low + high) / 2,
            z_half_range_nm=0.6 * (high - low),
            background_max=100.0,
        )
        generator = torch.Generator(device).manual_seed(0)
        self.stream = TrainingStream(simulator, self.config, self.scaling, generator)
        weights_generator = torch.Generator().manual_seed(0)
        self.network = build_network("decode", {}, 3, weights_generator).to(device).train()
        self.autocast = autocast_dtype(device, "auto")
        self.gradients = GradientWorkers(
            self.network, self.config, use_z=True, autocast=self.autocast
        )
        self.average = WeightAverage(self.network, self.config.ema_decay)
        self.optimizer = torch.optim.AdamW(self.network.parameters(), lr=1e-6)

    def simulate(self) -> NetworkBatch:
        return self.stream.next_batch()

    def outputs(self, batch: NetworkBatch) -> NetworkOutput:
        """Return the network's maps as if they were given."""
        with torch.no_grad():
            return NetworkOutput(*(m.float().requires_grad_() for m in self.network(batch.frames)))

    def loss(self, output: NetworkOutput, batch: NetworkBatch) -> None:
        terms = network_loss(output, batch.targets, use_z=True)
        torch.autograd.grad(terms.total(1.0, 1.0), tuple(output))

    def update(self) -> None:
        clip_grad_norm_(self.network.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.average.update(self.network, 1000)


def cost(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median time of an action in ms: of the processor, or with a GPU on the wall."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    times = []
    for i in range(repeats + 1):
        start = clock()
        action()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        if i:  # the first one warms up
            times.append(1e3 * (clock() - start))
    return statistics.median(times)


def peak_mb(action: Callable[[], object], device: torch.device) -> float:
    """Return the largest memory that an action holds beyond what was there before, in MB."""
    action()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        action()
        return (torch.cuda.max_memory_allocated(device) - before) / 1e6
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        action()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text("utf-8"))["traceEvents"]
    changes = sorted((e["ts"], e["args"]["Bytes"]) for e in events if e["name"] == "[memory]")
    held = peak = 0
    for _, change in changes:
        held += change
        peak = max(peak, held)
    return peak / 1e6


def bench_parts(step: Step, repeats: int) -> None:
    """Milliseconds of each part and their shares."""
    batch = step.simulate()
    output = step.outputs(batch)
    simulation = cost(step.simulate, step.device, 4 * repeats)
    gradient = cost(lambda: step.gradients.backward(batch), step.device, repeats)
    loss = cost(lambda: step.loss(output, batch), step.device, 4 * repeats)
    update = cost(step.update, step.device, 2 * repeats)
    whole = simulation + gradient + update
    show(
        "step_ms",
        batch=step.config.batch_size,
        emitters=batch.targets.image.numel() / step.config.batch_size,
        precision="fp32" if step.autocast is None else "bf16",
        simulation=simulation,
        network_forward_backward=gradient - loss,
        loss_forward_backward=loss,
        optimizer_and_average=update,
        whole=whole,
        samples_per_s=1e3 * step.config.batch_size / whole,
    )
    shares = {"simulation": simulation / whole, "loss": loss / whole}
    show("shares", **shares, optimizer_and_average=update / whole)
    kept = all(share <= BAR for share in shares.values())
    show("bars", largest_allowed=BAR, verdict="met" if kept else "missed")


def bench_memory(step: Step) -> None:
    """Peak memory of the loss beside that of a whole gradient."""
    batch = step.simulate()
    output = step.outputs(batch)
    n_targets = batch.targets.image.numel()
    most = int(torch.bincount(batch.targets.image).max())
    pixels = batch.targets.background[0].numel()
    show(
        "memory_mb",
        loss=peak_mb(lambda: step.loss(output, batch), step.device),
        network_and_loss=peak_mb(lambda: step.gradients.backward(batch), step.device),
        targets=n_targets,
        # One float32 tensor of (batch, most targets, pixels, 4), which the loss never makes.
        dense_tensor=4e-6 * step.config.batch_size * most * pixels * 4,
    )


def bench_state(step: Step) -> None:
    """Show what a checkpoint has to hold."""
    arrays = weights(step.network, "weights") | moments(step.network, step.optimizer)
    megabytes = sum(a.nbytes for a in arrays.values()) / 1e6
    # weights, average and best weights, two moments
    n_parameters = sum(p.numel() for p in step.network.parameters())
    show("state", parameters=n_parameters, checkpoint_mb=megabytes + 2 * 4e-6 * n_parameters)


def main() -> None:
    """Run all parts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="Few repeats.")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    is_cuda = device.type == "cuda"
    show("device", device=torch.cuda.get_device_name(device) if is_cuda else "cpu, 1 thread")
    step = Step(device)
    bench_parts(step, 3 if options.quick else 8)
    bench_memory(step)
    bench_state(step)


if __name__ == "__main__":
    main()
