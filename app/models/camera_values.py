"""Whether camera values can be those of a camera at all, without reading their maps."""

from __future__ import annotations

from pathlib import Path

from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.cameras import MAP_FIELDS, camera_from_config

__all__ = ["impossible_values"]


def impossible_values(camera: CameraConfig) -> str:
    """Say which value is impossible and what to do; empty where all are possible.

    Per-pixel maps are taken as given: they are read, and judged, where they are used.
    """
    without_maps = {
        name: CameraConfig.model_fields[name].default
        for name in MAP_FIELDS
        if isinstance(getattr(camera, name), str)
    }
    try:
        camera_from_config(camera.model_copy(update=without_maps), Path())
    except CameraError as error:
        return str(error)
    return ""
