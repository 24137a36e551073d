"""Bead calibration on simulated stacks whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.interpolate import make_smoothing_spline

from decode_engine.contract.configs import CalibrateConfig
from decode_engine.domain.calibration import SplinePsf
from decode_engine.errors import CalibrationError, CancelledError, ConfigError
from decode_engine.psf.beads.averaging import clipped_mean, masked_median
from decode_engine.psf.beads.calibrate import BeadCalibrationResult, calibrate_beads
from decode_engine.psf.beads.crops import cut_bead
from decode_engine.psf.beads.detection import detect_beads
from decode_engine.psf.beads.focus import focal_center, focus_slice
from decode_engine.psf.beads.registration import register_beads
from decode_engine.psf.beads.resampling import derivative, resample
from decode_engine.psf.beads.shift_fit import missing_shift
from decode_engine.psf.beads.smoothing import smooth_along_z, smoothing_strength
from decode_engine.psf.beads.stacks import prepare_stack
from decode_engine.psf.spline import SplinePsfModel
from tests.unit.engine import bead_fields as sim
from tests.unit.engine.bead_fields import CONFIG, Bead


def configured(**changes: object) -> CalibrateConfig:
    return CalibrateConfig(**{**CONFIG.model_dump(), **changes})


@pytest.fixture(scope="module")
def beads() -> list[Bead]:
    """Sixteen beads on a grid; bead 5 is an aggregate."""
    return sim.with_defect(sim.scattered(4, np.random.default_rng(3)), 5)


@pytest.fixture(scope="module")
def stack(beads: list[Bead]) -> NDArray[np.uint16]:
    """Field of 120 x 170 px: the grid, two beads too close to each other, one at the border."""
    extra = [Bead(140, 30), Bead(152, 30), Bead(166, 100)]
    field = sim.expected_photons([*beads, *extra], (120, 170))
    return sim.record(field, np.random.default_rng(4))


@pytest.fixture(scope="module")
def result(stack: NDArray[np.uint16]) -> BeadCalibrationResult:
    return calibrate_beads([stack], CONFIG, names=["field.tif"])


def truth_of(beads: list[Bead], x: float, y: float) -> Bead:
    return min(beads, key=lambda b: float(np.hypot(b.x - x, b.y - y)))


def test_uses_every_good_bead_and_says_why_not_the_others(
    beads: list[Bead], result: BeadCalibrationResult
) -> None:
    used = {truth_of(beads, b.x_px, b.y_px) for b in result.beads}
    assert used == {b for b in beads if b.width == 1.0}
    reasons = sorted((round(r.x_px), r.reason) for r in result.rejected)
    assert len(reasons) == 4
    defect = next(reason for x, reason in reasons if x < 120)
    assert "differs from the average" in defect
    assert [x for x, reason in reasons if "closer than min_distance_px = 20" in reason] == [
        140,
        152,
    ]
    assert next(reason for x, reason in reasons if x == 166).startswith("the border leaves room")


def test_registers_beads_to_a_hundredth_of_a_pixel_and_a_nanometre(
    beads: list[Bead], result: BeadCalibrationResult
) -> None:
    """Shot noise alone allows about 0.001 px and 0.3 nm; ten times that would be a bias."""
    errors = []
    for bead in result.beads:
        truth = truth_of(beads, bead.x_px, bead.y_px)
        z_slice = bead.z_slice + psf_of(result).z0_slice - sim.FOCUS - truth.shift
        errors.append((bead.x_px - truth.x, bead.y_px - truth.y, z_slice * sim.DZ_NM))
    x, y, z_nm = np.array(errors).T
    assert np.abs(x).max() < 0.01
    assert np.abs(y).max() < 0.01
    assert np.std(z_nm) < 1.0
    # The common origin: widths in x and y are equal at z = 0 by construction.
    assert abs(np.mean(z_nm)) < 2.0


def test_reports_amplitudes_in_photons(beads: list[Bead], result: BeadCalibrationResult) -> None:
    for bead in result.beads:
        truth = truth_of(beads, bead.x_px, bead.y_px)
        # The darkest focal voxel counts as background (SMAP's rule): it lies some noise below
        # the true 20 photons, and the window's pixels add that up.
        assert bead.amplitude == pytest.approx(truth.photons, rel=0.04)
        assert 14 < bead.background < 20


def psf_of(result: BeadCalibrationResult) -> SplinePsf:
    assert isinstance(result.calibration.psf, SplinePsf)
    return result.calibration.psf


def drawn(result: BeadCalibrationResult, z_nm: float, size: int = 15) -> NDArray[np.float64]:
    model = SplinePsfModel.from_parameters(psf_of(result), dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    return model.value(zero, zero, torch.full_like(zero, z_nm), size)[0].numpy()


def test_normalises_as_smap_does(result: BeadCalibrationResult) -> None:
    sums = result.average.sum(axis=(1, 2))
    assert sums.max() == pytest.approx(1.0, abs=1e-5)
    assert result.average.min() == 0.0
    z0 = int(psf_of(result).z0_slice)
    assert result.average[z0 - 1 : z0 + 2].min() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("z_nm", [-400.0, -200.0, 0.0, 200.0, 400.0])
def test_spline_is_the_true_psf_with_the_sign_of_z(
    result: BeadCalibrationResult, z_nm: float
) -> None:
    axis = np.arange(-7.0, 8.0)
    truth = sim.psf(np.array([z_nm]), axis, axis, 1.0)[0]
    ours = drawn(result, z_nm)
    # The normalisation's pedestal (2 % of the photons) and noise.
    assert np.abs(ours - truth).max() < 0.04 * truth.max()
    if z_nm:  # the mirrored z is another picture
        assert np.abs(drawn(result, -z_nm) - truth).max() > 0.1 * truth.max()


def test_a_falling_stage_gives_the_same_calibration(stack: NDArray[np.uint16]) -> None:
    part = stack[:, :60, :60]
    rising = calibrate_beads([part], CONFIG)
    falling = calibrate_beads([part[::-1]], configured(dz_nm=-sim.DZ_NM))
    assert psf_of(falling).z0_slice == psf_of(rising).z0_slice
    np.testing.assert_allclose(falling.average, rising.average, atol=1e-6)
    assert psf_of(falling).dz_nm == sim.DZ_NM


def test_quality_is_measured(result: BeadCalibrationResult) -> None:
    quality = result.calibration.quality
    assert quality is not None
    assert quality.beads_used == 15
    assert quality.beads_rejected == 4
    assert quality.residual_rms < 0.005
    assert result.axial.slope == pytest.approx(1, abs=0.01)
    assert result.axial.rms_nm < 5
    middle = np.abs(np.array(quality.z_nm)) <= 500
    assert np.abs(np.array(quality.z_fit_bias_nm)[middle]).max() < 3
    # A narrow slice in x (z near +200) locates x better than y, and the reverse.
    at = {z: i for i, z in enumerate(quality.z_nm)}
    assert quality.crlb_x_nm[at[300.0]] < quality.crlb_y_nm[at[300.0]]
    assert quality.crlb_x_nm[at[-300.0]] > quality.crlb_y_nm[at[-300.0]]
    assert result.calibration.pixel_size_y_nm == 100.0
    assert "field.tif" in result.calibration.source


def test_keeps_the_slices_asked_for_around_the_focus(stack: NDArray[np.uint16]) -> None:
    cut = calibrate_beads([stack], configured(z_slices=31, max_beads=4))
    assert cut.average.shape == (31, 21, 21)
    assert cut.calibration.z_range_nm == pytest.approx((-375, 375), abs=1.5 * sim.DZ_NM)
    assert sum("only the 4 brightest" in r.reason for r in cut.rejected) == 12


def test_z_zero_can_be_the_middle_of_the_stack() -> None:
    field = sim.expected_photons([Bead(15, 15, shift=6)], (31, 31))
    adu = sim.record(field, np.random.default_rng(0))
    focus = calibrate_beads([adu], CONFIG)
    middle = calibrate_beads([adu], configured(z_reference="middle"))
    assert psf_of(focus).z0_slice == sim.FOCUS + 6
    assert psf_of(middle).z0_slice == sim.FOCUS


def test_a_bleaching_bead_is_not_shifted_along_z() -> None:
    """A fifth of the light lost over the stack must not look like a z shift."""
    axis = np.arange(-10.0, 11.0)
    z_nm = -(np.arange(41) - 20) * sim.DZ_NM
    template = sim.psf(z_nm, axis, axis, 1.0)
    template /= template.max()
    fading = template * np.linspace(1.1, 0.9, 41)[:, None, None] * 1000 + 5
    gradients = np.stack([derivative(template, i) for i in range(3)])
    fit = missing_shift(fading, np.ones_like(fading, bool), template, gradients)
    assert np.abs(fit.shift).max() < 1e-3
    assert fit.amplitude == pytest.approx(1000, rel=0.02)


def test_shift_fit_recovers_a_small_shift() -> None:
    axis = np.arange(-10.0, 11.0)
    z_nm = -(np.arange(41) - 20) * sim.DZ_NM
    template = sim.psf(z_nm, axis, axis, 1.0)
    scale = template.max()
    moved = sim.psf(z_nm + 0.05 * sim.DZ_NM, axis + 0.03, axis - 0.04, 1.0) / scale
    gradients = np.stack([derivative(template / scale, i) for i in range(3)])
    fit = missing_shift(500 * moved, np.ones_like(moved, bool), template / scale, gradients)
    np.testing.assert_allclose(fit.shift, [0.05, -0.03, 0.04], atol=2e-3)


def test_crops_of_single_beads_are_used_with_a_smaller_window() -> None:
    rng = np.random.default_rng(1)
    crops = [
        sim.record(sim.expected_photons([Bead(x, y, s)], (17, 17)), rng)
        for x, y, s in ((8.2, 7.9, 0.0), (7.7, 8.4, 2.0), (8.0, 8.0, -1.0))
    ]
    result = calibrate_beads(crops, CONFIG)
    assert len(result.beads) == 3
    assert result.average.shape[1:] == (17, 17)
    assert any("17 px are used instead" in w for w in result.warnings)


def test_stacks_of_different_length_are_joined() -> None:
    rng = np.random.default_rng(2)
    long = sim.record(sim.expected_photons([Bead(15, 15)], (31, 31)), rng)
    short = sim.record(sim.expected_photons([Bead(15.4, 14.8)], (31, 31)), rng)[12:50]
    result = calibrate_beads([long, short], CONFIG)
    assert result.rejected == ()
    first, second = result.beads
    assert first.z_slice - second.z_slice == pytest.approx(12, abs=0.05)


def test_saturated_beads_give_way_to_others() -> None:
    rng = np.random.default_rng(5)
    field = sim.expected_photons(
        [Bead(30, 30, photons=90_000), Bead(75, 30), Bead(30, 75)], (105, 105)
    )
    clipped = sim.record(field, rng, top_adu=15_000)
    result = calibrate_beads([clipped], CONFIG)
    assert [r.reason for r in result.rejected] == ["it is saturated (flat top)"]
    assert len(result.beads) == 2
    alone = calibrate_beads([clipped[:, :60, :60]], CONFIG)
    assert any("saturated" in w for w in alone.warnings)
    assert not any("saturated" in w for w in result.warnings)


def test_nothing_found_says_what_was_tried() -> None:
    noise = np.random.default_rng(6).poisson(100, (20, 64, 64)).astype(np.uint16)
    with pytest.raises(CalibrationError, match="detection_cutoff = 1") as caught:
        calibrate_beads([noise], CONFIG)
    assert "Lower detection_cutoff" in caught.value.hint


def test_detection_cutoff_scales_what_counts_as_a_bead() -> None:
    field = sim.expected_photons([Bead(30, 30), Bead(70, 30, photons=20_000)], (60, 100))
    stack = prepare_stack(sim.record(field, np.random.default_rng(7)), CONFIG)
    assert len(detect_beads(stack, CONFIG).candidates) == 2
    assert len(detect_beads(stack, configured(detection_cutoff=2.0)).candidates) == 1


def test_detection_ignores_an_uneven_background() -> None:
    rng = np.random.default_rng(8)
    ramp = np.linspace(0, 2000, 200)[None, None, :]  # brighter than a bead's smoothed top
    field = sim.expected_photons([Bead(40, 40), Bead(160, 50)], (90, 200)) + ramp
    stack = prepare_stack(sim.record(field, rng), CONFIG)
    found = sorted(round(b.x_px) for b in detect_beads(stack, CONFIG).candidates)
    assert found == [40, 160]


GOOD = np.random.default_rng(0).poisson(50, (20, 40, 40)).astype(np.uint16)


@pytest.mark.parametrize(
    ("stack", "changes", "error", "text"),
    [
        (GOOD[:4], {}, CalibrationError, "4 slices"),
        (np.zeros((0, 40, 40), np.uint16), {}, CalibrationError, r"\(0, 40, 40\)"),
        (np.zeros((40, 40, 3), np.uint8), {}, CalibrationError, "colour"),
        (np.zeros((9, 40, 40, 3), np.uint8), {}, CalibrationError, "colour"),
        (np.full((20, 40, 40), 7, np.uint16), {}, CalibrationError, "constant"),
        (np.where(GOOD > 60, np.nan, GOOD), {}, CalibrationError, "NaN"),
        (GOOD, {"dz_nm": 0.0}, ConfigError, "dz_nm = 0"),
        (GOOD, {"roi_px": 20}, ConfigError, "roi_px = 20 is even"),
    ],
)
def test_refuses_what_cannot_be_a_bead_stack(
    stack: NDArray[np.uint16],
    changes: dict[str, object],
    error: type[Exception],
    text: str,
) -> None:
    with pytest.raises(error, match=text):
        calibrate_beads([stack], configured(**changes))


def test_refuses_no_stack_at_all() -> None:
    with pytest.raises(CalibrationError, match="No bead stack"):
        calibrate_beads([], CONFIG)


def test_can_be_cancelled_anywhere(stack: NDArray[np.uint16]) -> None:
    seen: list[str] = []

    def step(name: str) -> None:
        seen.append(name)
        if name == "averaging":
            raise CancelledError("The job was cancelled.")

    with pytest.raises(CancelledError):
        calibrate_beads([stack], CONFIG, step=step)
    assert seen[-1] == "averaging"


@pytest.mark.parametrize("strength", [0.1, 10.0, 1000.0])
@pytest.mark.parametrize("slices", [5, 6, 60])
def test_smoothing_is_the_natural_smoothing_spline(slices: int, strength: float) -> None:
    values = np.random.default_rng(9).normal(size=(slices, 3))
    ours = smooth_along_z(values, strength)
    for column in range(3):
        reference = make_smoothing_spline(
            np.arange(slices, dtype=float), values[:, column], lam=strength
        )
        np.testing.assert_allclose(ours[:, column], reference(np.arange(slices)), atol=1e-10)


def test_smoothing_halves_the_period_it_promises() -> None:
    dz_nm, smoothing_nm = 4.0, 20.0
    z = np.arange(3000)
    wave = np.cos(z * dz_nm / smoothing_nm)
    smooth = smooth_along_z(wave[:, None], smoothing_strength(smoothing_nm, dz_nm))[:, 0]
    middle = slice(1000, 2000)
    gain = float(smooth[middle] @ wave[middle] / (wave[middle] @ wave[middle]))
    assert gain == pytest.approx(0.5, abs=0.005)


def test_resampling_is_exact_for_cubics_and_keeps_samples() -> None:
    z, y, x = np.meshgrid(*(np.arange(n, dtype=float) for n in (6, 7, 8)), indexing="ij")
    volume = 0.1 * z**3 - z * y**2 + 0.3 * x**3 + 2
    zz, yy, xx = np.array([1.3, 2.7]), np.array([0.4, 5.1]), np.array([3.3, 6.9])
    expected = (
        0.1 * zz[:, None, None] ** 3
        - zz[:, None, None] * yy[None, :, None] ** 2
        + 0.3 * xx[None, None] ** 3
        + 2
    )
    sample = resample(volume, zz, yy, xx)
    np.testing.assert_allclose(sample.values, expected, atol=1e-9)
    assert sample.valid.all()
    same = resample(volume, np.arange(6.0), np.arange(7.0), np.arange(8.0))
    np.testing.assert_array_equal(same.values, volume)


def test_resampling_says_what_was_never_recorded() -> None:
    sample = resample(np.ones((5, 5, 5)), np.array([-0.6, -0.4, 4.4, 4.6]), *2 * [np.arange(5.0)])
    assert sample.valid[:, 0, 0].tolist() == [False, True, True, False]
    assert np.isfinite(sample.values).all()


def test_masked_median_is_numpys_nanmedian() -> None:
    rng = np.random.default_rng(10)
    volumes = rng.normal(size=(6, 4, 5)).astype(np.float32)
    valid = rng.random((6, 4, 5)) < 0.7
    valid[0] = True
    expected = np.nanmedian(np.where(valid, volumes, np.nan), axis=0)
    np.testing.assert_allclose(masked_median(volumes, valid), expected, rtol=1e-6)
    assert (masked_median(volumes, np.zeros_like(valid)) == 0).all()


def test_clipped_mean_leaves_out_a_hot_pixel() -> None:
    rng = np.random.default_rng(11)
    volumes = rng.normal(0.5, 0.01, (9, 3, 3, 3)).astype(np.float32)
    volumes[4, 1, 1, 1] = 5.0
    mean = clipped_mean(volumes, np.ones_like(volumes, bool), np.ones(9))
    assert mean[1, 1, 1] == pytest.approx(0.5, abs=0.02)
    plain = volumes.mean(axis=0)
    plain[1, 1, 1] = mean[1, 1, 1]
    np.testing.assert_allclose(mean, plain, atol=0.01)


def test_focus_of_an_astigmatic_psf_is_where_widths_agree() -> None:
    """Two line foci of unequal sharpness: the sharpest slice is not between them."""
    axis = np.arange(-10.0, 11.0)
    k = np.arange(81)
    z_nm = (k - 40) * 20.0
    sx, sy = (
        1.0 * np.sqrt(1 + ((z_nm - 300) / 300) ** 2),
        1.3 * np.sqrt(1 + ((z_nm + 300) / 300) ** 2),
    )
    shape = (
        np.exp(
            -(axis[None, None] ** 2) / (2 * sx[:, None, None] ** 2)
            - axis[None, :, None] ** 2 / (2 * sy[:, None, None] ** 2)
        )
        / (sx * sy)[:, None, None]
    )
    crossing = float(np.interp(0, np.log(sy / sx), k))
    assert focus_slice(shape, 20.0) == pytest.approx(crossing, abs=0.3)


def test_focus_of_a_round_psf_is_its_sharpest_slice_and_center() -> None:
    axis = np.arange(-10.0, 11.0)
    z_nm = (np.arange(61) - 27.3) * 20.0
    s = 1.2 * np.sqrt(1 + (z_nm / 300) ** 2)[:, None, None]
    shape = np.exp(-((axis[None, None] - 0.3) ** 2 + (axis[None, :, None] + 0.4) ** 2) / (2 * s**2))
    shape = shape / s**2
    assert focus_slice(shape, 20.0) == pytest.approx(27.3, abs=0.1)
    assert focal_center(shape, 27.3) == pytest.approx((9.6, 10.3), abs=1e-3)


def test_the_lobes_of_a_double_helix_are_centred_together() -> None:
    """Regression: the centre followed one of two equal lobes."""
    y, x = np.indices((27, 27)) - 13.0
    lobes = [np.exp(-((x - s * 3.5 - 0.2) ** 2 + (y + 0.3) ** 2) / 3) for s in (1, -1)]
    volume = np.repeat((lobes[0] + lobes[1])[None], 7, axis=0)
    assert focal_center(volume, 3.0) == pytest.approx((12.7, 13.2), abs=5e-3)


def test_dim_beads_are_registered_to_their_noise() -> None:
    """Regression: noise in the average's z derivative held dim beads back by 17 nm."""
    rng = np.random.default_rng(12)
    beads = [Bead(b.x, b.y, b.shift, 2_000) for b in sim.scattered(3, rng)]
    adu = sim.record(sim.expected_photons(beads, (90, 90)), rng)
    stack = prepare_stack(adu, CONFIG)
    crops = [cut_bead(stack, b, 21) for b in detect_beads(stack, CONFIG).candidates]
    found = register_beads(crops, roi_px=21, dz_nm=sim.DZ_NM, step=lambda _: None).beads
    assert len(found) == 9
    shifts = [b.z_slice - truth_of(beads, b.x_px, b.y_px).shift for b in found]
    # 4 nm from shot noise; nine beads scatter 2.3 times that once in a million (chi^2).
    assert np.std(shifts) * sim.DZ_NM < 9.3
