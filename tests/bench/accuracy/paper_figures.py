"""What the paper's Extended Data figures show, of one result of the benchmark.

Figure 4 (RMSE and sigma against the bound over z), 5 (places inside of a pixel), 6 (time per
frame and per emitter over density), 9 (scores over training time) and 10 (inferred against true
photons and background where the background is uneven).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from tests.bench.accuracy.conditions import DENSITIES_PER_UM2

_AXES = ("x", "y", "z")
_SHOWN_PHOTONS = (500.0, 2000.0, 10000.0)


def draw_paper(report: dict[str, Any], path: Path) -> None:
    """Draw the figure of one model."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, panels = plt.subplots(4, 3, figsize=(14, 16), layout="constrained")
    for axis, name in zip(panels[0], _AXES, strict=True):
        _over_z(axis, report, name)
    for axis, density in zip(panels[1], (0.5, 2.0, 8.0), strict=True):
        _places(axis, report, density)
    _times(panels[2, :2], report)
    _history(panels[2, 2], report)
    _brightness(panels[3, 0], report, "photons", "high")
    _brightness(panels[3, 1], report, "photons", "low")
    _brightness(panels[3, 2], report, "background", None)
    for axis in panels[2, :2]:
        axis.set_xticks(DENSITIES_PER_UM2, [f"{d:g}" for d in DENSITIES_PER_UM2])
        axis.xaxis.set_minor_locator(NullLocator())
    for axis in panels.flat:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=60)
    plt.close(figure)


def _over_z(panel: Any, report: dict[str, Any], axis: str) -> None:
    grid = report["isolated"]["grid"]
    for number, photons in enumerate(_SHOWN_PHOTONS):
        rows = [r for r in grid if r["photons"] == photons]
        z = [r["z_nm"] for r in rows]
        color = f"C{number}"
        panel.plot(z, [r[f"bound_{axis}"] for r in rows], "-", color=color, lw=1)
        panel.plot(z, [r.get(f"rmse_{axis}", np.nan) for r in rows], "o", color=color, ms=4,
                   label=f"{photons:g} photons")  # fmt: skip
        panel.plot(z, [r.get(f"sigma_{axis}", np.nan) for r in rows], "x", color=color, ms=5)
    panel.set(yscale="log", xlabel="z in nm", ylabel=f"nm in {axis}",
              title="isolated: bound (-), RMSE (o), sigma (x)")  # fmt: skip
    panel.legend(fontsize=7)


def _places(panel: Any, report: dict[str, Any], density: float) -> None:
    for row in report["densities"]:
        if row["density_per_um2"] == density:
            for axis, style in (("x", "-"), ("y", ":")):
                heights = row["place_in_pixel"][axis]
                edges = np.linspace(0, 1, len(heights) + 1)
                panel.stairs(heights, edges, ls=style, label=f"{axis}, {row['snr']} SNR")
    panel.axhline(1, color="k", lw=0.7)
    panel.set(ylim=(0, 2), xlabel="place in pixel", title=f"found at {density:g} per um²")
    panel.legend(fontsize=7)


def _times(panels: Any, report: dict[str, Any]) -> None:
    for panel, name in zip(panels, ("cpu_ms_per_frame", "cpu_us_per_emitter"), strict=True):
        for snr, style in (("high", "o-"), ("low", "s--")):
            rows = [r for r in report["densities"] if r["snr"] == snr]
            panel.plot([r["density_per_um2"] for r in rows], [r[name] for r in rows], style, ms=4,
                       label=f"{snr} SNR")  # fmt: skip
        panel.set(xscale="log", yscale="log", xlabel="emitters per um²",
                  title=name.replace("_", " ") + ", 64 px")  # fmt: skip
        panel.legend(fontsize=7)


def _history(panel: Any, report: dict[str, Any]) -> None:
    history = report["history"]
    minutes = [row.get("cpu_s", row["elapsed_s"]) / 60 for row in history]
    for name in ("efficiency_3d", "jaccard", "precision", "recall"):
        values = [np.nan if row[name] is None else row[name] for row in history]
        panel.plot(minutes, values, "o-", ms=3, label=name.replace("_", " "))
    panel.set(xlabel="CPU-minutes of training", ylim=(-0.2, 1), title="held-out simulation")
    panel.legend(fontsize=7)


def _brightness(panel: Any, report: dict[str, Any], name: str, snr: str | None) -> None:
    highest = 1.0
    for row in report["uneven_background"]:
        if snr in (None, row["snr"]) and row[f"{name}_true"]:
            true, inferred = row[f"{name}_true"], row[f"{name}_inferred"]
            highest = max(highest, *true, *inferred)
            panel.plot(true, inferred, ".", ms=3, label=f"{row['background']:g}, {row['snr']}")
    panel.plot([0, highest], [0, highest], "k-", lw=0.7)
    words = f"{name}, {snr} SNR" if snr else name
    panel.set(xlabel=f"true {name}", ylabel=f"inferred {name}", title=f"uneven background: {words}")
    panel.legend(fontsize=6, title="background, SNR", title_fontsize=6)
