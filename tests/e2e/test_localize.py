"""The localize and preview jobs on files: what users meet, also when things go wrong."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import tifffile
import torch
from numpy.typing import NDArray

from decode_engine.contract.configs import LocalizeConfig, TrainingConfig
from decode_engine.contract.jobs import LocalizeSpec, PreviewSpec
from decode_engine.contract.messages import (
    EventBody,
    LogEvent,
    MetricEvent,
    PreviewEvent,
    ProgressEvent,
    StageEvent,
)
from decode_engine.domain.calibration import Calibration, GaussianPsf
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import (
    CalibrationError,
    CameraError,
    CancelledError,
    ConfigError,
    DiskFullError,
    MismatchError,
    MovieError,
    OutputError,
)
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.localizations import (
    LocalizationWriter,
    partial_path,
    read_localization_metadata,
    read_localizations,
)
from decode_engine.io.models import ModelBundle, write_model
from decode_engine.io.tables import read_localizations_csv
from decode_engine.jobs import localize, preview
from decode_engine.jobs.context import JobContext
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling

PSF = GaussianPsf(
    sigma0_x_nm=130,
    sigma0_y_nm=130,
    depth_nm=400,
    focus_x_nm=250,
    focus_y_nm=-250,
    z_min_nm=-700,
    z_max_nm=700,
)
CAMERA = CameraModel(
    kind="scmos",
    pixel_size_x_nm=100.0,
    pixel_size_y_nm=110.0,
    offset_adu=100.0,
    e_per_adu=0.5,
    read_noise_e=1.0,
)
CALIBRATION = Calibration(psf=PSF, pixel_size_x_nm=100.0, pixel_size_y_nm=110.0)


def make_bundle(calibration: Calibration = CALIBRATION) -> ModelBundle:
    """Return a small network with random weights that answers to bright pixels."""
    generator = torch.Generator().manual_seed(4)
    config = TrainingConfig(network="decode", network_options={"features": 8})
    network = build_network("decode", config.network_options, 3, generator)
    weights = {n: p.detach().numpy().copy() for n, p in network.named_parameters()}
    weights["probability_head.last.weight"] *= 6
    weights["probability_head.last.bias"][:] = -12
    return ModelBundle(
        network="decode",
        network_options=dict(config.network_options),
        weights=weights,
        scaling=NetworkScaling.from_simulation(config.simulation, calibration).to_dict(),
        training_config=config,
        calibration=calibration,
        camera=CAMERA,
    )


def frames(n: int = 23, height: int = 37, width: int = 51, seed: int = 0) -> NDArray[np.uint16]:
    rng = np.random.default_rng(seed)
    spots = rng.random((n, height, width)) < 0.01
    return (rng.poisson(60.0, (n, height, width)) + 100 + 900 * spots).astype(np.uint16)


def write(path: Path, data: NDArray[np.uint16], **options: Any) -> None:
    tifffile.imwrite(path, data, photometric="minisblack", **options)


@dataclass
class Events:
    """Collects a job's events."""

    seen: list[EventBody] = field(default_factory=list)

    def __call__(self, event: EventBody) -> None:
        self.seen.append(event)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]

    @property
    def warnings(self) -> str:
        return " ".join(e.text for e in self.of(LogEvent) if e.level == "warning")


