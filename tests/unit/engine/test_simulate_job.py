"""The simulate job: files, overwrite rules, cancelling, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from decode_engine.contract.configs import SimulationConfig
from decode_engine.contract.jobs import SimulateSpec
from decode_engine.contract.messages import EventBody, LogEvent, ProgressEvent
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import (
    CalibrationError,
    CameraError,
    CancelledError,
    ConfigError,
    MismatchError,
    OutputError,
)
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import read_camera, write_camera
from decode_engine.io.movies import open_movie
from decode_engine.io.tables import read_emitters_csv
from decode_engine.jobs import simulate
from decode_engine.jobs.context import JobContext


def calibration(**values: object) -> Calibration:
    psf = GaussianPsf(
        sigma0_x_nm=110, sigma0_y_nm=110, depth_nm=400, focus_x_nm=200, focus_y_nm=-200,
        z_min_nm=-500, z_max_nm=500,
    )  # fmt: skip
    defaults = {"psf": psf, "pixel_size_x_nm": 100.0, "pixel_size_y_nm": 110.0}
    return Calibration(**{**defaults, **values})  # type: ignore[arg-type]  # keywords by name


def camera(**values: object) -> CameraModel:
    defaults = {
        "kind": "scmos", "pixel_size_x_nm": 100.0, "pixel_size_y_nm": 110.0, "offset_adu": 100.0,
        "e_per_adu": 0.5, "read_noise_e": 1.5,
    }  # fmt: skip
    return CameraModel(**{**defaults, **values})  # type: ignore[arg-type]  # keywords by name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_calibration(calibration(), tmp_path / "cal.h5", overwrite=False)
    write_camera(camera(), tmp_path / "cam.json", overwrite=False)
    return tmp_path


def spec(folder: Path, **values: object) -> SimulateSpec:
    defaults = {
        "calibration": str(folder / "cal.h5"),
        "camera": str(folder / "cam.json"),
        "out": str(folder / "out"),
        "frames": 12,
        "size_px": (40, 30),
        "density_per_um2": 2.0,
    }
    return SimulateSpec(**{**defaults, **values})


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in (folder / "out").iterdir())


def test_writes_movie_truth_camera_and_record(folder: Path) -> None:
    events: list[EventBody] = []
    summary = simulate.run(spec(folder), JobContext(emit=events.append))
    assert files(folder) == ["camera.json", "job.json", "movie.tif", "truth.csv"]
    out = folder / "out"
    with open_movie(out / "movie.tif") as movie:
        assert (movie.n_frames, movie.height_px, movie.width_px) == (12, 30, 40)
        assert movie.dtype == np.uint16
        assert movie.metadata.pixel_size_x_nm == pytest.approx(100.0, rel=1e-4)
        assert movie.metadata.pixel_size_y_nm == pytest.approx(110.0, rel=1e-4)
    header = (out / "truth.csv").read_text().splitlines()[0]
    assert header == "frame,x_nm,y_nm,z_nm,photons,background"
    truth = read_emitters_csv(out / "truth.csv")
    assert len(truth) == summary["n_emitters"] > 100
    assert truth.frame.max() == 11
    assert truth.y_nm.max() < 29.5 * 110
    assert read_camera(out / "camera.json").fingerprint() == camera().fingerprint()
    record = json.loads((out / "job.json").read_text())
    assert record["calibration_sha256"] == calibration().fingerprint()
    assert record["simulation"]["density_max_per_um2"] == 2.0
    progress = [e for e in events if isinstance(e, ProgressEvent)]
    assert (progress[-1].done, progress[-1].total) == (12, 12)


def test_light_of_the_movie_is_that_of_the_truth(folder: Path) -> None:
    config = SimulationConfig(background_min=20, background_max=20, background_variation=0.0)
    simulate.run(spec(folder, frames=40, simulation=config), JobContext())
    frames = camera().adu_to_photons(tifffile.imread(folder / "out" / "movie.tif"))
    truth = read_emitters_csv(folder / "out" / "truth.csv")
    per_frame = np.bincount(truth.frame, truth.photons, minlength=40)
    light = (frames - 20).sum((1, 2))
    # Light leaks in and out at the borders; frame by frame the two go together.
    assert np.corrcoef(per_frame, light)[0, 1] > 0.8
    assert light.sum() == pytest.approx(per_frame.sum(), rel=0.15)
    np.testing.assert_allclose(truth.background, 20.0)


def test_same_seed_same_files(folder: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulate.run(spec(folder, out=str(folder / name), seed=seed), JobContext())
    movies = [tifffile.imread(folder / n / "movie.tif") for n in "abc"]
    truths = [(folder / n / "truth.csv").read_bytes() for n in "abc"]
    np.testing.assert_array_equal(movies[0], movies[1])
    assert truths[0] == truths[1] != truths[2]
    assert not np.array_equal(movies[0], movies[2])


def test_existing_results_are_kept_unless_overwriting(folder: Path) -> None:
    simulate.run(spec(folder), JobContext())
    before = (folder / "out" / "movie.tif").read_bytes()
    with pytest.raises(OutputError, match="exists"):
        simulate.run(spec(folder, seed=5), JobContext())
    assert (folder / "out" / "movie.tif").read_bytes() == before
    simulate.run(spec(folder, seed=5, overwrite=True), JobContext())
    assert (folder / "out" / "movie.tif").read_bytes() != before


def test_cancelling_leaves_nothing_behind(folder: Path) -> None:
    context = JobContext()

    def stop(event: EventBody) -> None:
        if isinstance(event, ProgressEvent):
            context.cancel.cancel()

    context.emit = stop
    with pytest.raises(CancelledError):
        simulate.run(spec(folder, frames=4000), context)
    assert not (folder / "out").exists()


def test_maps_travel_with_the_camera(folder: Path) -> None:
    maps = camera(offset_adu=np.random.default_rng(0).uniform(90, 300, (30, 40)))
    write_camera(maps, folder / "cam.json", overwrite=True)
    config = SimulationConfig(density_max_per_um2=1e-9, density_min_per_um2=0.0)
    simulate.run(spec(folder, density_per_um2=None, simulation=config), JobContext())
    back = read_camera(folder / "out" / "camera.json")
    assert back.fingerprint() == maps.fingerprint()
    frames = back.adu_to_photons(tifffile.imread(folder / "out" / "movie.tif"))
    assert frames.mean((0, 2)).std() < 6  # the map's spread of 60 ADU is gone
    with pytest.raises(CameraError, match="40 x 30"):
        simulate.run(spec(folder, size_px=(41, 30), overwrite=True), JobContext())


def test_refusals_write_nothing(folder: Path) -> None:
    write_camera(camera(pixel_size_y_nm=100.0), folder / "other.json", overwrite=False)
    write_camera(camera(offset_adu=70000.0), folder / "bright.json", overwrite=False)
    deep = SimulationConfig(z_max_nm=600.0)
    refused: list[tuple[type[Exception], str, dict[str, object]]] = [
        (CalibrationError, "600 nm", {"simulation": deep}),
        (MismatchError, "110 nm along y", {"camera": str(folder / "other.json")}),
        (CameraError, "70000", {"camera": str(folder / "bright.json")}),
        (CameraError, "nowhere", {"camera": str(folder / "nowhere.json")}),
        (ConfigError, "2000 nm", {"drift_nm": (0.0, 0.0, 2000.0)}),
    ]
    for kind, words, values in refused:
        with pytest.raises(kind, match=words):
            simulate.run(spec(folder, **values), JobContext())
        assert not (folder / "out").exists()


def test_a_file_in_place_of_the_folder_is_refused(folder: Path) -> None:
    (folder / "out").write_text("mine")
    with pytest.raises(OutputError):
        simulate.run(spec(folder, overwrite=True), JobContext())
    assert (folder / "out").read_text() == "mine"


def test_mirroring_that_differs_must_be_allowed(folder: Path) -> None:
    write_calibration(calibration(em_mirrored=True), folder / "cal.h5", overwrite=True)
    with pytest.raises(MismatchError, match="mirrored"):
        simulate.run(spec(folder, frames=1), JobContext())
    assert not (folder / "out").exists()
    events: list[EventBody] = []
    allowed = spec(folder, frames=1, allow_mismatch=True)
    simulate.run(allowed, JobContext(emit=events.append))
    assert any(isinstance(e, LogEvent) and "mirrored" in e.text for e in events)
