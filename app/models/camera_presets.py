"""Camera presets in the app: the engine's database, and presets of the user's own values."""

from __future__ import annotations

from decode_engine.contract.camera_presets import CameraMode, CameraPreset, ModeValues
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.camera_database import (
    apply_mode,
    load_presets,
    matching_presets,
    preset_id,
    save_preset,
    stated_values,
)
from decode_engine.io.movies import MovieMetadata

__all__ = [
    "CameraMode",
    "CameraPreset",
    "ModeValues",
    "apply_mode",
    "load_presets",
    "matching_presets",
    "own_preset",
    "save_preset",
    "stated_values",
]


def own_preset(name: str, camera: CameraConfig, metadata: MovieMetadata | None) -> CameraPreset:
    """Make a preset of the present values; it is recognised by the camera name of the movie.

    Raises
    ------
    CameraError
        If a value is a per-pixel map (it belongs to one region of one chip), or there is no name.
    """
    name = name.strip()
    if not name:
        raise CameraError("A preset needs a name.", hint="Type one, say 'Microscope 2, Fusion'.")
    values = {key: getattr(camera, key) for key in ModeValues.model_fields}
    maps = [key for key, value in values.items() if isinstance(value, str)]
    if maps:
        raise CameraError(
            f"A preset holds numbers only; {', '.join(maps)} is a per-pixel map.",
            hint="Use 'Save file…' instead: a camera file keeps the maps.",
        )
    camera_name = metadata.camera if metadata is not None and metadata.camera else ""
    return CameraPreset(
        id=preset_id(name),
        vendor="",
        model=name,
        kind=camera.kind,
        match=(camera_name,) if camera_name else (),
        modes=(CameraMode(name="saved values", values=ModeValues(**values)),),
        source="Saved by you.",
        own=True,
    )
