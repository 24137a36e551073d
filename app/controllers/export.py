"""The Export page's decisions: which jobs make the ticked files, and where they go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PySide6.QtCore import QUrl
from PySide6.QtGui import QDesktopServices, QGuiApplication
from PySide6.QtWidgets import QFileDialog

from app.controllers.page_controller import AppContext, PageController
from app.models.command_line import command_line
from app.models.export_kinds import (
    EXPORT_KINDS,
    ExportInputs,
    ExportKind,
    calibration_for_smap,
    filter_words,
    free_path,
)
from app.models.job_files import movie_stem
from app.models.job_state import JobState
from app.models.problem import Problem
from app.models.project import RunRecord
from app.models.size_words import size_words
from app.models.steps import Step
from app.models.table_cache import PIXEL_SIZE_MISSING
from app.views.export_page import ExportedFile, ExportPage
from decode_engine.contract.configs import FilterConfig, RenderConfig
from decode_engine.errors import EngineError

__all__ = ["ExportController"]

_SETTING = "export_folder"
_PIXEL_SIZE = (
    "Set it on the Camera page and look at the table on the Explore page; tables can then be "
    "exported here, pictures saved there."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Planned:
    kind: ExportKind
    out: Path


class ExportController(PageController):
    """Connects `ExportPage` with project and engine."""

    page: ExportPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, ExportPage())
        self._jobs: dict[str, Path] = {}  # of this session: run id -> file
        page = self.page
        context.session.project_changed.connect(self._refresh)
        context.jobs.job_changed.connect(self._on_job)
        page.export_requested.connect(self._export)
        page.command_requested.connect(self._copy_commands)
        page.folder_requested.connect(self._ask_for_folder)
        page.folder_changed.connect(self._change_folder)
        page.render_changed.connect(self._change_render)
        page.open_folder_requested.connect(self._open_folder)
        page.copy_path_requested.connect(lambda path: QGuiApplication.clipboard().setText(path))
        page.job.cancel_requested.connect(self._cancel)
        page.filtered.toggled.connect(lambda _on: self._refresh())
        self._refresh()

    def activate(self) -> None:
        """Look again at what there is to export."""
        self._refresh()

    def _refresh(self) -> None:
        settings, page = self.context.session.settings, self.page
        path = settings.localizations
        if path is None:
            page.set_source("", ready=False, why_not="Localize a movie first, or open a result.")
        else:
            page.set_source(Path(path).name, ready=True, why_not="")
            page.source.setToolTip(path)
        words = filter_words(settings.filters)
        page.set_filter_words(words if page.filtered.isChecked() else "Everything is exported.")
        page.form.set_value(settings.render)
        page.set_folder(str(self._folder()))
        page.set_files(self._files())

    def _folder(self) -> Path:
        chosen = self.context.session.recall(_SETTING)
        name = chosen if isinstance(chosen, str) and chosen else "exports"
        return self.context.session.folder / name  # a full path stands for itself

    def _files(self) -> list[ExportedFile]:
        runs = self.context.session.project.runs
        return [_line(run) for run in reversed(runs) if run.step is Step.EXPORT]

    # --- Choices ----------------------------------------------------------------------------

    def _ask_for_folder(self) -> None:
        path = QFileDialog.getExistingDirectory(
            self.page, "Folder for the exported files", str(self._folder())
        )
        if path:
            self._change_folder(path)

    def _change_folder(self, path: str) -> None:
        self.context.session.remember(_SETTING, path.strip())
        self._refresh()

    def _change_render(self, config: RenderConfig) -> None:
        before = self.context.session.settings.render
        text = self.page.form.name_of_change("Change how pictures are drawn", before, config)
        self.context.session.update(text, render=config)

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._folder())))

    # --- Jobs -------------------------------------------------------------------------------

    def _planned(self, names: Sequence[str]) -> list[_Planned]:
        stem = movie_stem(self.context.session.settings.localizations or "localizations")
        jobs, folder = self.context.jobs, self._folder()
        promised = {out for run, out in self._jobs.items() if jobs.state(run).is_active}
        return [
            _Planned(kind=kind, out=free_path(folder, stem, kind.suffix, promised))
            for kind in EXPORT_KINDS
            if kind.name in names
        ]

    def _inputs(self) -> ExportInputs:
        settings = self.context.session.settings
        filters = settings.filters if self.page.filtered.isChecked() else FilterConfig()
        path = settings.localizations or ""
        return ExportInputs(
            localizations=path,
            filters=filters,
            render=settings.render,
            pixel_size_nm=self.context.tables.assumed_pixel_size_nm(path),
            calibration=calibration_for_smap(self.context.session.project),
        )

    def _export(self, names: Sequence[str]) -> None:
        session = self.context.session
        self.page.show_problem(None)
        inputs = self._inputs()
        try:
            self._folder().mkdir(parents=True, exist_ok=True)
            for planned in self._planned(names):
                title = f"Export {planned.out.name}"
                run_id, _ = session.begin_run(Step.EXPORT, title)
                self._jobs[run_id] = planned.out
                spec = planned.kind.spec(inputs, planned.out)
                self.context.jobs.start_run(Step.EXPORT, title, run_id, spec)
        except (EngineError, OSError) as error:
            self.page.show_problem(Problem.from_error(error))
        self._refresh()

    def _copy_commands(self, names: Sequence[str]) -> None:
        inputs = self._inputs()
        lines = [command_line(p.kind.spec(inputs, p.out)) for p in self._planned(names)]
        QGuiApplication.clipboard().setText("\n".join(lines))

    def _cancel(self) -> None:
        for run_id in self._jobs:
            if run_id in self.context.jobs.running():
                self.context.jobs.cancel(run_id)

    def _on_job(self, job_id: str, state: JobState) -> None:
        if job_id not in self._jobs:
            return
        self.page.job.setVisible(True)
        self.page.job.show_state(state, can_pause=False)
        if state.phase == "failed" and state.failure is not None:
            problem = Problem.from_failure(state.failure)
            if problem.code == PIXEL_SIZE_MISSING:
                problem = replace(problem, hint=_PIXEL_SIZE)
            self.page.show_problem(problem)
        if state.phase in ("completed", "cancelled", "failed"):
            self._refresh()


def _line(run: RunRecord) -> ExportedFile:
    path = Path(str(run.spec.get("out", "")))
    words = {"completed": "done", "cancelled": "stopped", "interrupted": "stopped"}
    state, size = words.get(run.state, run.state), ""
    if run.state == "completed":
        try:
            size = size_words(path.stat().st_size)
        except OSError:
            state = "no longer there"
    return ExportedFile(path=str(path), name=path.name, size=size, state=state)
