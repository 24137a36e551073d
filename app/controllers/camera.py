"""The Camera step: values from presets, the movie's file or the user; judged at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from app.controllers.page_controller import AppContext, PageController
from app.models.camera_import import import_cameras, is_camera_list
from app.models.camera_judgement import CameraJudgement, judge_camera
from app.models.camera_presets import (
    CameraMode,
    CameraPreset,
    apply_mode,
    load_presets,
    own_preset,
    save_preset,
)
from app.models.camera_proposal import CameraProposal, propose_camera
from app.models.movie_sample import MovieSample, sample_movie
from app.models.problem import Problem
from app.models.project import MovieEntry
from app.views.camera_page import CameraPage
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.cameras import (
    MAP_FIELDS,
    camera_from_config,
    read_camera_config,
    write_camera,
)

__all__ = ["CameraController"]

_SAMPLE, _JUDGE, _FILE = "camera-sample", "camera-judge", "camera-file"
_FIRST_GUESS = CameraConfig(pixel_size_x_nm=100.0, e_per_adu=0.5, read_noise_e=1.6)
_FIELD_WORDS = {
    "pixel_size_x_nm": ("pixel size", "nm"),
    "pixel_size_y_nm": ("pixel size along rows", "nm"),
    "offset_adu": ("offset", "ADU"),
    "e_per_adu": ("conversion", "e-/ADU"),
    "em_gain": ("EM gain", ""),
    "kind": ("read-out", ""),
}


class CameraController(PageController):
    """Connects the Camera page with the project; samples the chosen movie in the background."""

    page: CameraPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, CameraPage())
        self._active = False
        self._sample: MovieSample | None = None
        self._sample_of: MovieEntry | None = None
        self._proposal = CameraProposal()
        self._draft = _FIRST_GUESS
        self._judged: tuple[object, ...] | None = None
        self._card_is_of_values = False  # else of a file, which values that are right do not end
        self._choices: list[tuple[CameraPreset, CameraMode]] = []
        self._connect()
        self._read_presets()
        self._follow()

    def _connect(self) -> None:
        page = self.page
        self.context.session.project_changed.connect(self._follow)
        page.config_edited.connect(self._edit)
        page.accept_requested.connect(lambda: self._set(self._draft, "Set camera"))
        page.preset_selected.connect(self._show_note)
        page.preset_requested.connect(self._use_preset)
        page.file_values_requested.connect(self._use_file_values)
        page.load_requested.connect(self._ask_load)
        page.save_requested.connect(self._ask_save)
        page.save_preset_requested.connect(self._save_preset)
        page.map_requested.connect(self._choose_map)

    # -- the page's life

    def activate(self) -> None:
        """Look at the chosen movie, which may be another one by now."""
        self._active = True
        self._follow()

    def deactivate(self) -> None:
        """Stop looking at the movie."""
        self._active = False
        for key in (_SAMPLE, _JUDGE):
            self.context.background.cancel(key)
        if self._sample is None:
            self._sample_of = None
        self._judged = None

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Load a dropped camera file."""
        if paths:
            self._load(paths[0])

    # -- project -> page

    @property
    def _camera(self) -> CameraConfig | None:
        return self.context.session.settings.camera

    @property
    def _shown(self) -> CameraConfig:
        return self._camera or self._draft

    def _follow(self) -> None:
        self.page.show_config(self._shown, draft=self._camera is None)
        self._show_proposal()
        if self._active:
            self._look_at_movie()
            self._judge()

    def _entry(self) -> MovieEntry | None:
        settings = self.context.session.settings
        if not settings.movies:
            return None
        return settings.movies[max(0, min(settings.current_movie, len(settings.movies) - 1))]

    def _look_at_movie(self) -> None:
        entry = self._entry()
        if entry == self._sample_of:
            return
        self._sample_of, self._sample = entry, None
        self._proposal = CameraProposal()
        if entry is None:
            self.context.background.cancel(_SAMPLE)
            self._sampled(None)
            return
        self.page.show_photons(None, None, "Looking at the movie…")
        self.context.background.run(
            _SAMPLE, lambda check: sample_movie(entry, check), self._sampled, self._no_sample
        )

    def _sampled(self, sample: MovieSample | None) -> None:
        self._sample = sample
        if sample is not None:
            presets = dict.fromkeys(preset.id for preset, _ in self._choices)
            by_id = {preset.id: preset for preset, _ in self._choices}
            self._proposal = propose_camera(sample.metadata, [by_id[key] for key in presets])
            self._draft = self._proposal.applied_to(_FIRST_GUESS)
        self._show_presets()
        self._judged = None
        self._follow()

    def _no_sample(self, problem: Problem) -> None:
        self._sample = None
        self.page.show_photons(
            None, None, f"The movie cannot be looked at: {problem.message} See the Movie step."
        )
        self._judge()

    # -- judging

    def _judge(self) -> None:
        config, sample, proposal = self._shown, self._sample, self._proposal
        folder = self.context.session.folder
        wanted = (config, sample, folder)
        if wanted == self._judged:
            return
        self._judged = wanted

        def work(check: Callable[[], None]) -> CameraJudgement:
            check()
            return judge_camera(config, folder, sample, proposal)

        self.context.background.run(_JUDGE, work, self._show_judgement, self._show_failure)

    def _show_failure(self, problem: Problem | None) -> None:
        self._card_is_of_values = False
        self._judged = None if problem is None else self._judged
        self.page.show_problem(problem)

    def _show_judgement(self, judgement: CameraJudgement) -> None:
        self.page.show_lights(judgement.lights)
        if judgement.problem is not None or self._card_is_of_values:
            self.page.show_problem(judgement.problem)
        self._card_is_of_values = judgement.problem is not None
        histogram = judgement.histogram
        if histogram is not None:
            self.page.show_photons(histogram.edges, histogram.counts, judgement.words)
        elif judgement.problem is not None:
            self.page.show_photons(None, None, "No photons can be shown with these values.")
        elif self._entry() is None:
            self.page.show_photons(None, None, judgement.words)

    # -- presets

    def _own_folder(self) -> Path | None:
        path = self.context.settings.path
        return None if path is None else path.parent / "cameras"

    def _read_presets(self) -> None:
        # A dozen files of one kilobyte, beside the program and the settings: read at once.
        presets, complaints = load_presets(self._own_folder())
        self._choices = [(preset, mode) for preset in presets for mode in preset.modes]
        self._show_presets()
        self.page.show_notice(" ".join(complaints))

    def _show_presets(self) -> None:
        recognised = (self._proposal.preset, self._proposal.mode)
        titles, selected = [], -1
        for i, (preset, mode) in enumerate(self._choices):
            mark = "your preset: " if preset.own else ""
            title = f"{mark}{preset.title} – {mode.name}"
            if recognised == (preset, mode):
                title, selected = f"★ from your file: {title}", i
            titles.append(title)
        self.page.set_presets(titles, selected)

    def _show_note(self, index: int) -> None:
        if not 0 <= index < len(self._choices):
            self.page.show_note("")
            return
        preset, _ = self._choices[index]
        chip = ""
        if preset.chip_pixel_um:
            sizes = ", ".join(
                f"{1000 * preset.chip_pixel_um / m:.3g} nm at {m}×" for m in (60, 100)
            )
            chip = f"Chip pixel {preset.chip_pixel_um:g} µm: {sizes}."
        parts = (preset.note, chip, f"Source: {preset.source}")
        self.page.show_note(" ".join(part for part in parts if part))

    def _use_preset(self, index: int) -> None:
        preset, mode = self._choices[index]
        self._set(apply_mode(preset, mode, self._shown), "Use camera preset")

    def _save_preset(self) -> None:
        folder = self._own_folder()
        name = self.page.ask_preset_name(self._shown.name)
        if not name:
            return
        try:
            if folder is None:
                raise CameraError(
                    "There is no folder for presets.", hint="Use 'Save file…' instead."
                )
            metadata = self._sample.metadata if self._sample else None
            save_preset(own_preset(name, self._shown, metadata), folder)
        except CameraError as error:
            self._show_failure(Problem.from_error(error))
            return
        self._read_presets()
        self.page.show_notice(f"Saved as your preset '{name.strip()}'.")

    # -- what the file says

    def _show_proposal(self) -> None:
        proposal = self._proposal
        if proposal.empty:
            silent = self._sample is not None
            words = "The file says nothing about its camera: choose a preset or type values."
            self.page.show_proposal(words if silent else "", offer=False)
            return
        parts = []
        if proposal.preset is not None and proposal.mode is not None:
            parts.append(f"Camera: {proposal.preset.title}, {proposal.mode.name} (typical values).")
        for name, value in proposal.values.items():
            words, unit = _FIELD_WORDS[name]
            shown = f"{value:.4g} {unit}".strip() if isinstance(value, float) else str(value)
            shown = {"emccd": "EM on", "scmos": "EM off"}.get(shown, shown)
            parts.append(f"{words[:1].upper()}{words[1:]}: {shown} ({proposal.reasons[name]}).")
        different = self._camera is not None and proposal.differs_from(self._camera)
        if self._camera is not None and not different:
            parts.append("Your values agree with the file.")
        self.page.show_proposal("\n".join(parts), offer=bool(different))

    def _use_file_values(self) -> None:
        stated = {name: self._proposal.values[name] for name in
                  self._proposal.differs_from(self._shown)}  # fmt: skip
        self._set(self._shown.model_copy(update=stated), "Use values from the file")

    # -- own values

    def _edit(self, config: CameraConfig) -> None:
        if config.kind != self._shown.kind:
            # Values that only an EMCCD has would make any other camera impossible.
            changes: dict[str, object] = {}
            if config.kind != "emccd":
                changes = {"em_gain": 1.0, "spurious_charge_e": 0.0, "em_mirrored": False}
            if config.kind == "ideal":
                changes["read_noise_e"] = 0.0
            config = config.model_copy(update=changes)
        self._set(config, self.page.form.name_of_change("Change camera", self._shown, config))

    def _set(self, config: CameraConfig, text: str) -> None:
        self._show_failure(None)
        self.context.session.update(text, camera=config)

    def _choose_map(self, field: str) -> None:
        path = self.page.ask_map_file(self._start_folder())
        if path is not None:
            self._set(self._shown.model_copy(update={field: str(path)}), "Choose camera map")

    def _start_folder(self) -> str:
        entry = self._entry()
        return str(Path(entry.path).parent) if entry else self.context.settings.value.last_folder

    # -- files

    def _ask_load(self) -> None:
        path = self.page.ask_camera_file(self._start_folder())
        if path is not None:
            self._load(path)

    def _load(self, path: Path) -> None:
        if is_camera_list(path):
            self._import(path)
            return

        def work(_check: Callable[[], None]) -> CameraConfig:
            config = read_camera_config(path)
            maps = {
                name: str((path.parent / value).resolve())
                for name in MAP_FIELDS
                if isinstance(value := getattr(config, name), str)
            }
            camera_from_config(config, path.parent)  # complains before anything is replaced
            return config.model_copy(update=maps)

        self.context.background.run(
            _FILE, work, lambda config: self._set(config, "Load camera"), self._show_failure
        )

    def _import(self, path: Path) -> None:
        folder = self._own_folder()

        def work(_check: Callable[[], None]) -> str:
            return import_cameras(path, folder)

        def done(words: str) -> None:
            self._show_failure(None)
            self._read_presets()
            self.page.show_notice(words)

        self.context.background.run(_FILE, work, done, self._show_failure)

    def _ask_save(self) -> None:
        config, folder = self._shown, self.context.session.folder
        name = (config.name or "camera").replace("/", "-")
        path = self.page.ask_save_file(str(Path(self._start_folder()) / f"{name}.json"))
        if path is None:
            return

        def work(_check: Callable[[], None]) -> None:
            write_camera(camera_from_config(config, folder), path, overwrite=True)

        def done(_: None) -> None:
            self.page.show_notice(f"Saved as {path.name}.")

        self.context.background.run(_FILE, work, done, self._show_failure)
