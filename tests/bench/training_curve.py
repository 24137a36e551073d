"""Scores over training time, from a training's ``history.jsonl``: table as JSON lines, and a plot.

    python -m tests.bench.training_curve MODEL.decode.training/history.jsonl --png curve.png

Rows are the last validations within 10, 30 and 60 minutes of two cores (20, 60, 120 processor
minutes), and the last of all.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib as mpl
import numpy as np

from decode_engine.io.history import read_history

CPU_MINUTES = (20.0, 60.0, 120.0)
SHOWN = ("jaccard", "rmse_lateral_nm", "rmse_axial_nm", "efficiency_3d")


def main() -> None:
    parser = argparse.ArgumentParser(description="Scores over training time.")
    parser.add_argument("history", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    rows = [
        {"step": e.step, **e.values}
        for e in read_history(options.history)
        if e.values.get("jaccard") is not None
    ]
    minutes = np.array([row["cpu_s"] / 60 for row in rows])
    for limit in CPU_MINUTES:
        within = np.flatnonzero(minutes <= limit)
        if within.size and minutes[-1] > limit:
            print(json.dumps(describe(rows[within[-1]], f"within {limit:g} processor minutes")))
    print(json.dumps(describe(rows[-1], "last")))
    scores = np.array([row["efficiency_3d"] for row in rows])
    fall = np.maximum(0.0, -np.diff(scores))
    trend = {
        "validations": len(rows),
        "efficiency_3d_fell": int(np.count_nonzero(fall)),
        "largest_fall": round(float(fall.max(initial=0.0)), 4),
    }
    print(json.dumps(trend))
    if options.png:
        plot(rows, minutes, options.png)


def describe(row: dict[str, float], what: str) -> dict[str, float | str]:
    wanted = ("step", *SHOWN, "precision", "recall", "z_score_x", "z_score_y", "z_score_z",
              "rmse_over_crlb_robust_x", "rmse_over_crlb_robust_z")  # fmt: skip
    numbers = {k: round(row[k], 4) for k in wanted if row.get(k) is not None}
    return {"what": what, "cpu_minutes": round(row["cpu_s"] / 60, 1), **numbers}


def plot(rows: list[dict[str, float]], minutes: np.ndarray, path: Path) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, len(SHOWN), figsize=(14, 3.2), layout="constrained")
    for axis, name in zip(axes, SHOWN, strict=True):
        axis.plot(minutes, [row[name] for row in rows], "o-", ms=3)
        axis.set(title=name.replace("_", " "), xlabel="processor minutes")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
