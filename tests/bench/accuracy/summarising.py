"""From measured rows to the numbers of the JSON file."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tests.bench.accuracy.conditions import ISOLATED_PHOTONS, ISOLATED_Z_NM
from tests.bench.accuracy.measuring import AXES, PHOTON_EDGES, Result

_SHOWN_PAIRS = 120  # in a figure

Rows = dict[str, NDArray[np.float64]]


def movie_summary(result: Result) -> dict[str, object]:
    """Scores of one set at the working threshold, the best threshold, and the curve."""
    curve = result.curve()
    best = max(curve, key=lambda row: np.nan_to_num(row["efficiency_3d"], nan=-np.inf))
    movie = result.movie
    return {
        "name": movie.name,
        "density_per_um2": movie.density_per_um2,
        "snr": movie.snr,
        "frames": movie.n_frames,
        "emitters": len(result.truth),
        **result.scores(),
        "best_threshold": best["threshold"],
        "best_efficiency_3d": best["efficiency_3d"],
        "background_ratio": result.background_ratio(),
        "place_in_pixel": result.place_in_pixel(),
        "reliability": result.reliability(),
        "cpu_ms_per_frame": 1e3 * result.cpu_s / movie.n_frames,
        "cpu_us_per_emitter": 1e6 * result.cpu_s / max(1, len(result.truth)),
        "curve": curve,
    }


def brightness_summary(result: Result) -> dict[str, object]:
    """Inferred against true photons and background: ratio, correlation and some of the pairs."""
    rows = result.brightness()
    summary: dict[str, object] = {
        "name": result.movie.name,
        "snr": result.movie.snr,
        "background": result.movie.background,
        "pairs": len(rows["photons_true"]),
    }
    for name in ("photons", "background"):
        true, inferred = rows[f"{name}_true"], rows[f"{name}_inferred"]
        if len(true) > 2:
            summary[f"{name}_median_ratio"] = float(np.median(inferred / true))
            summary[f"{name}_correlation"] = float(np.corrcoef(true, inferred)[0, 1])
    shown = np.linspace(0, len(rows["photons_true"]) - 1, _SHOWN_PAIRS).astype(int)
    shown = np.unique(shown) if len(rows["photons_true"]) else shown[:0]
    return summary | {name: values[shown].tolist() for name, values in rows.items()}


def calibration_summary(results: Sequence[Result]) -> list[dict[str, object]]:
    """std(error / sigma) by axis in bins of true photons, over all densities of a group."""
    errors = [result.normal_errors() for result in results]
    joined = {name: np.concatenate([e[name] for e in errors]) for name in errors[0]}
    rows: list[dict[str, object]] = []
    for low, high in itertools.pairwise(PHOTON_EDGES):
        inside = (joined["photons"] >= low) & (joined["photons"] < high)
        row: dict[str, object] = {"photons_from": low, "pairs": int(inside.sum())}
        if inside.sum() >= 20:
            row |= {f"std_{axis}": float(np.std(joined[axis][inside])) for axis in AXES}
            coverage = {a: float(np.mean(np.abs(joined[a][inside]) < 1)) for a in AXES}
            row |= {f"within_1_sigma_{axis}": coverage[axis] for axis in AXES}
        rows.append(row)
    return rows


def isolated_summary(rows: Rows) -> dict[str, object]:
    """RMSE over the bound and std(error / sigma) in total, by photons and by z."""
    by_photons = [{"photons": p, **_ratios(rows, rows["photons"] == p)} for p in ISOLATED_PHOTONS]
    by_z = [{"z_nm": z, **_ratios(rows, rows["z_nm"] == z)} for z in ISOLATED_Z_NM]
    grid = [
        {"photons": p, "z_nm": z, **_sizes(rows, (rows["photons"] == p) & (rows["z_nm"] == z))}
        for p in ISOLATED_PHOTONS
        for z in ISOLATED_Z_NM
    ]
    everything = np.ones_like(rows["z_nm"], dtype=bool)
    return {**_ratios(rows, everything), "by_photons": by_photons, "by_z": by_z, "grid": grid}


def _ratios(rows: Rows, chosen: NDArray[np.bool_]) -> dict[str, float]:
    found = chosen & (rows["found"] > 0)
    numbers = {"recall": float(rows["found"][chosen].mean())}
    if not found.any():
        return numbers
    for axis in AXES:
        error, bound, sigma = (rows[f"{n}_{axis}"][found] for n in ("error", "bound", "sigma"))
        numbers[f"rmse_over_bound_{axis}"] = float(np.sqrt(np.mean((error / bound) ** 2)))
        numbers[f"median_over_bound_{axis}"] = float(1.4826 * np.median(np.abs(error) / bound))
        numbers[f"sigma_over_bound_{axis}"] = float(np.median(sigma / bound))
        numbers[f"std_{axis}"] = float(np.std(error / sigma))
    return numbers


def _sizes(rows: Rows, chosen: NDArray[np.bool_]) -> dict[str, float]:
    """RMSE, median sigma and bound in nm of one kind of emitter."""
    found = chosen & (rows["found"] > 0)
    numbers: dict[str, float] = {}
    for axis in AXES:
        numbers[f"bound_{axis}"] = float(np.mean(rows[f"bound_{axis}"][chosen]))
        if found.sum() >= 4:
            numbers[f"rmse_{axis}"] = float(np.sqrt(np.mean(rows[f"error_{axis}"][found] ** 2)))
            numbers[f"sigma_{axis}"] = float(np.median(rows[f"sigma_{axis}"][found]))
    return numbers


def headline(movies: Sequence[dict[str, object]]) -> dict[str, float]:
    """Efficiency of each set, in a form that fits a line."""
    return {str(m["name"]): round(float(str(m["efficiency_3d"])), 3) for m in movies}
