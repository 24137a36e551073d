"""The marks beside the steps, drawn, so that they look alike in every font and theme."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPainterPath, QPen

from app.models.steps import StepStatus

__all__ = ["draw_house", "draw_mark"]


def draw_mark(
    painter: QPainter, box: QRectF, status: StepStatus, color: QColor, turn: float = 0.0
) -> None:
    """Draw the mark of a status into a square box.

    Parameters
    ----------
    turn : float
        How far the mark of a running step has turned, in degrees.
    """
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    width = box.width() / 9
    painter.setPen(QPen(color, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    ring = box.adjusted(width, width, -width, -width)
    if status is StepStatus.NOT_YET:
        painter.drawEllipse(ring)
    elif status is StepStatus.RUNNING:
        painter.drawArc(ring, round(-16 * turn), 16 * 270)
        painter.setBrush(color)
        painter.drawEllipse(box.center(), box.width() / 8, box.width() / 8)
    elif status is StepStatus.DONE:
        _draw_check(painter, box)
    elif status is StepStatus.ATTENTION:
        _draw_exclamation(painter, box, color)
    else:
        _draw_arrow(painter, ring, color)
    painter.restore()


def draw_house(painter: QPainter, box: QRectF, color: QColor) -> None:
    """Draw the mark of the first page, which has no status."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(color, box.width() / 9, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap))
    path = QPainterPath(_point(box, 0.02, 0.52))
    for x, y in ((0.5, 0.08), (0.98, 0.52)):
        path.lineTo(_point(box, x, y))
    path.moveTo(_point(box, 0.18, 0.45))
    for x, y in ((0.18, 0.94), (0.82, 0.94), (0.82, 0.45)):
        path.lineTo(_point(box, x, y))
    painter.drawPath(path)
    painter.restore()


def _point(box: QRectF, x: float, y: float) -> QPointF:
    return QPointF(box.left() + x * box.width(), box.top() + y * box.height())


def _draw_check(painter: QPainter, box: QRectF) -> None:
    path = QPainterPath(_point(box, 0.14, 0.55))
    path.lineTo(_point(box, 0.4, 0.8))
    path.lineTo(_point(box, 0.88, 0.22))
    painter.drawPath(path)


def _draw_exclamation(painter: QPainter, box: QRectF, color: QColor) -> None:
    path = QPainterPath(_point(box, 0.5, 0.06))
    path.lineTo(_point(box, 0.97, 0.92))
    path.lineTo(_point(box, 0.03, 0.92))
    path.closeSubpath()
    painter.drawPath(path)
    painter.drawLine(_point(box, 0.5, 0.4), _point(box, 0.5, 0.6))
    painter.setBrush(color)
    painter.drawEllipse(_point(box, 0.5, 0.77), box.width() / 40, box.width() / 40)


def _draw_arrow(painter: QPainter, ring: QRectF, color: QColor) -> None:
    painter.drawArc(ring, 16 * 70, 16 * 280)
    tip = QPainterPath(_point(ring, 0.52, -0.16))
    tip.lineTo(_point(ring, 0.95, 0.08))
    tip.lineTo(_point(ring, 0.55, 0.3))
    tip.closeSubpath()
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    painter.drawPath(tip)
