"""A camera frame, pixel by pixel, with points, a region and a scale bar on it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cmap
import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QKeyEvent, QMouseEvent, QPainter, QPainterPath, QPaintEvent, QPalette
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from app.views.naming import named

__all__ = ["FrameView", "Roi"]

_SAMPLE = 65_536  # pixels from which the contrast is judged: enough for a quantile, and cheap
_QUANTILES = (0.005, 0.998)
_NICE = (1, 2, 5)


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
Roi = tuple[int, int, int, int]


class _Points(NamedTuple):
    item: Any
    bar: tuple[str, float, float] | None  # colour map and range of values, for the colour bar


def lookup_table(name: str) -> NDArray[np.uint8]:
    """Return 256 RGB colours of a named map; grey where there is no such map."""
    try:
        colors = cmap.Colormap(name).lut(256)
    except (ValueError, KeyError, TypeError):
        colors = cmap.Colormap("gray").lut(256)
    return np.ascontiguousarray(np.round(colors[:, :3] * 255).astype(np.uint8))


class FrameView(QWidget):
    """Shows one frame; x to the right, y down, the centre of the first pixel at (0, 0).

    Wheel and drag zoom and pan under the cursor, double-click shows the whole frame. With
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
        self._scale_bar = _ScaleBar(self._view)
        self._color_bar = _ColorBar()
        self._color_bar.hide()
        self._readout = named(QLabel(" "), "frame-readout")
        self._readout.setAccessibleName("Value under the mouse")
        self._roi = _RoiTool(self._box)
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
        """Draw a named set of points, or replace it.

        Parameters
        ----------
        name : str
            Of the set; with ``values`` it is the label of the colour bar.
        x_px, y_px : array_like, (N,)
            Positions in pixels of the frame.
        symbol : str
            ``o`` open circle, ``x`` cross, ``+``, ``s`` square, ``d`` diamond.
        size_px : float or array
            Size on the screen.
        values : array, optional
            What colours the points, over ``value_range``, by ``colormap``.
        color : str, optional
            The one colour of all points.
        """
        self.clear_points(name)
        x, y = np.asarray(x_px, dtype=float).ravel(), np.asarray(y_px, dtype=float).ravel()
        item = pg.ScatterPlotItem(pxMode=True, symbol=_SYMBOLS.get(symbol, symbol), brush=None)
        bar = None
        pens: Any = pg.mkPen(color or "#FFB000", width=2)
        if values is not None and x.size:
            low, high = value_range or _finite_range(values)
            table = lookup_table(colormap)
            where = (np.nan_to_num(np.asarray(values, float), nan=low) - low) / ((high - low) or 1)
            index = np.clip(where * 255, 0, 255).astype(int)
            made = [pg.mkPen(QColor(*rgb), width=2) for rgb in table.tolist()]
            pens = [made[i] for i in index]
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
            return self._roi.key(event.key())
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


class _RoiTool(QObject):
    """The region: drawn by a drag, then moved and resized by its handles."""

    changed = Signal(object)

    def __init__(self, box: Any) -> None:
        super().__init__()
        self._box = box
        self._item: Any = None
        self._enabled = False
        self._bounds = (0, 0)
        self._corner: QPointF | None = None
        self._value: Roi | None = None

    def set_bounds(self, width: int, height: int) -> None:
        self._bounds = (width, height)

    def enable(self, on: bool) -> None:
        self._enabled = on
        if self._value is not None:
            self.set(self._value)

    def set(self, roi: Roi | None) -> None:
        if self._item is not None:
            self._box.removeItem(self._item)
            self._item = None
        self._value = roi
        if roi is not None:
            self._show(roi)

    def key(self, key: int) -> bool:
        """Remove the region on Delete; say whether the key was used."""
        delete = key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace)
        if not (self._enabled and self._value is not None and delete):
            return False
        self.set(None)
        self.changed.emit(None)
        return True

    def mouse(self, event: QMouseEvent, where: QPointF) -> bool:
        """Draw a first region; say whether the event was used."""
        left = event.button() == Qt.MouseButton.LeftButton
        if event.type() == QEvent.Type.MouseButtonPress and left:
            if self._enabled and self._value is None:
                self._corner = where
                return True
        elif self._corner is not None and event.type() == QEvent.Type.MouseMove:
            self.set(self._between(self._corner, where))
            return True
        elif self._corner is not None and event.type() == QEvent.Type.MouseButtonRelease:
            roi, self._corner = self._between(self._corner, where), None
            self.set(roi if roi[2] > 1 and roi[3] > 1 else None)  # a mere click is no region
            self.changed.emit(self._value)
            return True
        return False

    def _between(self, a: QPointF, b: QPointF) -> Roi:
        left, right = sorted((a.x(), b.x()))
        top, bottom = sorted((a.y(), b.y()))
        return self._snapped(left, top, right - left, bottom - top)

    def _snapped(self, x: float, y: float, w: float, h: float) -> Roi:
        """Return whole pixels inside the frame, nearest to a rectangle in view coordinates."""
        width, height = self._bounds
        left = min(max(round(x + 0.5), 0), max(width - 1, 0))
        top = min(max(round(y + 0.5), 0), max(height - 1, 0))
        right = min(max(round(x + w + 0.5), left + 1), max(width, left + 1))
        bottom = min(max(round(y + h + 0.5), top + 1), max(height, top + 1))
        return (left, top, right - left, bottom - top)

    def _show(self, roi: Roi) -> None:
        x, y, w, h = roi
        item = pg.ROI(
            (x - 0.5, y - 0.5),
            (w, h),
            pen=pg.mkPen("#FFD000", width=2),
            hoverPen=pg.mkPen("#FFFFFF", width=2),
            handlePen=pg.mkPen("#FFD000", width=2),
            movable=self._enabled,
            resizable=self._enabled,
            rotatable=False,
        )
        if self._enabled:
            for a, b in ((0, 0), (1, 0), (0, 1), (1, 1), (0.5, 0), (0.5, 1), (0, 0.5), (1, 0.5)):
                item.addScaleHandle((a, b), (1 - a, 1 - b))
        item.sigRegionChangeFinished.connect(self._moved)
        self._box.addItem(item, ignoreBounds=True)
        self._item = item

    def _moved(self) -> None:
        position, size = self._item.pos(), self._item.size()
        roi = self._snapped(position.x(), position.y(), size.x(), size.y())
        self._value = roi
        self._item.blockSignals(True)
        self._item.setPos((roi[0] - 0.5, roi[1] - 0.5))
        self._item.setSize((roi[2], roi[3]))
        self._item.blockSignals(False)
        self.changed.emit(roi)


