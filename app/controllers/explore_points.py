"""The rotating view's decisions: which points it gets, and its pictures where OpenGL is slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject

from app.controllers.background import Background
from app.controllers.explore_render import OpenTable
from app.models.explore_look import color_scale
from app.models.explore_view import Bounds, ColorScale
from app.models.problem import Problem
from app.models.projection import Camera, Cloud, Pixels, draw_cloud
from app.views.point_view import PointView
from decode_engine.analysis.point_store import Style, color_bar

__all__ = ["RotatingView", "cloud_of"]

_CLOUD, _PICTURE = "explore-3d-cloud", "explore-3d-picture"
_MOST_GL, _MOST_PLAIN, _MOST_MOVING = 2_000_000, 600_000, 120_000
_SPARSE = 20_000  # single pixels of so few points would hardly be seen
_SOFT_PX, _SOFT_SPARSE_PX = 0.8, 1.2
_PLAIN = np.array([235, 235, 235], np.uint8)  # colour of points without a value


@dataclass(frozen=True, slots=True, kw_only=True)
class _Made:
    cloud: Cloud
    scale: ColorScale | None
    notice: str


class RotatingView(QObject):
    """Fills `PointView` with what is in view of the flat picture, while it is shown."""

    def __init__(self, background: Background, view: PointView, parent: QObject) -> None:
        super().__init__(parent)
        self._background = background
        self._view = view
        self._table: OpenTable | None = None
        self._bounds: Bounds | None = None
        self._style = Style()
        self._shown = False
        self._cloud: Cloud | None = None
        self._drawing = False
        self._waiting: tuple[Camera, bool] | None = None
        view.camera_changed.connect(self._draw)

    def set_table(self, opened: OpenTable | None) -> None:
        """Take another table; None for none."""
        self._table = opened
        self._cloud = None
        self._view.set_cloud(None, None, "")

    def set_style(self, style: Style) -> None:
        """Colour the points in another way."""
        if style != self._style:
            self._style = style
            self.refresh()

    def show(self, on: bool, bounds: Bounds, style: Style) -> None:
        """Follow the view being shown, with the part of the sample to turn."""
        self._shown = on
        self._bounds, self._style = bounds, style
        self.refresh()

    def refresh(self) -> None:
        """Fetch the points again, if somebody looks."""
        opened, bounds, style = self._table, self._bounds, self._style
        if not self._shown or opened is None or bounds is None:
            return
        most = _MOST_GL if self._view.uses_gl else _MOST_PLAIN
        self._background.run(
            _CLOUD, lambda check: _make(opened, bounds, style, most, check), self._take, self._say
        )

    def _take(self, made: _Made) -> None:
        self._cloud = made.cloud
        self._drawing = False
        self._view.set_cloud(made.cloud, made.scale, made.notice)

    def _say(self, problem: Problem) -> None:
        self._view.set_cloud(None, None, f"{problem.message} {problem.hint}")

    # Pictures, where vispy does not draw. One at a time: a newer one would cancel the older
    # one's delivery, and a steady turn would show nothing.

    def _draw(self, camera: Camera, rests: bool) -> None:
        cloud = self._cloud
        if cloud is None or self._view.uses_gl:
            return
        if self._drawing:
            self._waiting = (camera, rests)
            return
        self._drawing = True
        width, height = self._view.canvas_size
        ratio = width / max(self._view.plain.width(), 1)
        if not rests:  # coarser while it moves
            width, height, ratio = round(width / ratio), round(height / ratio), 1.0
        most = _MOST_PLAIN if rests else _MOST_MOVING
        sparse = len(cloud.rgb) < _SPARSE
        soft_px = ratio * (_SOFT_SPARSE_PX if sparse else _SOFT_PX) if rests or sparse else 0.0
        scaled = camera.zoomed(ratio)
        self._background.run(
            _PICTURE,
            lambda _check: draw_cloud(cloud, scaled, (width, height), soft_px=soft_px, most=most),
            self._show,
            self._stop,
        )

    def _show(self, rgb: Pixels) -> None:
        self._drawing = False
        if self._cloud is None:
            return
        self._view.set_image(rgb)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            self._draw(*waiting)

    def _stop(self, problem: Problem) -> None:
        self._drawing = False
        self._say(problem)


def _make(
    opened: OpenTable, bounds: Bounds, style: Style, most: int, check: Callable[[], None]
) -> _Made:
    rows = opened.store.rows_in(bounds)
    check()
    found = rows.size
    # Random order: the first so many points are then a fair sample, for pictures while turning.
    rows = np.random.default_rng(0).permutation(rows)[:most]
    cloud = cloud_of(opened, rows, style)
    notice = f"{found:,} localizations that were in view of the picture."
    if not found:
        notice = "No localization is in view of the picture."
    elif not np.isfinite(opened.table.z_nm).any():
        notice = "These localizations have no height: they lie in one plane."
    elif found > most:
        notice = f"{most:,} of {found:,} localizations in view, chosen at random."
    return _Made(cloud=cloud, scale=color_scale(style), notice=notice)


def cloud_of(opened: OpenTable, rows: NDArray[np.int64], style: Style) -> Cloud:
    """Return some rows as points around their middle, coloured as in the flat picture."""
    table = opened.table
    xyz = np.stack([table.x_nm[rows], table.y_nm[rows], np.nan_to_num(table.z_nm[rows])], axis=1)
    if rows.size:
        low, high = xyz.min(axis=0), xyz.max(axis=0)
        low[2], high[2] = np.percentile(xyz[:, 2], [0.5, 99.5])
        xyz = np.clip(xyz, low, high) - 0.5 * (low + high)
    if not style.column:
        return Cloud(xyz, np.tile(_PLAIN, (rows.size, 1)))
    values = table.columns()[style.column][rows].astype(np.float32)
    span = max(style.z_max_nm - style.z_min_nm, 1e-6)
    place = np.nan_to_num((values - style.z_min_nm) * (255.0 / span), nan=0.0)
    return Cloud(xyz, color_bar(style)[np.clip(np.rint(place), 0, 255).astype(np.intp)])
