"""What to think of something: a light and words, as all pages show them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

__all__ = ["Level", "Light", "Verdict", "worst"]

Level = Literal["ok", "doubt", "bad", "none"]


class Light(NamedTuple):
    """Level of a light beside a setting, and its words."""

    level: Level
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One line of a list: a light, what it is about, and words."""

    level: Level
    title: str
    text: str


def worst(levels: Collection[Level]) -> Level:
    """Return the level of a whole from those of its parts."""
    return "bad" if "bad" in levels else "doubt" if "doubt" in levels else "ok"
