"""The fit-mle job from files to a file: result, region, resume, cancel and bad input."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch

from decode_engine.cli.main import main
from decode_engine.contract.configs import FitMleConfig
from decode_engine.contract.jobs import FitMleSpec
from decode_engine.contract.messages import EventBody, LogEvent, ProgressEvent
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import (
    CalibrationError,
    CameraError,
    CancelledError,
    ConfigError,
    MismatchError,
    OutputError,
)
from decode_engine.io.calibrations import read_calibration, write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.dialects.base import ExportContext
from decode_engine.io.localizations import read_localization_metadata, read_localizations
from decode_engine.jobs import fit_mle
from decode_engine.jobs.context import CancelToken, JobContext
from decode_engine.psf.spline import SplinePsfModel
from tests.psf_samples import astigmatic_spline

WIDTH, HEIGHT, FRAMES = 40, 33, 30
CAMERA = CameraModel(
    kind="scmos",
    pixel_size_x_nm=100,
    pixel_size_y_nm=100,
    offset_adu=100,
    e_per_adu=0.5,
    read_noise_e=1.2,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a movie with one emitter per frame, its calibration, camera and truth."""
    path = tmp_path_factory.mktemp("fit_mle")
    psf = astigmatic_spline()
    model = SplinePsfModel.from_parameters(psf)
    rng = np.random.default_rng(0)
    columns, rows = rng.integers(10, 30, FRAMES), rng.integers(10, 23, FRAMES)
    dx, dy, z = (
        rng.uniform(-0.5, 0.5, FRAMES),
        rng.uniform(-0.5, 0.5, FRAMES),
        rng.uniform(-400, 400, FRAMES),
    )
    patches = model.value(*(torch.from_numpy(v.astype(np.float32)) for v in (dx, dy, z)), 17)
    mean = np.full((FRAMES, HEIGHT, WIDTH), 15.0)
    for n in range(FRAMES):
        top, left = rows[n] - 8, columns[n] - 8
        mean[n, top : top + 17, left : left + 17] += 4000 * patches[n].numpy()
    photons = rng.poisson(mean.clip(min=0)) + rng.normal(0, 1.2, mean.shape)
    tifffile.imwrite(path / "movie.tif", np.round(photons / 0.5 + 100).astype(np.uint16))
    calibration = Calibration(psf=psf, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0)
    write_calibration(calibration, path / "cal.h5", overwrite=False)
    write_camera(CAMERA, path / "camera.json", overwrite=False)
    truth = np.stack([(columns + dx) * 100, (rows + dy) * 100, z], axis=1)
    np.save(path / "truth.npy", truth)
    return path


def spec(folder: Path, out: Path, **config: Any) -> FitMleSpec:
    return FitMleSpec(
        movie=str(folder / "movie.tif"),
        calibration=str(folder / "cal.h5"),
        camera=str(folder / "camera.json"),
        out=str(out),
        config=FitMleConfig(**config),
        device="cpu",
    )


