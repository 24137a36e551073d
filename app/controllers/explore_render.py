"""The render loop: one background thread that always works on the newest view.

Requests coalesce: while a picture is drawn only the newest request waits. The quick pass is never
cancelled, else a steady movement would never see a fresh picture; the exact pass that follows it
gives way to the next request at once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal

from app.models.explore_filters import FilterField, MaskCache, present_fields
from app.models.explore_look import ColorBy, available_sources
from app.models.explore_view import Bounds, Placement, PointNm, ViewTransform, format_number
from app.models.problem import Problem
from app.models.projection import Camera, Cloud, draw_cloud
from decode_engine.analysis.point_store import PointStore, Rendered, Style, View, suggest_gain, tone
from decode_engine.contract.configs import FilterConfig
from decode_engine.domain.localizations import Localizations
from decode_engine.domain.table import BoolArray

__all__ = ["Job", "OpenTable", "Picture", "RenderLoop", "load_table", "view_of", "warm_up"]

Pixels: TypeAlias = NDArray[np.uint8]

_BACKDROP_PX = 600
_QUANTILE = 0.99
_HOVER_NM = 50.0  # half of the square whose molecules are counted under the mouse
_GONE = (0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenTable:
    """A table that is looked at, ready to be drawn."""

    path: str
    table: Localizations
    store: PointStore
    masks: MaskCache
    fields: tuple[FilterField, ...]
    sources: tuple[ColorBy, ...]
    stamp: tuple[int, int]

    def has_changed(self, _check: Callable[[], None]) -> bool:
        """Return whether the file is another one by now; one that is gone does not count."""
        stamp = _stamp_of(self.path)
        return stamp not in (self.stamp, _GONE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to draw next.

    Parameters
    ----------
    view : ViewTransform
        In pixels of the screen.
    style : Style
        Colours and widths.
    filters : FilterConfig
        Which localizations.
    gain : float or None, nm²
        Contrast; None chooses it from this view.
    brightness, gamma : float
        On top of the gain.
    quick : bool
        Whether a quick pass goes before the exact one.
    """

    view: ViewTransform
    style: Style
    filters: FilterConfig
    gain: float | None
    brightness: float
    gamma: float
    quick: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """A finished pass.

    Attributes
    ----------
    rgb : (height, width, 3) uint8
    placement : Placement
        Where it lies.
    density : (height, width) float32 or None
        Localizations in each pixel; None for the backdrop.
    job : Job
        What was asked.
    gain : float, nm²
        The contrast that was used, without the brightness.
    exact : bool
        Whether nothing better will follow.
    n_kept, n_drawn : int
        Localizations that pass the filters, and those in view.
    backdrop : bool
        Whether it is the coarse picture of the whole field.
    seconds : float
        Time it took.
    """

    rgb: Pixels
    placement: Placement
    density: NDArray[np.float32] | None
    job: Job
    gain: float
    exact: bool
    n_kept: int
    n_drawn: int
    backdrop: bool
    seconds: float

    def count_around(self, point: PointNm, half_nm: float) -> float | None:
        """Return how many localizations lie in a square around a point; None outside."""
        if self.density is None:
            return None
        left, top, pixel = self.placement
        height, width = self.density.shape
        column, row = (point.x - left) / pixel, (point.y - top) / pixel
        if not (0 <= column < width and 0 <= row < height):
            return None
        half = max(half_nm / pixel, 0.5)
        rows = slice(max(0, round(row - half)), max(0, round(row - half)) + round(2 * half))
        first = max(0, round(column - half))
        part = self.density[rows, first : first + round(2 * half)]
        if not part.size:
            return None
        return float(part.mean(dtype=np.float64)) * (2 * half_nm / pixel) ** 2

    def words_at(self, point: PointNm) -> str:
        """Say where a point is, and how dense the localizations are there."""
        words = f"x {point.x:,.0f} nm   y {point.y:,.0f} nm"
        count = self.count_around(point, _HOVER_NM)
        if count is None:
            return words
        density = count / (2 * _HOVER_NM / 1000.0) ** 2
        return (
            f"{words}   {format_number(round(density, 1))} per µm², "
            f"about {format_number(round(count, 1))} in 0.1 × 0.1 µm"
        )


