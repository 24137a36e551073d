"""Cameras of other programs become presets of the user's own."""

from __future__ import annotations

from pathlib import Path

from decode_engine.errors import CameraError
from decode_engine.io.camera_database import save_preset
from decode_engine.io.camera_import_picasso import read_picasso_cameras
from decode_engine.io.camera_import_smap import read_smap_cameras

__all__ = ["import_cameras", "is_camera_list"]

_READERS = {
    ".mat": read_smap_cameras,
    ".yaml": read_picasso_cameras,
    ".yml": read_picasso_cameras,
}


def is_camera_list(path: Path) -> bool:
    """Whether a file may be SMAP's ``cameras.mat`` or Picasso's ``config.yaml``, by its ending."""
    return path.suffix.lower() in _READERS


def import_cameras(path: Path, folder: Path | None) -> str:
    """Add the cameras of a list to the presets in ``folder``; return what was done, in words.

    Presets that are there already stay as they are.

    Raises
    ------
    CameraError
        If the file holds no camera list, or the presets cannot be saved.
    """
    if folder is None:
        raise CameraError("There is no folder for presets.", hint="Start the app as usual.")
    found = _READERS[path.suffix.lower()](path)
    if not found.presets:
        raise CameraError(
            f"{path.name} has no camera that can be read: {' '.join(found.notes)}",
            hint="Make sure that it is the right file.",
        )
    is_known = {p.id: (folder / f"{p.id}.json").exists() for p in found.presets}
    added = [preset for preset in found.presets if not is_known[preset.id]]
    for preset in added:
        save_preset(preset, folder, overwrite=False)
    kept = [preset.model for preset in found.presets if is_known[preset.id]]
    words = [f"Presets added from {path.name}: {', '.join(p.model for p in added) or 'none'}."]
    if kept:
        words.append(f"Already among yours and not replaced: {', '.join(kept)}.")
    return " ".join([*words, *found.notes])
