"""Writing what the Explore page shows: the picture as seen, and a density to measure in."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject
from PySide6.QtGui import QPainter

from app.controllers.background import Background
from app.controllers.explore_render import Job, OpenTable, view_of
from app.models.explore_view import Bounds, Overlays
from app.models.problem import Problem
from app.views.canvas_overlays import paint_overlays
from app.views.explore_page import ExplorePage
from app.views.paint_surface import image_from_pixels
from decode_engine.analysis.point_store import PointStore, Style, View, tone
from decode_engine.errors import OutputError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.images import write_tiff

__all__ = ["Saving", "save_density", "save_figure"]

_FIGURE_PX = 2000  # wide: a column of a page at 600 dpi
_FINEST = 4


class Saving(QObject):
    """Writes in the background, one file of each kind at a time, and tells how it went."""

    def __init__(self, background: Background, page: ExplorePage, parent: QObject) -> None:
        super().__init__(parent)
        self._background = background
        self._page = page

    def save_png(self, opened: OpenTable, job: Job, path: Path) -> None:
        """Write the picture as it is seen, finer."""
        overlays = self._page.canvas.overlays
        self._run(
            "explore-png",
            lambda check: save_figure(opened.store, job, overlays, path, check=check),
        )

    def save_tiff(
        self, opened: OpenTable, bounds: Bounds, style: Style, path: Path, pixel_size_nm: float
    ) -> None:
        """Write the density of a part of the sample."""
        self._run(
            "explore-tiff",
            lambda check: save_density(
                opened.store, bounds, style, path, pixel_size_nm, check=check
            ),
        )

    def _run(self, key: str, work: Callable[[Callable[[], None]], str]) -> None:
        self._page.set_state("saving …")
        self._background.run(key, work, self._saved, self._failed)

    def _saved(self, words: str) -> None:
        self._page.show_problem(None)
        self._page.set_state(words)

    def _failed(self, problem: Problem) -> None:
        self._page.set_state("not saved")
        self._page.show_problem(problem)


def save_figure(
    store: PointStore, job: Job, overlays: Overlays, path: Path, *, check: Callable[[], None]
) -> str:
    """Write the picture with its overlays as PNG, fine enough to print; return what to tell.

    Gaussians are drawn anew on smaller pixels. Counts stay on the pixels of the screen: on
    smaller ones they would be another picture.
    """
    view = job.view
    ratio = 1
    if job.style.mode != "histogram":
        ratio = min(_FINEST, max(1, math.ceil(_FIGURE_PX / max(view.width_px, 1))))
    rendered = store.render(view_of(view.scaled(ratio)), job.style, exact=True, check=check)
    check()
    gain = 1.0 if job.gain is None else job.gain
    image = image_from_pixels(tone(rendered, gain * job.brightness, job.gamma))
    painter = QPainter(image)
    painter.scale(ratio, ratio)
    paint_overlays(painter, view, overlays)
    painter.end()
    check()
    with atomic_path(path, overwrite=True) as temporary:
        # Opened by Python, which says why it cannot be written; Qt only says that it cannot.
        with temporary.open("wb"):
            pass
        if not image.save(str(temporary), "PNG"):  # type: ignore[call-overload]
            raise OutputError(
                f"{path} could not be written.", hint="Is the disk full? Choose another place."
            )
    return f"Saved {path.name}: {image.width()} × {image.height()} pixels."


def save_density(
    store: PointStore,
    bounds: Bounds,
    style: Style,
    path: Path,
    pixel_size_nm: float,
    *,
    check: Callable[[], None],
) -> str:
    """Write localizations per pixel as calibrated TIFF and return what to tell."""
    view = View(
        left_nm=bounds.left,
        top_nm=bounds.top,
        pixel_size_nm=pixel_size_nm,
        width_px=max(1, math.ceil(bounds.width / pixel_size_nm - 1e-6)),
        height_px=max(1, math.ceil(bounds.height / pixel_size_nm - 1e-6)),
    )
    plain = Style(color="none", mode=style.mode, sigma_min_nm=style.sigma_min_nm)
    rendered = store.render(view, plain, exact=True, check=check)
    check()
    write_tiff(path, rendered.weight, pixel_size_nm=pixel_size_nm, overwrite=True)
    return f"Saved {path.name}: {view.width_px} × {view.height_px} pixels of {pixel_size_nm:g} nm."
