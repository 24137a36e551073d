"""Quality of calibrations made from the real beads; prints JSON lines.

Run ``python -m tests.bench.calibration``; the folder of real data is ``$DECODE_DATA`` or the
``shared/data`` folder beside the repository. Single-bead lines fit a bead with its own
calibration; ``across beads`` fits each bead with the calibration of the other.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
import torch

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.domain.calibration import SplinePsf
from decode_engine.io.calibrations import read_calibration
from decode_engine.psf.beads.calibrate import BeadCalibrationResult, calibrate_beads
from decode_engine.psf.fitting import FitOptions, fit_emitters
from decode_engine.psf.spline import SplinePsfModel
from tests.conftest import REPOSITORY

BEADS = ("fit3Dcspline_single_bead.tif", "fit3Dcspline_single_bead_v0.tif")
CONFIG = CalibrateConfig(
    dz_nm=10.0, pixel_size_x_nm=100.0, roi_px=17, offset_adu=400.0, photons_per_adu=10.0
)
JUDGED_NM = 600.0


def spline_of(result: BeadCalibrationResult) -> SplinePsf:
    assert isinstance(result.calibration.psf, SplinePsf)
    return result.calibration.psf


def numbers(result: BeadCalibrationResult, seconds: float) -> dict[str, Any]:
    quality = result.calibration.quality
    assert quality is not None
    focus = int(np.argmin(np.abs(quality.z_nm)))
    return {
        "spline_residual_percent_of_peak": 100 * quality.residual_rms,
        "bead_residual_percent_of_peak": [100 * c.residual_rms for c in result.checks],
        "z_slope": result.axial.slope,
        "z_rms_nm": result.axial.rms_nm,
        "z_range_nm": result.calibration.z_range_nm,
        "crlb_at_focus_nm": [
            quality.crlb_x_nm[focus],
            quality.crlb_y_nm[focus],
            quality.crlb_z_nm[focus],
        ],
        "seconds": seconds,
    }


def across(model_of: BeadCalibrationResult, other: BeadCalibrationResult, stack: Any) -> Any:
    """Fit each slice of another bead; slope and scatter against the stage."""
    model = SplinePsfModel.from_parameters(spline_of(model_of), dtype=torch.float64)
    bead, z0 = other.beads[0], spline_of(other).z0_slice
    y, x = round(bead.y_px), round(bead.x_px)
    stage = -(np.arange(len(stack)) - z0) * CONFIG.dz_nm
    judged = np.abs(stage) <= JUDGED_NM
    windows = (stack[judged, y - 6 : y + 7, x - 6 : x + 7].astype(np.float64) - 400) * 10
    options = FitOptions(z_starts_nm=(-400.0, 0.0, 400.0), max_iterations=100)
    fitted = fit_emitters(model, torch.from_numpy(windows), options=options).z_nm.numpy()
    slope, offset = np.polyfit(stage[judged], fitted, 1)
    scatter = fitted - slope * stage[judged] - offset
    return {"z_slope": slope, "offset_nm": offset, "z_rms_nm": float(np.std(scatter))}


def against_smap(result: BeadCalibrationResult, path: Path) -> dict[str, float]:
    """Compare with SMAP's calibration of the same bead at the same places."""
    smap = read_calibration(path).psf
    assert isinstance(smap, SplinePsf)
    bead, ours = result.beads[0], spline_of(result)
    z_nm = torch.arange(-JUDGED_NM, JUDGED_NM + 1, 25.0, dtype=torch.float64)
    zero = torch.zeros_like(z_nm)
    shift_nm = (101 - bead.z_slice - ours.z0_slice) * ours.dz_nm
    a = SplinePsfModel.from_parameters(smap, dtype=torch.float64).value(zero, zero, z_nm, 13)
    b = SplinePsfModel.from_parameters(ours, dtype=torch.float64).value(
        zero + bead.x_px - 11, zero + bead.y_px - 9, z_nm - shift_nm, 13
    )
    return {
        "correlation": float(np.corrcoef(a.flatten(), b.flatten())[0, 1]),
        "rms_percent_of_peak": 100 * float(((a - b) ** 2).mean().sqrt() / a.max()),
        "photon_ratio": float(b.sum() / a.sum()),
    }


def main() -> None:
    data = Path(os.environ.get("DECODE_DATA", REPOSITORY.parent / "shared" / "data"))
    stacks = [tifffile.imread(data / "bead_stacks" / name) for name in BEADS]
    singles = []
    for name, stack in zip(BEADS, stacks, strict=True):
        start = time.perf_counter()
        singles.append(calibrate_beads([stack], CONFIG, names=[name]))
        seconds = time.perf_counter() - start
        print(json.dumps({"bench": "calibration", "beads": name, **numbers(singles[-1], seconds)}))
    start = time.perf_counter()
    both = calibrate_beads(stacks, CONFIG, names=BEADS)
    seconds = time.perf_counter() - start
    print(json.dumps({"bench": "calibration", "beads": "both", **numbers(both, seconds)}))
    for first, second in ((0, 1), (1, 0)):
        result = across(singles[first], singles[second], stacks[second])
        print(json.dumps({"bench": "across beads", "calibration": BEADS[first], **result}))
    smap = data / "calibrations" / "smap_made_real_bead_1bead_3dcal.mat"
    print(json.dumps({"bench": "against SMAP", **against_smap(singles[0], smap)}))


if __name__ == "__main__":
    main()
