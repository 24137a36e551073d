"""Speed and memory of all formats: ``python -m tests.bench.dialects [N] [format ...]``.

N localizations (default 1,000,000; 3D, with all uncertainties) are written in each format and
read back, each in a process of its own. Prints one JSON line a format: wall and processor
seconds, size of the files, and the memory that writing and reading took beyond the table and the
interpreter. The bar of the project: 10 s each, and 1 GB of extra memory for writing.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.io.dialects.base import ExportContext, ReadOptions
from decode_engine.io.dialects.registry import dialect, dialects, read_table, write_table
from decode_engine.io.localizations import LocalizationMetadata

_PIXEL_NM = 108.0
_SIDE_PX = 512
_PER_FRAME = 50


def localizations(n: int, rng: np.random.Generator) -> Localizations:
    """Make a 3D table with all columns that DECODE's network estimates."""
    side = _PIXEL_NM * (_SIDE_PX - 1)

    def column(low: float, high: float) -> np.ndarray:
        return (low + (high - low) * rng.random(n, np.float32)).astype(np.float32)

    return Localizations(
        frame=(np.arange(n) // _PER_FRAME).astype(np.int32),
        x_nm=column(0, side),
        y_nm=column(0, side),
        z_nm=column(-600, 600),
        photons=column(300, 8000),
        background=column(5, 80),
        probability=column(0.5, 1),
        sigma_x_nm=column(3, 25),
        sigma_y_nm=column(3, 25),
        sigma_z_nm=column(10, 80),
        sigma_photons=column(20, 200),
        sigma_background=column(0.2, 3),
    )


def context(n: int) -> ExportContext:
    """Return what a result of this size says about itself."""
    camera = CameraConfig(pixel_size_x_nm=_PIXEL_NM, e_per_adu=0.5)
    frames = -(-n // _PER_FRAME)
    metadata = LocalizationMetadata(
        movie_paths=("bench.tif",), movie_frames=frames, frame_stop=frames, width_px=_SIDE_PX,
        height_px=_SIDE_PX, pixel_size_x_nm=_PIXEL_NM, pixel_size_y_nm=_PIXEL_NM,
        method="bench", camera=camera.model_dump(mode="json"),
    )  # fmt: skip
    return ExportContext.of(metadata)


class Peak:
    """The largest resident memory of this process while a block runs, above that before it."""

    def __enter__(self) -> Peak:
        self._process = psutil.Process()
        self._before = self.highest = self._process.memory_info().rss
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            self.highest = max(self.highest, self._process.memory_info().rss)

    @property
    def extra_mb(self) -> int:
        """Memory beyond that before the block."""
        return round((self.highest - self._before) / 1e6)


def timed(work: Callable[[], Any]) -> tuple[Any, dict[str, float]]:
    """Run and measure."""
    start, cpu = time.perf_counter(), time.process_time()
    with Peak() as peak:
        result = work()
    seconds = {
        "s": round(time.perf_counter() - start, 2),
        "cpu_s": round(time.process_time() - cpu, 2),
        "extra_mb": peak.extra_mb,
    }
    return result, seconds


def measure(name: str, n: int) -> dict[str, Any]:
    """Write and read one format."""
    table, about = localizations(n, np.random.default_rng(0)), context(n)
    small = table.take(slice(0, 10))
    with tempfile.TemporaryDirectory() as folder:
        # Libraries are loaded with a small table first: their memory is not the format's.
        warm = Path(folder) / f"warm{dialect(name).suffix}"
        write_table(name, warm, small, about)
        read_table(warm, ReadOptions(pixel_size_x_nm=_PIXEL_NM))
        out = Path(folder) / f"bench{dialect(name).suffix}"
        files, wrote = timed(lambda: write_table(name, out, table, about))
        found, read = timed(lambda: read_table(out, ReadOptions(pixel_size_x_nm=_PIXEL_NM)))
        size_mb = round(sum(file.stat().st_size for file in files) / 1e6, 1)
    worst = float(np.abs(np.sort(found.table.x_nm) - np.sort(table.x_nm)).max())
    return {
        "format": name,
        "n": n,
        "size_mb": size_mb,
        **{f"write_{key}": value for key, value in wrote.items()},
        **{f"read_{key}": value for key, value in read.items()},
        "n_back": len(found.table),
        "worst_x_nm": round(worst, 4),
    }


def main(words: list[str]) -> None:
    """Measure in one process a format."""
    if words[:1] == ["--one"]:
        print(json.dumps(measure(words[1], int(words[2]))))
        return
    n = int(words[0]) if words else 1_000_000
    names = words[1:] or [one.name for one in dialects() if one.can_write]
    for name in names:
        command = [sys.executable, "-m", "tests.bench.dialects", "--one", name, str(n)]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
