"""PSFs that are not quite what the network was told: other beads, and aberrations.

Other beads: what each of the two real beads would have given alone. They come from one
instrument and differ from their average by 2 to 4 % (root mean square).

Aberrations: random low-order Zernike modes of lambda / 20 (root mean square). The measured PSF
knows no phase, so the change is computed for a diffraction PSF and added to it:

    true = told + s * (I(pupil, aberrated) - I(pupil))

The pupil of the real beads was fitted once to 13 slices of their spline (NA, wavelength, scale
and offset of z, Zernike modes; the residual is 11 % of the spline, most of it the pedestal that
SMAP's normalisation leaves), that of the bundled example is known. ``s`` is the part of the
light that the told PSF holds. An error of the pupil enters the change only, which is small.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray

from decode_engine.domain.calibration import Calibration, SplinePsf
from decode_engine.domain.camera import CameraModel
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.resources import resource_path
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration
from decode_engine.psf.spline_coefficients import spline_coefficients
from tests.bench.accuracy import conditions

ABERRATION_RMS_WAVES = 0.05  # lambda / 20
MODES = ((2, 2), (2, -2), (3, 1), (3, -1), (4, 0), (3, 3), (3, -3), (4, 2), (4, -2))
_ABERRATION_SEEDS = (1, 2, 3)
_OVERSAMPLING = 3


@dataclass(frozen=True, kw_only=True)
class Pupil:
    """A microscope for `diffraction_psf`, and how its z and position relate to a spline's."""

    numerical_aperture: float = 1.45
    wavelength_nm: float = 680.0
    modes_rms_waves: tuple[float, ...] = (0.08, *[0.0] * (len(MODES) - 1))  # of `MODES`
    z_scale: float = 1.0
    z_offset_nm: float = 0.0
    shift_px: tuple[float, float] = (0.0, 0.0)

    def stack(self, z_nm: NDArray[np.float64], roi_px: int, pixel_nm: float) -> NDArray[np.float64]:
        """Return the (Y, X, Z) fractions of the photons of an emitter at each z."""
        diffraction = _diffraction_psf()
        modes = zip(MODES, self.modes_rms_waves, strict=True)
        objective = diffraction.Objective(
            numerical_aperture=self.numerical_aperture,
            wavelength_nm=self.wavelength_nm,
            astigmatism_rms_waves=0.0,
            aberrations_rms_waves=tuple((n, m, value) for (n, m), value in modes),
        )
        images: NDArray[np.float64] = diffraction.psf_stack(
            objective,
            self.z_scale * z_nm + self.z_offset_nm,
            roi_px=roi_px,
            pixel_size_nm=pixel_nm,
            shift_px=self.shift_px,
            oversampling=_OVERSAMPLING,
        )
        return images

    def aberrated(self, change_rms_waves: NDArray[np.float64]) -> Pupil:
        modes = np.add(self.modes_rms_waves, change_rms_waves)
        return dataclasses.replace(self, modes_rms_waves=tuple(modes.tolist()))


EXAMPLE = Pupil()
BEADS = Pupil(
    numerical_aperture=1.1373,
    wavelength_nm=662.29,
    modes_rms_waves=(0.0803, -0.0055, 0.0, 0.0006, -0.0017, 0.0011, 0.0027, 0.0147, -0.0008),
    z_scale=-1.5517,
    z_offset_nm=31.48,
    shift_px=(-0.0397, 0.0301),
)


def draw_aberration(seed: int) -> NDArray[np.float64]:
    """Return coefficients of `MODES` that are `ABERRATION_RMS_WAVES` together."""
    values = np.random.default_rng([conditions.TEST_SEED, seed]).normal(size=len(MODES))
    return np.asarray(ABERRATION_RMS_WAVES * values / np.linalg.norm(values))


def aberrated(
    told: Calibration, pupil: Pupil, change_rms_waves: NDArray[np.float64]
) -> Calibration:
    """Return a calibration's PSF with an aberration; both are splines of z in the stage."""
    psf = told.psf
    assert isinstance(psf, SplinePsf)
    assert told.pixel_size_x_nm is not None
    samples = node_samples(told)
    z_nm = -(np.arange(samples.shape[2]) - psf.z0_slice) * psf.dz_nm
    before = pupil.stack(z_nm, len(samples), told.pixel_size_x_nm)
    after = pupil.aberrated(change_rms_waves).stack(z_nm, len(samples), told.pixel_size_x_nm)
    part = samples.sum() / before.sum()
    changed = np.clip(samples + part * (after - before), 0.0, None)
    return dataclasses.replace(
        told, psf=dataclasses.replace(psf, coefficients=spline_coefficients(changed))
    )


def node_samples(calibration: Calibration) -> NDArray[np.float64]:
    """Return the (Y, X, Z) samples that a calibration's spline goes through."""
    psf = calibration.psf
    assert isinstance(psf, SplinePsf)
    model = psf_from_calibration(calibration)
    size_px, n = psf.coefficients.shape[0] + 1, psf.coefficients.shape[2] + 1
    z_nm = -(torch.arange(n, dtype=model.dtype) - psf.z0_slice) * psf.dz_nm
    images = model.value(torch.zeros(n), torch.zeros(n), z_nm, size_px)
    return images.double().numpy().transpose(1, 2, 0)


def true_psfs(told: Calibration, camera: CameraModel) -> dict[str, PsfModel]:
    """Return what sets are simulated with, by name; ``told`` is what the network knows."""
    example = read_calibration(resource_path("example", "calibration.h5"))
    is_example = told.fingerprint() == example.fingerprint()
    pupil = EXAMPLE if is_example else BEADS
    calibrations = {"told": told}
    for seed in _ABERRATION_SEEDS:
        calibrations[f"aberration {seed}"] = aberrated(told, pupil, draw_aberration(seed))
    if not is_example:
        for number, calibration in enumerate(conditions.single_bead_calibrations(), 1):
            calibrations[f"bead {number} alone"] = calibration
    return {
        name: psf_from_calibration(
            calibration,
            pixel_size_x_nm=camera.pixel_size_x_nm,
            pixel_size_y_nm=camera.pixel_size_y_nm,
        )
        for name, calibration in calibrations.items()
    }


def _diffraction_psf() -> ModuleType:
    """Import the installer's module, which is no package of its own."""
    name = "diffraction_psf"
    if name not in sys.modules:
        path = Path(__file__).parents[3] / "installer" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # its dataclasses look themselves up there
        spec.loader.exec_module(module)
    return sys.modules[name]
