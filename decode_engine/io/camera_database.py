"""The camera database: reading, keeping, and recognising a movie's camera and its read-out.

The files are described in `decode_engine.contract.camera_presets`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from decode_engine.contract.camera_presets import CameraMode, CameraPreset, MetadataRule
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.movies import MovieMetadata
from decode_engine.io.resources import resource_path

__all__ = [
    "StatedValue",
    "apply_mode",
    "camera_for_movie",
    "load_presets",
    "matching_presets",
    "preset_id",
    "read_setting",
    "save_preset",
    "stated_values",
]


# What a setting must at least be to be the value that a rule takes it for.
_LOWEST = {"em_gain": 1.0, "e_per_adu": 1e-6, "pixel_size_x_nm": 1e-3, "offset_adu": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedValue:
    """A value of `CameraConfig` that the movie's metadata state, and where it stands."""

    field: str
    value: float | str | bool
    reason: str


def load_presets(own_folder: Path | None = None) -> tuple[list[CameraPreset], list[str]]:
    """Read the bundled presets and the user's own ones.

    Returns
    -------
    presets : list of CameraPreset
        The user's own first, each group by title.
    complaints : list of str
        Files of the user that could not be read, one sentence each.
    """
    bundled, complaints = _read_folder(resource_path("cameras"))
    if complaints:
        raise CameraError(complaints[0], hint="Install the product again.")
    own: list[CameraPreset] = []
    if own_folder is not None and own_folder.is_dir():
        own, complaints = _read_folder(own_folder)
    own = [preset.model_copy(update={"own": True}) for preset in own]
    return [*own, *bundled], complaints


def _read_folder(folder: Path) -> tuple[list[CameraPreset], list[str]]:
    presets, complaints = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            content = json.loads(path.read_text(encoding="utf-8-sig"))
            presets.append(CameraPreset.model_validate(content))
        except (OSError, ValueError, ValidationError) as error:
            first = str(error).splitlines()[0]
            complaints.append(f"The camera preset {path.name} cannot be read ({first}).")
    presets.sort(key=lambda preset: preset.title.lower())
    return presets, complaints


