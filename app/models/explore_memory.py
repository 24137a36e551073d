"""What the project remembers of the Explore page, as JSON values that may be of any version."""

from __future__ import annotations

import dataclasses
import math
from typing import NamedTuple, get_args

from pydantic import JsonValue

from app.models.explore_look import ColorBy, Drawing, Look
from app.models.explore_view import PointNm, ViewTransform

__all__ = ["SavedView", "look_from_json", "look_to_json", "view_from_json", "view_to_json"]


class SavedView(NamedTuple):
    """A view without the size of the canvas, which may be another one next time."""

    middle: PointNm
    pixel_size_nm: float


def look_to_json(look: Look) -> JsonValue:
    """Return a look as JSON values."""
    return dict(dataclasses.asdict(look))


def look_from_json(value: JsonValue) -> Look | None:
    """Return a remembered look; None for what this version cannot read."""
    if not isinstance(value, dict):
        return None
    kinds = {f.name: f.type for f in dataclasses.fields(Look)}
    known = {name: entry for name, entry in value.items() if name in kinds}
    for name in ("low", "high", "sigma_min_nm", "brightness", "gamma"):
        entry = known.get(name)
        is_number = isinstance(entry, (int, float)) and math.isfinite(entry)
        if not (is_number or (entry is None and name in ("low", "high"))):
            known.pop(name, None)
    look = dataclasses.replace(Look(), **known)  # type: ignore[arg-type] # checked here and below
    drawable = look.color_by in get_args(ColorBy) and look.drawing in get_args(Drawing)
    is_text = isinstance(look.colormap, str)
    return look if drawable and is_text and look.gamma > 0 and look.brightness > 0 else None


def view_to_json(path: str, view: ViewTransform, *, whole: bool) -> JsonValue:
    """Return a view of a table as JSON values."""
    bounds = view.bounds
    return {
        "path": path,
        "whole": whole,
        "x_nm": 0.5 * (bounds.left + bounds.right),
        "y_nm": 0.5 * (bounds.top + bounds.bottom),
        "pixel_size_nm": view.pixel_size_nm,
    }


def view_from_json(value: JsonValue, path: str) -> SavedView | None:
    """Return the remembered view of a table; None where the whole field is to be shown."""
    if not isinstance(value, dict) or value.get("path") != path or value.get("whole"):
        return None
    numbers = []
    for name in ("x_nm", "y_nm", "pixel_size_nm"):
        entry = value.get(name)
        if isinstance(entry, bool) or not isinstance(entry, (int, float)):
            return None
        numbers.append(float(entry))
    x, y, pixel = numbers
    if not all(math.isfinite(v) for v in numbers) or pixel <= 0:
        return None
    return SavedView(PointNm(x, y), pixel)