def test_movie_in_localizations_out(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "locs.h5"
    events: list[EventBody] = []
    summary = fit_mle.run(spec(folder, out), JobContext(emit=events.append))
    found = read_localizations(out)
    assert summary["n_localizations"] == len(found)
    assert summary["n_frames"] == FRAMES
    truth = np.load(folder / "truth.npy")[found.frame]
    assert len(set(found.frame.tolist())) == FRAMES
    assert found.sigma_x_nm is not None
    assert found.sigma_z_nm is not None
    score = np.stack(
        [
            (found.x_nm - truth[:, 0]) / found.sigma_x_nm,
            (found.z_nm - truth[:, 2]) / found.sigma_z_nm,
        ]
    )
    assert np.abs(np.median(score, axis=1)).max() < 0.8
    assert np.sqrt((score**2).mean()) == pytest.approx(1, abs=0.37)  # 4 / sqrt(2 * 60)
    last = [e for e in events if isinstance(e, ProgressEvent)][-1]
    assert (last.done, last.total) == (FRAMES, FRAMES)
    metadata = read_localization_metadata(out)
    assert metadata.method == "fit-mle"
    assert metadata.complete
    assert metadata.camera["e_per_adu"] == 0.5


def test_range_and_region_keep_numbers_and_coordinates(folder: Path, tmp_path: Path) -> None:
    fit_mle.run(spec(folder, tmp_path / "all.h5"), JobContext())
    fit_mle.run(
        spec(folder, tmp_path / "part.h5", frames=(7, 19), roi=(2, 1, 38, 32)), JobContext()
    )
    whole, part = read_localizations(tmp_path / "all.h5"), read_localizations(tmp_path / "part.h5")
    assert part.frame.min() >= 7
    assert part.frame.max() < 19
    expected = whole.take((whole.frame >= 7) & (whole.frame < 19))
    assert len(part) == len(expected)
    np.testing.assert_allclose(part.x_nm, expected.x_nm, atol=0.1)
    np.testing.assert_allclose(part.y_nm, expected.y_nm, atol=0.1)


def test_cancelled_and_resumed_is_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit_mle, "_BLOCK_FRAMES", 5)
    fit_mle.run(spec(folder, tmp_path / "whole.h5"), JobContext())
    token = CancelToken()

    def cancel_half_way(event: EventBody) -> None:
        if isinstance(event, ProgressEvent) and event.done >= 15:
            token.cancel()

    out = tmp_path / "resumed.h5"
    context = JobContext(emit=cancel_half_way, cancel=token, max_rate_hz=1e9)
    with pytest.raises(CancelledError):
        fit_mle.run(spec(folder, out, chunk_frames=10), context)
    assert not out.exists()
    with pytest.raises(OutputError, match="unfinished"):
        fit_mle.run(spec(folder, out), JobContext())
    fit_mle.run(spec(folder, out, chunk_frames=10, resume=True), JobContext())
    whole, resumed = read_localizations(tmp_path / "whole.h5"), read_localizations(out)
    for name, values in whole.columns().items():
        np.testing.assert_array_equal(resumed.columns()[name], values, err_msg=name)


def test_calibration_of_other_pixels_is_refused_unless_allowed(
    folder: Path, tmp_path: Path
) -> None:
    values = {f: getattr(CAMERA, f) for f in CAMERA.__dataclass_fields__}
    write_camera(
        CameraModel(**{**values, "pixel_size_x_nm": 127.0}),
        tmp_path / "other.json",
        overwrite=False,
    )
    wrong = spec(folder, tmp_path / "o.h5").model_copy(
        update={"camera": str(tmp_path / "other.json")}
    )
    with pytest.raises(MismatchError, match="100 nm along x, the camera's 127 nm"):
        fit_mle.run(wrong, JobContext())
    assert not list(tmp_path.glob("o.h5*"))
    events: list[EventBody] = []
    allowed = wrong.model_copy(update={"config": FitMleConfig(allow_mismatch=True)})
    fit_mle.run(allowed, JobContext(emit=events.append))
    assert any(isinstance(e, LogEvent) and e.level == "warning" for e in events)


def test_bad_input_is_one_clear_error_and_nothing_is_written(folder: Path, tmp_path: Path) -> None:
    values = {f: getattr(CAMERA, f) for f in CAMERA.__dataclass_fields__}
    write_camera(
        CameraModel(**{**values, "offset_adu": 400.0}), tmp_path / "high.json", overwrite=False
    )
    out = tmp_path / "o.h5"
    high = spec(folder, out).model_copy(update={"camera": str(tmp_path / "high.json")})
    with pytest.raises(CameraError, match="400 ADU"):
        fit_mle.run(high, JobContext())
    with pytest.raises(ConfigError, match="30:50"):
        fit_mle.run(spec(folder, out, frames=(30, 50)), JobContext())
    with pytest.raises(CalibrationError, match="700 nm"):
        # Regression: start values beyond the calibration were moved to its end in silence.
        fit_mle.run(spec(folder, out, z_starts_nm=(-300.0, 700.0)), JobContext())
    with pytest.raises(ConfigError, match="beyond the frame"):
        fit_mle.run(spec(folder, out, roi=(10, 0, 40, 33)), JobContext())
    with pytest.raises(ConfigError, match="12 px"):
        fit_mle.run(spec(folder, out, fit_px=12), JobContext())
    assert not list(tmp_path.glob("o.h5*"))


