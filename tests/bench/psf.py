"""Speed and accuracy of the PSF room: ``python -m tests.bench.psf [seconds per timing]``.

Prints one JSON object per line. Times are CPU seconds of one thread (`time.process_time`), so
other programs on the machine matter little; multiply by the number of cores for a machine.

The accuracy table uses the real bead calibration where the data folder is there, and a
synthetic astigmatic spline otherwise.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from decode_engine.domain.calibration import SplinePsf
from decode_engine.psf.detection import DetectionOptions, detection_width_px, find_candidates
from decode_engine.psf.fisher import crlb
from decode_engine.psf.fitting import fit_emitters
from decode_engine.psf.spline import SplinePsfModel
from decode_engine.psf.spline_coefficients import spline_coefficients
from tests.psf_samples import astigmatic_spline, sampled_stack


def cpu_seconds(work: Callable[[], object], budget_s: float) -> float:
    """Median CPU time of one call, after one to warm up."""
    work()
    times: list[float] = []
    while sum(times) < budget_s or len(times) < 3:
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return float(np.median(times))


def report(name: str, **values: object) -> None:
    print(json.dumps({"bench": name, **values}))


def places(number: int, z_nm: float, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    x, y, z = torch.rand(3, number, generator=generator) - 0.5
    return x, y, 2 * z_nm * z


def drawing(budget_s: float) -> None:
    """27 x 27 px windows of a stack with 27 x 27 x 201 samples, the size SMAP makes."""
    psf = SplinePsfModel.from_parameters(astigmatic_spline(27, 201, 10.0))
    for number in (500, 2_500, 10_000, 40_000):
        place = places(number, 700.0)
        seconds = cpu_seconds(lambda place=place: psf.value(*place, 27), budget_s)
        rate = number / seconds
        report(
            "spline_27px",
            batch=number,
            emitters_per_s_per_core=round(rate),
            bar=100_000,
            ratio=round(rate / 1e5, 2),
        )
    place = places(8192, 500.0)
    seconds = cpu_seconds(lambda: psf.value_and_gradient(*place, 13), budget_s)
    report("spline_13px_with_gradient", emitters_per_s_per_core=round(8192 / seconds))


def coefficients(budget_s: float) -> None:
    rng = np.random.default_rng(0)
    stack = rng.normal(size=(27, 27, 201))
    seconds = cpu_seconds(lambda: spline_coefficients(stack), budget_s)
    report("coefficients_27x27x201", seconds=round(seconds, 3))
    stack = sampled_stack(19, 53)
    psf = SplinePsfModel.from_parameters(astigmatic_spline(), dtype=torch.float64)
    x, y, z = (p.double() for p in places(200, 640.0))
    steps = np.arange(15) - 7
    axes = [CubicSpline(np.arange(n), np.eye(n), bc_type="not-a-knot") for n in stack.shape]
    expected = np.stack(
        [
            np.einsum("vy,ux,z,yxz->vu", axes[0](9 + steps - b), axes[1](9 + steps - a), w, stack)
            for a, b, w in zip(x.numpy(), y.numpy(), axes[2](26 - z.numpy() / 25), strict=True)
        ]
    )
    difference = np.abs(psf.value(x, y, z, 15).numpy() - expected).max() / expected.max()
    report("spline_against_scipy", largest_difference_of_peak=float(difference), bar=1e-6)


def real_or_synthetic() -> tuple[str, SplinePsf]:
    default = Path(__file__).resolve().parents[3] / "shared" / "data"
    folder = Path(os.environ.get("DECODE_DATA", default)) / "calibrations"
    file = folder / "smap_made_real_bead_1bead_3dcal.mat"
    if not file.exists():
        return "synthetic astigmatic spline", astigmatic_spline()
    from scipy.io import loadmat  # only where the file is

    spline = loadmat(file, struct_as_record=False, squeeze_me=True)["SXY"].cspline
    center_px = float(spline.x0) - 1
    return "real bead", SplinePsf(
        coefficients=spline.coeff,
        dz_nm=float(spline.dz),
        z0_slice=float(spline.z0),
        center_x_px=center_px,
        center_y_px=center_px,
    )


def fitting(budget_s: float) -> None:
    name, parameters = real_or_synthetic()
    psf = SplinePsfModel.from_parameters(parameters)
    generator = torch.Generator().manual_seed(1)
    number = 20_000
    x, y, z = places(number, 500.0)
    images = torch.poisson((5000 * psf.value(x, y, z, 13) + 20).clamp(min=0), generator=generator)
    seconds = cpu_seconds(lambda: fit_emitters(psf, images), budget_s)
    rate = number / seconds
    report(
        "fits_13px",
        calibration=name,
        fits_per_s_per_core=round(rate),
        bar=2_500,
        ratio=round(rate / 2500, 2),
    )
    number = 10_000
    photons, background = torch.full((number,), 5000.0), torch.full((number,), 20.0)
    for z_nm in (-500.0, -375.0, -250.0, -125.0, 0.0, 125.0, 250.0, 375.0, 500.0):
        x, y, _ = places(number, 0.0, seed=int(z_nm) + 1000)
        z = torch.full((number,), z_nm)
        mean = (5000 * psf.value(x, y, z, 13) + 20).clamp(min=0)
        fits = fit_emitters(psf, torch.poisson(mean, generator=generator))
        bound = crlb(
            psf, dx_px=x, dy_px=y, z_nm=z, photons=photons, background=background, roi_px=13
        )
        ratios = {
            axis: round(float(((found - truth) / sigma).square().mean().sqrt()), 3)
            for axis, found, truth, sigma in (
                ("x", fits.x_px, x, bound.x_px),
                ("y", fits.y_px, y, bound.y_px),
                ("z", fits.z_nm, z, bound.z_nm),
            )
        }
        report(
            "rmse_over_crlb",
            calibration=name,
            z_nm=z_nm,
            **ratios,
            bar=[0.97, 1.05],
            crlb_z_nm=round(float(bound.z_nm.mean()), 2),
            iterations=round(float(fits.iterations.float().mean()), 1),
            flagged=int((fits.flags != 0).sum()),
        )


def detection(budget_s: float) -> None:
    _, parameters = real_or_synthetic()
    width_px = detection_width_px(SplinePsfModel.from_parameters(parameters))
    frames = torch.poisson(
        torch.full((50, 256, 256), 20.0), generator=torch.Generator().manual_seed(0)
    )
    options = DetectionOptions(width_px=width_px, threshold=5.0)
    seconds = cpu_seconds(lambda: find_candidates(frames, options=options), budget_s)
    report("detection_256px", frames_per_s_per_core=round(50 / seconds))


def main() -> None:
    torch.set_num_threads(1)
    budget_s = float(sys.argv[1]) if len(sys.argv) > 1 else 2.0
    drawing(budget_s)
    coefficients(budget_s)
    fitting(budget_s)
    detection(budget_s)


if __name__ == "__main__":
    main()
