"""Localize movies with a trained model: streamed, resumable, with full provenance."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import CancelledError, MovieError, OutputError
from decode_engine.inference.predictor import LocalizedBatch
from decode_engine.io.atomic import require_output
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    partial_path,
    read_localization_metadata,
    software_versions,
)
from decode_engine.io.movies import FrameSource
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.localize_setup import Setup, prepare
from decode_engine.jobs.movie_checks import (
    check_movie,
    frame_range,
    open_chosen,
    recorded_settings,
    region_of,
)
from decode_engine.jobs.optics import camera_record

__all__ = ["output_paths", "run"]

_METRIC_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class _Movie:
    """A movie that passed all checks, and where its result goes."""

    path: Path
    out: Path
    n_frames: int
    notes: tuple[str, ...]
    finished: bool


@dataclass(kw_only=True)
class _Progress:
    """Counts over all movies of the job."""

    context: JobContext
    total: int
    started_s: float
    done: int = 0
    fitted: int = 0
    localizations: int = 0
    reported_s: float = field(default=-_METRIC_EVERY_S)

    @property
    def frames_per_s(self) -> float:
        """Speed of this run; frames of earlier runs do not count."""
        return self.fitted / max(self.context.clock() - self.started_s, 1e-9)

    def add(self, batch: LocalizedBatch) -> None:
        """Report another batch."""
        self.done += batch.stop - batch.start
        self.fitted += batch.stop - batch.start
        self.localizations += len(batch.localizations)
        self.total = max(self.total, self.done)  # a movie may grow
        rate = self.frames_per_s
        left = self.total - self.done
        self.context.progress(self.done, self.total, "frames", left / rate if rate else None)
        now_s = self.context.clock()
        if now_s - self.reported_s >= _METRIC_EVERY_S:
            self.reported_s = now_s
            values = {"frames_per_s": rate, "localizations": float(self.localizations)}
            self.context.metric(self.done, values)


def run(spec: LocalizeSpec, context: JobContext) -> dict[str, Any]:
    """Localize all movies of the job.

    Everything that can be known to be wrong is checked for all movies before the first frame
    is fitted. Each result appears under its name when it is complete; until then its finished
    chunks lie beside it, and ``resume`` goes on behind them, also after a kill.

    Returns
    -------
    dict
        ``frames``, ``localizations``, ``frames_per_s``, ``device``, ``out`` (as asked) and
        ``outputs`` (one path per movie).

    Raises
    ------
    MovieError
        Also when a movie vanishes while it is read; what was done is kept.
    CancelledError
        What was done is kept.
    """
    context.stage("Checking inputs")
    setup = prepare(spec, context)
    movies = _check(spec, setup, context)
    progress = _Progress(
        context=context, total=sum(m.n_frames for m in movies), started_s=context.clock()
    )
    for movie in movies:
        context.stage(f"Localizing {movie.path.name}")
        _localize(movie, spec, setup, progress)
        context.artifact("localizations", str(movie.out))
    return {
        "frames": progress.done,
        "localizations": progress.localizations,
        "frames_per_s": progress.frames_per_s if progress.fitted else 0.0,
        "device": setup.device_words,
        "out": spec.out,
        "outputs": [str(m.out) for m in movies],
    }


def output_paths(movies: Sequence[str], out: Path) -> list[Path]:
    """Return the result of each movie: ``out`` itself, or ``<movie>.h5`` in the folder ``out``.

    ``out`` is a folder when there are several movies or it exists as one. Movies of the same
    name get the names of their folders in front.
    """
    if len(movies) == 1 and not out.is_dir():
        return [out]
    if out.is_file():
        raise OutputError(
            f"{out} is a file, but {len(movies)} movies need a folder.",
            hint="Give the name of a folder.",
        )
    paths = [Path(movie).absolute() for movie in movies]
    stems = [_stem(path) for path in paths]
    named = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}_{stem}"
        for stem, path in zip(stems, paths, strict=True)
    ]
    double = next((name for name in named if named.count(name) > 1), None)
    if double is not None:
        raise OutputError(
            f"Two movies would both be written to {out / double}.h5.",
            hint="Localize them in two calls, or rename one.",
        )
    return [out / f"{name}.h5" for name in named]


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (".ome.tif", ".ome.tiff", path.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)]
    return name


def _check(spec: LocalizeSpec, setup: Setup, context: JobContext) -> list[_Movie]:
    """Open and check every movie and output; nothing is written yet."""
    movies = []
    for text, out in zip(spec.movies, output_paths(spec.movies, Path(spec.out)), strict=True):
        context.check()
        finished = spec.config.resume and out.exists() and not partial_path(out).exists()
        require_output(out, overwrite=spec.config.overwrite or finished)
        with open_chosen(text, spec.config) as source:
            warnings = check_movie(source, setup.camera, spec.config)
            setup.predictor.plan(source, region_of(spec.config))  # tiles may be too small
            start, stop = frame_range(source, spec.config)
        for warning in warnings:
            context.log(warning, "warning")
        movies.append(
            _Movie(
                path=Path(text),
                out=out,
                n_frames=stop - start,
                notes=(*setup.notes, *warnings),
                finished=finished,
            )
        )
    return movies


def _localize(movie: _Movie, spec: LocalizeSpec, setup: Setup, progress: _Progress) -> None:
    """Localize one movie, from where an earlier run stopped."""
    config, context = spec.config, progress.context
    with open_chosen(movie.path, config) as source:
        metadata = _metadata(source, movie, spec, setup)
        if movie.finished and _is_finished(movie, metadata, progress):
            return
        writer = _writer(movie, metadata, spec)
        progress.done += writer.frames_done
        progress.localizations += writer.n_localizations
        if writer.frames_done:
            context.log(f"Going on behind {writer.frames_done} finished frames.")
        start, stop = frame_range(source, config)
        follows = config.follow_s > 0 and config.frames is None
        batches = setup.predictor.localize(
            source,
            (start + writer.frames_done, None if follows else stop),
            region=region_of(config),
            follow_s=config.follow_s,
            check=context.check,
        )
        if follows or writer.frames_done < stop - start:
            _write(batches, writer, start, spec, progress)
        writer.finish(_final(metadata, source, start, writer.frames_done))


def _write(
    batches: Iterator[LocalizedBatch],
    writer: LocalizationWriter,
    start: int,
    spec: LocalizeSpec,
    progress: _Progress,
) -> None:
    """Append the batches, chunk by chunk; keep the last ones also when something fails."""
    clock = progress.context.clock
    pending: list[Localizations] = []
    done, written_s = writer.frames_done, clock()

    def flush() -> None:
        nonlocal written_s
        if done > writer.frames_done:
            writer.append(Localizations.concatenate(pending), frames_done=done)
        pending.clear()
        written_s = clock()

    with _kept(flush):
        for batch in batches:
            pending.append(batch.localizations)
            done = batch.stop - start
            progress.add(batch)
            full = done - writer.frames_done >= spec.config.chunk_frames
            if full or clock() - written_s > spec.config.write_every_s:
                flush()
            progress.context.check()
    flush()


@contextmanager
def _kept(flush: Callable[[], None]) -> Iterator[None]:
    """Write what is there when the movie vanishes or the user cancels."""
    try:
        yield
    except (CancelledError, MovieError):
        flush()
        raise


def _writer(
    movie: _Movie, metadata: LocalizationMetadata, spec: LocalizeSpec
) -> LocalizationWriter:
    make = LocalizationWriter.resume if spec.config.resume else LocalizationWriter.create
    return make(movie.out, metadata, overwrite=spec.config.overwrite)


def _is_finished(movie: _Movie, metadata: LocalizationMetadata, progress: _Progress) -> bool:
    """Whether an earlier run finished this very movie with these very settings."""
    earlier = read_localization_metadata(movie.out)
    differing = metadata.differences(earlier)
    if differing:
        raise OutputError(
            f"{movie.out} exists and does not belong to this job: it has {', '.join(differing)}.",
            hint="Choose another name, or allow overwriting (--overwrite).",
        )
    progress.context.log(f"{movie.out} is finished already.")
    progress.done += earlier.frames_done
    return True


def _metadata(
    source: FrameSource, movie: _Movie, spec: LocalizeSpec, setup: Setup
) -> LocalizationMetadata:
    config = spec.config
    start, stop = frame_range(source, config)
    known = _frames_of_earlier_run(movie.out, source) if config.resume else None
    camera = setup.camera
    return LocalizationMetadata(
        movie_paths=(str(movie.path),),
        movie_fingerprint=source.fingerprint(known),
        movie_frames=known or source.n_frames,
        width_px=source.width_px,
        height_px=source.height_px,
        pixel_size_x_nm=camera.pixel_size_x_nm,
        pixel_size_y_nm=camera.pixel_size_y_nm,
        roi=config.roi,
        frame_start=start,
        frame_stop=stop,
        is_3d=setup.predictor.scaling.is_3d,
        refractive_index_factor=setup.bundle.calibration.refractive_index_factor,
        method="localize",
        model_id=setup.bundle.model_id,
        calibration_id=setup.bundle.calibration.fingerprint(),
        camera=camera_record(camera),
        config=recorded_settings(source, config),
        versions=software_versions(),
        seed=setup.bundle.training_config.seed,
        device=setup.device_words,
        notes=movie.notes,
    )


def _frames_of_earlier_run(out: Path, source: FrameSource) -> int | None:
    """Return the movie's length when it was begun: a movie that grew since is the same movie."""
    for place in (partial_path(out), out):
        if place.exists():
            earlier = read_localization_metadata(place)
            return earlier.movie_frames if earlier.movie_frames <= source.n_frames else None
    return None


def _final(
    metadata: LocalizationMetadata, source: FrameSource, start: int, frames_done: int
) -> LocalizationMetadata:
    """Return the provenance with what is known only now: how far the movie had grown."""
    return dataclasses.replace(
        metadata,
        frame_stop=start + frames_done,
        movie_frames=source.n_frames,
        movie_fingerprint=source.fingerprint(),
    )
