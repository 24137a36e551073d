"""Make the bundled example anew: ``.venv/bin/python installer/make_example.py``.

Writes ``resources/example``: a calibration computed from a scalar diffraction PSF (so it has no
licence but ours), a bead stack simulated from it, a camera, a model trained by the engine, and
a movie of three-dimensional filaments with drift and its truth. Everything is seeded; the model
depends on the machine's speed because its training is a time budget.

    --minutes M    train for M minutes (default 60)
    --keep-model   do everything but the training
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import tifffile
from diffraction_psf import Objective, psf_stack  # beside this script

from decode_engine import api
from decode_engine.contract.configs import SimulationConfig
from decode_engine.contract.messages import EventBody, MetricEvent
from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.models import read_model, write_model
from decode_engine.psf.spline_coefficients import spline_coefficients

EXAMPLE = Path(__file__).resolve().parents[1] / "resources" / "example"
PIXEL_SIZE_NM = 100.0
ROI_PX = 21
DZ_NM = 50.0
SLICES = 31
SIMULATION = SimulationConfig(
    density_min_per_um2=0.3,
    density_max_per_um2=2.5,
    flux_mean=3500.0,
    flux_std=2000.0,
    lifetime_frames=2.0,
    z_min_nm=-700.0,
    z_max_nm=700.0,
    background_min=10.0,
    background_max=60.0,
)


def main() -> None:
    """Make all files of the example."""
    parser = argparse.ArgumentParser(description="Make the bundled example anew.")
    parser.add_argument("--minutes", type=float, default=60.0, help="training time")
    parser.add_argument("--keep-model", action="store_true", help="do not train")
    options = parser.parse_args()
    EXAMPLE.mkdir(parents=True, exist_ok=True)
    make_calibration()
    make_beads()
    make_camera()
    if not options.keep_model:
        train(options.minutes)
    make_movie()


def make_calibration() -> None:
    """Compute the spline of the diffraction PSF, normalised as SMAP's."""
    slices = np.arange(SLICES)
    z0_slice = (SLICES - 1) / 2
    z_nm = -(slices - z0_slice) * DZ_NM
    stack = psf_stack(Objective(), z_nm, roi_px=ROI_PX, pixel_size_nm=PIXEL_SIZE_NM)
    stack /= stack.sum(axis=(0, 1)).max()
    psf = SplinePsf(
        coefficients=spline_coefficients(stack).astype(np.float32),
        dz_nm=DZ_NM,
        z0_slice=z0_slice,
        center_x_px=(ROI_PX - 1) / 2,
        center_y_px=(ROI_PX - 1) / 2,
    )
    calibration = Calibration(
        psf=psf,
        pixel_size_x_nm=PIXEL_SIZE_NM,
        pixel_size_y_nm=PIXEL_SIZE_NM,
        em_mirrored=False,
        source="scalar diffraction PSF with astigmatism, computed (installer/diffraction_psf.py)",
        provenance={"objective": repr(Objective())},
    )
    write_calibration(calibration, EXAMPLE / "calibration.h5", overwrite=True)


def make_beads() -> None:
    """Simulate a field of beads scanned through focus, as a microscope would record it."""
    rng = np.random.default_rng(7)
    size_px, z_nm = 96, -(np.arange(SLICES) - (SLICES - 1) / 2) * DZ_NM
    expected = np.full((SLICES, size_px, size_px), 20.0)
    half = ROI_PX // 2
    for row in range(3):
        for column in range(3):
            y_px, x_px = 18 + 30 * row, 18 + 30 * column
            shift = rng.uniform(-0.5, 0.5, 2)
            image = psf_stack(
                Objective(),
                z_nm + rng.normal(0.0, 15.0),
                roi_px=ROI_PX,
                pixel_size_nm=PIXEL_SIZE_NM,
                shift_px=(shift[0], shift[1]),
            )
            window = np.s_[:, y_px - half : y_px + half + 1, x_px - half : x_px + half + 1]
            expected[window] += rng.uniform(2e4, 4e4) * image.transpose(2, 0, 1)
    adu = rng.poisson(expected) / 0.47 + 100.0 + rng.normal(0.0, 1.6 / 0.47, expected.shape)
    tifffile.imwrite(
        EXAMPLE / "beads.tif",
        np.clip(np.rint(adu), 0, 65535).astype(np.uint16),
        compression="zlib",
        predictor=2,
    )


def make_camera() -> None:
    """Write the camera: a common sCMOS."""
    camera = CameraModel(
        kind="scmos",
        name="Example sCMOS",
        pixel_size_x_nm=PIXEL_SIZE_NM,
        pixel_size_y_nm=PIXEL_SIZE_NM,
        offset_adu=100.0,
        e_per_adu=0.47,
        read_noise_e=1.6,
        saturation_adu=65535.0,
    )
    write_camera(camera, EXAMPLE / "camera.json", overwrite=True)


def train(minutes: float) -> None:
    """Train the default network for the calibration and the camera."""

    def show(event: EventBody) -> None:
        if isinstance(event, MetricEvent):
            print(event.step, event.values, flush=True)

    model = EXAMPLE / "model.decode"
    api.train(
        calibration=EXAMPLE / "calibration.h5",
        camera=EXAMPLE / "camera.json",
        out=model,
        overwrite=True,
        minutes=minutes,
        simulation=SIMULATION,
        on_event=show,
    )
    halve(model)


def halve(model: Path) -> None:
    """Store the weights in half precision: half the size, the same localizations."""
    write_model(read_model(model).with_half_precision(), model, overwrite=True)


def make_movie() -> None:
    """Simulate the movie and its truth."""
    structure = {"prior": "filaments", "z_min_nm": -500.0, "z_max_nm": 500.0}
    api.simulate(
        calibration=EXAMPLE / "calibration.h5",
        camera=EXAMPLE / "camera.json",
        out=EXAMPLE,
        frames=400,
        size_px=(64, 64),
        density_per_um2=0.8,
        drift_nm=(60.0, -40.0, 30.0),
        seed=11,
        overwrite=True,
        **{**SIMULATION.model_dump(exclude={"schema_version"}), **structure},
    )
    (EXAMPLE / "job.json").unlink()


if __name__ == "__main__":
    main()
