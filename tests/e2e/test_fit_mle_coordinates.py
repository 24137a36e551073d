"""From nm to ADU by closed forms, and back to nm by the command: every axis, unit and sign.

The movie is made with scipy and numpy alone: Gaussians integrated over oblong pixels in nm,
widths by the defocus curve, sCMOS noise with a map for each property. A swap of axes, a shift of
half a pixel, a wrong sign of z or a map cropped elsewhere shows at once.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.special import erf

from decode_engine.cli.main import main
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import LocalizationFlag, Localizations
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.localizations import read_localizations

X_NM, Y_NM = 100.0, 130.0
WIDTH, HEIGHT, FRAMES = 60, 44, 200
BACKGROUND, QE = 15.0, 0.8
PSF = GaussianPsf(
    sigma0_x_nm=130.0,
    sigma0_y_nm=140.0,
    depth_nm=400.0,
    focus_x_nm=200.0,
    focus_y_nm=-220.0,
    z_min_nm=-600.0,
    z_max_nm=600.0,
)


def profile(
    pixels: int, pixel_nm: float, position_nm: float, sigma_nm: float
) -> NDArray[np.float64]:
    """Integral of a normal density over each pixel; pixel 0 is centred on 0 nm."""
    edges = (np.arange(pixels + 1) - 0.5) * pixel_nm
    return np.diff(erf((edges - position_nm) / (np.sqrt(2) * sigma_nm))) / 2


def width_nm(sigma0_nm: float, z_nm: float, focus_nm: float) -> float:
    return float(sigma0_nm * np.sqrt(1 + ((z_nm - focus_nm) / 400.0) ** 2))


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[np.float64]]:
    """Write movie, calibration and camera; return their folder and (FRAMES, 4) x, y, z, photons."""
    folder = tmp_path_factory.mktemp("coordinates")
    rng = np.random.default_rng(7)
    low, high = (1700, 1900, -400, 3000), (4400, 4000, 400, 8000)
    values = rng.uniform(low, high, (FRAMES, 4))
    mean = np.full((FRAMES, HEIGHT, WIDTH), BACKGROUND)
    for frame, (x, y, z, photons) in zip(mean, values, strict=True):
        along_x = profile(WIDTH, X_NM, x, width_nm(130.0, z, 200.0))
        along_y = profile(HEIGHT, Y_NM, y, width_nm(140.0, z, -220.0))
        frame += photons * np.outer(along_y, along_x)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    offset = (100 + 0.7 * columns + 1.3 * rows).astype(np.float32)
    e_per_adu = (0.4 + 0.002 * columns + 0.004 * rows).astype(np.float32)
    read_noise = (1 + rng.exponential(0.8, rows.shape)).astype(np.float32)
    electrons = rng.poisson(QE * mean) + read_noise * rng.standard_normal(mean.shape)
    adu = np.round(electrons / e_per_adu + offset).astype(np.uint16)
    tifffile.imwrite(folder / "movie.tif", adu)
    sizes = {"pixel_size_x_nm": X_NM, "pixel_size_y_nm": Y_NM}
    write_calibration(Calibration(psf=PSF, **sizes), folder / "cal.h5", overwrite=False)
    camera = CameraModel(
        kind="scmos",
        offset_adu=offset,
        e_per_adu=e_per_adu,
        read_noise_e=read_noise,
        quantum_efficiency=QE,
        **sizes,
    )
    write_camera(camera, folder / "cam.json", overwrite=False)
    return folder, values


def fit(folder: Path, out: Path, *options: str) -> Localizations:
    files = ["--calibration", str(folder / "cal.h5"), "--camera", str(folder / "cam.json")]
    words = ["fit-mle", str(folder / "movie.tif"), *files, "--device", "cpu", "--out", str(out)]
    assert main([*words, *options]) == 0
    return read_localizations(out)


def require_true(found: Localizations, truth: NDArray[np.float64], first: int, stop: int) -> None:
    """One emitter in each frame, where it is, with errors as large as its sigmas say."""
    np.testing.assert_array_equal(found.frame, np.arange(first, stop))
    assert not np.any(found.flags & LocalizationFlag.NOT_CONVERGED)
    number = stop - first
    for i, name in enumerate(("x_nm", "y_nm", "z_nm", "photons")):
        sigma = getattr(found, f"sigma_{name}")
        assert sigma is not None
        score = (getattr(found, name) - truth[found.frame, i]) / sigma
        # Four standard errors of the mean and of the standard deviation of N scores.
        assert abs(score.mean()) < 4 / np.sqrt(number), name
        assert score.std() == pytest.approx(1, abs=4 / np.sqrt(2 * number)), name
    assert found.background is not None
    assert found.background.mean() == pytest.approx(BACKGROUND, rel=0.02)


def test_whole_frames(truth: tuple[Path, NDArray[np.float64]], tmp_path: Path) -> None:
    folder, values = truth
    require_true(fit(folder, tmp_path / "all.h5"), values, 0, FRAMES)


def test_region_and_range_keep_the_frame_s_coordinates(
    truth: tuple[Path, NDArray[np.float64]], tmp_path: Path
) -> None:
    folder, values = truth
    found = fit(folder, tmp_path / "part.h5", "--roi", "9,7,43,32", "--frames", "40:170")
    require_true(found, values, 40, 170)
