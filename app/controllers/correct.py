"""The Correct page's decisions: histograms, limits and the picture of what stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from app.controllers.page_controller import AppContext, PageController
from app.models.explore_filters import (
    FILTER_FIELDS,
    ColumnHistogram,
    FilterField,
    MaskCache,
    cuts_of,
    histograms_of,
    present_fields,
    with_cuts,
)
from app.models.filter_summary import filter_summary, suggested_filters
from app.models.problem import Problem
from app.models.steps import Step
from app.models.table_cache import PIXEL_SIZE_MISSING
from app.models.whole_picture import WholePicture, whole_picture
from app.views.correct_page import CorrectPage
from decode_engine.contract.configs import FilterConfig
from decode_engine.domain.localizations import Localizations

__all__ = ["CorrectController"]

_LOAD, _FILTER = "correct-load", "correct-filter"
_CAMERA = "Go to the Camera page"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Loaded:
    path: str
    table: Localizations
    fields: tuple[FilterField, ...]
    masks: MaskCache


@dataclass(frozen=True, slots=True, kw_only=True)
class _Filtered:
    words: str
    histograms: dict[str, ColumnHistogram]
    kept: WholePicture | None
    left_out: WholePicture | None


class CorrectController(PageController):
    """Connects `CorrectPage` with the project's filters."""

    page: CorrectPage

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, CorrectPage())
        self._loaded: _Loaded | None = None
        self._shown: tuple[str, FilterConfig] | None = None
        self._active = False
        panel = self.page.filters
        self.page.problem_action.connect(self._act)
        context.session.project_changed.connect(self._refresh)
        panel.cuts_changed.connect(self._change_cuts)
        panel.suggest_requested.connect(self._suggest)
        panel.reset_requested.connect(
            lambda: context.session.update("Keep everything", filters=FilterConfig())
        )
        self._refresh()

    def activate(self) -> None:
        """Read the localizations if they are others than before."""
        self._active = True
        self._refresh()

    def deactivate(self) -> None:
        """Forget the table; others may still use it."""
        self._active = False
        self._loaded = None
        self._shown = None

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Show a table that was dropped."""
        if paths:
            self.context.session.update("Open localizations", localizations=str(paths[0]))

    def _refresh(self) -> None:
        settings, panel = self.context.session.settings, self.page.filters
        path = settings.localizations
        self.page.show_empty(path is None)
        if path is None:
            self._loaded = None
            panel.charts.set_fields(())
            panel.set_enabled(False)
            panel.set_words("")
            self.page.show_notice("")
            panel.kept.clear("")
            panel.left_out.clear("")
            return
        if not self._active:
            return
        if self._loaded is None or self._loaded.path != path:
            self._load(path)
            return
        self._show_cuts()
        if self._shown != (path, settings.filters):
            self._filter(self._loaded, settings.filters)

    # --- Reading ----------------------------------------------------------------------------

    def _load(self, path: str) -> None:
        self.context.background.cancel(_FILTER)  # of the table before
        self.page.filters.set_words("Reading the localizations …")
        tables, camera = self.context.tables, self.context.session.settings.camera

        def work(check: Callable[[], None]) -> _Loaded:
            table = tables.read(path, check, camera)
            return _Loaded(
                path=path, table=table, fields=present_fields(table), masks=MaskCache(table)
            )

        self.context.background.run(_LOAD, work, self._take, self._cannot_load)

    def _take(self, loaded: _Loaded) -> None:
        if not self._active or loaded.path != self.context.session.settings.localizations:
            return
        self._loaded = loaded
        self.page.show_problem(None)
        self.page.show_notice(" ".join(self.context.tables.remarks(loaded.path)))
        self.page.filters.charts.set_fields(loaded.fields)
        self.page.filters.set_enabled(len(loaded.table) > 0)
        self._refresh()

    def _cannot_load(self, problem: Problem) -> None:
        self.page.filters.set_words("")
        if problem.code == PIXEL_SIZE_MISSING:
            problem = replace(problem, action=_CAMERA)
        self.page.show_problem(problem)

    def _act(self, action: str) -> None:
        if action == _CAMERA:
            self.go_to.emit(Step.CAMERA)

    # --- Filtering --------------------------------------------------------------------------

    def _show_cuts(self) -> None:
        assert self._loaded is not None
        for field in self._loaded.fields:
            cuts = cuts_of(self.context.session.settings.filters, field)
            self.page.filters.charts.set_cuts(field.key, *cuts)

    def _filter(self, loaded: _Loaded, filters: FilterConfig) -> None:
        self._shown = (loaded.path, filters)
        self.context.background.run(
            _FILTER,
            lambda check: _filtered(loaded, filters, check),
            self._show,
            self.page.show_problem,
        )

    def _show(self, filtered: _Filtered) -> None:
        panel = self.page.filters
        panel.set_words(filtered.words)
        for key, histogram in filtered.histograms.items():
            panel.charts.set_histogram(key, histogram)
        for view, picture in ((panel.kept, filtered.kept), (panel.left_out, filtered.left_out)):
            if picture is None:
                view.clear("Nothing.")
            else:
                view.show_picture(
                    picture.rgb, picture.placement, picture.scale, f"{picture.n_drawn:,} drawn."
                )

    def _change_cuts(self, key: str, low: float, high: float) -> None:
        field = next(f for f in FILTER_FIELDS if f.key == key)
        session = self.context.session
        session.update(
            f"Filter by {field.label}",
            filters=with_cuts(session.settings.filters, field, low, high),
        )

    def _suggest(self) -> None:
        if self._loaded is not None:
            session = self.context.session
            filters = suggested_filters(self._loaded.table, session.settings.filters)
            session.update("Suggest limits", filters=filters)


def _filtered(loaded: _Loaded, filters: FilterConfig, check: Callable[[], None]) -> _Filtered:
    table, kept = loaded.table, loaded.masks.mask(filters)
    check()
    histograms = histograms_of(table, loaded.fields, kept, check)
    everything = np.ones(len(table), np.bool_) if kept is None else kept
    return _Filtered(
        words=filter_summary(table, kept, filters),
        histograms=histograms,
        kept=whole_picture(table, everything, check),
        left_out=None if kept is None else whole_picture(table, ~kept, check),
    )
