"""What the benchmark simulates: PSF, cameras, training distribution, test sets. Frozen.

Nothing is stored: sets follow from their names (`named_generator` with `TEST_SEED`), which no
training or validation uses. Changing anything here makes earlier results incomparable; raise
`VERSION` then.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile
from numpy.typing import NDArray

from decode_engine.contract.configs import CalibrateConfig, SimulationConfig
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.resources import resource_path
from decode_engine.psf.beads.calibrate import calibrate_beads

# 2: perturbed sets of one chunk, with aberrated PSFs; uneven backgrounds.
# 3: trainings see samples that are bright or dim as a whole; the test sets are those of 2.
VERSION = 3
TEST_SEED = 771_913  # of the test sets only
Z_LIMIT_NM = 600.0
FRAME_PX = 64
DENSITIES_PER_UM2 = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
# Frames of a set at scale 1: about as many emitters in each, 300 to 5,000 (neighbours in time
# show the same molecules).
FRAMES = {0.2: 160, 0.5: 80, 1.0: 56, 2.0: 40, 4.0: 24, 8.0: 16}
PERTURBED_DENSITY = 1.0
BACKGROUNDS = (15.0, 30.0, 60.0)  # of the sets with uneven background
UNEVEN_BACKGROUND = 0.5  # relative variation; trainings know 0.2
_UNEVEN_FRAMES = 24
_CHUNK_FRAMES = 16  # fixed: random numbers depend on it
ISOLATED_Z_NM = tuple(float(z) for z in range(-500, 501, 100))
ISOLATED_PHOTONS = (500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0)
ISOLATED_REPEATS = 24
BACKGROUND = 30.0
PIXEL_NM = 100.0
_BEADS = ("fit3Dcspline_single_bead.tif", "fit3Dcspline_single_bead_v0.tif")

CAMERAS = {
    "scmos": CameraModel(
        kind="scmos", name="benchmark sCMOS", pixel_size_x_nm=PIXEL_NM, pixel_size_y_nm=PIXEL_NM,
        offset_adu=100, e_per_adu=0.47, quantum_efficiency=0.82, read_noise_e=1.6,
    ),
    # The EMCCD of the SMLM challenge 2016.
    "emccd": CameraModel(
        kind="emccd", name="benchmark EMCCD", pixel_size_x_nm=PIXEL_NM, pixel_size_y_nm=PIXEL_NM,
        offset_adu=100, e_per_adu=45, em_gain=300, quantum_efficiency=0.9, read_noise_e=74.4,
        spurious_charge_e=0.002,
    ),
}  # fmt: skip

_SNR = {"high": (5000.0, 1000.0), "low": (1000.0, 200.0)}  # flux: mean, standard deviation


def training_simulation() -> SimulationConfig:
    """All densities, photons and backgrounds of the test sets at once, unperturbed.

    The molecules of a movie are of one kind, so a sample is bright or dim as a whole.
    """
    return SimulationConfig(
        density_min_per_um2=0.2,
        density_max_per_um2=8.0,
        flux_distribution="lognormal",
        flux_mean=3500.0,
        flux_std=1400.0,
        flux_spread=5.0,
        z_min_nm=-Z_LIMIT_NM,
        z_max_nm=Z_LIMIT_NM,
        background_min=10.0,
        background_max=70.0,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieSet:
    """One simulated movie of the benchmark."""

    name: str
    group: str  # density, perturbed, background
    density_per_um2: float
    snr: str
    n_frames: int
    width_scale: float = 1.0
    z_scale: float = 1.0
    gain: float = 1.0
    background: float = BACKGROUND
    background_variation: float = 0.2
    psf: str = "told"  # a name of `optics.true_psfs`
    chunk_frames: int = _CHUNK_FRAMES

    @property
    def seed_name(self) -> str:
        """Perturbed sets show the same molecules, so that their differences are of pairs.

        Noise takes as many random numbers as the light asks for, so molecules that are drawn
        after it differ; perturbed sets are drawn in one chunk.
        """
        return self.group if self.group == "perturbed" else f"{self.group}/{self.name}"

    def simulation(self) -> SimulationConfig:
        mean, std = _SNR[self.snr]
        return SimulationConfig(
            density_min_per_um2=self.density_per_um2,
            density_max_per_um2=self.density_per_um2,
            flux_mean=mean,
            flux_std=std,
            z_min_nm=-Z_LIMIT_NM,
            z_max_nm=Z_LIMIT_NM,
            background_min=self.background,
            background_max=self.background,
            background_variation=self.background_variation,
        )


def density_sets(scale: float) -> Iterator[MovieSet]:
    for snr in _SNR:
        for density in DENSITIES_PER_UM2:
            yield MovieSet(
                name=f"density {density:g} {snr}",
                group="density",
                density_per_um2=density,
                snr=snr,
                n_frames=_scaled(FRAMES[density], scale),
            )


_PERTURBATIONS: dict[str, dict[str, float]] = {
    "none": {},
    "PSF 5 % wider": {"width_scale": 1.05},
    "PSF 5 % narrower": {"width_scale": 0.95},
    "z scale +5 %": {"z_scale": 1.05},
    "z scale -5 %": {"z_scale": 0.95},
    "gain +10 %": {"gain": 1.1},
    "gain -10 %": {"gain": 0.9},
    "background x2": {"background": 2 * BACKGROUND},
    "background x0.5": {"background": 0.5 * BACKGROUND},
}


def perturbed_sets(scale: float, psfs: Iterable[str] = ()) -> Iterator[MovieSet]:
    """Yield sets in which one thing is not as the network was told, all of the same molecules.

    Parameters
    ----------
    scale : float
    psfs : iterable of str
        Names of `optics.true_psfs`.
    """
    changes: dict[str, dict[str, float | str]] = {k: dict(v) for k, v in _PERTURBATIONS.items()}
    changes["uneven background"] = {"background_variation": UNEVEN_BACKGROUND}
    changes |= {name: {"psf": name} for name in psfs if name != "told"}
    n_frames = _scaled(FRAMES[PERTURBED_DENSITY], scale)
    for name, change in changes.items():
        yield MovieSet(
            name=name,
            group="perturbed",
            density_per_um2=PERTURBED_DENSITY,
            snr="high",
            n_frames=n_frames,
            chunk_frames=n_frames,
            **change,  # type: ignore[arg-type]  # names and numbers of its own fields
        )


def background_sets(scale: float) -> Iterator[MovieSet]:
    """Uneven backgrounds of several levels, to compare inferred with true ones."""
    for snr in _SNR:
        for background in BACKGROUNDS:
            yield MovieSet(
                name=f"background {background:g} {snr}",
                group="background",
                density_per_um2=PERTURBED_DENSITY,
                snr=snr,
                n_frames=_scaled(_UNEVEN_FRAMES, scale),
                background=background,
                background_variation=UNEVEN_BACKGROUND,
            )


def calibration() -> tuple[Calibration, str]:
    """Return the astigmatic spline of the real beads, else the bundled example's; and which."""
    stacks = _bead_stacks()
    if not stacks:
        return read_calibration(resource_path("example", "calibration.h5")), "bundled example"
    result = calibrate_beads(stacks, _BEAD_CONFIG, names=_BEADS)
    return result.calibration, "real beads (fit3Dcspline)"


def single_bead_calibrations() -> list[Calibration]:
    """Return what each bead alone would have given; empty where the beads are not at hand."""
    return [
        calibrate_beads([stack], _BEAD_CONFIG, names=[name]).calibration
        for name, stack in zip(_BEADS, _bead_stacks(), strict=False)
    ]


def _bead_stacks() -> list[NDArray[Any]]:
    root = Path(os.environ.get("DECODE_DATA", Path(__file__).parents[4] / "shared" / "data"))
    paths = [root / "bead_stacks" / name for name in _BEADS]
    return [tifffile.imread(p) for p in paths] if all(p.exists() for p in paths) else []


# What the beads' authors say about them; the pixel size is the benchmark's.
_BEAD_CONFIG = CalibrateConfig(
    dz_nm=10.0,
    pixel_size_x_nm=PIXEL_NM,
    roi_px=17,
    z_slices=141,
    offset_adu=400.0,
    photons_per_adu=10.0,
)


def _scaled(frames: int, scale: float) -> int:
    return max(2, round(frames * scale))
