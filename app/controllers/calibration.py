"""The Calibration page's decisions: which PSF is used, and how it is made and shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QTimer
from PySide6.QtGui import QGuiApplication, QPixmap
from PySide6.QtWidgets import QFileDialog

from app.controllers.page_controller import AppContext, PageController
from app.models.calibration_file import (
    OpenCalibration,
    open_calibration,
    save_calibration,
    write_flat_calibration,
)
from app.models.calibration_words import (
    bead_verdicts,
    fact_lines,
    pixel_verdicts,
    precision_verdict,
    sigma_2d_nm,
)
from app.models.command_line import command_line
from app.models.job_state import JobState
from app.models.problem import Problem
from app.models.project import BeadSettings, CalibrationChoice, Project, RunRecord
from app.models.psf_volume import PsfVolume, read_psf_volume
from app.models.runs import local_time, run_that_made, runs_of
from app.models.steps import Step
from app.models.verdict import Verdict
from app.views.calibration_page import CalibrationPage
from app.views.calibration_ways import BEAD_LABELS
from decode_engine.contract.configs import CalibrateConfig
from decode_engine.contract.jobs import CalibrateSpec, PsfPreviewSpec
from decode_engine.errors import EngineError

__all__ = ["CalibrationController"]

_OPEN, _SAVE, _SHOW, _FLAT = (
    "calibration-open",
    "calibration-save",
    "calibration-show",
    "calibration-flat",
)
_FILTER = "Calibrations (*.mat *.h5 *.hdf5);;All files (*)"
_SAVE_FILTER = "This program, keeps everything (*.h5);;SMAP and fit3Dcspline (*_3dcal.mat)"
_STACK_FILTER = "Bead stacks (*.tif *.tiff);;All files (*)"
_WAIT_MS = 300  # after the last change of photons or background
_ANOTHER = "Choose another file …"


class CalibrationController(PageController):
    """Connects `CalibrationPage` with project and engine."""

    page: CalibrationPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, CalibrationPage())
        self._active = False
        self._opened: OpenCalibration | None = None
        self._shown: object = None  # choice, camera and movie that are (being) shown
        self._psf: PsfVolume | None = None
        self._preview = ""
        self._run = ""
        self._conditions = (5000.0, 20.0)
        self._delay = QTimer(self, singleShot=True, interval=_WAIT_MS)
        self._delay.timeout.connect(self._draw_psf)
        self._failed = False  # the chosen calibration could not be read
        self._connect()
        self._refresh()

    def activate(self) -> None:
        """Show the chosen calibration; one that could not be read may be there again."""
        self._active = True
        self._try_again()
        self._refresh()

    def deactivate(self) -> None:
        """Leave the calibration as it is; one that is being made goes on."""
        self._active = False

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Take a dropped calibration, or bead stacks."""
        stacks = [str(p) for p in paths if p.suffix.lower() in (".tif", ".tiff")]
        others = [p for p in paths if str(p) not in stacks]
        if others:
            self._use_file(others[0])
        elif stacks:
            self._add_stacks(stacks)

    def _connect(self) -> None:
        page, context = self.page, self.context
        context.session.project_changed.connect(self._refresh)
        context.session.files_changed.connect(self._try_again)
        context.jobs.job_changed.connect(self._on_job)
        page.file_way.open_requested.connect(self._ask_for_file)
        page.save_requested.connect(self._ask_where_to_save)
        page.file_way.entry_chosen.connect(self._choose_entry)
        page.file_way.earlier_chosen.connect(lambda path: self._use_file(Path(path)))
        beads = page.beads_way
        beads.add_requested.connect(self._ask_for_stacks)
        beads.stacks_changed.connect(lambda stacks: self._change_beads("stacks", stacks))
        beads.form.changed.connect(lambda config: self._change_beads("config", config))
        beads.form.validity_changed.connect(lambda _valid: self._show_makeable())
        beads.make_requested.connect(self._make)
        beads.command_requested.connect(self._copy_command)
        beads.job.cancel_requested.connect(lambda: context.jobs.cancel(self._run))
        beads.job.pause_requested.connect(lambda: context.jobs.pause(self._run))
        beads.job.resume_requested.connect(lambda: context.jobs.resume(self._run))
        page.flat_way.optics_changed.connect(self._derive_sigma)
        page.flat_way.use_requested.connect(self._use_flat)
        page.viewer.conditions_changed.connect(self._change_conditions)
        page.problem_action.connect(self._act)

    # --- What the page shows of the project -------------------------------------------------

    def _refresh(self) -> None:
        settings, page = self.context.session.settings, self.page
        page.beads_way.set_stacks(settings.beads.stacks)
        if settings.beads.config is not None:
            page.beads_way.form.set_value(settings.beads.config)
        elif settings.camera is not None:
            page.beads_way.propose_pixel_size(settings.camera.pixel_size_x_nm)
        self._show_makeable()
        choice = settings.calibration
        page.file_way.show_earlier(_made(self.context.session.project), choice.path)
        flat = choice.mode == "gaussian_2d"
        page.flat_way.show_use(choice.psf_sigma_nm if flat else None)
        movie = settings.movies[settings.current_movie] if settings.movies else None
        key = (choice, settings.camera, movie.path if movie else None)
        if key == self._shown or not self._active:
            return
        self._shown = key
        self._opened = None
        if choice.mode == "none" or choice.path is None:
            self.context.background.cancel(_OPEN)
            page.show_empty()
            page.file_way.show_file("", (), None, None)
            return
        if page.way != "beads":
            page.show_way("gaussian_2d" if flat else "file")
        self._read(choice)

    def _try_again(self) -> None:
        if self._failed and self._active:
            self._failed, self._shown = False, None
            self._refresh()

    def _read(self, choice: CalibrationChoice) -> None:
        project, scratch = self.context.session.project, self._scratch()

        def work(check: Callable[[], None]) -> OpenCalibration:
            return open_calibration(choice, project, scratch, check)

        def failed(problem: Problem) -> None:
            self._failed = True
            self.page.show_empty("This calibration cannot be used.")
            self.page.file_way.show_file("", (), None, None)
            self._show(problem, action=_ANOTHER)

        self.context.background.run(_OPEN, work, self._on_opened, failed)

    def _scratch(self) -> Path:
        return self.context.session.previews_folder / "calibration"

    def _on_opened(self, opened: OpenCalibration) -> None:
        self._opened, self._psf, self._failed = opened, None, False
        self.page.show_problem(None)
        is_file = self.context.session.settings.calibration.mode == "file"
        self.page.file_way.show_file(
            opened.report.path.name if is_file else "",
            opened.report.entries,
            opened.region,
            opened.channel,
        )
        run = self._run_of(opened)
        refused = run.summary.get("beads_rejected", []) if run else []
        self.page.show_facts(
            fact_lines(opened.report, opened.calibration), [str(words) for words in refused]
        )
        self._show_report(run, opened)
        self._show_verdicts()
        self._draw_psf()

    def _run_of(self, opened: OpenCalibration) -> RunRecord | None:
        return run_that_made(self.context.session.project, str(opened.report.path))

    def _show_report(self, run: RunRecord | None, opened: OpenCalibration) -> None:
        path = opened.report.path
        picture = path.with_name(f"{path.stem}_report.png")
        image = QPixmap(str(picture)) if run is not None and picture.is_file() else QPixmap()
        self.page.show_report(None if image.isNull() else image)

    def _show_verdicts(self) -> None:
        opened = self._opened
        if opened is None:
            return
        verdicts: list[Verdict] = []
        quality = opened.calibration.quality
        if quality is not None:
            run = self._run_of(opened)
            verdicts += bead_verdicts(quality, run.summary if run else {})
        if self._psf is not None:
            verdicts.append(precision_verdict(self._psf, *self._conditions))
        # A 2D Gaussian is made in nm, so it has the camera's pixels whatever they are.
        own = opened.own_pixel or (opened.camera_pixel if self._is_flat() else None)
        verdicts += pixel_verdicts(own, opened.camera_pixel, opened.movie_pixel)
        self.page.show_verdicts(verdicts)

    # --- The PSF ----------------------------------------------------------------------------

    def _change_conditions(self, photons: float, background: float) -> None:
        self._conditions = (photons, background)
        self._delay.start()

    def _draw_psf(self) -> None:
        opened = self._opened
        if opened is None:
            return
        unknown = opened.own_pixel is None and opened.camera_pixel is None
        movie = opened.movie_pixel
        size_nm = movie.x_nm if movie is not None else 100.0 if self._is_flat() else None
        spec = PsfPreviewSpec(
            calibration=str(opened.report.path),
            out=str(self._scratch()),
            camera=opened.camera_file,
            pixel_size_nm=size_nm if unknown else None,
            photons=self._conditions[0],
            background=self._conditions[1],
            region=opened.region,
            channel=opened.channel,
        )
        self._preview = self.context.jobs.preview("psf", spec)

    def _is_flat(self) -> bool:
        return self.context.session.settings.calibration.mode == "gaussian_2d"

    def _on_job(self, job_id: str, state: JobState) -> None:
        if job_id == self._run:
            self._on_run(state)
        if job_id != self._preview or state.is_active:
            return
        if state.phase == "failed" and state.failure is not None:
            self._preview = ""
            self._show(Problem.from_failure(state.failure))
        elif state.phase == "completed":
            self._preview = ""
            path = Path(str(state.summary.get("psf_file", "")))
            self.context.background.run(
                _SHOW, lambda _check: read_psf_volume(path), self._on_psf, self._show
            )

    def _on_psf(self, psf: PsfVolume) -> None:
        self._psf = psf
        self.page.show_psf(psf)
        self._show_verdicts()

    # --- Loading and saving -----------------------------------------------------------------

    def _ask_for_file(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self.page, "Open a calibration", self._start_folder(), _FILTER
        )
        if name:
            self._use_file(Path(name))

    def _use_file(self, path: Path) -> None:
        self.page.show_way("file")
        choice = CalibrationChoice(mode="file", path=str(path))
        if choice == self.context.session.settings.calibration:
            self._shown = None  # read it again: it may have been repaired
        self._update(f"Load {path.name}", calibration=choice)
        self._refresh()

    def _choose_entry(self, region: int | None, channel: int | None) -> None:
        choice = self.context.session.settings.calibration
        changed = choice.model_copy(update={"region": region, "channel": channel})
        self._update("Choose region and channel", calibration=changed)

    def _ask_where_to_save(self) -> None:
        name, chosen = QFileDialog.getSaveFileName(
            self.page, "Save the calibration", self._start_folder(), _SAVE_FILTER
        )
        if not name:
            return
        path = Path(name)
        if path.suffix.lower() not in (".h5", ".hdf5", ".mat"):
            path = path.with_name(path.name + ("_3dcal.mat" if "SMAP" in chosen else ".h5"))
        self.save_to(path)

    def save_to(self, path: Path) -> None:
        """Write a copy of the calibration shown; the suffix says in which format."""
        opened = self._opened
        if opened is None:
            return

        def done(written: Path) -> None:
            self.page.show_notice(f"Saved as {written}.")

        self.context.background.run(
            _SAVE, lambda _check: save_calibration(opened, path), done, self._show
        )

    def _start_folder(self) -> str:
        path = self.context.session.settings.calibration.path
        return str(Path(path).parent) if path else ""

    # --- Making one from beads --------------------------------------------------------------

    def _ask_for_stacks(self) -> None:
        names, _ = QFileDialog.getOpenFileNames(self.page, "Add bead stacks", "", _STACK_FILTER)
        if names:
            self._add_stacks(names)

    def _add_stacks(self, paths: Sequence[str]) -> None:
        self.page.show_way("beads")
        known = self.context.session.settings.beads.stacks
        self._change_beads("stacks", (*known, *(p for p in paths if p not in known)))

    def _change_beads(self, name: str, value: object) -> None:
        beads = self.context.session.settings.beads
        text = "Choose bead stacks" if name == "stacks" else "Change bead settings"
        self._update(text, beads=beads.model_copy(update={name: value}))
        self._show_makeable()

    def _show_makeable(self) -> None:
        beads = self.context.session.settings.beads
        way = self.page.beads_way
        if self._run and self.context.jobs.state(self._run).is_active:
            way.set_makeable("A calibration is being made.")
        elif not beads.stacks:
            way.set_makeable("Add at least one bead stack.")
        elif way.form.value() is None:
            way.set_makeable("Give the slice distance and the pixel size of the bead stacks.")
        else:
            way.set_makeable("")

    def _make(self) -> None:
        beads = self._bead_settings()
        if beads is None or beads.config is None:
            return
        session = self.context.session
        title = f"Calibration from {len(beads.stacks)} bead stack{'s' * (len(beads.stacks) != 1)}"
        try:
            run_id, folder = session.begin_run(Step.CALIBRATION, title)
            spec = CalibrateSpec(
                beads=beads.stacks, out=str(folder / "calibration.h5"), config=beads.config
            )
            self._run = run_id
            self.page.show_problem(None)
            self.page.beads_way.job.show()
            self.context.jobs.start_run(Step.CALIBRATION, title, run_id, spec)
        except (EngineError, OSError) as error:
            self._run = ""
            self._show(Problem.from_error(error))
        self._show_makeable()

    def _copy_command(self) -> None:
        beads = self._bead_settings()
        if beads is None or beads.config is None:
            return
        spec = CalibrateSpec(beads=beads.stacks, out="calibration.h5", config=beads.config)
        QGuiApplication.clipboard().setText(command_line(spec))
        self.page.show_notice("The command is in the clipboard.")

    def _bead_settings(self) -> BeadSettings | None:
        """Return the settings with what stands in the form now."""
        config = self.page.beads_way.form.value()
        beads = self.context.session.settings.beads
        if not isinstance(config, CalibrateConfig) or not beads.stacks:
            return None
        return beads.model_copy(update={"config": config})

    def _on_run(self, state: JobState) -> None:
        way = self.page.beads_way
        way.job.setVisible(state.phase != "completed")
        way.job.show_state(state)
        if state.is_active:
            return
        self._run = ""
        self._show_makeable()
        if state.phase == "failed" and state.failure is not None:
            self._show(_in_the_forms_words(Problem.from_failure(state.failure)))
        elif state.phase == "completed":
            choice = CalibrationChoice(mode="file", path=str(state.summary.get("out", "")))
            self._update("Use the new calibration", calibration=choice)

    # --- 2D ---------------------------------------------------------------------------------

    def _derive_sigma(self, na: float, wavelength_nm: float) -> None:
        self.page.flat_way.set_sigma(round(sigma_2d_nm(na, wavelength_nm), 1))

    def _use_flat(self, sigma_nm: float) -> None:
        folder = self.context.session.folder

        def done(path: str) -> None:
            choice = CalibrationChoice(mode="gaussian_2d", path=path, psf_sigma_nm=sigma_nm)
            self._update("Use a 2D Gaussian", calibration=choice)

        self.context.background.run(
            _FLAT, lambda _check: write_flat_calibration(sigma_nm, folder), done, self._show
        )

    # --- Trouble ----------------------------------------------------------------------------

    def _update(self, text: str, **changes: Any) -> None:
        try:
            self.context.session.update(text, **changes)
        except EngineError as error:
            self._show(Problem.from_error(error))

    def _show(self, problem: Problem, action: str = "") -> None:
        if action and not problem.action:
            problem = replace(problem, action=action)
        self.page.show_problem(problem)

    def _act(self, action: str) -> None:
        if action == _ANOTHER:
            self._ask_for_file()


def _made(project: Project) -> list[tuple[str, str]]:
    """Return path and words of the calibrations made in this project, the latest first."""
    return [
        (run.outputs["calibration"], f"{run.title}, {local_time(run.created)}")
        for run in reversed(runs_of(project, Step.CALIBRATION))
        if run.state == "completed" and "calibration" in run.outputs
    ]


def _in_the_forms_words(problem: Problem) -> Problem:
    """Call the settings of the engine as the form does."""
    message, hint = problem.message, problem.hint
    for name, label in BEAD_LABELS.items():
        message, hint = (text.replace(name, f'"{label}"') for text in (message, hint))
    return replace(problem, message=message, hint=hint)
