"""Read the cameras of Picasso's ``config.yaml``.

Facts: under ``Cameras`` stands one entry a camera (in old files nested as manufacturer, type,
model, serial number) with ``Baseline`` (ADU), ``Pixelsize`` (nm), ``Quantum Efficiency`` (a number,
or one a wavelength) and ``Sensitivity`` (electrons per ADU): a number, or nested by the settings
that ``Sensitivity Categories`` lists, in old files by EM (true, false), read-out rate and
pre-amplifier. ``Gain Property Name`` names the setting with the EM gain. Picasso recognises a
camera by Micro-Manager's label of it, which is the entry's name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from decode_engine.contract.camera_presets import (
    CameraMode,
    CameraPreset,
    MetadataRule,
    ModeValues,
)
from decode_engine.errors import CameraError
from decode_engine.io.camera_database import preset_id
from decode_engine.io.camera_import_smap import CameraImport

__all__ = ["read_picasso_cameras"]

_KEYS = {"Baseline", "Sensitivity", "Quantum Efficiency", "Pixelsize", "Sensor"}
_KEYS |= {"Sensitivity Categories", "Gain Property Name"}
_MOST_CAMERAS, _MOST_BYTES, _DEEPEST = 500, 1 << 22, 8
_WHICH = "Give the config.yaml of Picasso's folder; its cameras stand under 'Cameras:'."
_DOUBT = (
    "Imported values: compare them with your camera's test sheet. Picasso keeps no read noise; "
    "the one set before stays."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _State:
    """One sensitivity, and the keys that lead to it."""

    keys: tuple[str | bool, ...]
    e_per_adu: float


def read_picasso_cameras(path: Path) -> CameraImport:
    """Read all cameras of a ``config.yaml``.

    Raises
    ------
    CameraError
        If the file is not YAML or has no cameras.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{path.stat().st_size} bytes are too many for settings")
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        raise CameraError(
            f"{path.name} cannot be read as YAML.", hint=_WHICH, detail=str(error)
        ) from error
    cameras = content.get("Cameras") if isinstance(content, dict) else None
    if not isinstance(cameras, dict) or not cameras:
        raise CameraError(f"{path.name} has no cameras.", hint=_WHICH)
    presets: list[CameraPreset] = []
    notes: list[str] = []
    for names, entry in _entries(cameras, ()):
        name = " ".join(names)
        if len(presets) >= _MOST_CAMERAS:
            notes.append(f"Only the first {_MOST_CAMERAS} cameras were read.")
            break
        try:
            preset, said = _preset(names, entry, path.name)
        except (TypeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            notes.append(f"The camera {name!r} cannot be read ({reason}); left out.")
            continue
        presets.append(preset)
        notes += [f"{name}: {text}" for text in said]
    return CameraImport(presets=tuple(presets), notes=tuple(notes))


def _entries(
    node: Mapping[Any, Any], names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Mapping[Any, Any]]]:
    """Yield the cameras with their names, however deep old files nest them."""
    for key, value in node.items():
        if not isinstance(value, dict) or len(names) >= _DEEPEST:
            continue
        if _KEYS & {str(inner) for inner in value}:
            yield (*names, str(key)), value
        else:
            yield from _entries(value, (*names, str(key)))


def _preset(
    names: tuple[str, ...], entry: Mapping[Any, Any], file_name: str
) -> tuple[CameraPreset, list[str]]:
    notes: list[str] = []
    states = list(_states(entry.get("Sensitivity"), ()))
    categories = [str(name) for name in entry.get("Sensitivity Categories") or ()]
    gain_property = entry.get("Gain Property Name")
    em = (
        bool(gain_property)
        or str(entry.get("Sensor", "")).upper() == "EMCCD"
        or any(True in [k for k in state.keys if isinstance(k, bool)] for state in states)
    )
    efficiency = entry.get("Quantum Efficiency")
    if isinstance(efficiency, dict):
        told = ", ".join(f"{value:g} at {key} nm" for key, value in efficiency.items())
        notes.append(
            f"its quantum efficiency depends on the wavelength ({told}); 1 is kept, which makes "
            "photons mean detected photons."
        )
        efficiency = None
    if not states:
        notes.append("it has no sensitivity (e-/ADU); the one set before stays.")
    shared: dict[str, Any] = {
        "offset_adu": _float(entry.get("Baseline")),
        "pixel_size_x_nm": _float(entry.get("Pixelsize")),
        "quantum_efficiency": _float(efficiency),
    }
    modes = [_mode(state, categories, shared, em) for state in states]
    modes = modes or [CameraMode(name="all", values=ModeValues(**shared))]
    rules: tuple[MetadataRule, ...] = ()
    if gain_property:
        rules = (MetadataRule(field="em_gain", property=str(gain_property)),)
    return (
        CameraPreset(
            id=preset_id(f"picasso-{' '.join(names)}"),
            vendor="",
            model=" ".join(names),
            kind="emccd" if em else "scmos",
            # Old files name a camera as Andor does: type, model and serial number in bars.
            match=(" | ".join(names[1:]) if len(names) > 2 else names[-1],),
            rules=rules,
            modes=tuple(modes),
            note=_DOUBT,
            source=f"Imported from Picasso's settings {file_name}.",
            own=True,
        ),
        notes,
    )


def _states(node: Any, keys: tuple[str | bool, ...]) -> Iterator[_State]:
    if isinstance(node, dict) and len(keys) < _DEEPEST:
        for key, value in node.items():
            yield from _states(value, (*keys, key if isinstance(key, bool) else str(key)))
    elif isinstance(node, list):
        for index, value in enumerate(node):  # pre-amplifier settings 1, 2, 3
            yield from _states(value, (*keys, f"Gain {index + 1}"))
    elif node is not None:
        yield _State(keys=keys, e_per_adu=float(node))


def _mode(state: _State, categories: list[str], shared: Mapping[str, Any], em: bool) -> CameraMode:
    em_off = em and False in [key for key in state.keys if isinstance(key, bool)]
    words = tuple(key for key in state.keys if isinstance(key, str))
    when = {}
    if len(categories) == len(state.keys):
        when = {name: str(key) for name, key in zip(categories, state.keys, strict=True)}
    named = [*words, *(["EM off"] if em_off else [])]
    values = {**shared, "e_per_adu": state.e_per_adu}
    if not em or em_off:
        values["em_gain"] = 1.0
    return CameraMode(
        name=", ".join(named) or "all",
        match=() if when else words,
        when=when,
        kind="scmos" if em_off else None,
        values=ModeValues(**values),
    )


def _float(value: Any) -> float | None:
    return None if value is None or isinstance(value, (dict, list)) else float(value)