def view_of(view: ViewTransform) -> View:
    """Return a view as the renderer knows it."""
    return View(
        left_nm=view.left_nm,
        top_nm=view.top_nm,
        pixel_size_nm=view.pixel_size_nm,
        width_px=view.width_px,
        height_px=view.height_px,
    )


class _Interrupted(Exception):
    """A newer request came during the exact pass."""


class _Task(QRunnable):
    def __init__(self, run: Callable[[], None]) -> None:
        super().__init__()
        self._run = run

    def run(self) -> None:
        self._run()


class RenderLoop(QObject):
    """Draws the newest request, quickly and then exactly, in a thread of its own."""

    drawn = Signal(object)  # Picture
    masked = Signal(object)  # the mask that is drawn now, or None for all rows
    failed = Signal(object)  # Problem
    rested = Signal()  # nothing is left to draw

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._lock = threading.Lock()
        self._running = False
        self._closed = False
        self._wanted: tuple[OpenTable, Job] | None = None
        self._current: PointStore | None = None  # of the newest request; None once forgotten
        self._masked: tuple[PointStore, FilterConfig] | None = None
        self._backdrop: tuple[object, ...] | None = None

    def request(self, table: OpenTable, job: Job) -> None:
        """Draw this as soon as possible."""
        with self._lock:
            self._wanted = (table, job)
            self._current = table.store
            start = not self._running and not self._closed
            self._running = self._running or start
        if start:
            self._pool.start(_Task(self._work))

    def forget(self) -> None:
        """Draw nothing more of what was asked; a new table follows."""
        with self._lock:
            self._wanted = None
            self._current = None
            self._masked = None
            self._backdrop = None

    @property
    def busy(self) -> bool:
        """Whether something is being drawn."""
        return self._running

    def close(self) -> None:
        """End the thread."""
        with self._lock:
            self._closed = True
            self._wanted = None
        self._pool.waitForDone()

    # In the thread

    def _work(self) -> None:
        while True:
            with self._lock:
                wanted, self._wanted = self._wanted, None
                if wanted is None or self._closed:
                    self._running = False
                    break
            try:
                self._draw(*wanted)
            except _Interrupted:
                continue
            except Exception as error:  # noqa: BLE001 - the thread's rim: becomes a card
                self.failed.emit(Problem.from_error(error))
        if not self._closed:
            self.rested.emit()

    def _check(self) -> None:
        if self._wanted is not None or self._closed:
            raise _Interrupted

    def _draw(self, table: OpenTable, job: Job) -> None:
        self._set_mask(table, job.filters)
        rendered, gain = self._pass(table, job, job.gain, exact=not job.quick)
        if not rendered.exact:
            rendered, gain = self._pass(table, job, gain, exact=True, check=self._check)
        self._draw_backdrop(table, job, gain)

    def _pass(
        self,
        table: OpenTable,
        job: Job,
        gain: float | None,
        *,
        exact: bool,
        check: Callable[[], None] | None = None,
    ) -> tuple[Rendered, float]:
        start = time.perf_counter()
        rendered = table.store.render(
            view_of(job.view), job.style, exact=exact, check=check or (lambda: None)
        )
        used = suggest_gain(rendered, _QUANTILE) if gain is None else gain
        rgb = tone(rendered, used * job.brightness, job.gamma)
        picture = Picture(
            rgb=rgb,
            placement=job.view.placement,
            density=rendered.weight,
            job=job,
            gain=used,
            exact=exact or rendered.exact,
            n_kept=table.store.n_kept,
            n_drawn=rendered.n_drawn,
            backdrop=False,
            seconds=time.perf_counter() - start,
        )
        if not self._closed:
            self.drawn.emit(picture)
        return rendered, used

    def _set_mask(self, table: OpenTable, filters: FilterConfig) -> None:
        # By the store itself: a file that was read again has the same path, but no mask yet.
        with self._lock:
            masked = self._masked
        if masked is not None and masked[0] is table.store and masked[1] == filters:
            return
        kept: BoolArray | None = table.masks.mask(filters)
        table.store.set_mask(kept)
        with self._lock:
            if self._current is table.store:  # else it was forgotten meanwhile
                self._masked = (table.store, filters)
        if not self._closed:
            self.masked.emit(kept)

    def _draw_backdrop(self, table: OpenTable, job: Job, gain: float) -> None:
        """Draw the whole field coarsely, for places that a movement uncovers."""
        key: tuple[object, ...] = (
            table.store,
            job.filters,
            job.style,
            gain,
            job.brightness,
            job.gamma,
        )
        if key == self._backdrop:
            return
        self._check()
        field = Bounds(*table.store.bounds_nm)
        view = ViewTransform.fitting(field, _BACKDROP_PX, _BACKDROP_PX)
        start = time.perf_counter()
        rendered = table.store.render(view_of(view), job.style, exact=False, check=self._check)
        picture = Picture(
            rgb=tone(rendered, gain * job.brightness, job.gamma),
            placement=view.placement,
            density=None,
            job=job,
            gain=gain,
            exact=False,
            n_kept=table.store.n_kept,
            n_drawn=rendered.n_drawn,
            backdrop=True,
            seconds=time.perf_counter() - start,
        )
        with self._lock:
            if self._current is table.store:
                self._backdrop = key
        if not self._closed:
            self.drawn.emit(picture)


