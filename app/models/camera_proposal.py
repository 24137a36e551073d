"""What a movie's metadata say about its camera, as proposals with their reasons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from app.models.camera_presets import (
    CameraMode,
    CameraPreset,
    apply_mode,
    matching_presets,
    stated_values,
)
from decode_engine.contract.configs import CameraConfig
from decode_engine.io.movies import MovieMetadata

__all__ = ["CameraProposal", "propose_camera"]

# Properties of Micro-Manager's device adapters that state a value of the camera. The key is the
# end of the property's name, as the device's own name comes before it.
_OFFSETS = ("conversion factor offset",)
_CONVERSIONS = ("conversion factor coeff", "actual gain e/adu")
_EM_GAINS = ("multipliergain", "emgain", "em gain")
_ANDOR_EM_GAIN = "gain"  # of an EMCCD of Andor only; others call other things "gain"
_CONVENTIONAL = ("conventional", "normal", "standard ccd")
_PORTS = ("output_amplifier", "port", "emswitch", "readoutmode")


@dataclass(frozen=True, slots=True, kw_only=True)
class CameraProposal:
    """What the movie suggests.

    Parameters
    ----------
    preset, mode : CameraPreset, CameraMode or None
        The camera that was recognised.
    values : mapping of str
        `CameraConfig` fields that the file itself states (not the preset).
    reasons : mapping of str
        For each of ``values``, where in the file it stands.
    """

    preset: CameraPreset | None = None
    mode: CameraMode | None = None
    values: Mapping[str, Any] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        """Whether the movie says nothing about its camera."""
        return self.preset is None and not self.values

    def applied_to(self, base: CameraConfig) -> CameraConfig:
        """Return a camera with everything that is proposed."""
        if self.preset is not None and self.mode is not None:
            base = apply_mode(self.preset, self.mode, base)
        values = {**base.model_dump(), **self.values}
        if values["kind"] != "emccd":
            values.update(em_gain=1.0, em_mirrored=False)
        return CameraConfig(**values)

    def differs_from(self, camera: CameraConfig) -> tuple[str, ...]:
        """Return the fields in which the file states something else than a camera says."""
        fields = []
        for name, value in self.values.items():
            present = getattr(camera, name)
            if name == "em_gain" and camera.kind != "emccd":
                continue
            if name == "pixel_size_y_nm" and present is None:
                present = camera.pixel_size_x_nm
            if isinstance(value, float) and isinstance(present, (int, float)):
                if abs(present - value) > 0.005 * abs(value):
                    fields.append(name)
            elif present != value and not isinstance(present, str):
                fields.append(name)
        return tuple(fields)


def propose_camera(metadata: MovieMetadata, presets: Iterable[CameraPreset]) -> CameraProposal:
    """Recognise the camera and take what the file states."""
    matches = matching_presets(presets, metadata)
    preset, mode = matches[0] if matches else (None, None)
    values: dict[str, Any] = {}
    reasons: dict[str, str] = {}

    def take(name: str, value: Any, reason: str) -> None:
        # A resolution per inch, read back, is 109.99999999999999 nm.
        values[name] = float(f"{value:.6g}") if isinstance(value, float) else value
        reasons[name] = reason

    if metadata.pixel_size_x_nm:
        take("pixel_size_x_nm", metadata.pixel_size_x_nm, f"pixel size in the {metadata.kind}")
        y_nm = metadata.pixel_size_y_nm
        if y_nm and abs(y_nm / metadata.pixel_size_x_nm - 1) > 1e-3:
            take("pixel_size_y_nm", y_nm, f"pixel size in the {metadata.kind}")
    properties = metadata.properties
    for name, keys, lowest in (("offset_adu", _OFFSETS, 0.0), ("e_per_adu", _CONVERSIONS, 1e-6)):
        found = _stated(properties, keys)
        if found is not None and found[1] >= lowest:
            take(name, found[1], f"camera property '{found[0]}'")
    if preset is not None and preset.rules:
        known = mode.kind or preset.kind if mode is not None else preset.kind
        for stated in stated_values(preset, metadata):
            if stated.field == "kind" and stated.value == known:
                continue  # the mode says it already
            take(stated.field, stated.value, stated.reason)
    elif preset is not None and preset.kind == "emccd":
        andor = (_ANDOR_EM_GAIN,) if preset.vendor == "Andor" else ()
        gain = _stated(properties, (*_EM_GAINS, *andor))
        if _conventional(properties):
            # Without the EM register there is no excess noise: a plain camera.
            take("kind", "scmos", "the conventional (not EM) amplifier is set in the file")
            take("em_gain", 1.0, "the conventional (not EM) amplifier is set in the file")
        elif gain is not None and gain[1] > 1:
            take("em_gain", gain[1], f"camera property '{gain[0]}'")
    return CameraProposal(preset=preset, mode=mode, values=values, reasons=reasons)


def _stated(properties: Mapping[str, str], keys: Iterable[str]) -> tuple[str, float] | None:
    """Return the first property of these names that is a number."""
    for key in keys:
        for name, text in properties.items():
            match = re.fullmatch(r"\s*([-+]?\d+(?:\.\d*)?)\s*x?\s*", text)
            if match and (name.lower() == key or name.lower().endswith(f"-{key}")):
                return name, float(match.group(1))
    return None


def _conventional(properties: Mapping[str, str]) -> bool:
    return any(
        name.lower() in _PORTS and any(word in text.lower() for word in _CONVENTIONAL)
        for name, text in properties.items()
    )
