"""Candidates, windows and whole frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid, Roi
from decode_engine.domain.localizations import LocalizationFlag
from decode_engine.errors import ConfigError
from decode_engine.psf.detection import (
    Candidates,
    DetectionOptions,
    crowded,
    detection_width_px,
    find_candidates,
)
from decode_engine.psf.frame_fitting import FrameFitOptions, FrameFitter
from decode_engine.psf.spline import SplinePsfModel
from decode_engine.psf.windows import cut_windows
from tests.psf_samples import astigmatic_spline, gaussian_model

SIZE = 48


@pytest.fixture(scope="module")
def spline() -> SplinePsfModel:
    return SplinePsfModel.from_parameters(astigmatic_spline())


def options(threshold: float = 5.0, excess_noise: float = 1.0) -> DetectionOptions:
    return DetectionOptions(
        width_px=detection_width_px(gaussian_model(torch.float32)),
        threshold=threshold,
        excess_noise=excess_noise,
    )


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def frame(spline: SplinePsfModel, emitters: list[tuple[float, float, float, float]]) -> Tensor:
    """(SIZE, SIZE) expected photons of emitters (x, y, z, photons)."""
    reach = spline.support_px // 2
    canvas = torch.zeros(SIZE + 2 * reach, SIZE + 2 * reach)
    for x, y, z, photons in emitters:
        column, row = round(x), round(y)
        place = (torch.tensor([v]) for v in (x - column, y - row, z))
        patch = spline.value(*place, spline.support_px)[0]
        canvas[row : row + spline.support_px, column : column + spline.support_px] += (
            photons * patch
        )
    return canvas[reach:-reach, reach:-reach].clamp(min=0)


def at(rows: list[tuple[int, int, int]]) -> Candidates:
    frames, x, y = torch.tensor(rows).T
    return Candidates(frame=frames, x_px=x, y_px=y, significance=torch.ones(len(rows)))


@pytest.mark.parametrize(
    ("background", "excess", "read"),
    [(0.05, 1.0, 0.0), (1.0, 1.0, 0.0), (20.0, 1.0, 0.0), (20.0, 2.0, 0.0), (2.0, 1.0, 30.0)],
)
def test_empty_frames_give_almost_nothing(background: float, excess: float, read: float) -> None:
    """A million pixels of noise at five standard deviations."""
    rng = np.random.default_rng(1)
    noise = rng.poisson(background, (400, SIZE, SIZE)).astype(np.float64)
    if excess == 2:
        noise = rng.gamma(np.maximum(noise, 1e-12)) * (noise > 0)
    noise += rng.normal(0, np.sqrt(read), noise.shape)
    found = find_candidates(
        torch.from_numpy(noise.astype(np.float32)),
        options=options(excess_noise=excess),
        read_variance=read,
    )
    # 2 (1 - Phi(5)) = 6e-7 of about 2e5 independent places; skewed noise gives a few more.
    assert len(found) <= 8


def test_significance_is_in_standard_deviations_of_the_noise() -> None:
    frames = torch.poisson(torch.full((200, SIZE, SIZE), 50.0), generator=generator())
    found = find_candidates(frames, options=options(threshold=2.5))
    independent = 200 * (SIZE / 5) ** 2  # places that a filter of this width can tell apart
    assert 0.002 < len(found) / independent < 0.05  # 1 - Phi(2.5) = 0.6 %


def test_isolated_emitters_are_found_once_and_in_place(spline: SplinePsfModel) -> None:
    rng = np.random.default_rng(2)
    truth = [
        (*rng.uniform(8, SIZE - 9, 2), rng.uniform(-450, 450), rng.uniform(1500, 10_000))
        for _ in range(300)
    ]
    mean = torch.stack([frame(spline, [t]) for t in truth]) + 10
    found = find_candidates(torch.poisson(mean, generator=generator(2)), options=options())
    assert found.frame.tolist() == sorted(found.frame.tolist())
    first = {int(f): i for i, f in reversed(list(enumerate(found.frame)))}
    assert len(first) >= 297  # recall
    assert len(found) - len(first) <= 6  # second detections of the same emitter
    misses = [
        max(abs(float(found.x_px[i]) - truth[f][0]), abs(float(found.y_px[i]) - truth[f][1]))
        for f, i in first.items()
    ]
    assert np.quantile(misses, 0.98) < 1.6


def test_noisy_pixels_of_the_map_raise_no_alarm() -> None:
    variance = torch.zeros(SIZE, SIZE)
    variance[20:30, 20:30] = 900.0
    noise = torch.randn(50, SIZE, SIZE, generator=generator(3)) * variance.sqrt()
    frames = torch.poisson(torch.full((50, SIZE, SIZE), 5.0), generator=generator(3)) + noise
    assert len(find_candidates(frames, options=options())) > 50
    assert len(find_candidates(frames, options=options(), read_variance=variance)) <= 3


def test_equal_maxima_count_once(spline: SplinePsfModel) -> None:
    half = frame(spline, [(20.5, 24.0, 0.0, 5000.0)])
    symmetric = 0.5 * (half + half[:, torch.arange(41, 41 - SIZE, -1) % SIZE])
    found = find_candidates((symmetric + 5)[None], options=options())
    assert len(found) == 1


def test_crowded_means_another_candidate_in_the_window() -> None:
    candidates = at([(0, 10, 10), (0, 16, 4), (0, 23, 10), (1, 11, 10), (1, 30, 30), (2, 9, 9)])
    # 6 px are within the window of 13, 7 px are not; other frames do not count.
    assert crowded(candidates, 13).tolist() == [True, True, False, False, False, False]


def test_windows_stay_inside_the_frame() -> None:
    frames = torch.arange(2 * 20 * 30, dtype=torch.float32).view(2, 20, 30)
    candidates = at([(0, 15, 10), (1, 1, 10), (1, 29, 19)])
    windows = cut_windows(frames, candidates, 7)
    assert windows.shifted.tolist() == [False, True, True]
    assert windows.offset_x_px.tolist() == [0, -2, 3]
    assert windows.offset_y_px.tolist() == [0, 0, 3]
    torch.testing.assert_close(windows.rois[0], frames[0, 7:14, 12:19])
    torch.testing.assert_close(windows.rois[1], frames[1, 7:14, 0:7])
    torch.testing.assert_close(windows.rois[2], frames[1, 13:20, 23:30])
    torch.testing.assert_close(windows.cut_map(frames[1])[1:], windows.rois[1:])
    with pytest.raises(ConfigError, match="21 px"):
        cut_windows(frames, candidates, 21)


def scmos(**values: float) -> CameraModel:
    return CameraModel(
        kind="scmos",
        pixel_size_x_nm=100,
        pixel_size_y_nm=120,
        offset_adu=100,
        e_per_adu=0.5,
        read_noise_e=1.5,
        **values,
    )


def to_adu(mean: Tensor, seed: int) -> np.ndarray:
    noisy = torch.poisson(mean, generator=generator(seed))
    noisy = noisy + 1.5 * torch.randn(mean.shape, generator=generator(seed + 1))
    return (noisy / 0.5 + 100).round().clamp(0, 65535).numpy().astype(np.uint16)


def fitter(spline: SplinePsfModel, camera: CameraModel, roi: Roi | None = None) -> FrameFitter:
    grid = PixelGrid(width_px=300, height_px=300, pixel_size_x_nm=100, pixel_size_y_nm=120)
    region = roi or Roi(x_px=0, y_px=0, width_px=SIZE, height_px=SIZE)
    return FrameFitter(spline, camera, grid.crop(region), FrameFitOptions())


def test_frames_become_localizations_in_nm_of_the_full_frame(spline: SplinePsfModel) -> None:
    rng = np.random.default_rng(4)
    truth = [(*rng.uniform(9, SIZE - 10, 2), rng.uniform(-450, 450), 5000.0) for _ in range(400)]
    mean = torch.stack([frame(spline, [t]) for t in truth]) + 15
    roi = Roi(x_px=40, y_px=70, width_px=SIZE, height_px=SIZE)
    found = fitter(spline, scmos(), roi).fit(to_adu(mean, 4), first_frame=1000)
    good = found.take(np.asarray(found.flags) == 0)
    assert len(good) > 390
    assert np.all(np.diff(found.frame) >= 0)
    rows = np.array(truth)[good.frame - 1000]
    assert good.sigma_x_nm is not None
    assert good.sigma_y_nm is not None
    assert good.sigma_z_nm is not None
    for estimate, expected, sigma in (
        (good.x_nm, (rows[:, 0] + 40) * 100, good.sigma_x_nm),
        (good.y_nm, (rows[:, 1] + 70) * 120, good.sigma_y_nm),
        (good.z_nm, rows[:, 2], good.sigma_z_nm),
    ):
        score = (estimate - expected) / sigma
        assert 0.88 < score.std() < 1.13  # 1 / sqrt(2 * 390) = 3.6 %
        assert abs(score.mean()) < 0.22


def test_flags_of_borders_neighbours_and_saturation(spline: SplinePsfModel) -> None:
    pictures = [
        [(24.0, 24.0, 0.0, 4000.0)],
        [(1.5, 24.0, 0.0, 4000.0)],
        [(20.0, 24.0, 0.0, 4000.0), (26.0, 24.0, 0.0, 4000.0)],
        [(24.0, 24.0, 0.0, 60_000.0)],
    ]
    mean = torch.stack([frame(spline, p) for p in pictures]) + 10
    found = fitter(spline, scmos(saturation_adu=4000)).fit(to_adu(mean, 5).clip(0, 4000), 0)
    flags = {n: set(np.asarray(found.flags)[found.frame == n].tolist()) for n in range(4)}
    assert flags[0] == {0}
    assert flags[1] == {LocalizationFlag.NEAR_BORDER}
    assert flags[2] == {LocalizationFlag.CROWDED}
    assert all(f & LocalizationFlag.SATURATED for f in flags[3])
    border = found.take(found.frame == 1)
    assert border.x_nm[0] == pytest.approx(150, abs=8)  # found in place although the window moved


def test_dark_frames_give_an_empty_table(spline: SplinePsfModel) -> None:
    found = fitter(spline, scmos()).fit(np.full((3, SIZE, SIZE), 100, np.uint16), 0)
    assert len(found) == 0
    assert found.sigma_z_nm is not None
