"""The marks of the steps: what is done, what is missing, what is out of date and why."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import pytest

from app.models.fingerprints import FileStamp
from app.models.input_parts import recorded_parts, watched_paths
from app.models.project import (
    BeadSettings,
    CalibrationChoice,
    MovieEntry,
    Project,
    ProjectSettings,
    RunRecord,
    RunState,
)
from app.models.step_states import step_states
from app.models.steps import Step, StepState, StepStatus
from decode_engine.contract.configs import (
    CalibrateConfig,
    CameraConfig,
    FilterConfig,
    FilterRange,
    LocalizeConfig,
    SimulationConfig,
    TrainingConfig,
)

MOVIE, CALIBRATION, MODEL, TABLE = "/d/movie.tif", "/d/c.h5", "/p/m.decode", "/p/l.h5"
CAMERA = CameraConfig(pixel_size_x_nm=100.0)


def _files(**digests: str) -> dict[str, FileStamp]:
    found = {MOVIE: "movie", CALIBRATION: "calibration", MODEL: "model", TABLE: "table"}
    found |= {f"/d/{name}": text for name, text in digests.items()}
    return {path: FileStamp(status="present", digest=text) for path, text in found.items()}


FILES = _files()
READY = ProjectSettings(
    movies=(MovieEntry(path=MOVIE),),
    calibration=CalibrationChoice(mode="file", path=CALIBRATION),
    camera=CAMERA,
)


def _run(step: Step, settings: ProjectSettings, **fields: Any) -> RunRecord:
    number = fields.pop("number", 1)
    spec = fields.pop("spec", {})
    values = {
        "run_id": f"{step.value}-{number:03d}",
        "step": step,
        "title": f"{step.value.title()} {number}",
        "created": "",
        "state": "completed",
        "spec": spec,
        "inputs": recorded_parts(step, settings, spec, FILES),
    }
    return RunRecord(**{**values, **fields})


def _trained(settings: ProjectSettings = READY) -> Project:
    run = _run(Step.TRAIN, settings, outputs={"model": MODEL})
    return Project(settings=settings.model_copy(update={"model": MODEL}), runs=(run,))


def _localized() -> Project:
    project = _trained()
    spec = {"movies": [MOVIE], "model": MODEL, "camera": "/p/camera.json"}
    run = _run(Step.LOCALIZE, project.settings, spec=spec, outputs={"localizations": TABLE})
    settings = project.settings.model_copy(update={"localizations": TABLE})
    return Project(settings=settings, runs=(*project.runs, run))


def _with(project: Project, **changes: Any) -> Project:
    settings = project.settings.model_copy(update=changes)
    return project.model_copy(update={"settings": settings})


def _state(project: Project, step: Step, files: dict[str, FileStamp] = FILES) -> StepState:
    return step_states(project, files)[step]


def _marks(project: Project, files: dict[str, FileStamp] = FILES) -> dict[Step, StepStatus]:
    return {step: state.status for step, state in step_states(project, files).items()}


def test_nothing_is_wrong_with_an_empty_project() -> None:
    states = step_states(Project(), {})
    assert list(states) == list(Step)
    assert {state.status for state in states.values()} == {StepStatus.NOT_YET}
    assert states[Step.TRAIN].reason == "First: calibration and camera."
    assert states[Step.LOCALIZE].reason == "First add a movie and train or choose a model."


def test_everything_is_done_in_a_finished_project() -> None:
    project = _localized()
    seen = dict.fromkeys((Step.CORRECT, Step.EXPLORE, Step.EXPORT), TABLE)
    marks = _marks(project.model_copy(update={"visited": seen}))
    assert set(marks.values()) == {StepStatus.DONE}


def test_trained_model_needs_neither_calibration_nor_training() -> None:
    project = Project(settings=ProjectSettings(movies=(MovieEntry(path=MOVIE),), model=MODEL))
    states = step_states(project, FILES)
    assert states[Step.TRAIN].status is StepStatus.DONE
    for step in (Step.CALIBRATION, Step.CAMERA, Step.SIMULATION):
        assert states[step].status is StepStatus.NOT_YET
        assert states[step].reason.startswith("Not needed")
    assert states[Step.LOCALIZE].reason == "Ready to localize."


def test_two_dimensions_need_no_calibration_file() -> None:
    choice = CalibrationChoice(mode="gaussian_2d")
    project = _with(Project(settings=READY), calibration=choice)
    assert _state(project, Step.CALIBRATION).status is StepStatus.DONE
    assert _state(project, Step.SIMULATION).status is StepStatus.DONE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"camera": CameraConfig(pixel_size_x_nm=110.0)}, "camera"),
        ({"camera": None}, "camera"),
        ({"simulation": SimulationConfig(flux_mean=900.0)}, "simulation settings"),
        ({"training": TrainingConfig(minutes=30.0, batch_size=16)}, "training settings"),
        ({"calibration": CalibrationChoice(mode="gaussian_2d")}, "calibration"),
        (
            {"calibration": CalibrationChoice(mode="file", path=CALIBRATION, region=2)},
            "calibration",
        ),
        (
            {"camera": None, "simulation": SimulationConfig(flux_mean=900.0)},
            "camera and simulation settings",
        ),
    ],
)
def test_model_is_stale_and_says_what_changed(changes: dict[str, Any], words: str) -> None:
    state = _state(_with(_trained(), **changes), Step.TRAIN)
    assert state.status is StepStatus.STALE
    assert state.reason == f"Changed since this model was trained: {words}."


def test_localizations_are_stale_once_a_camera_takes_the_place_of_the_model_s_own() -> None:
    """Regression: found without a camera of the project, they stayed right whatever was set."""
    settings = ProjectSettings(movies=(MovieEntry(path=MOVIE),), model=MODEL)
    spec = {"movies": [MOVIE], "model": MODEL, "camera": None}
    run = _run(Step.LOCALIZE, settings, spec=spec, outputs={"localizations": TABLE})
    settings = settings.model_copy(update={"localizations": TABLE})
    project = Project(settings=settings, runs=(run,))
    assert _state(project, Step.LOCALIZE).status is StepStatus.DONE
    state = _state(_with(project, camera=CAMERA), Step.LOCALIZE)
    assert state.status is StepStatus.STALE
    assert state.reason.endswith("camera.")


@pytest.mark.parametrize(
    "changes",
    [
        {"movies": ()},
        {"localize": LocalizeConfig(probability_threshold=0.7)},
        {"camera": CameraConfig(pixel_size_x_nm=100.0, name="The new one downstairs")},
        {"training": TrainingConfig(minutes=30.0, checkpoint_every_s=5.0)},
        {"training": TrainingConfig(minutes=30.0, simulation=SimulationConfig(flux_mean=1.0))},
        {"train_start": {"init": MODEL}},
    ],
)
def test_model_is_not_stale_for_what_did_not_make_it(changes: dict[str, Any]) -> None:
    project = _trained()
    settings = ProjectSettings.model_validate({**dict(project.settings), **changes})
    changed = project.model_copy(update={"settings": settings})
    assert _state(changed, Step.TRAIN).status is StepStatus.DONE


def test_copy_of_a_calibration_is_the_same_calibration() -> None:
    choice = CalibrationChoice(mode="file", path="/d/copy.h5")
    project = _with(_trained(), calibration=choice)
    same = {**FILES, "/d/copy.h5": FileStamp(status="present", digest="calibration")}
    other = {**FILES, "/d/copy.h5": FileStamp(status="present", digest="something else")}
    assert _state(project, Step.TRAIN, same).status is StepStatus.DONE
    assert _state(project, Step.TRAIN, other).status is StepStatus.STALE


def test_file_that_was_not_looked_at_changes_nothing() -> None:
    project = _with(_trained(), calibration=CalibrationChoice(mode="file", path="/d/copy.h5"))
    assert _state(project, Step.TRAIN).status is StepStatus.DONE
    assert _state(_localized(), Step.LOCALIZE, {}).status is StepStatus.DONE


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("missing", "moved, renamed or deleted"),
        ("away", "Is its drive connected?"),
        ("unreadable", "cannot be read"),
    ],
)
def test_missing_is_told_from_changed(status: str, words: str) -> None:
    gone = FileStamp(status=status, detail="Permission denied")  # type: ignore[arg-type]  # parametrized
    for path, step in (
        (MOVIE, Step.MOVIE),
        (CALIBRATION, Step.CALIBRATION),
        (MODEL, Step.TRAIN),
        (TABLE, Step.LOCALIZE),
    ):
        state = _state(_localized(), step, {**FILES, path: gone})
        assert state.status is StepStatus.ATTENTION
        assert words in state.reason
    # A model whose calibration cannot be looked at is not called out of date.
    states = _marks(_localized(), {**FILES, CALIBRATION: gone})
    assert states[Step.TRAIN] is StepStatus.DONE


def test_one_of_two_movies_missing_is_a_remark_unless_it_is_the_chosen_one() -> None:
    movies = (MovieEntry(path=MOVIE), MovieEntry(path="/d/second.tif"))
    files = {**FILES, "/d/second.tif": FileStamp(status="missing")}
    project = _with(Project(settings=READY), movies=movies)
    state = _state(project, Step.MOVIE, files)
    assert state.status is StepStatus.DONE
    assert state.reason.startswith("1 of 2 movies cannot be used. second.tif")
    chosen = _with(project, current_movie=1)
    assert _state(chosen, Step.MOVIE, files).status is StepStatus.ATTENTION


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"movies": (MovieEntry(path=MOVIE, frames=(0, 10)),)}, "movie"),
        ({"movies": (MovieEntry(path=MOVIE, roi_px=(0, 0, 9, 9)),)}, "movie"),
        ({"localize": LocalizeConfig(probability_threshold=0.8)}, "localization settings"),
        ({"model": "/d/other"}, "model"),
    ],
)
def test_localizations_are_stale_and_say_what_changed(changes: dict[str, Any], words: str) -> None:
    project = _with(_localized(), **changes)
    state = _state(project, Step.LOCALIZE, _files(other="another model"))
    assert state.status is StepStatus.STALE
    assert state.reason == f"Changed since this movie was localized: {words}."


def test_movie_that_changed_on_disk_makes_localizations_stale() -> None:
    files = {**FILES, MOVIE: FileStamp(status="present", digest="re-recorded")}
    assert _state(_localized(), Step.LOCALIZE, files).status is StepStatus.STALE


def test_other_chosen_movie_does_not_make_localizations_stale() -> None:
    movies = (MovieEntry(path=MOVIE), MovieEntry(path="/d/second.tif"))
    project = _with(_localized(), movies=movies, current_movie=1)
    assert _state(project, Step.LOCALIZE).status is StepStatus.DONE


def test_movie_found_elsewhere_or_taken_out_does_not_make_localizations_stale() -> None:
    same = FileStamp(status="present", digest="movie")
    elsewhere = MovieEntry(path="/e/movie.tif")
    project = _with(_localized(), movies=(elsewhere,))
    copied = {**FILES, elsewhere.path: same}
    moved = {**copied, MOVIE: FileStamp(status="missing")}
    for files in (copied, moved):
        assert _state(project, Step.LOCALIZE, files).status is StepStatus.DONE
    cut = _with(project, movies=(elsewhere.model_copy(update={"frames": (0, 9)}),))
    assert _state(cut, Step.LOCALIZE, copied).status is StepStatus.STALE
    assert _state(_with(project, movies=()), Step.LOCALIZE).status is StepStatus.DONE


def test_stale_model_makes_everything_after_it_stale() -> None:
    project = _localized().model_copy(update={"visited": {Step.EXPLORE: TABLE}})
    marks = _marks(_with(project, simulation=SimulationConfig(flux_mean=900.0)))
    assert marks[Step.TRAIN] is StepStatus.STALE
    assert marks[Step.LOCALIZE] is StepStatus.STALE
    assert marks[Step.EXPLORE] is StepStatus.STALE
    assert marks[Step.CORRECT] is StepStatus.NOT_YET, "nobody has looked at it yet"


@pytest.mark.parametrize("step", [Step.CALIBRATION, Step.TRAIN, Step.LOCALIZE, Step.EXPORT])
@pytest.mark.parametrize("state", ["running", "paused"])
def test_running_step_is_running(step: Step, state: RunState) -> None:
    project = _localized()
    run = _run(step, project.settings, number=7, state=state)
    project = project.model_copy(update={"runs": (*project.runs, run)})
    assert _state(project, step).status is StepStatus.RUNNING


@pytest.mark.parametrize("step", [Step.CALIBRATION, Step.TRAIN, Step.LOCALIZE])
def test_failed_run_needs_attention_and_says_why(step: Step) -> None:
    failure = {"code": "disk_full", "message": "The disk is full."}
    run = _run(step, READY, state="failed", failure=failure)
    settings = READY.model_copy(update={"calibration": CalibrationChoice()})
    state = _state(Project(settings=settings, runs=(run,)), step)
    assert state.status is StepStatus.ATTENTION
    assert "The disk is full." in state.reason


def test_failed_run_before_a_good_one_is_forgotten() -> None:
    project = _trained()
    failed = _run(Step.TRAIN, READY, number=2, state="failed")
    before = project.model_copy(update={"runs": (failed, *project.runs)})
    after = project.model_copy(update={"runs": (*project.runs, failed)})
    assert _state(before, Step.TRAIN).status is StepStatus.DONE
    assert _state(after, Step.TRAIN).status is StepStatus.ATTENTION


def test_interrupted_training_says_that_it_can_go_on() -> None:
    spec = {"job": "train", "calibration": "c", "camera": "k", "out": "m"}
    run = _run(Step.TRAIN, READY, state="interrupted", spec=spec)
    state = _state(Project(settings=READY, runs=(run,)), Step.TRAIN)
    assert state.status is StepStatus.ATTENTION
    assert "go on where it stopped" in state.reason


def test_stopped_run_needs_no_attention() -> None:
    run = _run(Step.TRAIN, READY, state="cancelled")
    state = _state(Project(settings=READY, runs=(run,)), Step.TRAIN)
    assert state == StepState(reason="Ready to train.")


def test_calibration_made_here_is_stale_when_the_beads_change() -> None:
    beads = BeadSettings(
        stacks=("/d/b1", "/d/b2"), config=CalibrateConfig(dz_nm=10.0, pixel_size_x_nm=100.0)
    )
    files = _files(b1="b1", b2="b2")
    settings = READY.model_copy(update={"beads": beads})
    run = _run(
        Step.CALIBRATION,
        settings,
        outputs={"calibration": CALIBRATION},
        inputs=recorded_parts(Step.CALIBRATION, settings, {}, files),
    )
    project = Project(settings=settings, runs=(run,))
    assert _state(project, Step.CALIBRATION, files).status is StepStatus.DONE
    fewer = _with(project, beads=beads.model_copy(update={"stacks": ("/d/b1",)}))
    state = _state(fewer, Step.CALIBRATION, files)
    assert state.reason == "Changed since this calibration was made: bead stacks."
    replaced = _state(project, Step.CALIBRATION, _files(b1="b1", b2="other beads"))
    assert replaced.status is StepStatus.STALE


def test_export_is_stale_when_the_filters_change() -> None:
    project = _localized()
    spec = {"filters": project.settings.filters.model_dump(mode="json")}
    run = _run(Step.EXPORT, project.settings, spec=spec)
    project = project.model_copy(update={"runs": (*project.runs, run)})
    assert _state(project, Step.EXPORT).status is StepStatus.DONE
    filters = FilterConfig(ranges=(FilterRange(column="photons", low=500.0),))
    state = _state(_with(project, filters=filters), Step.EXPORT)
    assert state.reason == "Changed since the last export: filters."


def test_export_without_filters_does_not_depend_on_them() -> None:
    filters = FilterConfig(ranges=(FilterRange(column="photons", low=500.0),))
    project = _with(_localized(), filters=filters)
    spec = {"filters": FilterConfig().model_dump(mode="json")}
    run = _run(Step.EXPORT, project.settings, spec=spec)
    project = project.model_copy(update={"runs": (*project.runs, run)})
    assert _state(_with(project, filters=FilterConfig()), Step.EXPORT).status is StepStatus.DONE


def test_files_that_decide_are_watched() -> None:
    assert set(watched_paths(_localized())) == {MOVIE, CALIBRATION, MODEL, TABLE}


def test_any_combination_of_stamps_gives_a_state_for_every_step() -> None:
    """A pure function must not fail on anything: 500 random projects with random files."""
    dice = random.Random(7)
    base = _localized()
    states: list[RunState] = ["running", "paused", "completed", "cancelled", "failed"]
    for _ in range(500):
        changes = {
            "movies": dice.choice([(), base.settings.movies]),
            "current_movie": dice.choice([-3, 0, 9]),
            "calibration": dice.choice([CalibrationChoice(), base.settings.calibration]),
            "camera": dice.choice([None, CAMERA]),
            "model": dice.choice([None, MODEL, "/d/x"]),
            "localizations": dice.choice([None, TABLE, "/d/y"]),
        }
        runs = tuple(
            run.model_copy(update={"state": dice.choice(states), "failure": None})
            for run in base.runs
            if dice.random() < 0.7
        )
        project = _with(base, **changes).model_copy(update={"runs": runs})
        statuses = ("present", "missing", "away", "unreadable")
        files = {
            path: dataclasses.replace(stamp, status=dice.choice(statuses))
            for path, stamp in FILES.items()
            if dice.random() < 0.7
        }
        assert list(step_states(project, files)) == list(Step)
