"""Sizes of files in words, the same on every page."""

from __future__ import annotations

__all__ = ["size_words"]

_UNITS = ("bytes", "kB", "MB", "GB", "TB")
_ROUNDS_TO_NEXT = 999.5  # three digits would make 1e+03 of it


def size_words(n_bytes: float) -> str:
    """Return a number of bytes with three digits and a unit; 1 kB is 1000 bytes."""
    value, unit = float(n_bytes), 0
    while value >= _ROUNDS_TO_NEXT and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}"