def test_z_contains_the_refractive_index_factor_exactly_once(folder: Path, tmp_path: Path) -> None:
    """Stage heights times 0.8, their bounds too; x, y and photons stay, and the result says so."""
    plain = read_calibration(folder / "cal.h5")
    scaled = dataclasses.replace(plain, refractive_index_factor=0.8)
    write_calibration(scaled, tmp_path / "cal.h5", overwrite=False)
    write_calibration(scaled, tmp_path / "cal_3dcal.mat", overwrite=False)  # stage z inside
    fit_mle.run(spec(folder, tmp_path / "plain.h5"), JobContext())
    before = read_localizations(tmp_path / "plain.h5")
    assert before.sigma_z_nm is not None
    for name in ("cal.h5", "cal_3dcal.mat"):
        out = tmp_path / f"{name}.locs.h5"
        asked = spec(folder, out).model_copy(update={"calibration": str(tmp_path / name)})
        fit_mle.run(asked, JobContext())
        after = read_localizations(out)
        assert after.sigma_z_nm is not None
        np.testing.assert_array_equal(after.frame, before.frame)
        np.testing.assert_allclose(after.z_nm, 0.8 * before.z_nm, atol=0.3)
        np.testing.assert_allclose(after.sigma_z_nm, 0.8 * before.sigma_z_nm, rtol=2e-3)
        np.testing.assert_allclose(after.x_nm, before.x_nm, atol=0.1)
        np.testing.assert_allclose(after.photons, before.photons, rtol=2e-3)
        assert read_localization_metadata(out).refractive_index_factor == 0.8
    assert read_localization_metadata(tmp_path / "plain.h5").refractive_index_factor == 1.0


@pytest.mark.parametrize(("axes", "flag"), [("TCYX", "--movie-channel"), ("TZYX", "--z-slice")])
def test_a_hyperstack_is_fitted_by_the_channel_or_slice_that_is_chosen(
    folder: Path, tmp_path: Path, axes: str, flag: str
) -> None:
    """The command line on an ImageJ hyperstack gives what the movie by itself gives."""
    frames = tifffile.imread(folder / "movie.tif")
    other = np.full_like(frames, 130)
    tifffile.imwrite(
        tmp_path / "both.tif", np.stack([other, frames], axis=1), imagej=True,
        metadata={"axes": axes},
    )  # fmt: skip
    fit_mle.run(spec(folder, tmp_path / "alone.h5"), JobContext())
    words = ["fit-mle", str(tmp_path / "both.tif"), "--calibration", str(folder / "cal.h5"),
             "--camera", str(folder / "camera.json"), "--device", "cpu"]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "no.h5")]) == 2  # a choice is needed
    assert main([*words, "--out", str(tmp_path / "chosen.h5"), flag, "1"]) == 0
    alone, chosen = (read_localizations(tmp_path / f"{n}.h5") for n in ("alone", "chosen"))
    assert len(alone) > FRAMES / 2
    for name, values in alone.columns().items():
        np.testing.assert_array_equal(chosen.columns()[name], values, err_msg=name)
    config = read_localization_metadata(tmp_path / "chosen.h5").config
    assert config[flag.removeprefix("--").replace("-", "_")] == 1


def test_the_place_on_the_chip_is_recorded_for_programs_that_count_from_there(
    folder: Path, tmp_path: Path
) -> None:
    """A DAX movie states x_start and y_start from 1; SMAP's export adds them to the coordinates."""
    frames = tifffile.imread(folder / "movie.tif")
    frames.astype("<u2").tofile(tmp_path / "movie.dax")
    (tmp_path / "movie.inf").write_text(
        f"data type = 16 bit integers (binary, little endian)\nnumber of frames = {FRAMES}\n"
        f"frame dimensions = {WIDTH} x {HEIGHT}\nx_start = 101\ny_start = 51\n"
    )
    asked = spec(folder, tmp_path / "locs.h5")
    fit_mle.run(asked.model_copy(update={"movie": str(tmp_path / "movie.dax")}), JobContext())
    metadata = read_localization_metadata(tmp_path / "locs.h5")
    assert metadata.config["roi_origin_px"] == [100, 50]
    assert ExportContext.of(metadata).geometry.roi_origin_px == (100, 50)
    fit_mle.run(spec(folder, tmp_path / "plain.h5"), JobContext())
    assert "roi_origin_px" not in read_localization_metadata(tmp_path / "plain.h5").config
