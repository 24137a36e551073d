"""Speed of the Explore page's renderer: ``python -m tests.bench.render [1] [10] [50]``.

The numbers are millions of localizations: 3D filaments in 40 µm, sigma 4 to 25 nm, in the order
of frames, in views of 1200 x 900 pixels coloured by z. Prints one JSON line for each size. ``_s``
are wall seconds, ``_cpu_s`` processor seconds of this process (on a busy machine the latter say
more); ``ratio`` compares with what the renderer replaced: one pass of ``numpy.bincount`` over the
same localizations. Each size runs in a process of its own, so that the peak memory is its own.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from decode_engine.analysis.filtering import FilterSpec
from decode_engine.analysis.point_store import (
    PointStore,
    Style,
    View,
    suggest_gain,
    tone,
    warm_up,
)
from decode_engine.contract.configs import RenderConfig
from decode_engine.contract.jobs import RenderSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.io.localizations import (
    LocalizationMetadata,
    read_localizations,
    write_localizations,
)
from decode_engine.jobs import render as render_job
from decode_engine.jobs.context import JobContext

FIELD_NM = 40_000.0
_WIDTH_PX, _HEIGHT_PX = 1200, 900
_PAN_STEPS = 20
_METADATA = LocalizationMetadata(
    width_px=400, height_px=400, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0
)


def filaments(n: int, rng: np.random.Generator) -> Localizations:
    """Make 200 curved 3D filaments in 40 µm, with all columns that a localization has."""
    n_filaments = 200
    owner = rng.integers(0, n_filaments, n, dtype=np.int32)
    start = rng.uniform(0, FIELD_NM, (2, n_filaments)).astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi, n_filaments).astype(np.float32)[owner]
    along = rng.random(n, np.float32) * np.float32(0.5 * FIELD_NM)
    angle_here = angle + 0.4 * np.sin(along / 4000 + angle)
    sigma = np.exp(np.log(10) + 0.35 * rng.standard_normal(n, np.float32))
    x = start[0, owner] + along * np.cos(angle_here) + sigma * rng.standard_normal(n, np.float32)
    y = start[1, owner] + along * np.sin(angle_here) + sigma * rng.standard_normal(n, np.float32)
    z = 500 * np.sin(along / 5000 + angle) + 2 * sigma * rng.standard_normal(n, np.float32)
    photons = (100 / sigma) ** 2 * 20
    return Localizations(
        frame=np.sort(rng.integers(0, 50_000, n, dtype=np.int32)),
        x_nm=x % FIELD_NM,
        y_nm=y % FIELD_NM,
        z_nm=z,
        photons=photons,
        background=10 + rng.random(n, np.float32),
        probability=rng.random(n, np.float32),
        sigma_x_nm=sigma,
        sigma_y_nm=sigma * (1 + 0.1 * rng.random(n, np.float32)),
        sigma_z_nm=2 * sigma,
    )


class _Times:
    """Wall and processor seconds by name."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def take(self, name: str, work: Callable[[], Any], repeats: int = 1) -> Any:
        """Run work, note the mean of its repeats, and return the last result."""
        wall, processor = time.perf_counter(), time.process_time()
        for _ in range(repeats):
            result = work()
        self.values[f"{name}_s"] = (time.perf_counter() - wall) / repeats
        self.values[f"{name}_cpu_s"] = (time.process_time() - processor) / repeats
        return result


def measure(millions: float) -> dict[str, float]:
    """Time everything that the page does with so many localizations."""
    times = _Times()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "filaments.h5")
        command = [sys.executable, "-m", "tests.bench.render", "--write", str(path)]
        subprocess.run([*command, str(millions)], check=True)
        times.take("load_kernels", warm_up)
        times.values["peak_before_mb"] = _peak_mb()
        table = times.take("read_hdf5", lambda: read_localizations(path))
        store = times.take("build", lambda: PointStore.build(table))
        _views(store, table, times)
        times.values["file_mb"] = path.stat().st_size / 1e6
        times.values["table_mb"] = sum(c.nbytes for c in table.columns().values()) / 1e6
        times.values["peak_mb"] = _peak_mb()
        times.take("bincount", lambda: _bincount(table))
        if millions <= 10:
            _job(path)  # compiles what only jobs use
            times.take("render_job", lambda: _job(path))
    first = sum(times.values[f"{name}_s"] for name in ("read_hdf5", "build", "overview"))
    times.values["first_picture_s"] = first
    times.values["overview_to_bincount_ratio"] = (
        times.values["overview_cpu_s"] / times.values["bincount_cpu_s"]
    )
    return times.values


