"""What is drawn over a picture: scale bar, colour bar, box, line, border of the field.

One function for the window, for the exported figure and for both kinds of canvas, so that all
of them look the same. White on half-transparent black: pictures are dark in either theme.
"""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QLinearGradient, QPainter, QPen

from app.models.explore_view import (
    ColorScale,
    Overlays,
    ViewTransform,
    format_length,
    scale_bar_nm,
)

__all__ = ["paint_overlays"]

_WHITE = QColor(255, 255, 255)
_SHADE = QColor(0, 0, 0, 150)
_FIELD = QColor(255, 255, 255, 90)
_MARGIN, _INNER, _BAR = 12.0, 7.0, 4.0
_COLOR_BAR_WIDTH = 150.0


def paint_overlays(painter: QPainter, view: ViewTransform, overlays: Overlays) -> None:
    """Paint in the canvas's logical pixels."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    if overlays.field is not None:
        _paint_field(painter, view, overlays)
    if overlays.box is not None:
        _paint_box(painter, view, overlays)
    if overlays.line is not None:
        _paint_line(painter, view, overlays)
    if overlays.scale_bar:
        _paint_scale_bar(painter, view)
    if overlays.color_scale is not None:
        _paint_color_scale(painter, view, overlays.color_scale)
    if overlays.note:
        _paint_note(painter, view, overlays.note)


def _outlined(painter: QPainter, width: float = 1.5) -> QPen:
    """Return the white pen; a black one below it keeps lines visible on bright pictures."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(QColor(0, 0, 0, 180), width + 2.0))
    return QPen(_WHITE, width)


def _rectangle(view: ViewTransform, left: float, top: float, right: float, bottom: float) -> QRectF:
    return QRectF(QPointF(*view.to_px(left, top)), QPointF(*view.to_px(right, bottom)))


def _paint_field(painter: QPainter, view: ViewTransform, overlays: Overlays) -> None:
    assert overlays.field is not None
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.setPen(QPen(_FIELD, 1.0, Qt.PenStyle.DashLine))
    painter.drawRect(_rectangle(view, *overlays.field))


def _paint_box(painter: QPainter, view: ViewTransform, overlays: Overlays) -> None:
    assert overlays.box is not None
    rectangle = _rectangle(view, *overlays.box)
    pen = _outlined(painter)
    painter.drawRect(rectangle)
    painter.setPen(pen)
    painter.drawRect(rectangle)
    size = f"{format_length(overlays.box.width)} × {format_length(overlays.box.height)}"
    _label(painter, view, size, rectangle.topLeft() + QPointF(0.0, -6.0))


def _paint_line(painter: QPainter, view: ViewTransform, overlays: Overlays) -> None:
    assert overlays.line is not None
    start, end = (QPointF(*view.to_px(*point)) for point in overlays.line)
    pen = _outlined(painter)
    painter.drawLine(start, end)
    painter.setPen(pen)
    painter.drawLine(start, end)
    painter.setBrush(_WHITE)
    for point in (start, end):
        painter.drawEllipse(point, 3.0, 3.0)
    a, b = overlays.line
    length = ((b.x - a.x) ** 2 + (b.y - a.y) ** 2) ** 0.5
    _label(painter, view, format_length(length), end + QPointF(8.0, -8.0))


def _font(painter: QPainter, points: float = 9.5) -> QFontMetricsF:
    font = QFont(painter.font())
    font.setPointSizeF(points)
    painter.setFont(font)
    return QFontMetricsF(font)


def _label(painter: QPainter, view: ViewTransform, text: str, place: QPointF) -> None:
    """Write text with its lower left corner at a place, moved so that it stays in the canvas."""
    metrics = _font(painter)
    box = metrics.boundingRect(text).adjusted(-4.0, -2.0, 4.0, 2.0)
    box.moveBottomLeft(place)
    box.moveLeft(min(max(box.left(), 2.0), max(view.width_px - box.width() - 2.0, 2.0)))
    box.moveTop(min(max(box.top(), 2.0), max(view.height_px - box.height() - 2.0, 2.0)))
    _shade(painter, box)
    painter.setPen(_WHITE)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)


def _shade(painter: QPainter, box: QRectF) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(_SHADE)
    painter.drawRoundedRect(box, 4.0, 4.0)


def _paint_scale_bar(painter: QPainter, view: ViewTransform) -> None:
    length_nm = scale_bar_nm(view.width_px * view.pixel_size_nm)
    length = length_nm / view.pixel_size_nm
    metrics = _font(painter, 10.0)
    text = format_length(length_nm)
    width = max(length, metrics.horizontalAdvance(text)) + 2 * _INNER
    height = metrics.height() + _BAR + 2 * _INNER + 2.0
    box = QRectF(view.width_px - _MARGIN - width, view.height_px - _MARGIN - height, width, height)
    _shade(painter, box)
    painter.fillRect(
        QRectF(box.center().x() - length / 2, box.bottom() - _INNER - _BAR, length, _BAR), _WHITE
    )
    painter.setPen(_WHITE)
    text_box = box.adjusted(0.0, _INNER - 2.0, 0.0, -_BAR - _INNER)
    painter.drawText(text_box, Qt.AlignmentFlag.AlignCenter, text)


def _paint_color_scale(painter: QPainter, view: ViewTransform, scale: ColorScale) -> None:
    metrics = _font(painter)
    texts = (f"{scale.low:g}", scale.label, f"{scale.high:g}")
    needed = sum(metrics.horizontalAdvance(text) for text in texts) + 20.0
    width = max(_COLOR_BAR_WIDTH, needed)
    height = metrics.height() + 2 * _BAR + 2 * _INNER + 2.0
    box = QRectF(_MARGIN, view.height_px - _MARGIN - height, width + 2 * _INNER, height)
    _shade(painter, box)
    bar = QRectF(box.left() + _INNER, box.bottom() - _INNER - 2 * _BAR, width, 2 * _BAR)
    gradient = QLinearGradient(bar.topLeft(), bar.topRight())
    last = max(len(scale.colors) - 1, 1)
    for number in range(0, len(scale.colors), max(1, len(scale.colors) // 32)):
        gradient.setColorAt(number / last, QColor(*scale.colors[number]))
    if scale.colors:
        gradient.setColorAt(1.0, QColor(*scale.colors[-1]))
    painter.fillRect(bar, gradient)
    painter.setPen(_WHITE)
    text_box = QRectF(bar.left(), box.top() + _INNER - 3.0, width, metrics.height())
    for text, side in zip(
        texts,
        (Qt.AlignmentFlag.AlignLeft, Qt.AlignmentFlag.AlignHCenter, Qt.AlignmentFlag.AlignRight),
        strict=True,
    ):
        painter.drawText(text_box, side | Qt.AlignmentFlag.AlignVCenter, text)


def _paint_note(painter: QPainter, view: ViewTransform, note: str) -> None:
    _font(painter)
    place = QPointF(_MARGIN, _MARGIN + 18.0)
    _label(painter, view, note, place)