class _ScaleBar(QWidget):
    """A bar of a round length in the lower right corner, white with a dark rim."""

    def __init__(self, view: QWidget) -> None:
        super().__init__(view)
        self._view = view
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.pixel_size_nm: float | None = None
        self._length = 0.0
        self._text = ""
        self.hide()

    def follow(self, box: Any) -> None:
        """Choose the length for the zoom of a view."""
        screen_px = box.width() / max(box.viewRect().width(), 1e-9)  # per pixel of the frame
        if self.pixel_size_nm is None or not math.isfinite(screen_px) or screen_px <= 0:
            self.hide()
            return
        nm_per_px = self.pixel_size_nm / screen_px
        target = 0.22 * box.width() * nm_per_px
        decade = 10.0 ** math.floor(math.log10(max(target, 1e-9)))
        nice = max((n * decade for n in _NICE if n * decade <= target), default=decade)
        self._length = nice / nm_per_px
        self._text = f"{nice / 1000:g} µm" if nice >= 1000 else f"{nice:g} nm"
        width, height = round(self._length) + 24, 34
        self.setGeometry(
            self._view.width() - width - 6, self._view.height() - height - 6, width, height
        )
        self.show()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint bar and text."""
        painter = QPainter(self)
        painter.fillRect(self.rect(), QColor(0, 0, 0, 110))
        bar = QRectF((self.width() - self._length) / 2, self.height() - 10, self._length, 4)
        painter.fillRect(bar, QColor("white"))
        painter.setPen(QColor("white"))
        font = QFont(self.font())
        font.setBold(True)
        painter.setFont(font)
        area = self.rect().adjusted(0, 0, 0, -10)
        painter.drawText(area, Qt.AlignmentFlag.AlignCenter, self._text)
        painter.end()


class _ColorBar(QWidget):
    """A vertical bar that says which colour is which value."""

    def __init__(self) -> None:
        super().__init__()
        self._table = lookup_table("viridis")
        self._label, self._low, self._high = "", 0.0, 1.0
        self.setFixedWidth(64)

    def show_map(self, label: str, colormap: str, low: float, high: float) -> None:
        """Take over a map and its range."""
        self._table = lookup_table(colormap)
        self._label, self._low, self._high = label, low, high
        self.setAccessibleName(f"Colour bar: {label} from {low:.4g} to {high:.4g}")
        self.setToolTip(f"Colour of {label}: {low:.4g} to {high:.4g}")
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the colours, the ends and the label."""
        painter = QPainter(self)
        top, height, width = 18, max(self.height() - 36, 1), 14
        n = len(self._table)
        for i, rgb in enumerate(self._table.tolist()):
            y = top + height * (n - 1 - i) / n
            painter.fillRect(QRectF(0, y, width, height / n + 1), QColor(*rgb))
        painter.setPen(self.palette().color(QPalette.ColorRole.WindowText))
        painter.drawText(0, 12, f"{self._high:.4g}")
        painter.drawText(0, self.height() - 5, f"{self._low:.4g}")
        painter.translate(width + 6, top + height / 2)
        painter.rotate(90)
        area = QRectF(-height / 2, -self.width() + width + 6, height, self.width() - width - 6)
        painter.drawText(
            area, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignBottom, self._label
        )
        painter.end()
