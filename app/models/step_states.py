"""The marks of the steps: a pure function of the project and of what is known of its files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import TypeAlias

from app.models.camera_values import impossible_values
from app.models.fingerprints import FileStamp
from app.models.input_parts import changed_parts
from app.models.project import Project, RunRecord
from app.models.runs import can_resume, run_that_made, runs_of, same_path
from app.models.steps import Step, StepState, StepStatus

__all__ = ["file_problem", "step_states"]

_NOT_YET, _ATTENTION = StepStatus.NOT_YET, StepStatus.ATTENTION
_DONE, _STALE, _RUNNING = StepStatus.DONE, StepStatus.STALE, StepStatus.RUNNING

Files: TypeAlias = Mapping[str, FileStamp]


def step_states(project: Project, files: Files) -> dict[Step, StepState]:
    """Return the state of every step.

    Parameters
    ----------
    project : Project
    files : mapping
        Path -> what is known of the file; one that was not looked at yet counts as present.
    """
    states = {
        Step.START: _start(project),
        Step.MOVIE: _movie(project, files),
        Step.CALIBRATION: _calibration(project, files),
        Step.CAMERA: _camera(project, files),
    }
    states[Step.SIMULATION] = _simulation(project, states)
    states[Step.TRAIN] = _train(project, files, states)
    states[Step.LOCALIZE] = _localize(project, files, states)
    for step in (Step.CORRECT, Step.EXPLORE, Step.EXPORT):
        states[step] = _use(project, files, step, states[Step.LOCALIZE])
    return {step: states[step] for step in Step}


def file_problem(path: str, files: Files) -> str:
    """Say what is wrong with a file; empty where it is there, or was not looked at yet."""
    stamp = files.get(path)
    if stamp is None or stamp.status == "present":
        return ""
    name, folder = PurePath(path).name, PurePath(path).parent
    if stamp.status == "missing":
        return f"{name} is no longer in {folder}: it was moved, renamed or deleted."
    if stamp.status == "away":
        return f"{name} cannot be reached: there is no {folder}. Is its drive connected?"
    return f"{name} cannot be read: {stamp.detail}"


def _state(status: StepStatus, reason: str = "") -> StepState:
    return StepState(status=status, reason=reason)


def _start(project: Project) -> StepState:
    used = project.runs or project.settings != type(project.settings)()
    return _state(_DONE if used else _NOT_YET)


def _movie(project: Project, files: Files) -> StepState:
    movies = project.settings.movies
    if not movies:
        return _state(_NOT_YET, "Add a movie.")
    problems = [problem for m in movies if (problem := file_problem(m.path, files))]
    if not problems:
        return _state(_DONE)
    current = movies[min(max(project.settings.current_movie, 0), len(movies) - 1)]
    if problem := file_problem(current.path, files):
        return _state(_ATTENTION, problem)
    return _state(_DONE, f"{len(problems)} of {len(movies)} movies cannot be used. {problems[0]}")


def _calibration(project: Project, files: Files) -> StepState:
    choice = project.settings.calibration
    if running := _running(project, Step.CALIBRATION):
        return running
    if choice.mode == "gaussian_2d":
        return _state(_DONE, "Two-dimensional: no calibration is needed.")
    if choice.mode == "file" and choice.path:
        if problem := file_problem(choice.path, files):
            return _state(_ATTENTION, problem)
        run = run_that_made(project, choice.path)
        if failed := _failed_since(project, Step.CALIBRATION, run):
            return failed
        changed = changed_parts(project, run, files) if run else ()
        return _stale_or_done(changed, "this calibration was made")
    if project.settings.model:
        return _state(_NOT_YET, "Not needed: the chosen model brings its calibration.")
    hint = "Open a calibration, make one from beads, or choose 2D."
    return _failed_since(project, Step.CALIBRATION, None) or _state(_NOT_YET, hint)


def _camera(project: Project, files: Files) -> StepState:
    camera = project.settings.camera
    if camera is None:
        if project.settings.model:
            return _state(_NOT_YET, "Not needed: the chosen model brings its camera.")
        return _state(_NOT_YET, "Say how your camera counts photons.")
    for value in (camera.offset_adu, camera.e_per_adu, camera.read_noise_e):
        if isinstance(value, str) and (problem := file_problem(value, files)):
            return _state(_ATTENTION, problem)
    if words := impossible_values(camera):
        return _state(_ATTENTION, words)
    return _state(_DONE)


def _simulation(project: Project, states: Mapping[Step, StepState]) -> StepState:
    if running := _running(project, Step.SIMULATION):
        return running
    missing = [step for step in (Step.CALIBRATION, Step.CAMERA) if not _usable(states[step])]
    if missing and project.settings.model:
        return _state(_NOT_YET, "Not needed: the chosen model is trained.")
    if missing:
        return _state(_NOT_YET, f"First: {_names(missing)}.")
    return _state(_DONE)


def _train(project: Project, files: Files, states: Mapping[Step, StepState]) -> StepState:
    if running := _running(project, Step.TRAIN):
        return running
    model = project.settings.model
    if model is None:
        if failed := _failed_since(project, Step.TRAIN, None):
            return failed
        if any(run.outputs.get("model") for run in runs_of(project, Step.TRAIN)):
            return _state(_NOT_YET, "A trained model is there: choose it.")
        steps = (Step.CALIBRATION, Step.CAMERA)
        missing = [step for step in steps if not _usable(states[step])]
        return _state(_NOT_YET, f"First: {_names(missing)}." if missing else "Ready to train.")
    if problem := file_problem(model, files):
        return _state(_ATTENTION, problem)
    run = run_that_made(project, model)
    if run is None:
        return _state(_DONE, f"Model loaded: {PurePath(model).name}.")
    if failed := _failed_since(project, Step.TRAIN, run):
        return failed
    return _stale_or_done(changed_parts(project, run, files), "this model was trained")


def _localize(project: Project, files: Files, states: Mapping[Step, StepState]) -> StepState:
    if running := _running(project, Step.LOCALIZE):
        return running
    table = project.settings.localizations
    if table is None:
        if failed := _failed_since(project, Step.LOCALIZE, None):
            return failed
        return _state(_NOT_YET, _before_localize(project, states))
    if problem := file_problem(table, files):
        return _state(_ATTENTION, problem)
    run = run_that_made(project, table)
    if run is None:
        return _state(_DONE, f"Localizations loaded: {PurePath(table).name}.")
    if failed := _failed_since(project, Step.LOCALIZE, run):
        return failed
    changed = changed_parts(project, run, files)
    if not changed and "model" in run.inputs and states[Step.TRAIN].status is _STALE:
        return _state(_STALE, "The model that found these localizations is out of date.")
    return _stale_or_done(changed, "this movie was localized")


def _before_localize(project: Project, states: Mapping[Step, StepState]) -> str:
    missing = []
    if not _usable(states[Step.MOVIE]):
        missing.append("add a movie")
    if project.settings.model is None:
        missing.append("train or choose a model")
    return f"First {_and(missing)}." if missing else "Ready to localize."


def _use(project: Project, files: Files, step: Step, localize: StepState) -> StepState:
    if running := _running(project, step):
        return running
    table = project.settings.localizations
    if table is None or file_problem(table, files):
        return _state(_NOT_YET, "First localize a movie.")
    runs = [run for run in runs_of(project, step) if run.state == "completed"]
    made = runs[-1] if runs and step is Step.EXPORT else None
    if failed := _failed_since(project, step, made):
        return failed
    seen = project.visited.get(step)
    if made is None and (seen is None or not same_path(seen, table)):
        return _state(_NOT_YET)
    if localize.status is _STALE:
        return _state(_STALE, "The localizations are out of date.")
    changed = changed_parts(project, made, files) if made else ()
    return _stale_or_done(changed, "the last export")


def _usable(state: StepState) -> bool:
    return state.status in (_DONE, _STALE)


def _running(project: Project, step: Step) -> StepState | None:
    states = [run.state for run in runs_of(project, step)]
    if "running" in states:
        return _state(_RUNNING)
    if "paused" in states:
        return _state(_RUNNING, "Paused.")
    return None


def _failed_since(project: Project, step: Step, chosen: RunRecord | None) -> StepState | None:
    """Return the state for a last run that went wrong, unless the chosen result is its own."""
    runs = runs_of(project, step)
    if not runs or (chosen is not None and runs[-1].run_id == chosen.run_id):
        return None
    last = runs[-1]
    if last.state == "interrupted":
        ending = " It can go on where it stopped." if can_resume(last) else ""
        return _state(_ATTENTION, f"{last.title} was interrupted.{ending}")
    if last.state == "failed":
        message = (last.failure or {}).get("message", "")
        return _state(_ATTENTION, f"{last.title} failed. {message}".strip())
    return None


def _stale_or_done(changed: Sequence[str], since: str) -> StepState:
    if not changed:
        return _state(_DONE)
    return _state(_STALE, f"Changed since {since}: {_and(changed)}.")


def _names(steps: Sequence[Step]) -> str:
    return _and([step.value for step in steps])


def _and(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), *words[-1:])))
