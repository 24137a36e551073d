"""Decisions of the first page; makes the example project and runs it."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PySide6.QtCore import QStandardPaths, Signal

from app.controllers.page_controller import AppContext, PageController
from app.models.job_state import JobState
from app.models.problem import Problem
from app.models.project import CalibrationChoice, MovieEntry
from app.models.steps import Step
from app.views.start_page import RecentProject, StartPage
from decode_engine.contract.configs import CameraConfig, LocalizeConfig, SimulationConfig
from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.errors import EngineError
from decode_engine.io.resources import resource_path

__all__ = ["StartController"]

_EXAMPLE_NAME = "Decode Desktop example"
_CHUNK_FRAMES = 50  # so that the picture of the short movie grows visibly


@dataclass(frozen=True, slots=True, kw_only=True)
class _Example:
    """The bundled files, and what is in them."""

    movie: Path
    calibration: Path
    model: Path
    camera: CameraConfig
    simulation: SimulationConfig


class StartController(PageController):
    """Makes the example and hands the other wishes to the window.

    Signals
    -------
    new_requested, open_requested
    open_folder_requested : Path
    example_wanted
        The user wants the example; `start_example` makes it once the window agrees.
    """

    new_requested = Signal()
    open_requested = Signal()
    open_folder_requested = Signal(object)
    example_wanted = Signal()

    def __init__(self, context: AppContext, examples: Path | None = None) -> None:
        self._view = StartPage()
        super().__init__(context, self._view)
        self._examples = examples
        self._run_id = ""
        self._busy = False
        view = self._view
        view.new_requested.connect(self.new_requested)
        view.open_requested.connect(self.open_requested)
        view.example_requested.connect(self.example_wanted)
        view.recent_requested.connect(lambda text: self.open_folder_requested.emit(Path(text)))
        view.forget_requested.connect(self._forget)
        view.step_requested.connect(self.go_to)
        context.jobs.job_changed.connect(self._on_job)
        context.settings.follow(lambda _settings: self._list_recent())
        self._list_recent()

    def activate(self) -> None:
        """Look again which recent projects are there."""
        self._list_recent()

    def start_example(self) -> None:
        """Make the example project, and localize its movie, unless that is going on."""
        if self._busy:
            return
        self._busy = True
        self.page.show_problem(None)
        self._view.show_example_busy("Reading the example …")
        self.context.background.run(
            "example", lambda _check: _read_example(), self._make_example, self._fail
        )

    def _make_example(self, example: _Example) -> None:
        problem = self._open_example_project()
        if problem is None:
            try:
                self._fill(example)
                self._run(example)
            except EngineError as error:
                problem = Problem.from_error(error)
        if problem is not None:
            self._fail(problem)
            return
        self.go_to.emit(Step.LOCALIZE)

    def _open_example_project(self) -> Problem | None:
        """Go on in the example project of before, or make one; another one where it is in use."""
        session, problem = self.context.session, None
        base = self._examples or _documents()
        for number in range(1, 20):
            folder = base / (_EXAMPLE_NAME if number == 1 else f"{_EXAMPLE_NAME} {number}")
            if session.folder == folder and not session.read_only:
                return None
            there = (folder / "project.json").is_file()
            problem = session.open(folder) if there else session.new(folder)
            if problem is None:
                self.context.settings.remember_project(folder)
                return None
            if not there:  # no place to write: the next number will not help
                return problem
        return problem

    def _fill(self, example: _Example) -> None:
        settings = self.context.session.settings
        self.context.session.update(
            "Set up the example",
            movies=(MovieEntry(path=str(example.movie)),),
            current_movie=0,
            calibration=CalibrationChoice(mode="file", path=str(example.calibration)),
            camera=example.camera,
            simulation=example.simulation,
            model=str(example.model),
            render=settings.render.model_copy(update={"color": "z", "pixel_size_nm": 5.0}),
        )

    def _run(self, example: _Example) -> None:
        session = self.context.session
        run_id, folder = session.begin_run(Step.LOCALIZE, "Example movie")
        spec = LocalizeSpec(
            movies=(str(example.movie),),
            model=str(example.model),
            out=str(folder / "movie.h5"),
            config=LocalizeConfig(chunk_frames=_CHUNK_FRAMES),
            device=self.context.settings.value.device,
        )
        self._run_id = run_id
        self.context.jobs.start_run(Step.LOCALIZE, "Localize the example movie", run_id, spec)

    def _on_job(self, job_id: str, state: JobState) -> None:
        if job_id != self._run_id:
            return
        if state.is_active:
            done = "" if state.fraction is None else f" · {state.fraction:.0%}"
            self._view.show_example_busy(f"The example is running on Localize{done}")
            return
        self._run_id = ""
        self._busy = False
        self._view.show_example_busy("")
        if state.phase == "completed":
            run = self.context.session.run(job_id)
            if run is not None:  # None: another project was opened in the meantime
                self.context.session.select_localizations(str(run.spec["out"]))
                self.go_to.emit(Step.EXPLORE)
        elif state.failure is not None:
            self.page.show_problem(Problem.from_failure(state.failure))

    def _fail(self, problem: Problem) -> None:
        self._busy = False
        self._view.show_example_busy("")
        self.page.show_problem(problem)

    def _list_recent(self) -> None:
        # A drive that hangs must not hang the window, so in the background.
        folders, session = self.context.settings.value.recent_projects, self.context.session

        def look(check: Callable[[], None]) -> list[RecentProject]:
            # Projects that never got a name must be found again, too (after a crash, say).
            unnamed = [str(folder) for folder in session.unnamed_projects()]
            return _look_at(tuple(dict.fromkeys((*folders, *unnamed))), check)

        self.context.background.run(
            "recent",
            look,
            self._view.show_recent,
            self.page.show_problem,
        )

    def _forget(self, folder: str) -> None:
        self.context.settings.forget_project(folder)


def _look_at(folders: tuple[str, ...], check: Callable[[], None]) -> list[RecentProject]:
    found = []
    for text in folders:
        check()
        try:
            time = (Path(text) / "project.json").stat().st_mtime
            changed = f"{datetime.datetime.fromtimestamp(time):%d %B %Y, %H:%M}"
        except OSError:
            changed = ""
        found.append(RecentProject(folder=text, name=Path(text).name, changed=changed))
    return found


def _read_example() -> _Example:
    # Imported late, in the background: the readers would lengthen the start of the app.
    from decode_engine.io.cameras import read_camera_config
    from decode_engine.io.models import read_model

    model = resource_path("example", "model.decode")
    return _Example(
        movie=resource_path("example", "movie.tif"),
        calibration=resource_path("example", "calibration.h5"),
        model=model,
        camera=read_camera_config(resource_path("example", "camera.json")),
        simulation=read_model(model).training_config.simulation,
    )


def _documents() -> Path:
    location = QStandardPaths.StandardLocation.DocumentsLocation
    return Path(QStandardPaths.writableLocation(location) or Path.home())
