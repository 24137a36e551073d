"""How fast movies are localized, and with how much memory: ``python -m tests.bench.localize``.

Prints JSON lines.

``speed``
    Frames per second of the job from TIFF to HDF5 with the paper's network, against the plain
    way with that network on the same cores (``--network fast``: the job with the network
    "fast", bar 20): every triple of frames through the whole network, single precision,
    contiguous memory, plus the same post-processing, the movie being in memory already.
    Runs alternate; the ratio is the median of the pairs' (bar: 1.7). Weights are random, with
    the probability head's bias set so that one pixel in a hundred claims an emitter. ``ratio``
    is of wall time of the whole call, reading the model included; ``ratio_cpu`` is of processor
    time from the first frame to the closed file, and the one to look at on a busy machine.

``memory``
    Largest resident memory of a process that localizes **every** frame of a sparse movie of
    20 GB and of one of 0.2 GB (2048 x 2048 pixels, a region of 16 x 16, a network of 8
    features, so that it takes a minute and not a day; the whole movie is read). ``pages``: the
    same for movies of 256 x 256 pixels, many more pages, of which the last 16 frames are
    localized. Bar: less than 200 MB apart.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch
from torch import Tensor, nn

from decode_engine.contract.configs import LocalizeConfig, TrainingConfig
from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.inference.peaks import extract_peaks
from decode_engine.io.models import ModelBundle, write_model
from decode_engine.jobs import localize
from decode_engine.jobs.context import JobContext
from decode_engine.network.decode_net import DecodeNet
from decode_engine.network.fast_net import FastNet
from decode_engine.network.output import NetworkOutput
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling

CAMERA = CameraModel(kind="ideal", pixel_size_x_nm=100, pixel_size_y_nm=100)
CALIBRATION = Calibration(
    psf=GaussianPsf(
        sigma0_x_nm=130, sigma0_y_nm=130, depth_nm=400, focus_x_nm=250, focus_y_nm=-250,
        z_min_nm=-700, z_max_nm=700,
    )
)  # fmt: skip
CLAIMING_PIXELS = 0.01
PLAIN_BATCH_PX = 1 << 15  # as the job: larger batches are no faster on a processor


def frames_of(n: int, size: int) -> np.ndarray[Any, np.dtype[np.uint16]]:
    rng = np.random.default_rng(0)
    spots = rng.random((n, size, size)) < 0.004
    return (rng.poisson(40.0, (n, size, size)) + 500 * spots).astype(np.uint16)


def paper_network(
    features: int, scaling: NetworkScaling
) -> tuple[DecodeNet, TrainingConfig, dict[str, Any]]:
    """Return a network with random weights that claims a realistic number of emitters."""
    config = TrainingConfig(network_options={"features": features})
    network = build_network("decode", config.network_options, 3)
    assert isinstance(network, DecodeNet)
    sample = torch.from_numpy(frames_of(3, 64).astype(np.float32))[None]
    bias = network.probability_head.last.bias
    assert bias is not None
    with torch.no_grad():
        logit = network.eval()(scaling.frames_to_network(sample)).logit
        bias -= torch.quantile(logit, 1 - CLAIMING_PIXELS)
    weights = {n: p.detach().numpy().copy() for n, p in network.named_parameters()}
    return network, config, weights


def fast_weights(scaling: NetworkScaling) -> dict[str, Any]:
    """Return weights of the network "fast" that claim as many pixels as the paper's."""
    network = build_network("fast", {}, 3)
    assert isinstance(network, FastNet)
    sample = torch.from_numpy(frames_of(3, 64).astype(np.float32))[None]
    bias = network.last.bias
    assert bias is not None
    with torch.no_grad():
        network.last.weight[:4] *= 30.0  # sure of yes and no, as a trained network is
        logit = network.eval()(scaling.frames_to_network(sample)).logit
        bias[:4] -= torch.quantile(logit, 1 - CLAIMING_PIXELS)
    return {n: p.detach().numpy().copy() for n, p in network.named_parameters()}


def write_bench_model(
    path: Path, features: int, name: str = "decode"
) -> tuple[DecodeNet, NetworkScaling]:
    """Write a model of a network; return the paper's network and its scaling."""
    scaling = NetworkScaling.from_simulation(TrainingConfig().simulation, CALIBRATION)
    network, config, weights = paper_network(features, scaling)
    used = scaling
    if name == "fast":
        used = scaling.stabilised(CAMERA)
        config, weights = TrainingConfig(network="fast"), fast_weights(used)
    bundle = ModelBundle(
        network=name,
        network_options=dict(config.network_options),
        weights=weights,
        scaling=used.to_dict(),
        training_config=config,
        calibration=CALIBRATION,
        camera=CAMERA,
    )
    write_model(bundle, path, overwrite=True)
    return network, scaling


class Plain(nn.Module):
    """The same layers and weights, called in the plain way."""

    def __init__(self, network: DecodeNet) -> None:
        super().__init__()
        for parameter in network.parameters():
            parameter.data = parameter.data.contiguous()
        self.network = network

    def forward(self, frames: Tensor) -> NetworkOutput:
        n, t, h, w = frames.shape
        each = self.network.frame_net(frames.reshape(n * t, 1, h, w).contiguous())
        fused = self.network.context_net(each.reshape(n, -1, h, w))
        output: NetworkOutput = self.network._heads(fused)
        return output