def load_table(
    path: str,
    read: Callable[[str, Callable[[], None]], Localizations],
    tell: Callable[[float], object],
) -> Callable[[Callable[[], None]], OpenTable]:
    """Return the work that opens a table, for a background thread.

    Parameters
    ----------
    path : str
        The table.
    read : callable
        Reads it: ``read(path, check)``.
    tell : callable
        Gets the fraction that is done; called in the thread.
    """

    def work(check: Callable[[], None]) -> OpenTable:
        tell(0.05)
        stamp = _stamp_of(path)
        table = read(path, check)
        check()
        tell(0.5)
        store = PointStore.build(table, check=check)
        tell(1.0)
        return OpenTable(
            path=path,
            table=table,
            store=store,
            masks=MaskCache(table),
            fields=present_fields(table),
            sources=available_sources(table),
            stamp=stamp,
        )

    return work


def _stamp_of(path: str) -> tuple[int, int]:
    try:
        status = Path(path).stat()
    except OSError:
        return _GONE
    return status.st_mtime_ns, status.st_size


def warm_up(check: Callable[[], None]) -> None:
    """Load the compiled kernels (or compile them, the first time on a machine).

    Meanwhile the table is read: this takes as long as reading some million localizations.
    """
    rng = np.random.default_rng(0)
    n = 64
    columns: dict[str, Any] = {
        name: rng.uniform(0.0, 900.0, n).astype(np.float32)
        for name in ("x_nm", "y_nm", "z_nm", "photons", "background", "sigma_x_nm", "sigma_y_nm")
    }
    store = PointStore.build(Localizations(frame=np.zeros(n, np.int32), **columns))
    store.set_mask(np.ones(n, np.bool_))
    for pixel_nm in (100.0, 5.0):
        view = View(left_nm=0.0, top_nm=0.0, pixel_size_nm=pixel_nm, width_px=32, height_px=32)
        for style in (Style(), Style(color="none")):
            for exact in (False, True):
                check()
                tone(store.render(view, style, exact=exact), 1.0)
    store.rows_in((0.0, 0.0, 100.0, 100.0))
    cloud = Cloud(np.zeros((1, 3), np.float32), np.zeros((1, 3), np.uint8))
    draw_cloud(cloud, Camera(), (8, 8), soft_px=1.0)
