"""One figure of one or several results of the benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

from tests.bench.accuracy.conditions import DENSITIES_PER_UM2

_AXES = ("x", "y", "z")


def draw(reports: list[dict[str, Any]], path: Path) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import NullLocator

    figure, panels = plt.subplots(3, 4, figsize=(17, 11), layout="constrained")
    for number, report in enumerate(reports):
        color, label = f"C{number}", _label(report)
        _densities(panels[0], report, color, label)
        _curves(panels[1, 0], report, color, label)
        _isolated(panels[1, 1:3], report, color, label)
        _sigma_isolated(panels[1, 3], report, color)
        _sigma(panels[2, 0:2], report, color)
        _perturbed(panels[2, 2], report, number, len(reports), label)
        _compute(panels[2, 3], report, color, label)
    panels[0, 0].legend(fontsize=7)
    for axis in (*panels[0], panels[2, 0]):
        axis.set_xticks(DENSITIES_PER_UM2, [f"{d:g}" for d in DENSITIES_PER_UM2], minor=False)
        axis.xaxis.set_minor_locator(NullLocator())
        axis.set_xlim(0.17, 9.4)
    # Fixed: a network that finds nothing leaves these empty, and logarithms need a range.
    for axis in (panels[1, 1], panels[1, 3], panels[2, 1]):
        axis.set_xlim(80, 3e4)
    for axis in panels[1, 1:3]:
        axis.set_ylim(0.3, 50)
    for axis in panels.flat:
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=70)
    plt.close(figure)


def _label(report: dict[str, Any]) -> str:
    options = " ".join(f"{k}={v}" for k, v in report["network_options"].items())
    frames = "" if report["context_frames"] == 3 else ", 1 frame"
    minutes = report["training_cpu_minutes"]
    words = f"{report['network']} {options}".strip()
    return f"{words}{frames}, {minutes:.3g} CPU-min" if minutes else words


def _densities(panels: Any, report: dict[str, Any], color: str, label: str) -> None:
    shown = ("efficiency_3d", "jaccard", "rmse_lateral_nm", "rmse_axial_nm")
    for axis, name in zip(panels, shown, strict=True):
        for snr, style in (("high", "o-"), ("low", "s--")):
            rows = [m for m in report["densities"] if m["snr"] == snr]
            values = [np.nan if m[name] is None else m[name] for m in rows]
            axis.plot(
                [m["density_per_um2"] for m in rows], values, style, color=color, ms=4,
                label=f"{label}, {snr} SNR",
            )  # fmt: skip
        axis.set(xscale="log", xlabel="emitters per um²", title=name.replace("_", " "))


def _curves(axis: Any, report: dict[str, Any], color: str, label: str) -> None:
    for density, style in ((1.0, "-"), (4.0, ":")):
        for m in report["densities"]:
            if m["density_per_um2"] == density and m["snr"] == "high":
                recall = [row["recall"] for row in m["curve"]]
                axis.plot(recall, [row["precision"] for row in m["curve"]], style, color=color)
    axis.set(xlabel="recall", ylabel="precision", title="over the threshold; 1 (-), 4 (:) per um²")


def _isolated(panels: Any, report: dict[str, Any], color: str, label: str) -> None:
    for axis, key, x in zip(panels, ("by_photons", "by_z"), ("photons", "z_nm"), strict=True):
        rows = [r for r in report["isolated"][key] if "rmse_over_bound_x" in r]
        for name, style in zip(_AXES, ("o-", "^--", "s:"), strict=True):
            values = [r[f"rmse_over_bound_{name}"] for r in rows]
            axis.plot([r[x] for r in rows], values, style, color=color, ms=4)
        axis.axhline(1, color="k", lw=0.7)
        axis.set(xlabel=x.replace("_", " "), yscale="log",
                 title="isolated: RMSE / bound; x (-) y (--) z (:)")  # fmt: skip
    panels[0].set(xscale="log")


def _sigma_isolated(axis: Any, report: dict[str, Any], color: str) -> None:
    rows = [r for r in report["isolated"]["by_photons"] if "std_x" in r]
    for name, style in zip(_AXES, ("o-", "^--", "s:"), strict=True):
        axis.plot([r["photons"] for r in rows], [r[f"std_{name}"] for r in rows], style,
                  color=color, ms=4)  # fmt: skip
    axis.axhspan(0.9, 1.1, color="k", alpha=0.1)
    axis.set(xscale="log", xlabel="photons", title="isolated: std(error / sigma)")


def _sigma(panels: Any, report: dict[str, Any], color: str) -> None:
    for name, style in zip(_AXES, ("o-", "^--", "s:"), strict=True):
        rows = [m for m in report["densities"] if m["snr"] == "high"]
        values = [np.nan if m[f"z_score_{name}"] is None else m[f"z_score_{name}"] for m in rows]
        panels[0].plot([m["density_per_um2"] for m in rows], values, style, color=color, ms=4)
        bins = [b for b in report["sigma_by_photons"]["high"] if f"std_{name}" in b]
        panels[1].plot([b["photons_from"] for b in bins], [b[f"std_{name}"] for b in bins], style,
                       color=color, ms=4)  # fmt: skip
    panels[0].set(xscale="log", xlabel="emitters per um²", title="std(error / sigma), high SNR")
    panels[1].set(
        xscale="log", xlabel="true photons from", title="std(error / sigma), all densities"
    )
    for axis in panels:
        axis.axhspan(0.9, 1.1, color="k", alpha=0.1)


def _perturbed(axis: Any, report: dict[str, Any], number: int, count: int, label: str) -> None:
    rows = report["perturbed"]
    place = np.arange(len(rows)) + 0.8 * number / count
    axis.barh(place, [m["efficiency_3d"] for m in rows], height=0.8 / count, color=f"C{number}")
    if number == 0:
        axis.set_yticks(np.arange(len(rows)) + 0.4, [m["name"] for m in rows], fontsize=7)
    axis.set(title="efficiency 3d, perturbed")


def _compute(axis: Any, report: dict[str, Any], color: str, label: str) -> None:
    rows = [m for m in report["densities"] if m["snr"] == "high"]
    mean = float(np.mean([m["efficiency_3d"] for m in rows if m["efficiency_3d"] is not None]))
    axis.plot([report["training_cpu_minutes"] or np.nan], [mean], "o", color=color)
    rate = report["throughput"]["frames_per_cpu_s_64px"]
    axis.annotate(f" {rate:.0f} frames/CPU-s", (report["training_cpu_minutes"] or 1, mean),
                  fontsize=7)  # fmt: skip
    axis.set(xlabel="training, CPU-minutes", title="mean efficiency 3d, high SNR")