@dataclass
class Bench:
    """A folder with a model and a movie."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model.decode"

    @property
    def movie(self) -> Path:
        return self.folder / "movie.tif"

    def spec(self, out: str = "out.h5", **values: Any) -> LocalizeSpec:
        own = {"movies", "camera", "calibration", "region", "channel", "pixel_size_nm", "model"}
        config = {"chunk_frames": 7, **{k: v for k, v in values.items() if k not in own}}
        given = {k: v for k, v in values.items() if k in own}
        defaults = {"movies": (str(self.movie),), "model": str(self.model), "device": "cpu"}
        return LocalizeSpec(
            **{**defaults, **given, "out": str(self.folder / out)}, config=LocalizeConfig(**config)
        )

    def run(self, out: str = "out.h5", **values: Any) -> Localizations:
        localize.run(self.spec(out, **values), JobContext())
        return read_localizations(self.folder / out)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    result = Bench(tmp_path)
    write_model(make_bundle(), result.model, overwrite=False)
    write(result.movie, frames())
    return result


def assert_identical(a: Localizations, b: Localizations) -> None:
    assert len(a) == len(b)
    assert list(a.columns()) == list(b.columns())
    for name, values in a.columns().items():
        np.testing.assert_array_equal(values, b.columns()[name], err_msg=name)


def test_localizes_a_movie_with_provenance_and_progress(bench: Bench) -> None:
    events = Events()
    spec = bench.spec()
    summary = localize.run(spec, JobContext(emit=events))
    table = read_localizations(bench.folder / "out.h5")
    assert summary["frames"] == 23
    assert summary["localizations"] == len(table) > 100
    assert summary["frames_per_s"] > 0
    assert summary["outputs"] == [spec.out]
    assert set(np.unique(table.frame)) == set(range(23))
    assert table.x_nm.min() >= -100
    assert table.x_nm.max() <= 52 * 100
    metadata = read_localization_metadata(bench.folder / "out.h5")
    assert metadata.complete
    assert (metadata.frame_start, metadata.frame_stop, metadata.frames_done) == (0, 23, 23)
    assert metadata.model_id == make_bundle().model_id
    assert metadata.config["probability_threshold"] == 0.5
    assert metadata.camera["e_per_adu"] == 0.5
    assert metadata.device == "cpu, fp32" or metadata.device == "cpu, bf16"
    last = events.of(ProgressEvent)[-1]
    assert (last.done, last.total, last.unit) == (23, 23, "frames")
    assert events.of(MetricEvent)[0].values["frames_per_s"] > 0
    assert not partial_path(bench.folder / "out.h5").exists()


@pytest.mark.parametrize("chunk_frames", [1, 5, 1000])
def test_chunks_leave_no_trace(bench: Bench, chunk_frames: int) -> None:
    assert_identical(bench.run("a.h5", chunk_frames=chunk_frames), bench.run("b.h5"))


def test_range_and_region_are_parts_of_the_whole(bench: Bench) -> None:
    whole = bench.run()
    part = bench.run("range.h5", frames=(5, 12))
    assert_identical(part, whole.take((whole.frame >= 5) & (whole.frame < 12)))
    region = bench.run("region.h5", roi=(20, 9, 25, 20))
    keys = set(zip(whole.frame.tolist(), np.round(whole.x_nm, 1).tolist(), strict=True))
    assert len(region) > 20
    assert keys >= set(zip(region.frame.tolist(), np.round(region.x_nm, 1).tolist(), strict=True))
    inside = (np.abs(whole.x_nm / 100 - 32) < 11) & (np.abs(whole.y_nm / 110 - 18.5) < 8.5)
    assert inside.sum() <= len(region)
    metadata = read_localization_metadata(bench.folder / "region.h5")
    assert (metadata.roi, metadata.width_px) == ((20, 9, 25, 20), 51)


def test_killed_and_resumed_gives_the_same_as_uninterrupted(bench: Bench) -> None:
    """SIGKILL in the middle, at a chunk that is no multiple of the batch."""
    spec = bench.spec("killed.h5", batch_frames=4, chunk_frames=3)
    script = textwrap.dedent("""
        import sys, time
        from decode_engine.contract.jobs import LocalizeSpec
        from decode_engine.jobs import localize
        from decode_engine.jobs.context import JobContext
        spec = LocalizeSpec.model_validate_json(sys.argv[1])
        slow = JobContext(emit=lambda event: time.sleep(0.15), max_rate_hz=1e9)
        localize.run(spec, slow)
    """)
    process = subprocess.Popen([sys.executable, "-c", script, spec.model_dump_json()])
    folder = partial_path(Path(spec.out))
    deadline = time.monotonic() + 60
    while len(list(folder.glob("part-*.h5"))) < 2 and time.monotonic() < deadline:
        assert process.poll() is None, "the job ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not Path(spec.out).exists()
    done = len(np.unique(read_localizations(folder).frame))
    assert 0 < done < 23
    events = Events()
    resumed = bench.spec("killed.h5", batch_frames=4, resume=True)
    localize.run(resumed, JobContext(emit=events))
    table = read_localizations(Path(spec.out))
    assert "Going on behind" in " ".join(e.text for e in events.of(LogEvent))
    uninterrupted = bench.run("uninterrupted.h5", batch_frames=4)
    assert_identical(table, uninterrupted)
    assert not folder.exists()


def test_cancel_keeps_what_was_done_and_resumes(bench: Bench) -> None:
    context = JobContext(max_rate_hz=1e9)

    def cancel_at_ten(event: EventBody) -> None:
        if isinstance(event, ProgressEvent) and event.done >= 10:
            context.cancel.cancel()

    context.emit = cancel_at_ten
    with pytest.raises(CancelledError):
        localize.run(bench.spec(batch_frames=2, chunk_frames=1000), context)
    kept = read_localizations(partial_path(bench.folder / "out.h5"))
    assert int(kept.frame.max()) >= 8
    with pytest.raises(OutputError, match="unfinished result"):
        bench.run(batch_frames=2)
    assert_identical(bench.run(resume=True, batch_frames=2), bench.run("b.h5", batch_frames=2))


def test_cancel_takes_effect_within_a_second(bench: Bench) -> None:
    """Also inside one long step: a single batch of large frames."""
    write(bench.movie, frames(4, 700, 700))
    context, started, ended = JobContext(), threading.Event(), []

    def watch(event: EventBody) -> None:
        if isinstance(event, StageEvent) and event.name.startswith("Localizing"):
            started.set()

    context.emit = watch

    def job() -> None:
        with pytest.raises(CancelledError):
            localize.run(bench.spec(), context)
        ended.append(time.monotonic())

    thread = threading.Thread(target=job)
    thread.start()
    assert started.wait(20)
    time.sleep(0.2)
    cancelled = time.monotonic()
    context.cancel.cancel()
    thread.join()
    assert ended[0] - cancelled < 1.0


def test_resume_refuses_another_job(bench: Bench) -> None:
    writer_spec = bench.spec(frames=(0, 5))
    context = JobContext(max_rate_hz=1e9)
    context.emit = lambda event: (
        context.cancel.cancel() if isinstance(event, ProgressEvent) else None
    )
    with pytest.raises(CancelledError):
        localize.run(writer_spec, context)
    with pytest.raises(MismatchError, match="probability_threshold"):
        bench.run(resume=True, frames=(0, 5), probability_threshold=0.3)


def test_resume_of_a_finished_result_does_nothing(bench: Bench) -> None:
    first = bench.run()
    events = Events()
    summary = localize.run(bench.spec(resume=True), JobContext(emit=events))
    assert summary["frames"] == 23
    assert "finished already" in " ".join(e.text for e in events.of(LogEvent))
    assert_identical(read_localizations(bench.folder / "out.h5"), first)
    with pytest.raises(OutputError, match="does not belong to this job"):
        bench.run(resume=True, roi=(0, 0, 20, 20))


def test_several_movies_in_one_call(bench: Bench) -> None:
    other = bench.folder / "second" / "movie.tif"
    third = bench.folder / "third.ome.tif"
    other.parent.mkdir()
    write(other, frames(5, seed=1))
    write(third, frames(4, 64, 40, seed=2), metadata={"axes": "TYX"})
    movies = (str(bench.movie), str(other), str(third))
    summary = localize.run(bench.spec("results", movies=movies), JobContext())
    names = [Path(p).name for p in summary["outputs"]]
    assert names == [f"{bench.folder.name}_movie.h5", "second_movie.h5", "third.h5"]
    assert summary["frames"] == 23 + 5 + 4
    single = bench.run("single.h5", movies=(str(other),))
    assert_identical(read_localizations(bench.folder / "results" / "second_movie.h5"), single)


def test_nothing_starts_when_one_of_several_movies_is_wrong(bench: Bench) -> None:
    small = bench.folder / "small.tif"
    write(small, frames(3, 20, 20))
    with pytest.raises(ConfigError, match="beyond the frame"):
        bench.run("results", movies=(str(bench.movie), str(small)), roi=(5, 5, 30, 30))
    assert not list((bench.folder / "results").glob("*"))


def test_single_frame_movie_and_odd_sizes(bench: Bench) -> None:
    write(bench.movie, frames(1, 29, 43)[0])
    assert set(bench.run().frame) == {0}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"frames": (0, 24)}, "0:24 were asked"),
        ({"frames": (7, 7)}, "7:7 were asked"),
        ({"roi": (40, 0, 20, 20)}, "beyond the frame"),
    ],
)
def test_range_and_region_must_be_inside(
    bench: Bench, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        bench.run(**config)
    assert not (bench.folder / "out.h5").exists()
    assert not partial_path(bench.folder / "out.h5").exists()


def test_mismatch_lists_what_differs_and_can_be_overridden(bench: Bench) -> None:
    camera, calibration = bench.folder / "camera.json", bench.folder / "other.h5"
    values = {n: getattr(CAMERA, n) for n in CAMERA.__dataclass_fields__}
    other_camera = CameraModel(**{**values, "e_per_adu": 0.7})
    write_camera(other_camera, camera, overwrite=False)
    other_psf = GaussianPsf(
        **{n: getattr(PSF, n) for n in PSF.__dataclass_fields__} | {"sigma0_x_nm": 150.0}
    )
    write_calibration(Calibration(psf=other_psf), calibration, overwrite=False)
    given = {"camera": str(camera), "calibration": str(calibration), "pixel_size_nm": 160.0}
    with pytest.raises(MismatchError) as caught:
        bench.run(**given)
    for word in ("e_per_adu", "calibration", "pixel size", "160", "0.7"):
        assert word in caught.value.message
    events = Events()
    localize.run(bench.spec(allow_mismatch=True, **given), JobContext(emit=events))
    assert "made for something else" in events.warnings
    metadata = read_localization_metadata(bench.folder / "out.h5")
    assert any("e_per_adu" in note for note in metadata.notes)
    assert metadata.camera["e_per_adu"] == 0.7


def test_the_given_calibration_is_read_as_by_the_other_jobs(bench: Bench) -> None:
    """Regression: region and channel could not be chosen, nor SMAP's old Gaussian be read."""
    given = bench.folder / "given.h5"
    write_calibration(CALIBRATION, given, overwrite=False)
    bench.run(calibration=str(given), frames=(0, 2))
    with pytest.raises(CalibrationError, match="region"):
        bench.run("region.h5", calibration=str(given), region=3)
    with pytest.raises(CalibrationError, match="channel"):
        bench.run("channel.h5", calibration=str(given), channel=2)
    old = bench.folder / "old.mat"
    scipy.io.savemat(old, {"outforfit": np.array([[1.2, 0, 0, 0, 0, 0.25, 0.4, 1.3]])})
    with pytest.raises(MismatchError, match="calibration"):
        bench.run("old.h5", calibration=str(old))


