"""Read SMAP's camera database (``settings/cameras.mat``).

Facts, seen in real files: ``cameras`` is a struct array. ``ID`` has ``name``, ``tag`` (a setting
of the metadata) and ``value`` (what it must be). ``par`` is a cell of 15 rows and 7 columns:
name, mode (fix, metadata, state dependent), fixed value, setting, example, MATLAB expression on
``X`` (the setting's text), example converted. ``state`` is a struct array: ``defpar`` are up to
four settings that must all hold ("select" is an empty one), ``par`` the values then.

``conversion`` is electrons per ADU, ``cam_pixelsize_um`` the pixel in the sample, one number or
x and y, ``EMon`` whether the EM register amplifies (SMAP divides by the EM gain then, and mirrors
the frames). Of the expressions only the handful that occurs is understood; another one is named
and its value left to the fixed one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decode_engine.contract.camera_presets import (
    CameraMode,
    CameraPreset,
    MetadataForm,
    MetadataRule,
    ModeValues,
)
from decode_engine.errors import CameraError, InputError
from decode_engine.io.camera_database import preset_id
from decode_engine.io.matlab import MatlabList, read_mat, variable_names
from decode_engine.io.smap_members import base_name

__all__ = ["CameraImport", "parse_expression", "read_smap_cameras"]

_NONE = {"", "select", "none"}
_YES = {"true", "1"}
# SMAP's rows that become values; the movie's reader finds the others by itself.
_FIELDS = {"EMon": "em_on", "emgain": "em_gain", "conversion": "e_per_adu", "offset": "offset_adu"}
_FIELDS |= {"cam_pixelsize_um": "pixel_size_x_nm"}
_STRCMP = re.compile(r"\(*(?P<negated>~?)\(*strcmp\(X,\s*'(?P<text>[^']*)'\)\)*")
_NUMBER = re.compile(r"str2(?:double|num)\(X\)(?:\*(?P<factor>[\d.eE+-]+))?")
_ABOVE = re.compile(r"str2(?:double|num)\(X\)\s*>\s*(?P<limit>[\d.eE+-]+)")
_DOUBT = (
    "Imported values: compare them with your camera's test sheet. SMAP's database has no read "
    "noise; the one set before stays."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraImport:
    """Cameras of another program's file, and what was left out, one sentence each."""

    presets: tuple[CameraPreset, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    name: str
    mode: str
    fixed: str
    setting: str
    expression: str


def parse_expression(text: str) -> tuple[MetadataForm, str, float] | None:
    """Return form, argument and factor of a MATLAB expression on ``X``; None if not understood."""
    text = text.strip().rstrip(";")
    if text in ("", "X"):
        return "number", "", 1.0
    if match := _STRCMP.fullmatch(text):
        return ("differs" if match["negated"] else "equals"), match["text"], 1.0
    try:
        if match := _NUMBER.fullmatch(text):
            factor = float(match["factor"] or 1.0)
            return ("number", "", factor) if math.isfinite(factor) else None
        if match := _ABOVE.fullmatch(text):
            return "above", str(float(match["limit"])), 1.0
    except ValueError:
        return None
    return None


def read_smap_cameras(path: Path) -> CameraImport:
    """Read all cameras of a ``cameras.mat``.

    Raises
    ------
    CameraError
        If the file is not SMAP's camera database.
    """
    try:
        names = variable_names(path)
        found = (
            read_mat(path, variables=("cameras",)).get("cameras") if "cameras" in names else None
        )
    except InputError as error:
        raise CameraError(error.message, hint=_WHICH, detail=error.detail) from error
    structs = [found] if isinstance(found, dict) else found
    if not isinstance(structs, list) or not structs:
        raise CameraError(
            f"{path.name} holds {', '.join(names[:8]) or 'nothing'}, not SMAP's cameras.",
            hint=_WHICH,
        )
    presets: list[CameraPreset] = []
    notes: list[str] = []
    for index, struct in enumerate(structs):
        try:
            preset, said = _preset(struct, path.name)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            notes.append(f"Camera {index + 1} of {path.name} cannot be read ({error}); left out.")
            continue
        notes += [f"{preset.model}: {text}" for text in said]
        presets.append(_with_other_id(preset, presets))
    return CameraImport(presets=tuple(presets), notes=tuple(notes))


_WHICH = "Give settings/cameras.mat of SMAP's folder."


def _with_other_id(preset: CameraPreset, others: Sequence[CameraPreset]) -> CameraPreset:
    taken, number, name = {other.id for other in others}, 2, preset.id
    while name in taken:
        name, number = f"{preset.id}-{number}", number + 1
    return preset.model_copy(update={"id": name})


def _preset(struct: Any, file_name: str) -> tuple[CameraPreset, list[str]]:
    name, tag, value = (_text(struct["ID"].get(key)) for key in ("name", "tag", "value"))
    rows = {row.name: row for row in map(_row, _rows(struct["par"], 6))}
    notes: list[str] = []
    rules = _rules(rows, notes)
    em_rule = any(rule.field == "em_on" for rule in rules)
    fixed = {key: row.fixed for key, row in rows.items()}
    states = [s for s in _structs(struct.get("state")) if _conditions(s)]
    dependent = {key for key, row in rows.items() if row.mode == "state dependent"}
    modes = [
        _mode(_conditions(s), _state_values(s, fixed, dependent), rows, em_rule) for s in states
    ]
    modes.append(_mode({}, fixed, rows, em_rule))
    if (correction := fixed.get("correctionfile", "")) and correction.lower() not in _NONE:
        notes.append(
            f"its per-pixel correction {base_name(correction)} is not in the "
            "database; import the maps by themselves."
        )
    known = tag.lower() not in _NONE and not tag.lower().startswith("select")
    if not known:
        notes.append("it has no identity; it is offered in the list but never recognised.")
    em = em_rule or any(mode.kind is None and mode.values.em_mirrored for mode in modes)
    return (
        CameraPreset(
            id=preset_id(f"smap-{name}"),
            vendor="",
            model=name or "unnamed",
            kind="emccd" if em else "scmos",
            identity={tag: value} if known else {},
            rules=tuple(rules),
            modes=tuple(modes),
            note=_DOUBT,
            source=f"Imported from SMAP's camera database {file_name}.",
            own=True,
        ),
        notes,
    )


def _rules(rows: dict[str, _Row], notes: list[str]) -> list[MetadataRule]:
    rules = []
    for name, field in _FIELDS.items():
        row = rows.get(name)
        if row is None or row.mode != "metadata" or row.setting.lower() in _NONE:
            continue
        parsed = parse_expression(row.expression)
        if parsed is None or (parsed[0] == "number") == (field == "em_on"):
            notes.append(
                f"the expression {row.expression!r} of {name} is not understood; the fixed value "
                f"{row.fixed or '(none)'} is used."
            )
            continue
        form, argument, factor = parsed
        if field == "pixel_size_x_nm":
            factor *= 1e3
        rules.append(
            MetadataRule.model_validate(
                {
                    "field": field,
                    "property": row.setting,
                    "form": form,
                    "argument": argument,
                    "factor": factor,
                }
            )
        )
    return rules


def _mode(
    when: dict[str, str], values: dict[str, str], rows: dict[str, _Row], em_rule: bool
) -> CameraMode:
    """Make one mode; with a rule for the EM register the metadata decide about it."""
    em_on = _em_on(when, values, rows, em_rule)
    sizes = [1e3 * float(word) for word in values.get("cam_pixelsize_um", "").split()]
    em_gain = _number(values.get("emgain"))
    words = ", ".join(when.values()) if when else "any other read-out" if em_rule else "all"
    return CameraMode(
        name=words,
        when=when,
        kind=None if em_on else "scmos",
        values=ModeValues(
            offset_adu=_number(values.get("offset")),
            e_per_adu=_number(values.get("conversion")),
            em_gain=(em_gain if em_gain is not None and em_gain >= 1 else 1.0) if em_on else 1.0,
            em_mirrored=em_on,
            pixel_size_x_nm=sizes[0] if sizes else None,
            pixel_size_y_nm=sizes[1] if len(sizes) > 1 else None,
        ),
    )


def _em_on(
    when: dict[str, str], values: dict[str, str], rows: dict[str, _Row], em_rule: bool
) -> bool:
    row = rows.get("EMon")
    if em_rule and row is not None and row.setting in when:
        parsed = parse_expression(row.expression)
        if parsed is not None and parsed[0] in ("equals", "differs"):
            return (when[row.setting] == parsed[1]) == (parsed[0] == "equals")
    return values.get("EMon", "").strip().lower() in _YES


def _state_values(struct: Any, fixed: dict[str, str], dependent: set[str]) -> dict[str, str]:
    """Return the fixed values with those of a state where they depend on it."""
    own = {row[0]: row[1] for row in _rows(struct["par"], 2)}
    return {**fixed, **{name: own[name] for name in dependent if own.get(name)}}


def _conditions(struct: Any) -> dict[str, str]:
    pairs = _rows(struct["defpar"], 2)
    return {name: value for name, value in pairs if name.lower() not in _NONE}


def _row(cells: Sequence[str]) -> _Row:
    name, mode, fixed, setting, _, expression = cells
    return _Row(name=name, mode=mode, fixed=fixed, setting=setting, expression=expression)


def _structs(value: Any) -> list[Any]:
    found = [value] if isinstance(value, dict) else value if isinstance(value, list) else []
    return [struct for struct in found if isinstance(struct, dict) and "defpar" in struct]


def _rows(cell: Any, columns: int) -> list[list[str]]:
    """Return the first columns of a MATLAB cell as text; MATLAB counts down the columns."""
    if not isinstance(cell, MatlabList) or len(cell.shape) != 2 or cell.shape[1] < columns:
        raise ValueError("a table of its settings has another shape")
    texts = [_text(value) for value in cell]
    height = cell.shape[0]
    return [[texts[row + height * column] for column in range(columns)] for row in range(height)]


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and 0 < value.size <= 16:
        return " ".join(f"{number:g}" for number in value.ravel("F"))
    return ""


def _number(text: str | None) -> float | None:
    try:
        return float(text or "")
    except ValueError:
        return None
