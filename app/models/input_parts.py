"""What a run was made from, part by part, so that a stale result can say what changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from app.models.fingerprints import UNKNOWN, FileStamp, digest, file_digest
from app.models.project import CalibrationChoice, Project, ProjectSettings, RunRecord
from app.models.runs import run_that_made
from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig
from decode_engine.io.starters import is_starter

__all__ = ["changed_parts", "input_parts", "recorded_parts", "watched_paths"]

# Speed, bookkeeping and what stands in another part; the result does not depend on these here.
_NOT_TRAINING = {"simulation", "checkpoint_every_s", "validate_every_steps"}
_NOT_LOCALIZE = {
    "frames",
    "roi",
    "batch_frames",
    "tile_px",
    "chunk_frames",
    "write_every_s",
    "overwrite",
    "resume",
    "follow_s",
    "allow_mismatch",
}
_MAPS = ("offset_adu", "e_per_adu", "read_noise_e")

Files: TypeAlias = Mapping[str, FileStamp]


def input_parts(
    step: Step, settings: ProjectSettings, spec: Mapping[str, Any], files: Files
) -> dict[str, str]:
    """Return a digest for each part of what a run of a step is made from.

    The names of the parts are the words that the user reads. A part whose files were not
    looked at yet starts with `UNKNOWN`.
    """
    if step is Step.CALIBRATION:
        config = settings.beads.config
        return {
            "bead stacks": _digest([file_digest(path, files) for path in settings.beads.stacks]),
            "calibration settings": digest(_json(config, {"overwrite"}) if config else None),
        }
    if step is Step.TRAIN:
        return {
            "calibration": _calibration(settings.calibration, files),
            "camera": _camera(settings.camera, files),
            "simulation settings": digest(_json(settings.simulation, set())),
            "training settings": digest(_json(settings.training, _NOT_TRAINING)),
        }
    if step is Step.LOCALIZE:
        return _localize_parts(settings, spec, files)
    if step in (Step.CORRECT, Step.EXPLORE, Step.EXPORT):
        return {
            "localizations": _digest([file_digest(settings.localizations, files)]),
            "filters": digest(_json(settings.filters, set())),
        }
    return {}


def recorded_parts(
    step: Step, settings: ProjectSettings, spec: Mapping[str, Any], files: Files
) -> dict[str, str]:
    """Return the parts that a run which starts now depends on.

    They are those of `input_parts`, but without filters that the user left out of an export.
    """
    parts = input_parts(step, settings, spec, files)
    if spec.get("filters") != _json(settings.filters, set()):
        parts.pop("filters", None)
    return parts


def _localize_parts(
    settings: ProjectSettings, spec: Mapping[str, Any], files: Files
) -> dict[str, str]:
    movies = [_movie(path, settings, files) for path in _movies(spec)]
    parts = {
        "movie": _digest(movies),
        "localization settings": digest(_json(settings.localize, _NOT_LOCALIZE)),
        # Also where there is none: one that is set later takes the place of the model's own.
        "camera": _camera(settings.camera, files),
    }
    if spec.get("model"):
        parts["model"] = _digest([file_digest(settings.model, files)])
    return parts


def changed_parts(project: Project, run: RunRecord, files: Files) -> tuple[str, ...]:
    """Return which parts are other ones now than when a run was started."""
    today = input_parts(run.step, project.settings, run.spec, files)
    return tuple(
        name
        for name, then in run.inputs.items()
        if (now := today.get(name)) is not None
        and now != then
        and not now.startswith(UNKNOWN)
        and not then.startswith(UNKNOWN)
    )


def watched_paths(project: Project) -> tuple[str, ...]:
    """Return the files on which the states of the steps depend."""
    settings = project.settings
    found = [entry.path for entry in settings.movies]
    found += settings.beads.stacks
    init = settings.train_start.init
    start = None if is_starter(init) else init
    chosen = (settings.calibration.path, settings.model, settings.localizations)
    found += [path for path in (*chosen, start) if path]
    if settings.camera is not None:
        found += _maps(settings.camera)
    if settings.localizations:
        run = run_that_made(project, settings.localizations)
        found += _movies(run.spec) if run else ()
    return tuple(dict.fromkeys(found))


def _movies(spec: Mapping[str, Any]) -> list[str]:
    movies = spec.get("movies") or [spec.get("movie")]
    return [path for path in movies if isinstance(path, str)]


def _movie(path: str, settings: ProjectSettings, files: Files) -> list[Any]:
    """Return what counts of a movie; it may have another path now (moved, found again)."""
    contents = file_digest(path, files)
    for entry in settings.movies:
        if entry.path == path or contents == file_digest(entry.path, files) != UNKNOWN:
            part: list[list[int | None]] = [list(entry.frames or ()), list(entry.roi_px or ())]
            if (entry.movie_channel, entry.z_slice) != (None, None):
                part.append([entry.movie_channel, entry.z_slice])
            return [contents, *part]
    return [UNKNOWN]  # taken out of the project: its localizations are as good as before


def _maps(camera: CameraConfig) -> list[str]:
    values = (getattr(camera, name) for name in _MAPS)
    return [value for value in values if isinstance(value, str)]


def _calibration(choice: CalibrationChoice, files: Files) -> str:
    if choice.mode == "file":
        return _digest([file_digest(choice.path, files), choice.region, choice.channel])
    return digest([choice.mode, choice.psf_sigma_nm if choice.mode == "gaussian_2d" else None])


def _camera(camera: CameraConfig | None, files: Files) -> str:
    if camera is None:
        return digest(None)
    return _digest([_json(camera, {"name", *_MAPS}), *(_map(camera, n, files) for n in _MAPS)])


def _map(camera: CameraConfig, name: str, files: Files) -> object:
    value = getattr(camera, name)
    return file_digest(value, files) if isinstance(value, str) else value


def _json(config: Any, without: set[str]) -> dict[str, Any]:
    values: dict[str, Any] = config.model_dump(mode="json", exclude=without)
    return values


def _digest(value: list[Any]) -> str:
    unknown = any(entry == UNKNOWN for entry in _leaves(value))
    return (UNKNOWN if unknown else "") + digest(value)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, list):
        return [leaf for entry in value for leaf in _leaves(entry)]
    return [value]