def test_offset_above_the_movie_is_refused_with_both_values(bench: Bench) -> None:
    write(bench.movie, frames() - 70)
    with pytest.raises(CameraError, match=r"100 ADU .* (89|90|91) ADU"):
        bench.run()


def test_camera_maps_must_fit_the_frames(bench: Bench) -> None:
    values = {n: getattr(CAMERA, n) for n in CAMERA.__dataclass_fields__}
    maps = CameraModel(**{**values, "offset_adu": np.full((37, 50), 100, np.float32)})
    write_camera(maps, bench.folder / "camera.json", overwrite=False)
    with pytest.raises(CameraError, match="50 x 37"):
        bench.run(camera=str(bench.folder / "camera.json"), allow_mismatch=True)


def test_camera_maps_equal_to_scalars_give_the_same(bench: Bench) -> None:
    values = {n: getattr(CAMERA, n) for n in CAMERA.__dataclass_fields__}
    maps = CameraModel(**{**values, "offset_adu": np.full((37, 51), 100, np.float32)})
    write_camera(maps, bench.folder / "camera.json", overwrite=False)
    found = bench.run("maps.h5", camera=str(bench.folder / "camera.json"), allow_mismatch=True)
    assert_identical(found, bench.run())


def test_two_dimensional_model_gives_nan_z(bench: Bench) -> None:
    flat = Calibration(psf=GaussianPsf(sigma0_x_nm=130, sigma0_y_nm=130))
    write_model(make_bundle(flat), bench.model, overwrite=True)
    events = Events()
    localize.run(bench.spec(), JobContext(emit=events))
    table = read_localizations(bench.folder / "out.h5")
    assert len(table) > 0
    assert np.isnan(table.z_nm).all()
    assert not read_localization_metadata(bench.folder / "out.h5").is_3d
    assert "two-dimensional" in " ".join(e.text for e in events.of(LogEvent))