def run_plain(plain: Plain, scaling: NetworkScaling, movie: np.ndarray[Any, Any]) -> int:
    frames = scaling.frames_to_network(torch.from_numpy(movie.astype(np.float32)))
    index = (torch.arange(len(movie))[:, None] + torch.arange(-1, 2)).clamp(0, len(movie) - 1)
    found = 0
    with torch.inference_mode():
        for part in torch.split(index, max(1, PLAIN_BATCH_PX // movie[0].size)):
            found += len(extract_peaks(plain(frames[part]), scaling, 0.5))
    return found


def speed(size: int, n_frames: int, repeats: int, name: str) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        network, scaling = write_bench_model(folder / "model.decode", 48, name)
        movie = frames_of(n_frames, size)
        tifffile.imwrite(folder / "movie.tif", movie, photometric="minisblack")
        plain = Plain(network).eval()
        spec = LocalizeSpec(
            movies=(str(folder / "movie.tif"),),
            model=str(folder / "model.decode"),
            out=str(folder / "out.h5"),
            config=LocalizeConfig(overwrite=True),
            device="cpu",
        )
        run_plain(plain, scaling, movie[:2])
        rows = []
        for _ in range(repeats):
            wall, cpu = time.perf_counter(), time.process_time()
            expected = run_plain(plain, scaling, movie)
            plain_s = (time.perf_counter() - wall, time.process_time() - cpu)
            wall = time.perf_counter()
            summary = localize.run(spec, JobContext(clock=time.process_time))
            ours_s = (time.perf_counter() - wall, n_frames / summary["frames_per_s"])
            rows.append((*plain_s, *ours_s))
    columns = list(zip(*rows, strict=True))
    medians = [n_frames / statistics.median(column) for column in columns]
    return {
        "bench": "speed",
        "network": name,
        "size_px": size,
        "frames": n_frames,
        "threads": torch.get_num_threads(),
        "precision": summary["device"],
        "peaks_per_frame": summary["localizations"] / n_frames,
        "peaks_per_frame_plain": expected / n_frames,
        "plain_frames_per_s": medians[0],
        "ours_frames_per_s": medians[2],
        "plain_frames_per_cpu_s": medians[1],
        "ours_frames_per_cpu_s": medians[3],
        "ratio": statistics.median(r[0] / r[2] for r in rows),
        "ratio_cpu": statistics.median(r[1] / r[3] for r in rows),
        "bar": 1.7 if name == "decode" else 20.0,
    }


def sparse_movie(path: Path, size: int, gigabytes: float) -> int:
    """Write a TIFF whose pixels are holes of the file; return its frames."""
    n_frames = int(gigabytes * 1e9 / (2 * size**2))
    tifffile.imwrite(path, shape=(n_frames, size, size), dtype=np.uint16, bigtiff=True,
                     photometric="minisblack")  # fmt: skip
    return n_frames


def localize_sparse(folder: Path, size: int, gigabytes: float, last: int | None) -> None:
    """Run in a process of its own; print the largest resident memory."""
    n_frames = sparse_movie(folder / "movie.tif", size, gigabytes)
    write_bench_model(folder / "model.decode", 8)
    roi = (size // 2, size // 2, 16, 16) if size > 512 else None
    config = LocalizeConfig(
        overwrite=True, roi=roi, frames=None if last is None else (n_frames - last, n_frames)
    )
    spec = LocalizeSpec(
        movies=(str(folder / "movie.tif"),),
        model=str(folder / "model.decode"),
        out=str(folder / "out.h5"),
        config=config,
        device="cpu",
    )
    summary = localize.run(spec, JobContext())
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    row = {
        "movie_gb": (folder / "movie.tif").stat().st_size / 1e9,
        "movie_frames": n_frames,
        "frames_localized": summary["frames"],
        "frames_per_s": summary["frames_per_s"],
        "peak_mb": peak_mb,
    }
    print(json.dumps(row))


def memory(kind: str, size: int, last: int | None, large_gb: float) -> dict[str, Any]:
    rows = []
    for gigabytes in (large_gb, large_gb / 100):
        with tempfile.TemporaryDirectory() as folder:
            words = [folder, str(size), str(gigabytes), str(last or 0)]
            text = subprocess.run(
                [sys.executable, "-m", "tests.bench.localize", "--child", *words],
                check=True,
                capture_output=True,
                text=True,
            ).stdout
        rows.append(json.loads(text.splitlines()[-1]))
    return {
        "bench": kind,
        "size_px": size,
        "large": rows[0],
        "small": rows[1],
        "difference_mb": rows[0]["peak_mb"] - rows[1]["peak_mb"],
        "bar": 200,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["speed", "memory", "pages"])
    parser.add_argument("--network", choices=["decode", "fast"], default="decode")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--gb", type=float, default=20.0)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        folder, size, gigabytes, last = options.child
        localize_sparse(Path(folder), int(size), float(gigabytes), int(last) or None)
        return
    if options.only in (None, "speed"):
        for size, n_frames in ((64, 96), (256, 8)):
            row = speed(size, n_frames, options.repeats, options.network)
            print(json.dumps(row), flush=True)
    if options.only in (None, "memory"):
        print(json.dumps(memory("memory", 2048, None, options.gb)), flush=True)
    if options.only in (None, "pages"):
        print(json.dumps(memory("pages", 256, 16, options.gb)), flush=True)


if __name__ == "__main__":
    main()
