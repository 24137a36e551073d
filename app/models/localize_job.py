"""What a localization is made with: the jobs of the Localize page, from the project's settings."""

from __future__ import annotations

from pathlib import Path

from app.models.job_files import movie_stem
from app.models.project import MovieEntry, ProjectSettings
from decode_engine.contract.jobs import LocalizeSpec

__all__ = ["frames_words", "localize_spec", "made_with", "part_of_movie"]

_WRITE_EVERY_S = 4.0  # so that the live picture fills smoothly; a kill then costs little, too
_CHUNK_FRAMES = 5_000


def localize_spec(
    settings: ProjectSettings, movie: MovieEntry, *, camera: str | None, folder: Path
) -> LocalizeSpec:
    """Return the job that localizes one movie into a folder; ``camera`` is a camera file."""
    config = settings.localize.model_copy(
        update={
            "frames": movie.frames,
            **part_of_movie(movie),
            "write_every_s": _WRITE_EVERY_S,
            "chunk_frames": _CHUNK_FRAMES,
        }
    )
    return LocalizeSpec(
        movies=(movie.path,),
        model=settings.model or "",
        out=str(folder / f"{movie_stem(movie.path)}.h5"),
        camera=camera,
        config=config,
        device=settings.localize_device,
    )


def part_of_movie(movie: MovieEntry) -> dict[str, object]:
    """Return what of every frame is localized, as `LocalizeConfig` names it."""
    return {
        "roi": movie.roi_px,
        "movie_channel": movie.movie_channel,
        "z_slice": movie.z_slice,
    }


def made_with(settings: ProjectSettings) -> tuple[object, ...]:
    """Return all that decides what is found in a frame of a movie."""
    return settings.model, settings.camera, settings.localize, settings.movies


def frames_words(movie: MovieEntry) -> str:
    """Say which part of a movie is localized."""
    parts = []
    if movie.frames is not None:
        parts.append(f"{movie.frames[0]:,}–{movie.frames[1] - 1:,}")
    if movie.roi_px is not None:
        parts.append(f"{movie.roi_px[2]} × {movie.roi_px[3]} px")
    for word, index in (("channel", movie.movie_channel), ("slice", movie.z_slice)):
        if index is not None:
            parts.append(f"{word} {index + 1}")
    return ", ".join(parts) or "all"
