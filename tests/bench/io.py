"""Speed and memory of files: ``python -m tests.bench.io [--all]`` prints one JSON line each.

``memory`` reads parts of a 20 GB and of a 200 MB movie, each in a process of its own, and
compares their peak memory; the large file is sparse, so it needs no disk. ``--all`` reads every
frame of it (a minute or so). Linux only: the peak is the kernel's VmHWM, because
``ru_maxrss`` of a child begins with its parent's.
"""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from decode_engine.domain.localizations import Emitters
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    read_localizations,
)
from decode_engine.io.movies import open_movie, write_movie
from decode_engine.io.tables import read_emitters_csv, write_emitters_csv
from tests.unit.light.kill_writer import table

SIDE_PX = 512
CHUNK_FRAMES = 100
READ_PART = """
import re, sys
from pathlib import Path
from decode_engine.io.movies import open_movie
with open_movie(Path(sys.argv[1])) as movie:
    step = int(sys.argv[2])
    chunk = {chunk}
    frames = 0
    for start in range(0, movie.n_frames - chunk + 1, step):
        frames += len(movie.read(start, start + chunk))
peak_kb = re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text()).group(1)
print(frames, movie.n_frames, int(peak_kb) / 1024)
"""


def write_sparse(path: Path, n_frames: int) -> None:
    """Write a valid BigTIFF whose pixels are a hole: all directories lie behind them."""
    frame_bytes = SIDE_PX * SIDE_PX * 2
    n_tags, head = 9, 16
    directory_bytes = 8 + 20 * n_tags + 8
    first = head + n_frames * frame_bytes
    with path.open("wb") as file:
        file.write(struct.pack("<2sHHHQ", b"II", 43, 8, 0, first))
        file.truncate(first)
        file.seek(first)
        for index in range(n_frames):
            tags = (
                (256, 4, 1, SIDE_PX),
                (257, 4, 1, SIDE_PX),
                (258, 3, 1, 16),
                (259, 3, 1, 1),
                (262, 3, 1, 1),
                (273, 16, 1, head + index * frame_bytes),
                (277, 3, 1, 1),
                (278, 4, 1, SIDE_PX),
                (279, 16, 1, frame_bytes),
            )
            following = first + (index + 1) * directory_bytes if index + 1 < n_frames else 0
            entries = b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
            file.write(struct.pack("<Q", n_tags) + entries + struct.pack("<Q", following))


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def show(name: str, **values: float) -> None:
    rounded = {key: float(f"{value:.4g}") for key, value in values.items()}
    print(json.dumps({"bench": f"io.{name}", **rounded}))


def tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    n = 1_000_000
    names = ("x_nm", "y_nm", "z_nm", "photons", "background")
    columns = {name: rng.uniform(0, 50_000, n).astype(np.float32) for name in names}
    emitters = Emitters(frame=np.sort(rng.integers(0, 10_000, n)), **columns)
    path = folder / "truth.csv"
    write_s = seconds(lambda: write_emitters_csv(path, emitters))
    read_s = seconds(lambda: read_emitters_csv(path))
    show("csv", rows=n, write_rows_per_s=n / write_s, read_rows_per_s=n / read_s)


def localizations(folder: Path) -> None:
    path = folder / "locs.h5"
    metadata = LocalizationMetadata(
        width_px=64, height_px=64, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0
    )
    chunks = [table(index % 6).take(np.arange(20_000) % 500) for index in range(50)]
    rows = sum(len(chunk) for chunk in chunks)
    writer = LocalizationWriter.create(path, metadata)

    def append() -> None:
        for index, chunk in enumerate(chunks):
            writer.append(chunk, frames_done=index + 1)

    append_s = seconds(append)
    finish_s = seconds(writer.finish)
    read_s = seconds(lambda: read_localizations(path))
    show(
        "localizations",
        rows=rows,
        append_ms_per_chunk=1e3 * append_s / len(chunks),
        finish_s=finish_s,
        read_rows_per_s=rows / read_s,
    )


def frames(folder: Path) -> None:
    n, side = 1000, 256
    path = folder / "movie.tif"
    rng = np.random.default_rng(0)
    block = rng.integers(0, 4000, (50, side, side)).astype(np.uint16)
    source = (block[index % 50] for index in range(n))
    write_s = seconds(lambda: write_movie(path, source, (n, side, side), pixel_size_x_nm=100))
    with open_movie(path) as movie:
        read_s = seconds(lambda: [movie.read(i, i + CHUNK_FRAMES) for i in range(0, n, 100)])
    plain_s = seconds(path.read_bytes)
    show(
        "frames_256px",
        write_frames_per_s=n / write_s,
        read_frames_per_s=n / read_s,
        time_over_plain_read_of_the_file=read_s / plain_s,
    )


def memory(folder: Path, *, everything: bool) -> None:
    peaks = {}
    for name, n_frames in (("200 MB", 400), ("20 GB", 40_000)):
        path = folder / "sparse.tif"
        write_sparse(path, n_frames)
        step = CHUNK_FRAMES if everything or n_frames < 1000 else 20 * CHUNK_FRAMES
        open_s = seconds(lambda file=path: open_movie(file).close())
        output = subprocess.run(
            [sys.executable, "-c", READ_PART.format(chunk=CHUNK_FRAMES), str(path), str(step)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        ).stdout.split()
        peaks[name] = float(output[2])
        show(
            "movie_of_" + name.replace(" ", "_"),
            file_gb=path.stat().st_size / 1e9,
            open_s=open_s,
            frames_read=float(output[0]),
            peak_mb=peaks[name],
        )
        path.unlink()
    show("memory", peak_mb_above_that_of_200_mb=peaks["20 GB"] - peaks["200 MB"])


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tables(folder)
        localizations(folder)
        frames(folder)
        memory(folder, everything="--all" in sys.argv)


if __name__ == "__main__":
    main()
