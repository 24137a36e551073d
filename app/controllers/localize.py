"""The Localize page's decisions: which model, a test on one frame, the queue, the live picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog

from app.controllers.live_reconstruction import LiveReconstruction
from app.controllers.page_controller import AppContext, PageController
from app.models.command_line import command_line
from app.models.job_files import remove_empty, write_camera_file
from app.models.job_state import JobState
from app.models.localize_job import frames_words, localize_spec, made_with, part_of_movie
from app.models.localize_queue import latest_results
from app.models.model_words import ModelDescription, describe_model
from app.models.movie_reader import MovieReader
from app.models.problem import Problem
from app.models.project import MovieEntry, RunRecord
from app.models.steps import Step
from app.views.localize_page import LocalizePage, ModelChoice, QueueRow
from decode_engine.contract.configs import CameraConfig, LocalizeConfig
from decode_engine.contract.jobs import LocalizeSpec, PreviewSpec
from decode_engine.domain.localizations import Localizations
from decode_engine.errors import EngineError
from decode_engine.io.resources import resource_path
from decode_engine.io.tables import read_localizations_csv

__all__ = ["LocalizeController"]

_PREVIEW = "localize-preview"
_OPEN, _FRAME, _TABLE = "localize-open", "localize-frame", "localize-table"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """Of what a test on one frame was asked; its answer belongs to nothing else."""

    movie: MovieEntry
    frame: int
    model: str
    camera: CameraConfig | None
    made_with: tuple[object, ...]


class LocalizeController(PageController):
    """Connects `LocalizePage` with project and engine."""

    page: LocalizePage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, LocalizePage())
        self._descriptions: dict[str, ModelDescription | Problem] = {}
        self._on_screen = False
        self._reader: MovieReader | None = None
        # Path, channel and slice of the movie that is open or being opened.
        self._opened: tuple[str, int | None, int | None] | None = None
        self._selected = context.session.settings.current_movie
        self._preview_job = ""
        self._is_model_told = False  # the card speaks of the model
        self._is_movie_told = False  # … of the movie
        self._asked: _Asked | None = None
        self._run = ""
        self._live = LiveReconstruction(context.background, self.page.live, self)
        self._frame_delay = QTimer(self, singleShot=True, interval=30)
        self._frame_delay.timeout.connect(self._read_frame)
        self._connect()
        self._refresh()

    def activate(self) -> None:
        """Show the selected movie's frame."""
        self._on_screen = True
        self._refresh()

    def deactivate(self) -> None:
        """Close the movie; a long fit goes on."""
        self._on_screen = False
        self._close_movie()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Take a dropped model file."""
        for path in paths:
            if path.suffix.lower() == ".decode":
                self._choose_model(str(path))

    def _connect(self) -> None:
        page, jobs = self.page, self.context.jobs
        self.context.session.project_opened.connect(self._forget)
        self.context.session.project_changed.connect(self._refresh)
        self.context.session.files_changed.connect(self._try_movie_again)
        jobs.devices_changed.connect(lambda _devices: self._refresh())
        jobs.job_changed.connect(self._on_job)
        page.model_chosen.connect(self._choose_model)
        page.model_file_requested.connect(self._ask_for_model)
        page.config_changed.connect(self._change_config)
        page.device_changed.connect(
            lambda device: self._update("Choose the device", localize_device=device)
        )
        page.movie_selected.connect(self._select_movie)
        page.start_requested.connect(self._start)
        page.command_requested.connect(self._copy_command)
        page.resume_requested.connect(jobs.resume_run)
        page.result_requested.connect(self._use_result)
        page.preview.preview_requested.connect(self._preview)
        page.preview.frame_changed.connect(lambda _frame: self._frame_delay.start())
        page.job.cancel_requested.connect(lambda: jobs.cancel(self._run))
        page.job.pause_requested.connect(lambda: jobs.pause(self._run))
        page.job.resume_requested.connect(lambda: jobs.resume(self._run))

    def _update(self, text: str, **changes: Any) -> None:
        self.context.session.update(text, **changes)

    def _forget(self) -> None:
        """Begin anew with another project."""
        self._run = ""
        self._live.end()
        self.page.job.show_state(JobState())
        self.page.show_running(running=False)
        self.page.show_problem(None)
        self.page.show_notice("")

    # --- What the page shows of the project -------------------------------------------------

    def _refresh(self) -> None:
        settings, page = self.context.session.settings, self.page
        page.set_models(self._model_choices(), settings.model)
        page.set_devices(self.context.jobs.devices, settings.localize_device)
        page.form.set_value(settings.localize)
        results = latest_results(settings.movies, self.context.session.project.runs)
        rows = [
            QueueRow(
                name=Path(movie.path).name,
                path=movie.path,
                frames=frames_words(movie),
                state=result.state,
                result=result.result,
                resumable="" if result.run_id in self._active() else result.resumable,
            )
            for movie, result in zip(settings.movies, results, strict=True)
        ]
        page.set_queue(rows)
        if settings.movies:
            self._selected = min(self._selected, len(settings.movies) - 1)
            page.select_movie(self._selected)
        if self._on_screen:
            self._open_movie()  # the list may have changed, say by undo
        self._forget_other_preview()
        self._describe_model()
        self._show_readiness()

    def _active(self) -> tuple[str, ...]:
        return self.context.jobs.running()

    def _model_choices(self) -> list[ModelChoice]:
        choices = [
            ModelChoice(path=run.outputs["model"], text=run.title)
            for run in reversed(self.context.session.project.runs)
            if run.step is Step.TRAIN and run.state == "completed" and "model" in run.outputs
        ]
        example = str(resource_path("example/model.decode"))
        choices.append(ModelChoice(path=example, text="Model of the bundled example"))
        chosen = self.context.session.settings.model
        if chosen is not None and chosen not in [c.path for c in choices]:
            choices.insert(0, ModelChoice(path=chosen, text=Path(chosen).name))
        return choices

    def _describe_model(self) -> None:
        path = self.context.session.settings.model
        if path is None:
            self.page.set_model_words("A model is made on the Train page, or chosen from a file.")
            return
        known = self._descriptions.get(path)
        if isinstance(known, ModelDescription):
            self.page.set_model_words(known.words)
        elif isinstance(known, Problem):
            self.page.set_model_words(f"{known.message} {known.hint}")
        else:
            self.page.set_model_words("Reading the model …")
            self.context.background.run(
                "localize-model",
                lambda _check: describe_model(path),
                lambda description: self._keep_description(path, description),
                lambda problem: self._keep_description(path, problem),
            )

    def _keep_description(self, path: str, description: ModelDescription | Problem) -> None:
        self._descriptions[path] = description
        if path == self.context.session.settings.model:
            self._tell_model(description)
        self._describe_model()
        self._show_readiness()

    def _tell_model(self, description: ModelDescription | Problem) -> None:
        """Show a card for a model that cannot be used, and none any more for one that can."""
        if isinstance(description, Problem):
            self.page.show_problem(description)
            self._is_model_told = True
        elif self._is_model_told:
            self.page.show_problem(None)
            self._is_model_told = False

    def _show_readiness(self) -> None:
        settings = self.context.session.settings
        why = ""
        if not settings.movies:
            why = "Add a movie on the Movie page first."
        elif settings.model is None:
            why = "Choose a model above, or train one on the Train page."
        elif isinstance(self._descriptions.get(settings.model), Problem):
            why = "The model cannot be used; choose another one."
        self.page.set_ready(can_preview=not why, can_start=not why, why_not=why)

    # --- Choices ----------------------------------------------------------------------------

    def _ask_for_model(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self.page, "Choose a model", str(self.context.session.folder), "Models (*.decode)"
        )
        if path:
            self._choose_model(path)

    def _choose_model(self, path: str) -> None:
        self._descriptions.pop(path, None)  # the file may be another one by now
        self._update("Choose the model", model=path)

    def _change_config(self, config: LocalizeConfig) -> None:
        before = self.context.session.settings.localize
        text = self.page.form.name_of_change("Change how to localize", before, config)
        self._update(text, localize=config)

    def _select_movie(self, number: int) -> None:
        self._selected = number
        self._open_movie()

    def _movie(self) -> MovieEntry | None:
        movies = self.context.session.settings.movies
        return movies[self._selected] if 0 <= self._selected < len(movies) else None

    # --- One frame as a test ----------------------------------------------------------------

    def _open_movie(self) -> None:
        movie = self._movie()
        opened = None if movie is None else (movie.path, movie.movie_channel, movie.z_slice)
        if opened == self._opened:
            return
        self._close_movie()
        self._opened = opened
        self.page.preview.set_n_frames(0)
        if opened is not None:
            path, channel, z_slice = opened
            self.context.background.run(
                _OPEN,
                lambda _check: MovieReader(Path(path), channel=channel, z_slice=z_slice),
                self._take_reader,
                self._cannot_open,
                unwanted=MovieReader.retire,
            )

    def _cannot_open(self, problem: Problem) -> None:
        self.page.show_problem(problem)
        self._is_movie_told = True

    def _try_movie_again(self) -> None:
        if self._is_movie_told and self._on_screen:
            self._opened = None
            self._open_movie()

    def _take_reader(self, reader: MovieReader) -> None:
        if self._is_movie_told:
            self._is_movie_told = False
            self.page.show_problem(None)
        self._reader = reader
        self.page.preview.set_n_frames(reader.n_frames)
        self._read_frame()

    def _close_movie(self) -> None:
        for key in (_OPEN, _FRAME, _TABLE):
            self.context.background.cancel(key)
        self._opened, self._preview_job, self._asked = None, "", None
        if self._reader is not None:
            self._reader.retire()
            self._reader = None

    def _read_frame(self) -> None:
        reader, number = self._reader, self.page.preview.number.value()
        if reader is None:
            return
        self.context.background.run(
            _FRAME,
            lambda _check: reader.frame(number),
            self.page.preview.show_frame,
            self.page.show_problem,
        )

    def _forget_other_preview(self) -> None:
        """Take away what was found with another model, camera or settings than those chosen."""
        if self._asked is not None and self._asked.made_with != made_with(
            self.context.session.settings
        ):
            self._asked, self._preview_job = None, ""
            self.context.background.cancel(_TABLE)
            self.page.preview.forget_result("The settings have changed: look again.")

    def _preview(self, frame: int) -> None:
        movie, settings = self._movie(), self.context.session.settings
        if movie is None or settings.model is None:
            return
        try:
            folder = self.context.session.previews_folder / "localize"
        except OSError as error:
            self.page.show_problem(Problem.from_error(error))
            return
        camera = self._camera_file(folder / "camera.json")
        if isinstance(camera, Problem):
            self.page.show_problem(camera)
            return
        self.page.show_problem(None)
        spec = PreviewSpec(
            movie=movie.path,
            model=settings.model,
            frame=frame,
            camera=camera,
            out=str(folder),
            config=settings.localize.model_copy(update=part_of_movie(movie)),
            device=settings.localize_device,
        )
        self.page.preview.words.setText("Looking for molecules …")
        self._asked = _Asked(
            movie=movie,
            frame=frame,
            model=settings.model,
            camera=settings.camera,
            made_with=made_with(settings),
        )
        self._preview_job = self.context.jobs.preview(_PREVIEW, spec)

    def _show_preview(self, summary: dict[str, object]) -> None:
        asked, table_file = self._asked, Path(str(summary["localizations_file"]))
        if asked is None:
            return
        self.context.background.run(
            _TABLE,
            lambda _check: (read_localizations_csv(table_file), _pixel_size_nm(asked)),
            lambda found: self._draw_preview(asked, *found),
            self.page.show_problem,
        )

    def _draw_preview(
        self, asked: _Asked, table: Localizations, pixel_size_nm: tuple[float, float]
    ) -> None:
        if asked.frame == self.page.preview.number.value():  # else the user has gone on
            self.page.preview.show_result(table, pixel_size_nm, asked.movie.roi_px)

    def _camera_file(self, path: Path) -> str | Problem | None:
        """Write the project's camera for a job; None leaves the model its own."""
        camera = self.context.session.settings.camera
        if camera is None:
            return None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return write_camera_file(camera, path)
        except (EngineError, OSError) as error:
            return Problem.from_error(error)

    # --- The long fit -----------------------------------------------------------------------

    def _start(self, numbers: Sequence[int]) -> None:
        if not numbers:
            self.page.show_problem(
                Problem(message="No movie is ticked.", hint="Tick the movies to localize.")
            )
            return
        self.page.show_problem(None)
        for number in numbers:
            self._start_one(self.context.session.settings.movies[number])

    def _start_one(self, movie: MovieEntry) -> None:
        title = f"Localize {Path(movie.path).name}"
        try:
            run_id, folder = self.context.session.begin_run(Step.LOCALIZE, title)
        except (EngineError, OSError) as error:
            self.page.show_problem(Problem.from_error(error))
            return
        spec = self._spec(movie, folder)
        if isinstance(spec, Problem):
            remove_empty(folder)
            self.page.show_problem(spec)
            return
        self.context.jobs.start_run(Step.LOCALIZE, title, run_id, spec)

    def _spec(self, movie: MovieEntry, folder: Path) -> LocalizeSpec | Problem:
        camera = self._camera_file(folder / "camera.json")
        if isinstance(camera, Problem):
            return camera
        settings = self.context.session.settings
        return localize_spec(settings, movie, camera=camera, folder=folder)

    def _copy_command(self) -> None:
        movie = self._movie()
        if movie is None:
            return
        spec = self._spec(movie, self.context.session.folder)
        if isinstance(spec, Problem):
            self.page.show_problem(spec)
        else:
            QGuiApplication.clipboard().setText(command_line(spec))

    def _on_job(self, job_id: str, state: JobState) -> None:
        if job_id == self._preview_job:
            self._on_preview(state)
            return
        run = self.context.session.run(job_id)
        if run is not None and run.step is Step.LOCALIZE:
            self._on_run(job_id, state, run)

    def _on_preview(self, state: JobState) -> None:
        if state.phase == "failed" and state.failure is not None:
            self.page.preview.words.setText("")
            self.page.show_problem(Problem.from_failure(state.failure))
        elif state.phase == "completed":
            self._show_preview(state.summary)

    def _on_run(self, job_id: str, state: JobState, run: RunRecord) -> None:
        waits = state.phase in ("idle", "queued")
        if waits and self._run in self._active():
            return  # another movie is being localized; this one waits for it
        self._run = job_id
        self.page.job.show_state(state)
        ended = state.phase in ("completed", "cancelled", "failed")
        self.page.show_running(running=not ended)
        out = Path(str(run.spec["out"]))
        if not ended:
            self._live.follow(out)
            return
        self._live.end()
        if state.phase == "failed" and state.failure is not None:
            self.page.show_problem(Problem.from_failure(state.failure))
        if state.phase == "completed":
            self._live.show_finished(out)
            self._take_result(str(out), run)
        self._refresh()

    def _take_result(self, path: str, run: RunRecord) -> None:
        """Take a finished result, unless the user is busy with the table of another movie."""
        session = self.context.session
        chosen = session.settings.localizations
        made_by = None if chosen is None else session.run_of_file(chosen)
        same = made_by is not None and made_by.spec.get("movies") == run.spec["movies"]
        if chosen is None or same or self._on_screen:
            session.settle(**self._changes_for(path))
            self.page.show_notice("")
            return
        names = ", ".join(Path(movie).name for movie in run.spec["movies"])
        self.page.show_notice(
            f"{names} is localized. The pages still show {Path(chosen).name}: select the movie "
            "and press 'Show result' to look at the new one."
        )

    def _use_result(self, path: str) -> None:
        self.page.show_notice("")
        if path != self.context.session.settings.localizations:
            self._update("Use these localizations", **self._changes_for(path))

    def _changes_for(self, path: str) -> dict[str, Any]:
        settings = self.context.session.settings
        changes: dict[str, Any] = {"localizations": path}
        run = self.context.session.run_of_file(path)
        model = settings.model if run is None else run.spec.get("model")
        description = self._descriptions.get(str(model))
        if isinstance(description, ModelDescription):
            color = "z" if description.is_3d else "none"
            changes["render"] = settings.render.model_copy(update={"color": color})
        return changes


def _pixel_size_nm(asked: _Asked) -> tuple[float, float]:
    """Return the pixel size (x, y) by which the engine made nm of pixels."""
    camera = asked.camera
    if camera is None:
        return describe_model(asked.model).pixel_size_nm
    return camera.pixel_size_x_nm, camera.pixel_size_y_nm or camera.pixel_size_x_nm
