"""Filters as words: ``--filter "sigma_x_nm<30"``, ``--filter photons=500:20000``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from decode_engine.errors import ConfigError

__all__ = ["FILTER_HELP", "parse_filters"]

FILTER_HELP = (
    "Keep only localizations within a range: column<high, column>low or column=low:high, limits "
    "included; may be given several times."
)
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_ONE_SIDED = re.compile(rf"\s*(\w+)\s*(<=?|>=?)\s*({_NUMBER})\s*")
_RANGE = re.compile(rf"\s*(\w+)\s*=\s*({_NUMBER})?\s*:\s*({_NUMBER})?\s*")


def parse_filters(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a `FilterConfig`; words on the same column narrow each other.

    Raises
    ------
    ConfigError
        If a word is no filter.
    """
    ranges: dict[str, dict[str, Any]] = {}
    for word in words:
        column, low, high = _parse(word)
        limits = ranges.setdefault(column, {"column": column})
        if low is not None:
            limits["low"] = max(low, limits.get("low", low))
        if high is not None:
            limits["high"] = min(high, limits.get("high", high))
    return {"ranges": list(ranges.values())}


def _parse(word: str) -> tuple[str, float | None, float | None]:
    if (match := _ONE_SIDED.fullmatch(word)) is not None:
        value = float(match[3])
        return (match[1], None, value) if match[2].startswith("<") else (match[1], value, None)
    if (match := _RANGE.fullmatch(word)) is not None and (match[2] or match[3]):
        low, high = (float(text) if text else None for text in match.group(2, 3))
        return match[1], low, high
    raise ConfigError(
        f"The filter {word!r} is not understood.",
        hint='Write it as "sigma_x_nm<30", "photons>500" or "z_nm=-300:300".',
    )