def test_truncated_movie_is_used_with_a_warning(bench: Bench) -> None:
    write(bench.movie, frames(), imagej=True)
    whole = bench.run("whole.h5")
    data = bench.movie.read_bytes()
    bench.movie.write_bytes(data[: 37 * 51 * 2 * 15 + 2000])
    events = Events()
    localize.run(bench.spec(), JobContext(emit=events))
    table = read_localizations(bench.folder / "out.h5")
    n = int(table.frame.max()) + 1
    assert 10 < n < 23
    assert f"{23 - n} are missing" in events.warnings
    assert any(
        "missing" in note for note in read_localization_metadata(bench.folder / "out.h5").notes
    )
    before = whole.frame < n - 1  # the last frame had a successor then
    assert_identical(table.take(table.frame < n - 1), whole.take(before))


def test_vanishing_movie_keeps_what_was_done(bench: Bench) -> None:
    expected = bench.run("expected.h5", batch_frames=2)
    aside = bench.folder / "aside.tif"
    context = JobContext(max_rate_hz=1e9)

    def vanish(event: EventBody) -> None:
        if isinstance(event, ProgressEvent) and event.done >= 6 and bench.movie.exists():
            bench.movie.rename(aside)

    context.emit = vanish
    with pytest.raises(MovieError, match="vanished"):
        localize.run(bench.spec(batch_frames=2), context)
    assert int(read_localizations(partial_path(bench.folder / "out.h5")).frame.max()) >= 4
    aside.rename(bench.movie)
    assert_identical(bench.run(resume=True, batch_frames=2), expected)


