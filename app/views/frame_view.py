"""A camera frame, pixel by pixel, with points, a region and a scale bar on it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainterPath,
)
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.views.frame_overlays import ColorBar, ScaleBar, lookup_table
from app.views.naming import named
from app.views.roi_tool import Roi, RoiTool

__all__ = ["FrameView", "Roi"]

_SAMPLE = 65_536  # pixels from which the contrast is judged: enough for a quantile, and cheap
_QUANTILES = (0.005, 0.998)


def _strokes(*lines: tuple[float, float, float, float]) -> QPainterPath:
    """Return lines as a symbol of width 1: thin, so that they hide nothing of the frame."""
    path = QPainterPath()
    for x1, y1, x2, y2 in lines:
        path.moveTo(x1, y1)
        path.lineTo(x2, y2)
    return path


_SYMBOLS = {
    "x": _strokes((-0.5, -0.5, 0.5, 0.5), (-0.5, 0.5, 0.5, -0.5)),
    "+": _strokes((-0.5, 0.0, 0.5, 0.0), (0.0, -0.5, 0.0, 0.5)),
}


class _Points(NamedTuple):
    item: Any
    bar: tuple[str, float, float] | None  # colour map and range of values, for the colour bar


class FrameView(QWidget):
    """Shows one frame; x to the right, y down, the centre of the first pixel at (0, 0).

    Wheel and drag zoom and pan under the cursor, double-click (or Home) shows the whole frame,
    plus and minus zoom. With
    `enable_roi`, a drag draws a region, whose edges can then be dragged; Delete removes it.

    Signals
    -------
    roi_changed : Roi or None
        After the mouse was released: x, y, width, height in pixels.
    point_clicked : int
        Index of the clicked point in its set; `set_clicked` names the set too.
    levels_changed : float, float
        Another contrast, by the user or automatic.
    hovered : str
        What is under the cursor, in words.
    """

    roi_changed = Signal(object)
    point_clicked = Signal(int)
    set_clicked = Signal(str, int)
    levels_changed = Signal(float, float)
    hovered = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frame: NDArray[Any] | None = None
        self._unit = "ADU"
        self._levels: tuple[float, float] | None = None
        self._points: dict[str, _Points] = {}
        self._view = pg.GraphicsView(parent=self, background="#101010")
        self._view.setAccessibleName("Camera frame")
        self._view.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._box = pg.ViewBox(lockAspect=True, invertY=True, enableMenu=False)
        self._view.setCentralItem(self._box)
        self._image = pg.ImageItem(axisOrder="row-major")
        self._box.addItem(self._image)
        self._scale_bar = ScaleBar(self._view)
        self._color_bar = ColorBar()
        self._color_bar.hide()
        self._readout = named(QLabel(" "), "frame-readout")
        self._readout.setAccessibleName("Value under the mouse")
        self._roi = RoiTool(self._box)
        self._roi.changed.connect(self.roi_changed)
        self._box.sigRangeChanged.connect(self._range_changed)
        self._view.viewport().installEventFilter(self)
        self._view.viewport().setMouseTracking(True)
        self._view.installEventFilter(self)
        row = QHBoxLayout()
        row.setSpacing(4)
        row.addWidget(self._view, 1)
        row.addWidget(self._color_bar)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addLayout(row, 1)
        layout.addWidget(self._readout)
        self.setMinimumSize(160, 160)

    # -- frame and contrast

    def set_frame(
        self, image: NDArray[Any] | None, *, unit: str = "ADU", keep_view: bool = True
    ) -> None:
        """Show a frame (rows, columns); None shows nothing.

        The contrast is chosen for the first frame and stays, so that a film does not flicker;
        ``keep_view=False`` chooses it anew and shows the whole frame.
        """
        self._unit = unit
        if image is None:
            self._frame = None
            self._image.clear()
            self._readout.setText(" ")
            return
        frame = np.asarray(image)
        if frame.ndim != 2 or frame.size == 0:
            raise ValueError(f"a frame has rows and columns, not the shape {frame.shape}")
        if frame.dtype == np.bool_:
            frame = frame.astype(np.uint8)
        other_size = self._frame is None or self._frame.shape != frame.shape
        self._frame = frame
        if self._levels is None or not keep_view:
            self._set_levels(self._judged(frame))
        self._image.setImage(frame, autoLevels=False, levels=self._levels)
        height, width = frame.shape
        self._image.setRect(QRectF(-0.5, -0.5, width, height))
        self._roi.set_bounds(width, height)
        if other_size or not keep_view:
            self.show_all()

    def show_all(self) -> None:
        """Zoom so that the whole frame is seen."""
        if self._frame is not None:
            height, width = self._frame.shape
            self._box.setRange(QRectF(-0.5, -0.5, width, height), padding=0.01)

    def set_levels(self, low: float, high: float) -> None:
        """Show ``low`` darkest and ``high`` brightest."""
        if (low, high) != self._levels:
            self._set_levels((low, high))

    def auto_levels(self) -> None:
        """Choose the contrast by quantiles of the frame that is shown."""
        if self._frame is not None:
            self._set_levels(self._judged(self._frame))

    @property
    def levels(self) -> tuple[float, float] | None:
        """The contrast; None before the first frame."""
        return self._levels

    def set_colormap(self, name: str) -> None:
        """Colour the frame by a named map (gray, viridis, magma ...)."""
        self._image.setLookupTable(None if name in ("gray", "grey") else lookup_table(name))

    # -- points

    def set_points(
        self,
        name: str,
        x_px: ArrayLike,
        y_px: ArrayLike,
        *,
        symbol: str = "o",
        size_px: float | NDArray[Any] = 8,
        values: NDArray[Any] | None = None,
        value_range: tuple[float, float] | None = None,
        colormap: str = "viridis",
        color: str | None = None,
    ) -> None:
        """Draw a named set of points at pixels of the frame, or replace it.

        Parameters
        ----------
        name : str
            Of the set; with ``values`` it is the label of the colour bar.
        x_px, y_px : array_like, (N,)
        symbol : str
            ``o`` open circle, ``x`` cross, ``+``, ``s`` square, ``d`` diamond.
        size_px : float or array, of the screen
        values : array, optional
            What colours the points, over ``value_range``, by ``colormap``.
        color : str, optional
        """
        self.clear_points(name)
        x, y = np.asarray(x_px, dtype=float).ravel(), np.asarray(y_px, dtype=float).ravel()
        item = pg.ScatterPlotItem(pxMode=True, symbol=_SYMBOLS.get(symbol, symbol), brush=None)
        bar, pens = None, pg.mkPen(color or "#FFB000", width=2)
        if values is not None and x.size:
            low, high = value_range or _finite_range(values)
            pens = _pens(values, low, high, colormap)
            bar = (colormap, low, high)
        item.setData(x=x, y=y, size=size_px, pen=pens)
        item.sigClicked.connect(lambda _item, points, *_: self._clicked(name, points))
        self._box.addItem(item, ignoreBounds=True)
        self._points[name] = _Points(item=item, bar=bar)
        self._show_color_bar()

    def clear_points(self, name: str | None = None) -> None:
        """Take one set of points away, or all."""
        for key in [name] if name is not None else list(self._points):
            if key in self._points:
                self._box.removeItem(self._points.pop(key).item)
        self._show_color_bar()

    def n_points(self, name: str) -> int:
        """Return how many points of a set are drawn."""
        return len(self._points[name].item.data) if name in self._points else 0

    # -- region and scale bar

    def set_roi(self, roi: Roi | None) -> None:
        """Show a region without emitting; None takes it away."""
        self._roi.set(roi)

    def enable_roi(self, on: bool) -> None:
        """Let the mouse draw and change a region."""
        self._roi.enable(on)
        shape = Qt.CursorShape.CrossCursor if on else Qt.CursorShape.ArrowCursor
        self._view.viewport().setCursor(shape)

    def set_scale_bar(self, pixel_size_nm: float | None) -> None:
        """Show a bar of a round length; None for no bar."""
        self._scale_bar.pixel_size_nm = pixel_size_nm
        self._range_changed()

    # -- events

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Draw the region, read the value under the mouse, show all on a double click."""
        if isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._roi.key(event.key()) or self._zoom_key(event.key())
        if isinstance(event, QMouseEvent) and watched is self._view.viewport():
            where = self._box.mapSceneToView(self._view.mapToScene(event.position().toPoint()))
            if event.type() == QEvent.Type.MouseMove:
                self._hover(where)
            if event.type() == QEvent.Type.MouseButtonDblClick:
                self.show_all()
                return True
            return self._roi.mouse(event, where)
        return super().eventFilter(watched, event)

    def resizeEvent(self, event: Any) -> None:
        """Keep the scale bar in its corner."""
        super().resizeEvent(event)
        self._range_changed()

    def _zoom_key(self, key: int) -> bool:
        """Zoom by plus and minus, show all on Home; say whether the key was used."""
        factors = {Qt.Key.Key_Plus: 0.8, Qt.Key.Key_Equal: 0.8, Qt.Key.Key_Minus: 1.25}
        if key == Qt.Key.Key_Home:
            self.show_all()
        elif key in factors:
            factor = factors[Qt.Key(key)]
            self._box.scaleBy((factor, factor))
        else:
            return False
        return True

    def _hover(self, where: QPointF) -> None:
        text = ""
        if self._frame is not None:
            height, width = self._frame.shape
            column, row = round(where.x()), round(where.y())
            if 0 <= column < width and 0 <= row < height:
                value = self._frame[row, column]
                text = f"x {column} px, y {row} px: {float(value):.6g} {self._unit}".rstrip()
        self._readout.setText(text or " ")
        self.hovered.emit(text)

    def _clicked(self, name: str, points: Any) -> None:
        if len(points):
            index = int(points[0].index())
            self.point_clicked.emit(index)
            self.set_clicked.emit(name, index)

    def _set_levels(self, levels: tuple[float, float]) -> None:
        low, high = levels
        self._levels = (float(low), float(high if high > low else low + 1))
        if self._frame is not None:
            self._image.setLevels(self._levels)
        self.levels_changed.emit(*self._levels)

    @staticmethod
    def _judged(frame: NDArray[Any]) -> tuple[float, float]:
        step = max(1, math.isqrt(frame.size // _SAMPLE))
        sample = frame[::step, ::step].astype(np.float64)
        sample = sample[np.isfinite(sample)]
        if not sample.size:
            return 0.0, 1.0
        low, high = np.quantile(sample, _QUANTILES)
        return float(low), float(high if high > low else low + 1)

    def _show_color_bar(self) -> None:
        bars = [(name, p.bar) for name, p in self._points.items() if p.bar is not None]
        self._color_bar.setVisible(bool(bars))
        if bars:
            name, (colormap, low, high) = bars[-1]
            self._color_bar.show_map(name, colormap, low, high)

    def _range_changed(self, *_: object) -> None:
        self._scale_bar.follow(self._box)


def _finite_range(values: ArrayLike) -> tuple[float, float]:
    finite = np.asarray(values, dtype=float)
    finite = finite[np.isfinite(finite)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _pens(values: ArrayLike, low: float, high: float, colormap: str) -> list[Any]:
    """Return a pen for each value; unknown ones get the first colour."""
    where = (np.nan_to_num(np.asarray(values, float), nan=low) - low) / ((high - low) or 1)
    index = np.clip(where * 255, 0, 255).astype(int)
    made = [pg.mkPen(QColor(*rgb), width=2) for rgb in lookup_table(colormap).tolist()]
    return [made[i] for i in index]