def save_preset(preset: CameraPreset, folder: Path, *, overwrite: bool = True) -> Path:
    """Write a preset as ``<id>.json``; one of the same id is replaced if that is allowed.

    Raises
    ------
    CameraError
        If the folder or the file cannot be written.
    OutputError
        If the file exists and may not be replaced.
    """
    path = folder / f"{preset.id}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=overwrite) as temporary:
            temporary.write_text(preset.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CameraError(
            f"The preset cannot be saved as {path}: {error.strerror or error}.",
            hint="Free space, or check the rights of that folder.",
        ) from error
    return path


def preset_id(name: str) -> str:
    """Return a file name for a camera's name: lower case letters, figures and hyphens."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "camera"


# ---------------------------------------------------------------- recognising


def read_setting(metadata: MovieMetadata, name: str) -> str | None:
    """Return a setting of the metadata by its name, with or without the device's label."""
    properties = metadata.properties
    if name in properties:
        return properties[name]
    # "Camera-1-Port" is the setting Port of a device that its owner calls Camera-1.
    ends = [key for key in properties if name.endswith(f"-{key}")]
    ends += [key for key in properties if key.endswith(f"-{name}")]
    return properties[max(ends, key=len)] if ends else None


def matching_presets(
    presets: Iterable[CameraPreset], metadata: MovieMetadata
) -> list[tuple[CameraPreset, CameraMode]]:
    """Return presets that suit a movie's metadata, the surest first, with their mode.

    Surest is a camera known by its serial number, then the user's own ones, then the longest
    word found.
    """
    camera = (metadata.camera or "").lower()
    settings = " | ".join(f"{k}={v}" for k, v in metadata.properties.items()).lower()
    text = f"{camera} | {metadata.device or ''} | {settings} |".lower()
    found: list[tuple[tuple[bool, bool, int], CameraPreset, CameraMode]] = []
    for preset in presets:
        same = bool(preset.identity) and _all_hold(preset.identity, metadata)
        hits = [word for word in preset.match if word and word.lower() in text]
        if same or hits:
            rank = (same, preset.own, max(map(len, hits), default=0))
            found.append((rank, preset, _matching_mode(preset.modes, metadata, text)))
    found.sort(key=lambda entry: entry[0], reverse=True)
    return [(preset, mode) for _, preset, mode in found]


def _all_hold(wanted: Mapping[str, str], metadata: MovieMetadata) -> bool:
    return all(_same(read_setting(metadata, name), value) for name, value in wanted.items())


def _same(found: str | None, wanted: str) -> bool:
    return found is not None and " ".join(found.split()) == " ".join(wanted.split())


def _matching_mode(modes: Sequence[CameraMode], metadata: MovieMetadata, text: str) -> CameraMode:
    """Return the mode whose settings hold, else the nearest, else the first.

    Nearest among modes without settings is the one with the most words; where all have settings,
    the one of which the first holds, then the second, and so on.
    """
    exact = [mode for mode in modes if mode.when and _all_hold(mode.when, metadata)]
    if exact:
        return max(exact, key=lambda mode: len(mode.when))
    loose = [mode for mode in modes if not mode.when] or list(modes)

    def nearness(mode: CameraMode) -> tuple[tuple[bool, ...], int]:
        holding = tuple(_same(read_setting(metadata, k), v) for k, v in mode.when.items())
        return holding, sum(word.lower() in text for word in mode.match)

    return max(loose, key=nearness)


# ---------------------------------------------------------------- values


def apply_mode(preset: CameraPreset, mode: CameraMode, base: CameraConfig) -> CameraConfig:
    """Return a camera with a preset's values; what the preset leaves open stays.

    Values of another kind of camera do not survive: an sCMOS has no EM gain.
    """
    values = base.model_dump()
    kind = mode.kind or preset.kind
    values.update(kind=kind, name=preset.title)
    if kind != "emccd":
        values.update(em_gain=1.0, em_mirrored=False, spurious_charge_e=0.0)
    if kind == "ideal":
        values.update(read_noise_e=0.0)
    stated = {k: v for k, v in mode.values.model_dump().items() if v is not None}
    if "pixel_size_x_nm" in stated:
        values["pixel_size_y_nm"] = None  # the other camera's
    values.update(stated)
    return CameraConfig(**values)


def stated_values(preset: CameraPreset, metadata: MovieMetadata) -> tuple[StatedValue, ...]:
    """Return what the movie's metadata say by the preset's rules.

    Where no rule speaks of the EM register, the movie's reader may know its read-out.
    """
    found: list[StatedValue] = []
    em_on: bool | None = None
    for rule in preset.rules:
        text = read_setting(metadata, rule.property)
        value = None if text is None else _read_by(rule, text)
        lowest = _LOWEST.get(rule.field)
        if value is None or (lowest is not None and not lowest <= value < math.inf):
            continue
        reason = f"camera property '{rule.property}' is '{text}'"
        if rule.field == "em_on":
            em_on = bool(value)
            kind = "emccd" if em_on else "scmos"
            found.append(StatedValue(field="kind", value=kind, reason=reason))
        else:
            found.append(StatedValue(field=rule.field, value=value, reason=reason))
    if em_on is None and preset.kind == "emccd" and metadata.em_register_on is False:
        em_on = False
        reason = "the conventional (not EM) amplifier is set in the file"
        found.append(StatedValue(field="kind", value="scmos", reason=reason))
    if em_on is False:
        # Without the EM register a stated EM gain plays no part.
        found = [stated for stated in found if stated.field != "em_gain"]
        reason = next(stated.reason for stated in found if stated.field == "kind")
        found.append(StatedValue(field="em_gain", value=1.0, reason=reason))
    return tuple(found)


def _read_by(rule: MetadataRule, text: str) -> float | bool | None:
    if rule.form == "equals":
        return _same(text, rule.argument)
    if rule.form == "differs":
        return not _same(text, rule.argument)
    match = re.match(r"\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", text)
    if match is None:
        return None
    number = float(match.group(1))
    return number > float(rule.argument) if rule.form == "above" else number * rule.factor


def camera_for_movie(
    presets: Iterable[CameraPreset], metadata: MovieMetadata, base: CameraConfig
) -> CameraConfig | None:
    """Return the camera of a movie as far as the database and the metadata know it.

    Parameters
    ----------
    presets : iterable of CameraPreset
    metadata : MovieMetadata
    base : CameraConfig
        What stays where both are silent, for example the pixel size.

    Returns
    -------
    CameraConfig or None
        None for a camera that no preset knows.
    """
    matches = matching_presets(presets, metadata)
    if not matches:
        return None
    preset, mode = matches[0]
    values: dict[str, Any] = apply_mode(preset, mode, base).model_dump()
    values.update({stated.field: stated.value for stated in stated_values(preset, metadata)})
    if values["kind"] != "emccd":
        values.update(em_gain=1.0, em_mirrored=False, spurious_charge_e=0.0)
    return CameraConfig(**values)
