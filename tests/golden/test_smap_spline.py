"""Our spline and fitter against files that SMAP and fit3Dcspline wrote themselves.

The real calibration holds one bead on 17 x 17 samples and 199 slices; the golden fits are
Poisson images simulated from it and fitted by fit3Dcspline's own CPU code.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.io import loadmat

from decode_engine.domain.calibration import SplinePsf
from decode_engine.psf.fisher import crlb
from decode_engine.psf.fitting import MleResult, fit_emitters
from decode_engine.psf.spline import SplinePsfModel
from decode_engine.psf.spline_coefficients import spline_coefficients


@pytest.fixture(scope="module")
def smap(shared_data: Path) -> SplinePsf:
    """Read the real calibration with scipy alone."""
    file = shared_data / "calibrations" / "smap_made_real_bead_1bead_3dcal.mat"
    spline = loadmat(file, struct_as_record=False, squeeze_me=True)["SXY"].cspline
    return SplinePsf(
        coefficients=spline.coeff,
        dz_nm=float(spline.dz),
        z0_slice=float(spline.z0),
        center_x_px=float(spline.x0) - 1,
        center_y_px=float(spline.x0) - 1,
    )


@pytest.fixture(scope="module")
def golden(shared_data: Path) -> dict[str, NDArray[np.float64]]:
    with np.load(shared_data / "calibrations" / "fit3Dcspline_golden_fits.npz") as file:
        return dict(file)


def test_images_follow_smaps_definition(smap: SplinePsf) -> None:
    """A loop over pixels that follows the formula of SMAP's fitter, voxel by voxel."""
    rng = np.random.default_rng(0)
    number, size = 25, 11
    dx, dy = rng.uniform(-0.5, 0.5, (2, number))
    z_nm = rng.uniform(-950, 950, number)
    expected = np.zeros((number, size, size))
    for n in range(number):
        # theta runs along dim 1 (rows); offsets as in the fitter's kernel
        x_start, y_start = (
            -(dy[n] + size // 2 - size / 2 + 0.5),
            -(dx[n] + size // 2 - size / 2 + 0.5),
        )
        row0, column0 = math.floor(x_start), math.floor(y_start)
        theta_z = smap.z0_slice - z_nm[n] / smap.dz_nm
        k = math.floor(theta_z)
        shift = math.floor((smap.coefficients.shape[0] + 1 - size) / 2)
        powers = np.kron(
            (theta_z - k) ** np.arange(4),
            np.kron((y_start - column0) ** np.arange(4), (x_start - row0) ** np.arange(4)),
        )
        for i in range(size):
            for j in range(size):
                voxel = smap.coefficients[i + row0 + shift, j + column0 + shift, k]
                expected[n, i, j] = voxel.astype(float) @ powers
    model = SplinePsfModel.from_parameters(smap, dtype=torch.float64)
    found = model.value(*(torch.from_numpy(v) for v in (dx, dy, z_nm)), size).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_coefficients_are_a_not_a_knot_spline_through_their_nodes(smap: SplinePsf) -> None:
    coefficients = smap.coefficients.astype(np.float64)
    found = spline_coefficients(_nodes(coefficients))
    # SMAP solves in single precision: 1e-6 of the largest coefficient is its rounding.
    np.testing.assert_allclose(found, coefficients, atol=3e-6 * np.abs(coefficients).max())


def _nodes(coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """(Y + 1, X + 1, Z + 1) samples: each voxel's first corner, and the last faces."""
    by_power = coefficients.reshape(*coefficients.shape[:3], 4, 4, 4)  # z, x, y
    nodes = np.zeros([n + 1 for n in coefficients.shape[:3]])
    for corner in np.ndindex(2, 2, 2):  # fractions 0 or 1 along y, x, z
        powers = [np.array([1.0, f, f, f]) for f in corner]
        values = np.einsum("jikzxy,y,x,z->jik", by_power, *powers)
        nodes[tuple(slice(f, f + n) for f, n in zip(corner, values.shape, strict=True))] = values
    return nodes


def _golden_fits(smap: SplinePsf, golden: dict[str, NDArray[np.float64]]) -> MleResult:
    images = torch.from_numpy(golden["im13"]).permute(2, 0, 1).contiguous()
    return fit_emitters(SplinePsfModel.from_parameters(smap), images)


def test_fits_agree_with_fit3dcspline(
    smap: SplinePsf, golden: dict[str, NDArray[np.float64]]
) -> None:
    """All 700 images, from -600 to 600 nm, within 5 % of their uncertainty."""
    fits = _golden_fits(smap, golden)
    ours = np.stack(
        [
            fits.y_px.numpy() + 6,
            fits.x_px.numpy() + 6,
            fits.photons.numpy(),
            fits.background.numpy(),
            smap.z0_slice - fits.z_nm.numpy() / smap.dz_nm,
        ],
        axis=1,
    )
    sigma = np.sqrt(golden["CRLB13"])
    assert np.all(fits.flags.numpy() == 0)
    assert np.abs((ours - golden["P13"][:, :5]) / sigma).max() < 0.05
    our_sigma = np.stack(
        [
            fits.sigma_y_px.numpy(),
            fits.sigma_x_px.numpy(),
            fits.sigma_photons.numpy(),
            fits.sigma_background.numpy(),
            fits.sigma_z_nm.numpy() / smap.dz_nm,
        ],
        axis=1,
    )
    np.testing.assert_allclose(our_sigma, sigma, rtol=5e-3)
    np.testing.assert_allclose(fits.log_likelihood.numpy(), golden["LogL13"][:, 0], atol=5e-3)


@pytest.mark.parametrize("z_nm", [-500.0, -250.0, 0.0, 250.0, 500.0])
def test_fitter_reaches_the_bound_of_the_real_calibration(smap: SplinePsf, z_nm: float) -> None:
    """The bar: RMSE / sqrt(CRLB) within 0.97..1.05 in x, y and z over ±500 nm."""
    number, roi_px = 12_000, 13  # the ratio scatters by 1 / sqrt(2 n) = 0.65 %
    psf = SplinePsfModel.from_parameters(smap)
    generator = torch.Generator().manual_seed(int(z_nm) + 1000)
    x, y = torch.rand(2, number, generator=generator) - 0.5
    z = torch.full((number,), z_nm)
    photons, background = torch.full((number,), 5000.0), torch.full((number,), 20.0)
    mean = 5000 * psf.value(x, y, z, roi_px) + 20
    fits = fit_emitters(psf, torch.poisson(mean, generator=generator))
    bound = crlb(
        psf, dx_px=x, dy_px=y, z_nm=z, photons=photons, background=background, roi_px=roi_px
    )
    for found, truth, sigma in (
        (fits.x_px, x, bound.x_px),
        (fits.y_px, y, bound.y_px),
        (fits.z_nm, z, bound.z_nm),
    ):
        ratio = float(((found - truth) / sigma).square().mean().sqrt())
        assert 0.97 <= ratio <= 1.05
