"""Words about calibrations, and the planes of a sampled PSF."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.models.calibration_words import (
    bead_verdicts,
    fact_lines,
    pixel_verdicts,
    precision_verdict,
    sigma_2d_nm,
)
from app.models.psf_volume import PsfVolume, read_psf_volume
from decode_engine.domain.calibration import Calibration, CalibrationQuality, GaussianPsf
from decode_engine.errors import InputError
from decode_engine.io.calibrations import CalibrationReport, PixelSize


def volume(slices: int = 21, size: int = 9, pixel_nm: float = 100.0) -> PsfVolume:
    """Spots that widen along x above the focus, along y below; z from -500 to 500 nm."""
    z = np.linspace(-500, 500, slices) if slices > 1 else np.zeros(1)
    step = np.arange(size) - size // 2
    along_x = np.exp(-(step**2) / (2 * (1 + np.clip(z, 0, None) / 250)[:, None] ** 2))
    along_y = np.exp(-(step**2) / (2 * (1 + np.clip(-z, 0, None) / 250)[:, None] ** 2))
    images = along_y[:, :, None] * along_x[:, None, :]
    images /= images.sum(axis=(1, 2), keepdims=True)
    bound = 5 + np.abs(z) / 50
    return PsfVolume(
        volume=images.astype(np.float32),
        z_nm=z,
        crlb_x_nm=bound,
        crlb_y_nm=bound,
        crlb_z_nm=2 * bound if slices > 1 else np.full(1, np.nan),
        pixel_size_nm=np.array([pixel_nm, pixel_nm]),
    )


def test_side_views_have_the_highest_z_on_top_and_square_samples() -> None:
    psf = volume()
    assert (psf.side_scale, psf.side_sample_nm) == (2, 50.0)
    side = psf.side("x", "slice")
    assert side.shape == (21, 18)
    wide_on_top = (side[0] > 0.5).sum(), (side[-1] > 0.5).sum()
    assert wide_on_top[0] > wide_on_top[1]
    other = psf.side("y", "slice")
    assert (other[0] > 0.5).sum() < (other[-1] > 0.5).sum()
    assert psf.row_of(20) == 0
    assert psf.row_of(psf.focus_index) == 10


def test_brightness_is_scaled_by_slice_or_by_volume() -> None:
    psf = volume()
    assert all(psf.xy(i, "slice").max() == pytest.approx(1) for i in range(21))
    peaks = [psf.xy(i, "volume").max() for i in range(21)]
    assert max(peaks) == pytest.approx(1)
    assert min(peaks) < 0.6


def test_a_flat_psf_has_one_slice() -> None:
    psf = volume(slices=1)
    assert (psf.focus_index, psf.side_scale) == (0, 1)
    assert "Heights are not measured" in precision_verdict(psf, 1000, 10).text


def test_a_damaged_preview_is_told(tmp_path: Path) -> None:
    (tmp_path / "psf.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"psf\.npz"):
        read_psf_volume(tmp_path / "psf.npz")
    with pytest.raises(InputError):
        read_psf_volume(tmp_path / "gone.npz")


def test_the_precision_says_where_height_is_good() -> None:
    text = precision_verdict(volume(), 5000, 20).text
    assert "5.0 nm across and 10.0 nm in height" in text
    assert "between -250 and 250 nm the height stays within 20 nm" in text


def test_without_a_pixel_size_no_precision_is_claimed() -> None:
    psf = volume()
    bare = PsfVolume(
        volume=psf.volume,
        z_nm=psf.z_nm,
        crlb_x_nm=psf.crlb_x_nm * np.nan,
        crlb_y_nm=psf.crlb_y_nm * np.nan,
        crlb_z_nm=psf.crlb_z_nm,
        pixel_size_nm=np.full(2, np.nan),
    )
    assert "Unknown until a pixel size" in precision_verdict(bare, 5000, 20).text
    assert bare.side_scale == 2


def quality(**values: object) -> CalibrationQuality:
    defaults: dict[str, object] = {"beads_used": 12, "beads_rejected": 3, "residual_rms": 0.02}
    return CalibrationQuality(**{**defaults, **values})  # type: ignore[arg-type]


def test_beads_are_judged() -> None:
    good = bead_verdicts(quality(), {"z_slope": 1.01, "z_rms_nm": 12.0})
    assert {v.level for v in good} == {"ok"}
    assert good[0].text == "12 beads used, 3 not used."
    bad = bead_verdicts(
        quality(beads_used=1, residual_rms=0.2),
        {"z_slope": 0.8, "z_rms_nm": 90.0, "warnings": ["The stack is short."]},
    )
    assert [v.level for v in bad] == ["doubt", "bad", "bad", "doubt"]
    assert "1 bead used" in bad[0].text
    assert "slice distance" in bad[2].text
    assert bad[3].text == "The stack is short."


def test_a_file_made_elsewhere_is_judged_by_what_it_holds() -> None:
    found = bead_verdicts(quality(z_fit_std_nm=(10.0, 20.0), z_fit_bias_nm=(-7.0, 3.0)), {})
    assert "scatter by 15 nm" in found[-1].text
    assert "by 7 nm at most" in found[-1].text


@pytest.mark.parametrize(
    ("own", "camera", "movie", "level", "words"),
    [
        (100, 100.5, 100, "ok", "as the camera and the movie's file say"),
        (100, 138, None, "bad", "the camera says 138"),
        (100, None, 160, "bad", "the movie's file says 160"),
        (None, 100, None, "doubt", "is taken from the camera"),
        (None, None, None, "doubt", "give it on the Camera page"),
    ],
)
def test_pixel_sizes_are_compared(
    own: float | None, camera: float | None, movie: float | None, level: str, words: str
) -> None:
    def size(nm: float | None) -> PixelSize | None:
        return None if nm is None else PixelSize(x_nm=nm, y_nm=nm)

    (verdict,) = pixel_verdicts(size(own), size(camera), size(movie))
    assert verdict.level == level
    assert words in verdict.text


def test_facts_leave_out_what_nobody_can_read() -> None:
    psf = GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130)
    calibration = Calibration(
        psf=psf, provenance={"config": '{"a": 1}', "sha256 of x.tif": "a" * 64, "by": "me"}
    )
    report = CalibrationReport(path=Path("x.h5"), variant="ours", entries=(), notes=("odd",))
    facts = dict(fact_lines(report, calibration))
    assert "config" not in facts
    assert len(facts["sha256 of x.tif"]) < 20
    assert facts["by"] == "me"
    assert facts["Height range"] == "2D, no height"
    assert facts["Note"] == "odd"


def test_the_width_of_a_focused_spot() -> None:
    assert sigma_2d_nm(1.4, 560) == pytest.approx(90.0)
