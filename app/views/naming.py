"""Names of widgets, by which style sheets, tests and assistive technology find them."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtWidgets import QWidget

__all__ = ["named"]

W = TypeVar("W", bound=QWidget)


def named(widget: W, name: str) -> W:
    """Give a widget its object name and return it."""
    widget.setObjectName(name)
    return widget
