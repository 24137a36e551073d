"""The Train page's decisions: what is trained, from where, and what becomes of it."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from PySide6.QtGui import QGuiApplication

from app.controllers.page_controller import AppContext, PageController
from app.controllers.train_course import TrainCourse
from app.models.command_line import command_line
from app.models.job_files import remove_empty, write_camera_file
from app.models.job_state import JobState
from app.models.problem import Problem
from app.models.project import RunRecord
from app.models.steps import Step
from app.models.train_job import (
    PATIENCE,
    device_choices,
    expectation,
    rate_for_start,
    train_inputs,
    train_spec,
)
from app.models.train_runs import ended_words, run_rows
from app.models.train_start import StartJudgement, judge_start, model_of_run, start_choices
from app.models.training_verdict import judge_training
from app.views.train_page import TrainPage
from decode_engine.contract.base import Config
from decode_engine.contract.configs import TrainingConfig
from decode_engine.errors import EngineError

__all__ = ["TrainController"]

C = TypeVar("C", bound=Config)

_JUDGE = "train-judge-start"
_PREPARE = "train-prepare"
_COPY = "train-copy"
_RESUME = "Go on with this training"
_HALVE = "Try with half the learning rate"


class TrainController(PageController):
    """Connects `TrainPage` with project and engine."""

    page: TrainPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, TrainPage())
        self._course = TrainCourse(context.background, self.page.progress, self)
        self._judged: tuple[object, ...] = ()
        self._judgement: StartJudgement | None = None
        self._preparing = False
        self._on_screen = False
        self._phases: dict[str, str] = {}
        self._told = ""  # run whose failure was shown
        self._course.loaded.connect(self._refresh)
        self._connect()
        self._refresh()

    def activate(self) -> None:
        """Bring the page up to date."""
        self._on_screen = True
        self._refresh()

    def deactivate(self) -> None:
        """Let a training that ends now leave the model alone that is used meanwhile."""
        self._on_screen = False

    def _connect(self) -> None:
        session, jobs = self.context.session, self.context.jobs
        session.project_opened.connect(self._forget)
        session.project_changed.connect(self._refresh)
        jobs.job_changed.connect(self._on_job)
        jobs.job_event.connect(self._course.on_event)
        jobs.devices_changed.connect(lambda _: self._refresh())
        setup = self.page.setup
        setup.start_changed.connect(self._choose_start)
        setup.goal_changed.connect(self._choose_goal)
        setup.device_changed.connect(self._choose_device)
        setup.training_changed.connect(self._choose_training)
        setup.page_requested.connect(self.go_to)
        setup.start_requested.connect(self._start)
        setup.copy_requested.connect(self._copy)
        progress = self.page.progress
        progress.job.cancel_requested.connect(lambda: jobs.cancel(self._course.shown))
        progress.job.pause_requested.connect(lambda: jobs.pause(self._course.shown))
        progress.job.resume_requested.connect(lambda: jobs.resume(self._course.shown))
        progress.job.finish_requested.connect(lambda: jobs.finish(self._course.shown))
        progress.resume_run_requested.connect(lambda: self._resume(self._course.shown))
        progress.use_model_requested.connect(lambda: self._use_model(self._course.shown))
        progress.runs.resume_requested.connect(self._resume)
        progress.runs.use_requested.connect(self._use_model)
        progress.runs.compared_changed.connect(self._course.compare)
        self.page.problem_action.connect(self._act)

    def _forget(self) -> None:
        """Begin anew with another project."""
        self._phases.clear()
        self._told = ""
        self.page.show_problem(None)
        self.page.show_notice("")

    # -- choices

    def _choose_start(self, path: str | None) -> None:
        settings = self.context.session.settings
        training = settings.training
        self._update(
            "Start of the training",
            train_start=_with(settings.train_start, init=path),
            training=_with(training, learning_rate=rate_for_start(training.learning_rate, path)),
        )

    def _choose_device(self, device: str) -> None:
        start = self.context.session.settings.train_start
        self._update("Device of the training", train_start=_with(start, device=device))

    def _choose_goal(self, minutes: float, until_best: bool) -> None:
        training = self.context.session.settings.training
        patience = (training.patience or PATIENCE) if until_best else None
        self._update(
            "Goal of the training", training=_with(training, minutes=minutes, patience=patience)
        )

    def _choose_training(self, config: TrainingConfig) -> None:
        before, form = self.context.session.settings.training, self.page.setup.form
        text = form.name_of_change("Settings of the training", before, config)
        self._update(text, training=config)

    def _update(self, text: str, **changes: object) -> None:
        try:
            self.context.session.update(text, **changes)
        except EngineError as error:
            self.page.show_problem(Problem.from_error(error))

    # -- showing

    def _refresh(self) -> None:
        session, jobs = self.context.session, self.context.jobs
        settings, setup = session.settings, self.page.setup
        runs = session.runs_of(Step.TRAIN)
        setup.set_summary(train_inputs(settings))
        choices = start_choices(runs, settings.train_start.init)
        setup.set_starts([(c.words, c.path) for c in choices], settings.train_start.init)
        self._show_goal()
        setup.set_devices(device_choices(jobs.devices), settings.train_start.device)
        setup.set_training(settings.training)
        self._judge_start()
        self._show_runs(runs)
        self._show_can_start()

    def _show_goal(self) -> None:
        settings = self.context.session.settings
        training, start = settings.training, self._judgement
        words = expectation(
            settings,
            self.context.jobs.devices,
            from_nothing=start is not None and start.from_nothing,
        )
        self.page.setup.set_goal(training.minutes or 60.0, training.patience is not None, words)

    def _show_runs(self, runs: tuple[RunRecord, ...]) -> None:
        progress, session = self.page.progress, self.context.session
        if not runs:
            self._course.show(None)
            progress.show_nothing()
            return
        active = [run for run in runs if self._is_active(run)]
        run = active[-1] if active else runs[-1]
        self._course.remember(runs)
        self._course.show(run)
        rows = run_rows(runs, in_use=session.settings.model, can_resume=self._can_resume)
        progress.runs.set_rows(rows, self._course.compared)
        self._show_run(run)

    def _show_run(self, run: RunRecord) -> None:
        progress, jobs = self.page.progress, self.context.jobs
        if self._is_active(run):
            self._show_job(jobs.state(run.run_id))
            progress.sample.set_waiting(True)
            progress.show_verdict(None)
            progress.show_ended("", can_resume=False, can_use=False)
            return
        progress.show_job(None)
        self._tell_failure(run)
        in_use = self.context.session.settings.model
        model = model_of_run(run)
        progress.show_ended(
            ended_words(run, in_use=in_use),
            can_resume=self._can_resume(run.run_id),
            can_use=model is not None and model != in_use,
        )
        metrics = run.summary if "jaccard" in run.summary else self._course.best_metrics()
        progress.show_verdict(judge_training(metrics) if model is not None else None)
        if metrics:
            progress.show_metrics(metrics)
        progress.sample.set_waiting(False)

    def _show_job(self, state: JobState) -> None:
        self.page.progress.show_job(state, can_finish=bool(self._course.best_metrics()))

    def _show_can_start(self) -> None:
        missing = [row.title for row in train_inputs(self.context.session.settings) if not row.ok]
        running = self._is_running()
        reason = ""
        if running:
            reason = "A training is going on; these choices are for the next one."
        elif missing:
            reason = f"Missing: {', '.join(missing)}. Follow the links above."
        elif self._judgement is not None and self._judgement.level == "bad":
            reason = "The training cannot start from the chosen model."
        self.page.setup.set_can_start(
            not reason and not self._preparing, reason, editable=not running
        )

    def _is_running(self) -> bool:
        return any(map(self._is_active, self.context.session.runs_of(Step.TRAIN)))

    def _is_active(self, run: RunRecord) -> bool:
        """Tell whether a run of this project goes on; another project's may have its id."""
        on = run.state in ("running", "paused")
        return on and self.context.jobs.state(run.run_id).is_active

    def _can_resume(self, run_id: str) -> bool:
        return self.context.jobs.can_resume(run_id)

    # -- start model

    def _judge_start(self) -> None:
        settings = self.context.session.settings
        path = settings.train_start.init
        key = (
            path,
            settings.camera,
            settings.calibration,
            settings.simulation.flux_mean,
            settings.training.context_frames,
            settings.training.network,
            tuple(settings.training.network_options.items()),
        )
        if key == self._judged:
            return
        self._judged = key
        self._judgement = None
        self.page.setup.set_start_judgement("none", "Reading the model …" if path else "")
        self.context.background.run(
            _JUDGE, lambda _check: judge_start(path, settings), self._show_judgement, self._no_model
        )

    def _show_judgement(self, judgement: StartJudgement) -> None:
        self._judgement = judgement
        self.page.setup.set_start_judgement(judgement.level, judgement.text)
        self._show_goal()
        self._show_can_start()

    def _no_model(self, problem: Problem) -> None:
        self._show_judgement(StartJudgement("bad", f"{problem.message} {problem.hint}".strip()))

    # -- starting

    def _start(self) -> None:
        session = self.context.session
        try:
            run_id, folder = session.begin_run(Step.TRAIN, "Training")
        except (EngineError, OSError) as error:
            self.page.show_problem(Problem.from_error(error))
            return
        settings = session.settings
        camera = settings.camera
        assert camera is not None  # Start is not offered without
        self._preparing = True
        self.page.show_problem(None)
        self._show_can_start()

        def begin(path: str) -> None:
            self._preparing = False
            if session.folder not in folder.parents:
                return  # another project was opened meanwhile
            spec = train_spec(settings, camera=path, out=str(folder / "model.decode"))
            self.context.jobs.start_run(Step.TRAIN, "Training", run_id, spec)

        def prepare(_check: object) -> str:
            try:
                return write_camera_file(camera, folder / "camera.json")
            except (EngineError, OSError):
                remove_empty(folder)
                raise

        self.context.background.run(_PREPARE, prepare, begin, self._not_started)

    def _not_started(self, problem: Problem) -> None:
        self._preparing = False
        self.page.show_problem(problem)
        self._show_can_start()

    def _copy(self) -> None:
        settings, folder = self.context.session.settings, self.context.session.folder / "exports"
        camera = settings.camera
        if camera is None or not all(row.ok for row in train_inputs(settings)):
            self.page.setup.show_note(
                "Choose calibration and camera first: the command needs them."
            )
            return

        def write(_check: object) -> str:
            folder.mkdir(parents=True, exist_ok=True)
            path = write_camera_file(camera, folder / "camera.json")
            out = str(folder / "model.decode")
            return command_line(train_spec(settings, camera=path, out=out))

        def copied(command: str) -> None:
            QGuiApplication.clipboard().setText(command)
            self.page.setup.show_note("The command is on the clipboard.")

        self.context.background.run(_COPY, write, copied, self.page.show_problem)

    # -- what becomes of it

    def _on_job(self, job_id: str, state: JobState) -> None:
        run = self.context.session.run(job_id)
        if run is None or run.step is not Step.TRAIN:
            return
        before = self._phases.get(job_id, "")
        self._phases[job_id] = state.phase
        if state.phase == before:
            if job_id == self._course.shown and state.is_active:
                self._show_job(state)
            return
        # A job of a project opened before may have the id of a run of this one, not its files.
        if state.phase == "completed" and run.outputs.items() <= set(state.artifacts):
            self._take_model(run)
        elif state.is_active:
            self._told = ""
        self._refresh()

    def _tell_failure(self, run: RunRecord) -> None:
        """Show why a run failed, once, also after the project was opened again."""
        if self._told and self._told != run.run_id:
            self._told = ""
            self.page.show_problem(None)
        if run.state != "failed" or self._told == run.run_id:
            return
        self._told = run.run_id
        failure = run.failure or {}
        code = failure.get("code", "")
        resumable = _RESUME if self._can_resume(run.run_id) else ""
        self.page.show_problem(
            Problem(
                message=failure.get("message", "The training failed."),
                hint=failure.get("hint", ""),
                code=code,
                detail=failure.get("detail", ""),
                action=_HALVE if code == "diverged" else resumable,
            )
        )

    def _act(self, action: str) -> None:
        self.page.show_problem(None)
        if action == _RESUME:
            self._resume(self._course.shown)
        elif action == _HALVE:
            training = self.context.session.settings.training
            halved = _with(training, learning_rate=training.learning_rate / 2)
            self._update("Half the learning rate", training=halved)
            self._start()

    def _resume(self, run_id: str) -> None:
        if self._can_resume(run_id) and not self._is_running():
            self.page.show_problem(None)
            self.context.jobs.resume_run(run_id)

    def _take_model(self, run: RunRecord) -> None:
        """Take a trained model, unless the user is busy with another one."""
        path, session = model_of_run(run), self.context.session
        chosen = session.settings.model
        if path is None:
            return
        if chosen in (None, run.spec.get("init")) or self._on_screen:
            session.settle(model=str(Path(path)))
        elif chosen != path:
            self.page.show_notice(
                f"{run.title} is finished. Localize still uses {Path(str(chosen)).name}: press "
                "'Use its best model' to change to the new one."
            )

    def _use_model(self, run_id: str) -> None:
        run = self.context.session.run(run_id)
        path = model_of_run(run) if run is not None else None
        self.page.show_notice("")
        if path is not None:
            self._update("Use the trained model", model=str(Path(path)))


def _with(config: C, **changes: object) -> C:
    return config.model_copy(update=changes)
