"""The Explore page's decisions: which table, what is drawn, filters, saving, remembering."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PySide6.QtCore import QCoreApplication, QTimer, Signal
from PySide6.QtGui import QGuiApplication

from app.controllers.explore_export import Saving
from app.controllers.explore_measure import Measurements
from app.controllers.explore_points import RotatingView
from app.controllers.explore_render import Job, OpenTable, Picture, RenderLoop, load_table, warm_up
from app.controllers.page_controller import AppContext, PageController
from app.models.explore_filters import (
    FILTER_FIELDS,
    ColumnHistogram,
    FilterField,
    cuts_of,
    histograms_of,
    with_cuts,
)
from app.models.explore_look import (
    COLOR_SOURCES,
    ColorBy,
    Look,
    color_scale,
    look_from_config,
    look_to_config,
    robust_range,
    style_of,
)
from app.models.explore_memory import (
    look_from_json,
    look_to_json,
    view_from_json,
    view_to_json,
)
from app.models.explore_view import (
    Bounds,
    Overlays,
    PointNm,
    ViewTransform,
    format_length,
)
from app.models.problem import Problem
from app.models.steps import Step
from app.models.table_cache import PIXEL_SIZE_MISSING
from app.views.explore_page import ExplorePage
from decode_engine.analysis.point_store import Style
from decode_engine.contract.configs import FilterConfig
from decode_engine.domain.table import BoolArray

__all__ = ["ExploreController"]

_LOAD, _HISTOGRAMS = "explore-load", "explore-histograms"
_WARM, _STAMP = "explore-warm", "explore-stamp"
_RETRY, _CAMERA = "Try again", "Go to the Camera page"
_COMMIT_MS = 250  # after the last movement of a cut line or slider
_REMEMBER_MS = 1000


class ExploreController(PageController):
    """Connects `ExplorePage` with the project and the renderer."""

    page: ExplorePage
    _progress = Signal(float)

    def __init__(self, context: AppContext) -> None:
        super().__init__(context, ExplorePage())
        self._table: OpenTable | None = None
        self._loading = ""
        self._active = False
        self._warm = False
        self._look_changed = False  # by the user, and not yet in the project
        self._look = Look()
        self._auto_range = (0.0, 1.0)
        self._filters = context.session.settings.filters
        self._gain: float | None = None
        self._picture: Picture | None = None
        self._copy_waits = False
        self._fields: tuple[FilterField, ...] = ()
        self._sources: tuple[ColorBy, ...] = ("none",)
        self._overlays = Overlays()
        self.loop = RenderLoop(self)
        self.measurements = Measurements(context.background, self.page.measure, self)
        self.saving = Saving(context.background, self.page, self)
        self.rotating = RotatingView(context.background, self.page.points, self)
        self._commit = self._single_shot(_COMMIT_MS, self._save_choices)
        self._memory = self._single_shot(_REMEMBER_MS, self._remember)
        self._connect()
        self._refresh()

    def _single_shot(self, interval_ms: int, slot: Callable[[], None]) -> QTimer:
        timer = QTimer(self)
        timer.setSingleShot(True)
        timer.setInterval(interval_ms)
        timer.timeout.connect(slot)
        return timer

    def _connect(self) -> None:
        page = self.page
        self.context.session.project_opened.connect(self._leave_project)
        self.context.session.project_changed.connect(self._refresh)
        self.context.session.files_changed.connect(self._refresh)
        self._progress.connect(lambda f: page.show_loading(Path(self._loading).name, f))
        self.loop.drawn.connect(self._show_picture)
        self.loop.masked.connect(self._update_histograms)
        self.loop.failed.connect(page.show_problem)
        self.loop.rested.connect(self._on_rested)
        page.open_requested.connect(lambda path: self.open_paths([Path(path)]))
        page.cancel_requested.connect(self._cancel_loading)
        page.png_requested.connect(self._save_png)
        page.tiff_requested.connect(self._save_tiff)
        page.copy_requested.connect(self._copy)
        page.view_3d_shown.connect(self._show_3d)
        page.problem_action.connect(self._act)
        page.look.changed.connect(self._change_look)
        page.look.auto_contrast_requested.connect(self._auto_contrast)
        page.look.overlays_changed.connect(self._update_overlays)
        page.filters.cuts_changed.connect(self._change_cuts)
        page.filters.reset_requested.connect(self._reset_filters)
        page.canvas.view_changed.connect(self._on_view)
        page.canvas.hovered.connect(self._on_hover)
        page.canvas.box_drawn.connect(self._on_box)
        page.canvas.line_drawn.connect(self._on_line)
        page.measure.width_changed.connect(lambda _width: self._measure())
        application = QCoreApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.close)

    def activate(self) -> None:
        """Read the localizations if they are others than before."""
        self._active = True
        if not self._warm:
            self._warm = True
            self.context.background.run(_WARM, warm_up, lambda _: None, self.page.show_problem)
        if self._table is not None:
            self.context.background.run(
                _STAMP, self._table.has_changed, self._on_stamp, self.page.show_problem
            )
        self._refresh()

    def deactivate(self) -> None:
        """Remember the view; picture and table stay, so that coming back is immediate."""
        self._active = False
        if self._commit.isActive():
            self._commit.stop()
            self._save_choices()
        self._remember()

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Show a table that was dropped or chosen."""
        if paths:
            self._loading = ""
            self.context.session.update("Open localizations", localizations=str(paths[0]))
            self._refresh()

    def close(self) -> None:
        """End the render thread and give OpenGL back; nothing is drawn any more."""
        self._table = None
        self._commit.stop()
        self._memory.stop()
        self.loop.close()
        self.page.close_views()

    @property
    def shown_path(self) -> str:
        """The table whose picture is shown; empty before the first picture."""
        return self._table.path if self._table is not None and self._picture is not None else ""

    # --- Which table ------------------------------------------------------------------------

    def _refresh(self) -> None:
        settings = self.context.session.settings
        path = settings.localizations
        if path is None:
            self._drop_table()
            self.page.show_empty()
            return
        if not self._active:
            return
        if self._table is None or self._table.path != path:
            self._load(path)
            return
        if not self._commit.isActive():
            self._follow_settings()

    def _leave_project(self) -> None:
        """Keep choices made for another project out of the one that was just opened."""
        self._commit.stop()
        self._memory.stop()
        self._look_changed = False
        self._drop_table()

    def _follow_settings(self) -> None:
        """Take over what undo, redo or another page changed."""
        settings = self.context.session.settings
        changed = settings.filters != self._filters
        self._filters = settings.filters
        if settings.render != look_to_config(self._look, settings.render):
            look = self._possible(look_from_config(settings.render, self._look))
            if look != self._look:
                self._look = look
                self._show_look()
                changed = True
        if changed:
            self._show_cuts()
            self._request()

    def _load(self, path: str) -> None:
        if self._loading == path:
            return
        self._drop_table()
        self._loading = path
        self.page.show_problem(None)
        self.page.show_loading(Path(path).name, None)
        camera, tables = self.context.session.settings.camera, self.context.tables
        work = load_table(
            path, lambda name, check: tables.read(name, check, camera), self._progress.emit
        )
        self.context.background.run(_LOAD, work, self._take, self._cannot_load)

    def _on_stamp(self, changed: bool) -> None:
        """Read a table again that was written anew under the same name."""
        if changed:
            self._drop_table()
            self._refresh()

    def _cancel_loading(self) -> None:
        self.context.background.cancel(_LOAD)
        words = f"Opening {Path(self._loading).name} was cancelled."
        self.page.show_empty(words)
        # It stays on the page, also for who comes back to it later.
        self.page.show_problem(Problem(message=words, code="cancelled", action=_RETRY))

    def _cannot_load(self, problem: Problem) -> None:
        self.page.show_empty(f"{Path(self._loading).name} could not be opened.")
        self._loading = ""  # so that it is tried again when the page or the file comes back
        action = _CAMERA if problem.code == PIXEL_SIZE_MISSING else _RETRY
        self.page.show_problem(dataclasses.replace(problem, action=action))

    def _act(self, action: str) -> None:
        if action == _CAMERA:
            self.go_to.emit(Step.CAMERA)
        else:
            self._loading = ""  # also of what was cancelled
            self._refresh()

    def _drop_table(self) -> None:
        self.context.background.cancel(_LOAD)
        self.loop.forget()
        self._table, self._picture, self._gain, self._loading = None, None, None, ""
        self.page.show_remarks("")
        self.page.canvas.set_image(None)
        self.page.canvas.set_backdrop(None)
        self.measurements.set_table(None)
        self.rotating.set_table(None)

    def _take(self, opened: OpenTable) -> None:
        if opened.path != self.context.session.settings.localizations:
            return
        self._loading = ""
        if not opened.store.n:
            self.page.show_empty(f"{Path(opened.path).name} holds no localizations.")
            return
        self._table = opened
        self._fields = opened.fields
        self.page.filters.charts.set_fields(self._fields)
        self._recall_look(opened.sources)
        self._filters = self.context.session.settings.filters
        self._show_cuts()
        self.page.show_ready(Path(opened.path))
        self.page.show_remarks(" ".join(self.context.tables.remarks(opened.path)))
        field = Bounds(*opened.store.bounds_nm)
        self._overlays = Overlays()
        self.page.canvas.set_field(field)
        self.measurements.set_table(opened)
        self.rotating.set_table(opened)
        self._recall_view(opened.path)
        self._update_overlays()
        self._request()

    # --- What is drawn ----------------------------------------------------------------------

    @property
    def _style(self) -> Style:
        return style_of(self._look, self._auto_range)

    def _job(self, view: ViewTransform) -> Job:
        look = self._look
        return Job(
            view=view,
            style=self._style,
            filters=self._filters,
            gain=self._gain,
            brightness=look.brightness,
            gamma=look.gamma,
            quick=look.drawing != "gaussian",
        )

    def _request(self) -> None:
        if self._table is not None:
            canvas = self.page.canvas
            self.loop.request(
                self._table, self._job(canvas.view.scaled(canvas.devicePixelRatioF()))
            )
            self.page.set_state("drawing …")

    def _show_picture(self, picture: Picture) -> None:
        if self._table is None:
            return
        canvas = self.page.canvas
        if picture.backdrop:
            canvas.set_backdrop(picture.rgb, picture.placement)
            return
        if self._gain is None:
            self._gain = picture.gain
        self._picture = picture
        canvas.set_image(picture.rgb, picture.placement)
        total = self._table.store.n
        self.page.set_count(f"{picture.n_kept:,} of {total:,} shown")
        lacking = self._table.masks.lacking(self._filters)
        words = f" Without {', '.join(lacking)}: that limit does not apply." if lacking else ""
        self.page.filters.set_count(
            f"<b>{picture.n_kept:,}</b> of {total:,} localizations are shown.{words}",
            can_reset=bool(self._filters.ranges),
        )

    def _on_rested(self) -> None:
        picture = self._picture
        if picture is not None:
            size = format_length(picture.placement.pixel_size_nm)
            self.page.set_state(f"{picture.n_drawn:,} in view, {size} per pixel")
        if self._copy_waits:
            self._copy()

    def _on_view(self, _view: ViewTransform) -> None:
        self._request()
        self._memory.start()

    def _auto_contrast(self) -> None:
        self._gain = None
        self._look = dataclasses.replace(self._look, brightness=1.0)
        self.page.look.set_look(self._look)
        self._request()

    def _change_look(self, look: Look) -> None:
        recolored = look.color_by != self._look.color_by
        self._look = look
        self._look_changed = True
        if recolored:
            self._show_look()
        self._update_overlays()
        self._request()
        self._commit.start()
        self.rotating.set_style(self._style)

    def _show_look(self) -> None:
        """Show the look on its panel, with the range that the data suggest."""
        if self._table is not None and self._look.color_by != "none":
            column = COLOR_SOURCES[self._look.color_by].column
            self._auto_range = robust_range(self._table.table.columns()[column])
        self.page.look.set_look(self._look)
        self.page.look.set_auto_range(*self._auto_range)
        self._update_overlays()
        self.rotating.set_style(self._style)

    def _update_overlays(self) -> None:
        panel = self.page.look
        scale = color_scale(self._style) if panel.shows_color_bar else None
        field = None
        if self._table is not None and panel.shows_field:
            field = Bounds(*self._table.store.bounds_nm)
        self._overlays = dataclasses.replace(
            self._overlays, scale_bar=panel.shows_scale_bar, color_scale=scale, field=field
        )
        self.page.canvas.set_overlays(self._overlays)

    # --- Filters ----------------------------------------------------------------------------

    def _change_cuts(self, key: str, low: float, high: float) -> None:
        field = next(f for f in FILTER_FIELDS if f.key == key)
        self._set_filters(with_cuts(self._filters, field, low, high))

    def _reset_filters(self) -> None:
        self._set_filters(FilterConfig())
        self._show_cuts()

    def _set_filters(self, filters: FilterConfig) -> None:
        self._filters = filters
        self._request()  # at once, on the mask; the project follows when the line rests
        self._commit.start()

    def _show_cuts(self) -> None:
        for field in self._fields:
            self.page.filters.charts.set_cuts(field.key, *cuts_of(self._filters, field))

    def _update_histograms(self, kept: BoolArray | None) -> None:
        opened, fields = self._table, self._fields
        self.measurements.refresh()
        self.rotating.refresh()
        if opened is None:
            return

        self.context.background.run(
            _HISTOGRAMS,
            lambda check: histograms_of(opened.table, fields, kept, check),
            self._show_histograms,
            self.page.show_problem,
        )

    def _show_histograms(self, histograms: Mapping[str, ColumnHistogram]) -> None:
        for key, histogram in histograms.items():
            self.page.filters.charts.set_histogram(key, histogram)

    # --- Mouse ------------------------------------------------------------------------------

    def _on_hover(self, point: PointNm | None) -> None:
        picture = self._picture
        if point is None or picture is None:
            self.page.set_hover("")
            return
        self.page.set_hover(picture.words_at(point))

    def _on_box(self, box: Bounds | None) -> None:
        self._overlays = dataclasses.replace(self._overlays, box=box, line=None)
        self._measure()

    def _on_line(self, line: tuple[PointNm, PointNm] | None) -> None:
        self._overlays = dataclasses.replace(self._overlays, line=line, box=None)
        self._measure()

    def _measure(self) -> None:
        self.page.canvas.set_overlays(self._overlays)
        self.measurements.measure(self._overlays.box, self._overlays.line)
        if self._overlays.box or self._overlays.line:
            self.page.show_measure()

    # --- The third dimension ----------------------------------------------------------------

    def _show_3d(self, on: bool) -> None:
        self.rotating.show(on, self._overlays.box or self.page.canvas.view.bounds, self._style)

    # --- Saving -----------------------------------------------------------------------------

    def _save_png(self, path: str) -> None:
        if self._table is not None:
            self.saving.save_png(self._table, self._job(self.page.canvas.view), Path(path))

    def _save_tiff(self, path: str, pixel_size_nm: float) -> None:
        if self._table is not None:
            bounds = self._overlays.box or self.page.canvas.view.bounds
            self.saving.save_tiff(self._table, bounds, self._style, Path(path), pixel_size_nm)

    def _copy(self) -> None:
        """Copy the picture once the exact one is there."""
        if self.loop.busy:
            self._copy_waits = True
        else:
            self._copy_waits = False
            QGuiApplication.clipboard().setImage(self.page.canvas.snapshot())

    # --- What the project remembers ---------------------------------------------------------

    def _save_choices(self) -> None:
        session = self.context.session
        filters, render = self._filters, look_to_config(self._look, session.settings.render)
        if filters != session.settings.filters:
            session.update("Filter localizations", filters=filters)
        if self._look_changed and render != session.settings.render:
            session.update("Change the look", render=render)
        self._look_changed = False
        self._remember()

    def _remember(self) -> None:
        if self._table is not None:
            canvas, session = self.page.canvas, self.context.session
            session.remember("explore-look", look_to_json(self._look))
            view = view_to_json(self._table.path, canvas.view, whole=canvas.is_fitted)
            session.remember("explore-view", view)

    def _recall_look(self, sources: tuple[ColorBy, ...]) -> None:
        look = look_from_json(self.context.session.recall("explore-look")) or Look()
        self._sources = sources
        self._look = self._possible(look_from_config(self.context.session.settings.render, look))
        self.page.look.set_sources(sources)
        self._show_look()

    def _possible(self, look: Look) -> Look:
        """Return the look, coloured by something that the table has: a flat one has no z."""
        return look if look.color_by in self._sources else look.colored_by(self._sources[0])

    def _recall_view(self, path: str) -> None:
        self.page.canvas.fit()
        saved = view_from_json(self.context.session.recall("explore-view"), path)
        if saved is not None:
            self.page.canvas.look_at(saved.middle, saved.pixel_size_nm)
