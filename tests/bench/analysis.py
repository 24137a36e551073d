"""Speed of matching, drawing images and FRC: ``python -m tests.bench.analysis``.

Times are processor seconds of this process, so other work on the machine hardly counts. Prints
one JSON line for each measurement; ``--quick`` leaves out the 10 M renderings.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from decode_engine.analysis.coloring import colorize
from decode_engine.analysis.frc import frc_resolution
from decode_engine.analysis.matching import Points, match
from decode_engine.analysis.rendering import render
from decode_engine.contract.configs import RenderConfig
from decode_engine.domain.localizations import Localizations
from tests.bench.render import FIELD_NM, filaments


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _print(name: str, **values: float | str) -> None:
    rounded = {k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in values.items()}
    print(json.dumps({"bench": name, **rounded}), flush=True)


def _matching(n: int, rng: np.random.Generator) -> None:
    """Challenge-like: 6.4 µm field, 1.2 emitters/µm² and frame, nearly perfect estimates."""
    frame = rng.integers(0, n // 50, n)
    x, y = rng.uniform(0, 6400, (2, n))
    z = rng.uniform(-750, 750, n)
    truth = Points(frame=frame, x_nm=x, y_nm=y, z_nm=z)
    noise = rng.normal(0, [[20], [20], [40]], (3, n))
    estimate = Points(frame=frame, x_nm=x + noise[0], y_nm=y + noise[1], z_nm=z + noise[2])
    for method in ("greedy", "hungarian"):
        seconds = _seconds(lambda m=method: match(truth, estimate, method=m))
        _print("match", method=method, emitters=n, seconds=seconds, emitters_per_s=n / seconds)


def _rendering(localizations: Localizations) -> None:
    for mode in ("histogram", "gaussian"):
        for color in ("none", "z"):
            config = RenderConfig(
                mode=mode, color=color, field_nm=(0, 0, FIELD_NM, FIELD_NM), pixel_size_nm=10
            )
            start = time.process_time()
            image = render(localizations, config)
            drawn = time.process_time()
            colorize(image, config)
            _print(
                "render",
                mode=mode,
                color=color,
                localizations=len(localizations),
                megapixels=image.density.size / 1e6,
                draw_s=drawn - start,
                color_s=time.process_time() - drawn,
            )


def main() -> None:
    rng = np.random.default_rng(0)
    _matching(1_000_000, rng)
    sizes = (1_000_000,) if "--quick" in sys.argv else (1_000_000, 10_000_000)
    for n in sizes:
        localizations = filaments(n, rng)
        _rendering(localizations)
        seconds = _seconds(lambda table=localizations: frc_resolution(table))
        _print("frc", localizations=n, seconds=seconds)


if __name__ == "__main__":
    main()
