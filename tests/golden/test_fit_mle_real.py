"""Real camera frames: what we fit against what other programs found in the same frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tifffile

from decode_engine.domain.calibration import GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid
from decode_engine.domain.localizations import Localizations
from decode_engine.psf.frame_fitting import FrameFitter
from decode_engine.psf.gaussian import GaussianPsfModel


def fit(frames: np.ndarray, camera: CameraModel, sigma_nm: float) -> Localizations:
    pixel_nm = camera.pixel_size_x_nm
    psf = GaussianPsfModel(
        GaussianPsf(sigma0_x_nm=sigma_nm, sigma0_y_nm=sigma_nm),
        pixel_size_x_nm=pixel_nm,
        pixel_size_y_nm=pixel_nm,
    )
    grid = PixelGrid(
        width_px=frames.shape[2],
        height_px=frames.shape[1],
        pixel_size_x_nm=pixel_nm,
        pixel_size_y_nm=pixel_nm,
    )
    return FrameFitter(psf, camera, grid).fit(frames, first_frame=0)


def test_finds_what_rapidstorm_found_in_real_dstorm_frames(shared_data: Path) -> None:
    frames = tifffile.imread(shared_data / "raw_movies" / "Locan_images.tif")
    theirs = np.loadtxt(
        shared_data / "loc_tables" / "Locan_rapidSTORM_from_images.txt", comments="#"
    )
    theirs = theirs[theirs[:, 2] < len(frames)]  # x_nm, y_nm, frame; the table covers more
    assert len(theirs) == 4
    pixel_nm = 133.5
    camera = CameraModel(
        kind="scmos",
        pixel_size_x_nm=pixel_nm,
        pixel_size_y_nm=pixel_nm,
        offset_adu=100,
        e_per_adu=0.5,
        read_noise_e=1.5,
    )
    ours = fit(frames, camera, sigma_nm=140.0)
    for x_nm, y_nm, frame in theirs[:, :3]:
        distance = np.hypot(ours.x_nm - x_nm, ours.y_nm - y_nm)[ours.frame == frame]
        assert distance.min() < 30  # our sigma is 7 to 17 nm here, theirs fits the width too


def test_counts_peaks_as_storm_analysis_with_its_scmos_maps(shared_data: Path) -> None:
    """The README of the sample lists the peaks of its first ten frames."""
    theirs = np.array([70, 81, 84, 92, 88, 81, 86, 87, 87, 96])
    raw = np.fromfile(shared_data / "raw_movies" / "storm-analysis_sCMOS_sample.dax", ">u2")
    frames = raw.reshape(-1, 256, 256)[:10].astype(np.uint16)
    offset, variance, gain = np.load(
        shared_data / "camera_metadata" / "storm-analysis_sCMOS_calib.npy"
    )
    camera = CameraModel(
        kind="scmos",
        pixel_size_x_nm=160,
        pixel_size_y_nm=160,
        offset_adu=offset.astype(np.float32),
        e_per_adu=(1 / gain).astype(np.float32),
        read_noise_e=(np.sqrt(variance) / gain).astype(np.float32),
    )
    ours = np.bincount(fit(frames, camera, sigma_nm=160.0).frame, minlength=10)
    # Thresholds differ, so the numbers need not be equal; they must be of the same frames.
    assert 0.8 < ours.sum() / theirs.sum() < 1.3
    assert np.corrcoef(ours, theirs)[0, 1] > 0.5