def test_growing_movie_is_followed(bench: Bench) -> None:
    expected = bench.run("expected.h5", batch_frames=4)
    everything = frames()
    growing = bench.folder / "growing.tif"
    write(growing, everything[:9], metadata=None)

    def acquire() -> None:
        for start in range(9, 23, 7):
            time.sleep(0.3)
            with tifffile.TiffWriter(growing, append=True) as writer:
                for frame in everything[start : start + 7]:
                    writer.write(frame, photometric="minisblack", metadata=None)

    thread = threading.Thread(target=acquire)
    thread.start()
    found = bench.run("grown.h5", movies=(str(growing),), follow_s=2.0, batch_frames=4)
    thread.join()
    assert_identical(found, expected)
    metadata = read_localization_metadata(bench.folder / "grown.h5")
    assert (metadata.movie_frames, metadata.frame_stop) == (23, 23)


def test_full_disk_keeps_the_chunks(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = bench.run("expected.h5")
    append, calls = LocalizationWriter.append, []

    def full(self: LocalizationWriter, *args: Any, **kwargs: Any) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise DiskFullError("The disk is full.")
        append(self, *args, **kwargs)

    monkeypatch.setattr(LocalizationWriter, "append", full)
    with pytest.raises(DiskFullError):
        bench.run()
    monkeypatch.undo()
    assert partial_path(bench.folder / "out.h5").exists()
    assert_identical(bench.run(resume=True), expected)


def test_existing_output_is_kept(bench: Bench) -> None:
    first = bench.run()
    with pytest.raises(OutputError, match="exists already"):
        bench.run(roi=(0, 0, 20, 20))
    assert_identical(read_localizations(bench.folder / "out.h5"), first)
    assert len(bench.run(roi=(0, 0, 20, 20), overwrite=True)) < len(first)


def test_preview_equals_the_frame_of_the_whole(bench: Bench) -> None:
    whole = bench.run()
    events = Events()
    out = bench.folder / "preview"
    spec = PreviewSpec(
        movie=str(bench.movie), model=str(bench.model), frame=11, out=str(out), device="cpu"
    )
    for _ in range(2):  # previews replace each other
        summary = preview.run(spec, JobContext(emit=events))
    np.testing.assert_array_equal(np.load(out / "frame.npy"), frames()[11])
    table = read_localizations_csv(out / "localizations.csv")
    expected = whole.take(whole.frame == 11)
    assert summary["localizations"] == len(table) == len(expected) > 0
    np.testing.assert_allclose(table.x_nm, expected.x_nm, atol=0.1)
    shown = events.of(PreviewEvent)[0]
    assert (shown.shape, shown.dtype) == ((37, 51), "uint16")
    with pytest.raises(ConfigError, match="Frame 23"):
        preview.run(spec.model_copy(update={"frame": 23}), JobContext())
    shutil.rmtree(out)
