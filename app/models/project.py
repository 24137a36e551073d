"""The project: everything the app remembers of one experiment, without Qt."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, JsonValue

from app.models.steps import Step
from decode_engine.contract.base import Config
from decode_engine.contract.configs import (
    CalibrateConfig,
    CameraConfig,
    FilterConfig,
    LocalizeConfig,
    RenderConfig,
    SimulationConfig,
    TrainingConfig,
)
from decode_engine.io.starters import AUTO

__all__ = [
    "BeadSettings",
    "CalibrationChoice",
    "MovieEntry",
    "Project",
    "ProjectSettings",
    "RunRecord",
    "RunState",
    "TrainStart",
]

RunState = Literal["running", "paused", "completed", "cancelled", "failed", "interrupted"]


class MovieEntry(Config):
    """One movie and the part of it that counts; channel and slice count from 0."""

    path: str
    movie_channel: int | None = None  # None = the movie has one
    z_slice: int | None = None
    frames: tuple[int, int] | None = None
    roi_px: tuple[int, int, int, int] | None = None


class CalibrationChoice(Config):
    """Which PSF is used: a file (loaded or made here), or a 2D Gaussian without calibration."""

    mode: Literal["none", "file", "gaussian_2d"] = "none"
    path: str | None = None
    region: int | None = None
    channel: int | None = None
    psf_sigma_nm: float = 130.0


class BeadSettings(Config):
    """Bead stacks from which a calibration is made, and how."""

    stacks: tuple[str, ...] = ()
    config: CalibrateConfig | None = None


class TrainStart(Config):
    """Where a training starts: from a starter, a model file or nothing; and the device."""

    init: str | None = AUTO
    device: str = "auto"


class ProjectSettings(Config):
    """All choices of the user; undo and redo move between values of this."""

    movies: tuple[MovieEntry, ...] = ()
    current_movie: int = 0
    calibration: CalibrationChoice = CalibrationChoice()
    beads: BeadSettings = BeadSettings()
    camera: CameraConfig | None = None
    simulation: SimulationConfig = SimulationConfig()
    training: TrainingConfig = TrainingConfig(minutes=30.0)
    train_start: TrainStart = TrainStart()
    model: str | None = None  # the model that Localize uses: of a run, or loaded
    localize: LocalizeConfig = LocalizeConfig()
    localize_device: str = "auto"
    localizations: str | None = None  # the table that Correct, Explore and Export show
    filters: FilterConfig = FilterConfig()
    render: RenderConfig = RenderConfig()


class RunRecord(Config):
    """One job that was started: what was asked, from what, and what came of it."""

    run_id: str  # "train-003"; also the name of its folder below runs/
    step: Step
    title: str
    created: str  # ISO 8601, UTC
    state: RunState = "running"
    spec: dict[str, Any]  # the JobSpec as JSON values
    inputs_fingerprint: str = ""
    # What the run was made from, part by part ("camera" -> digest); filled in by the session.
    inputs: dict[str, str] = Field(default_factory=dict)
    # kind -> absolute path; in the file, paths inside the project folder are relative to it.
    outputs: dict[str, str] = Field(default_factory=dict)
    summary: dict[str, Any] = Field(default_factory=dict)
    failure: dict[str, str] | None = None  # code, message, hint, detail


class Project(Config):
    """A project as it is saved in ``project.json``.

    In memory all paths are absolute. Any change of fields that older versions cannot read
    raises ``schema_version`` and adds a step to `project_store.UPGRADES`.
    """

    schema_version: Literal[1] = 1
    name: str = "Untitled"
    app_version: str = ""
    saved_in: str = ""  # the project's folder then, to find files that moved along with it
    settings: ProjectSettings = ProjectSettings()
    runs: tuple[RunRecord, ...] = ()
    page: Step = Step.START
    # Localizations with which Correct, Explore and Export were last looked at.
    visited: dict[Step, str] = Field(default_factory=dict)
    # State of widgets (position of a viewer, shown columns); free, and without undo.
    ui: dict[str, JsonValue] = Field(default_factory=dict)
