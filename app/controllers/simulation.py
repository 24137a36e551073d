"""The Simulation page's decisions: what is simulated, compared and suggested."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from PySide6.QtCore import QTimer

from app.controllers.page_controller import AppContext, PageController
from app.models.frame_sample import FrameSample, read_own, read_simulated
from app.models.job_state import JobState
from app.models.match_words import Histograms, changes, histograms, match
from app.models.problem import Problem
from app.models.project import CalibrationChoice, ProjectSettings
from app.models.steps import Step
from app.models.verdict import Verdict
from app.views.simulation_page import SimulationPage
from decode_engine.analysis.simulation_match import (
    ROUNDS,
    Typical,
    apply_typical,
    averaged,
    first_guess,
    refine,
    suggest_settings,
    typical_of,
)
from decode_engine.contract.configs import SimulationConfig
from decode_engine.contract.jobs import SimulateSpec
from decode_engine.errors import EngineError
from decode_engine.io.calibrations import describe_calibration

__all__ = ["SimulationController"]

_OWN, _SHOW, _COMPARE, _DEPTH = (
    "simulation-own",
    "simulation-show",
    "simulation-compare",
    "simulation-depth",
)
_WAIT_MS = 800  # after the last change
_LEAST_FRAMES = 20


@dataclass(kw_only=True)
class _Suggestion:
    """A suggestion in the making."""

    config: SimulationConfig
    typical: Typical
    rounds: list[Typical] = field(default_factory=list)
    job: str = ""


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """Simulated frames, compared with the own ones."""

    sample: FrameSample
    drawn: Histograms
    matches: list[Verdict] | None  # None where an end of the ranges is shown


class SimulationController(PageController):
    """Connects `SimulationPage` with project and engine."""

    page: SimulationPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, SimulationPage())
        self._active = False
        self._failed = False  # the own frames could not be read
        self._own: FrameSample | None = None
        self._own_key: object = None
        self._depth_of: CalibrationChoice | None = None
        self._simulated_key: object = None
        self._kind, self._seed = "typical", 0
        self._job = ""
        self._suggestion: _Suggestion | None = None
        self._suggest_soon = False  # asked for before the frames were read
        self._proposal: SimulationConfig | None = None
        self._delay = QTimer(self, singleShot=True, interval=_WAIT_MS)
        self._delay.timeout.connect(self._simulate)
        self._connect()
        self._refresh()

    def activate(self) -> None:
        """Compare again if something has changed meanwhile."""
        self._active = True
        self._try_again()
        self._refresh()

    def deactivate(self) -> None:
        """Stop simulating."""
        self._active = False
        self._delay.stop()
        self._stop_suggesting()

    def _connect(self) -> None:
        page, context = self.page, self.context
        context.session.project_changed.connect(self._refresh)
        context.session.files_changed.connect(self._try_again)
        context.jobs.job_changed.connect(self._on_job)
        page.form.changed.connect(self._change_config)
        page.pair.another_requested.connect(self._another)
        page.pair.kind_chosen.connect(self._choose_kind)
        page.suggest_requested.connect(self._suggest)
        page.suggestion_cancelled.connect(self._stop_suggesting)
        page.proposal_accepted.connect(self._accept)
        page.proposal_refused.connect(lambda: self._propose(None))
        page.step_requested.connect(self.go_to)

    # --- What the page shows of the project -------------------------------------------------

    def _refresh(self) -> None:
        settings, page = self.context.session.settings, self.page
        page.form.set_value(settings.simulation)
        text, step = _missing(settings)
        page.show_missing(text, step)
        if step is not None:
            self._forget_own()
            return
        if not self._active:
            return
        self._show_depth(settings.calibration)
        key = (settings.movies[settings.current_movie], settings.camera)
        if key != self._own_key:
            self._forget_own()
            self._own_key = key
            self._read_own(settings)
        elif self._own is not None and self._wanted() != self._simulated_key:
            self._delay.start()

    def _try_again(self) -> None:
        """Read the own frames once more if they could not be read before."""
        if self._failed and self._active:
            self._failed, self._own_key = False, None
            self._refresh()

    def _forget_own(self) -> None:
        for key in (_OWN, _SHOW, _COMPARE):
            self.context.background.cancel(key)
        self._own, self._own_key, self._simulated_key = None, None, None
        self._stop_suggesting()
        self._propose(None)
        self.page.show_histograms({}, with_simulated=False)
        self.page.show_matches(())

    def _show_depth(self, choice: CalibrationChoice) -> None:
        """Say what "automatic" means for the height range; 2D has none."""
        if choice == self._depth_of or choice.path is None:
            return
        self._depth_of = choice
        path = Path(choice.path)

        def work(_check: Callable[[], None]) -> tuple[float, float] | None:
            entries = describe_calibration(path).entries
            fitting = [e for e in entries if choice.region in (None, e.region)]
            return fitting[0].z_range_nm if fitting else None

        # A file that cannot be read is told by the job that needs it.
        self.context.background.run(_DEPTH, work, self.page.show_depth, lambda _problem: None)

    def _wanted(self) -> object:
        settings = self.context.session.settings
        return (settings.simulation, settings.calibration, self._kind, self._seed)

    def _scratch(self) -> Path:
        return self.context.session.previews_folder / "simulation"

    def _read_own(self, settings: ProjectSettings) -> None:
        entry, camera = settings.movies[settings.current_movie], settings.camera
        folder, scratch = self.context.session.folder, self._scratch()
        if camera is None:
            return

        def work(check: Callable[[], None]) -> tuple[FrameSample, Histograms]:
            own = read_own(entry, camera, folder, scratch, check)
            return own, histograms(own.statistics, None)

        self.context.background.run(_OWN, work, self._on_own, self._on_own_failed)

    def _on_own(self, read: tuple[FrameSample, Histograms]) -> None:
        own, drawn = read
        self._own, self._failed = own, False
        self.page.show_problem(None)
        self.page.pair.show_own(own.photons, own.frame_numbers, own.camera.pixel_size_x_nm)
        self.page.pair.show_simulated(None, None)
        self.page.show_histograms({}, with_simulated=False)
        self.page.show_histograms(drawn, with_simulated=False)
        self._simulate()
        if self._suggest_soon:
            self._suggest()

    def _on_own_failed(self, problem: Problem) -> None:
        self._failed = True
        self._stop_suggesting()
        self.page.show_problem(problem)
        self.page.show_missing("Your frames cannot be compared.", None)

    # --- Simulated frames -------------------------------------------------------------------

    def _change_config(self, config: SimulationConfig) -> None:
        self._stop_suggesting()
        self._propose(None)
        before = self.context.session.settings.simulation
        text = self.page.form.name_of_change("Change the simulation", before, config)
        self._update(text, config)

    def _update(self, text: str, config: object) -> None:
        try:
            self.context.session.update(text, simulation=config)
        except EngineError as error:
            self.page.show_problem(Problem.from_error(error))

    def _another(self) -> None:
        self._seed += 1
        self._simulate()

    def _choose_kind(self, kind: str) -> None:
        self._kind = kind
        self._simulate()

    def _simulate(self) -> None:
        if self._own is None or not self._active:
            return
        self._delay.stop()
        self._simulated_key = self._wanted()
        config = _shown(self.context.session.settings.simulation, self._kind)
        self.page.pair.set_busy(busy=True)
        self._job = self._submit("simulation", config, self._seed)

    def _submit(self, kind: str, config: SimulationConfig, seed: int) -> str:
        own = self._own
        assert own is not None
        choice = self.context.session.settings.calibration
        spec = SimulateSpec(
            calibration=choice.path or "",
            camera=own.camera_file,
            out=str(self._scratch() / kind),
            frames=max(len(own.frame_numbers), _LEAST_FRAMES),
            size_px=(own.field.width_px, own.field.height_px),
            simulation=config,
            seed=seed,
            overwrite=True,
            region=choice.region,
            channel=choice.channel,
            # The Calibration page says what does not fit; looking must stay possible.
            allow_mismatch=True,
        )
        return self.context.jobs.preview(kind, spec)

    def _on_job(self, job_id: str, state: JobState) -> None:
        if state.is_active:
            return
        if job_id == self._job:
            self._job = ""
            self.page.pair.set_busy(busy=False)
            if state.phase == "completed":
                self._read_shown(state)
            else:
                self._show_failure(state)
        elif self._suggestion is not None and job_id == self._suggestion.job:
            if state.phase == "completed":
                self._read_round(state)
            else:
                self._stop_suggesting()
                self._show_failure(state)

    def _show_failure(self, state: JobState) -> None:
        if state.phase == "failed" and state.failure is not None:
            self.page.show_problem(Problem.from_failure(state.failure))

    def _read_shown(self, state: JobState) -> None:
        """Measure simulated frames that are to be shown, in the background."""
        own, path = self._own, Path(str(state.summary.get("movie", "")))
        if own is None:
            return
        config, is_typical = self.context.session.settings.simulation, self._kind == "typical"

        def work(check: Callable[[], None]) -> _Shown:
            sample = read_simulated(path, own, check)
            mine, theirs = own.statistics, sample.statistics
            found = match(mine, theirs, typical_of(config), config) if is_typical else None
            return _Shown(sample=sample, drawn=histograms(mine, theirs), matches=found)

        self.context.background.run(_SHOW, work, self._on_simulated, self.page.show_problem)

    def _on_simulated(self, shown: _Shown) -> None:
        if self._own is None:
            return
        self.page.show_problem(None)
        size_nm = self._own.camera.pixel_size_x_nm
        self.page.pair.show_simulated(shown.sample.photons, size_nm)
        self.page.show_histograms(shown.drawn, with_simulated=True)
        if shown.matches is not None:
            self.page.show_matches(shown.matches)

    def _read_round(self, state: JobState) -> None:
        """Measure simulated frames of a suggestion, in the background."""
        own, path = self._own, Path(str(state.summary.get("movie", "")))
        if own is None:
            return

        def failed(problem: Problem) -> None:
            self._stop_suggesting()
            self.page.show_problem(problem)

        self.context.background.run(
            _COMPARE, lambda check: read_simulated(path, own, check), self._on_round, failed
        )

    # --- Suggestions ------------------------------------------------------------------------

    def _suggest(self) -> None:
        if self._own is None:
            self._suggest_soon = True
            self.page.show_suggesting("Reading your frames …")
            return
        self._suggest_soon = False
        config = self.context.session.settings.simulation
        self._propose(None)
        self._suggestion = _Suggestion(
            config=config, typical=first_guess(self._own.statistics, typical_of(config))
        )
        self._next_round()

    def _next_round(self) -> None:
        suggestion = self._suggestion
        if suggestion is None:
            return
        number = len(suggestion.rounds)
        self.page.show_suggesting(f"Comparing with simulated frames, {number + 1} of {ROUNDS} …")
        config = apply_typical(suggestion.config, suggestion.typical)
        suggestion.job = self._submit("simulation-suggest", config, number)

    def _on_round(self, simulated: FrameSample) -> None:
        suggestion, own = self._suggestion, self._own
        if suggestion is None or own is None:
            return
        refined = refine(own.statistics, simulated.statistics, suggestion.typical)
        suggestion.rounds.append(refined)
        if len(suggestion.rounds) < ROUNDS:
            suggestion.typical = refined
            self._next_round()
            return
        self._stop_suggesting()
        final = averaged(suggestion.rounds)
        lifted = Typical(
            density_per_um2=final.density_per_um2,
            background=suggestion.typical.background,
            flux_mean=final.flux_mean,
            flux_cv=final.flux_cv,
            lifetime_frames=final.lifetime_frames,
        )
        self._propose(
            suggest_settings(own.statistics, simulated.statistics, lifted, suggestion.config)
        )

    def _stop_suggesting(self) -> None:
        self._suggestion = None
        self._suggest_soon = False
        self.page.show_suggesting("")

    def _propose(self, config: SimulationConfig | None) -> None:
        self._proposal = config
        present = self.context.session.settings.simulation
        found = changes(present, config) if config is not None else []
        self.page.show_proposal(found)
        if config is not None and not found:
            self.page.show_notice("Your settings already fit your movie.")

    def _accept(self) -> None:
        config = self._proposal
        if config is not None:
            self._propose(None)
            self._update("Use suggested simulation settings", config)


def _missing(settings: ProjectSettings) -> tuple[str, Step | None]:
    """Return what must be done first, and where."""
    if not settings.movies:
        return "Choose a movie first, to simulate frames that look like yours.", Step.MOVIE
    if settings.calibration.mode == "none" or settings.calibration.path is None:
        return "Choose a calibration first: it says what a molecule looks like.", Step.CALIBRATION
    if settings.camera is None:
        return "Describe the camera first: it says what a photon looks like.", Step.CAMERA
    return "", None


def _shown(config: SimulationConfig, kind: str) -> SimulationConfig:
    """Return the settings of one end, or of the middle, of the ranges."""
    if kind == "typical":
        return apply_typical(config, typical_of(config))
    end = "min" if kind == "low" else "max"
    density = getattr(config, f"density_{end}_per_um2")
    background = getattr(config, f"background_{end}")
    return config.model_copy(
        update={
            "density_min_per_um2": density,
            "density_max_per_um2": max(density, 1e-6),
            "background_min": background,
            "background_max": background,
        }
    )