def _views(store: PointStore, table: Localizations, times: _Times) -> None:
    style = Style(z_min_nm=-500, z_max_nm=500)
    overview = View.fitting(store.bounds_nm, _WIDTH_PX, _HEIGHT_PX)
    rendered = times.take("overview", lambda: store.render(overview, style, exact=False))
    gain = suggest_gain(rendered)
    times.take("tone", lambda: tone(rendered, gain), 5)
    crowded = rendered.weight.reshape(-1).argmax()
    row, column = divmod(int(crowded), _WIDTH_PX)
    middle = (
        overview.left_nm + column * overview.pixel_size_nm,
        overview.top_nm + row * overview.pixel_size_nm,
    )
    for pixel_size_nm in (40.0, 20.0, 10.0, 5.0, 2.0):
        name = f"{pixel_size_nm:g}nm"
        path = iter([_view(middle, pixel_size_nm, step) for step in range(_PAN_STEPS)])
        times.take(
            f"pan_{name}",
            lambda path=path: tone(store.render(next(path), style, exact=False), gain),
            _PAN_STEPS,
        )
        times.values[f"pan_{name}_per_s"] = 1.0 / times.values[f"pan_{name}_s"]
        view = _view(middle, pixel_size_nm, 0)
        exact = times.take(f"exact_{name}", lambda view=view: store.render(view, style, exact=True))
        times.values[f"drawn_{name}"] = float(exact.n_drawn)
    filters = FilterSpec().with_range("photons", low=1000.0).with_range("sigma_x_nm", high=15.0)

    def change() -> None:
        store.set_mask(filters.mask(table))
        tone(store.render(overview, style, exact=False), gain)

    times.take("filter_to_picture", change)
    middle_view = _view(middle, 10.0, 0)
    times.take("filtered_10nm", lambda: store.render(middle_view, style, exact=False))
    times.take("rows_in_box", lambda: store.rows_in((1e4, 1e4, 1.5e4, 1.5e4)))


def _view(middle_nm: tuple[float, float], pixel_size_nm: float, step: int) -> View:
    """Return a view that moves by 7 pixels a step, as when it is dragged."""
    return View(
        left_nm=middle_nm[0] + (7 * step - 0.5 * _WIDTH_PX) * pixel_size_nm,
        top_nm=middle_nm[1] + (3 * step - 0.5 * _HEIGHT_PX) * pixel_size_nm,
        pixel_size_nm=pixel_size_nm,
        width_px=_WIDTH_PX,
        height_px=_HEIGHT_PX,
    )


def _bincount(table: Localizations) -> None:
    pixel = FIELD_NM / _HEIGHT_PX
    flat = (table.y_nm // pixel).astype(np.int64) * _HEIGHT_PX + (table.x_nm // pixel).astype(int)
    np.bincount(flat, minlength=(_HEIGHT_PX + 1) ** 2)


def _job(path: Path) -> None:
    config = RenderConfig(
        pixel_size_nm=10.0, field_nm=(0, 0, FIELD_NM, FIELD_NM), color="z", overwrite=True
    )
    spec = RenderSpec(localizations=str(path), out=str(path.with_suffix(".png")), config=config)
    render_job.run(spec, JobContext())


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    arguments = sys.argv[1:] or ["1", "10", "50"]
    if arguments[0] == "--write":
        table = filaments(round(float(arguments[2]) * 1e6), np.random.default_rng(0))
        write_localizations(Path(arguments[1]), table, _METADATA)
        return
    if len(arguments) > 1:
        for millions in arguments:
            subprocess.run([sys.executable, "-m", "tests.bench.render", millions], check=True)
        return
    values = measure(float(arguments[0]))
    rounded = {name: float(f"{value:.3g}") for name, value in values.items()}
    print(json.dumps({"bench": "render", "millions": float(arguments[0]), **rounded}), flush=True)


if __name__ == "__main__":
    main()
