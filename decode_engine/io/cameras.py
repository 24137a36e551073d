"""Camera files: the JSON of `CameraConfig`, per-pixel maps beside it as ``.npy`` or ``.tif``.

The entries ``offset_adu``, ``e_per_adu`` and ``read_noise_e`` are numbers or the path of a map,
relative to the JSON file. A map has the rows and columns of the movie (of its region on the
chip, if a region was recorded).
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from pydantic import ValidationError

from decode_engine.contract.configs import CameraConfig
from decode_engine.domain.camera import CameraModel, PixelMap
from decode_engine.errors import CameraError
from decode_engine.io.atomic import atomic_path, require_output

__all__ = ["MAP_FIELDS", "camera_from_config", "read_camera", "read_camera_config", "write_camera"]

MAP_FIELDS = ("offset_adu", "e_per_adu", "read_noise_e")

_EXAMPLE = (
    'A camera file looks like {"kind": "scmos", "pixel_size_x_nm": 100, "offset_adu": 100, '
    '"e_per_adu": 0.46, "read_noise_e": 1.5}.'
)
# Names that other programs use for the same thing.
_OTHER_NAMES = {
    "adu_per_e": "e_per_adu (its inverse)",
    "baseline": "offset_adu",
    "conversion": "e_per_adu",
    "emgain": "em_gain",
    "gain": "e_per_adu or em_gain",
    "mirror_dim": "em_mirrored",
    "offset": "offset_adu",
    "pixel_size_nm": "pixel_size_x_nm",
    "pixelsize": "pixel_size_x_nm",
    "px_size": "pixel_size_x_nm",
    "qe": "quantum_efficiency",
    "read_noise": "read_noise_e",
    "read_sigma": "read_noise_e",
    "spur_noise": "spurious_charge_e",
    "variance": "read_noise_e (its square root in electrons)",
}
_HINTS = {
    "em_gain": "Without an EM register choose kind 'scmos' and leave em_gain out (it is 1).",
    "pixel_size_x_nm": "Give the pixel size in the sample plane, usually 80-160 nm.",
    "schema_version": "The file comes from a later version of this program; update it.",
    "kind": "Choose ideal, emccd or scmos.",
}


def read_camera(path: Path) -> CameraModel:
    """Read a camera file and the maps it names.

    Raises
    ------
    CameraError
        If the file or a map cannot be read, a key is unknown or a value is impossible.
    """
    return camera_from_config(read_camera_config(path), path.parent)


def read_camera_config(path: Path) -> CameraConfig:
    """Read the JSON of a camera file without its maps."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise CameraError(f"The camera file {path} {what}.", hint="Give a camera file (.json).")
    try:
        # Windows editors begin files with a byte-order mark.
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise CameraError(
            f"{path.name} is not a JSON file: {error}.", hint=_EXAMPLE, detail=repr(error)
        ) from error
    if not isinstance(content, dict):
        raise CameraError(
            f"{path.name} holds a {type(content).__name__}, not camera settings.", hint=_EXAMPLE
        )
    try:
        return CameraConfig.model_validate(content)
    except ValidationError as error:
        raise _explain(path.name, error) from error


def camera_from_config(config: CameraConfig, folder: Path) -> CameraModel:
    """Build the camera; map paths are relative to ``folder``."""
    values = config.model_dump(exclude={"schema_version"})
    for name in MAP_FIELDS:
        if isinstance(values[name], str):
            values[name] = _read_map(name, folder / values[name])
    if values["pixel_size_y_nm"] is None:
        values["pixel_size_y_nm"] = values["pixel_size_x_nm"]
    return CameraModel(**values)


def write_camera(camera: CameraModel, path: Path, *, overwrite: bool) -> None:
    """Write a camera file; maps become ``NAME.FIELD.npy`` beside it.

    Raises
    ------
    OutputError
        If one of the files exists or the folder is not writable; nothing is written then.
    """
    values: dict[str, Any] = {
        name: getattr(camera, name)
        for name in CameraConfig.model_fields
        if name != "schema_version"
    }
    maps: dict[Path, NDArray[np.float32]] = {}
    for name in MAP_FIELDS:
        if isinstance(values[name], np.ndarray):
            map_path = path.with_name(f"{path.stem}.{name}.npy")
            maps[map_path] = values[name]
            values[name] = map_path.name
    config = CameraConfig(**values)
    for target in (*maps, path):
        require_output(target, overwrite=overwrite)
    # The JSON comes last: a camera file never names maps that are not there yet.
    for map_path, array in maps.items():
        with atomic_path(map_path, overwrite=overwrite) as temporary:
            np.save(temporary, array, allow_pickle=False)
    with atomic_path(path, overwrite=overwrite) as temporary:
        temporary.write_text(config.model_dump_json(indent=2) + "\n", encoding="utf-8")


def _read_map(field: str, path: Path) -> PixelMap:
    if not path.is_file():
        raise CameraError(
            f"The map {path} of {field} does not exist.",
            hint="Write a number without quotes, or the path of a .npy or .tif beside the file.",
        )
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = tifffile.imread(path)
    except (OSError, ValueError, EOFError, tifffile.TiffFileError) as error:
        raise CameraError(
            f"The map {path.name} of {field} cannot be read.",
            hint="Save it as .npy (numpy) or as a TIFF of one image.",
            detail=repr(error),
        ) from error
    if array.ndim == 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise CameraError(
            f"The map {path.name} of {field} has the shape {array.shape} and type {array.dtype}; "
            "one image of numbers is needed.",
            hint="Save each map as an image of its own: offset in ADU, e-/ADU, read noise in e-.",
        )
    return np.asarray(array, np.float32)


def _explain(name: str, error: ValidationError) -> CameraError:
    """Turn the first complaint of pydantic into one sentence with a way out."""
    first = error.errors()[0]
    key = str(first["loc"][0]) if first["loc"] else ""
    value = first.get("input")
    if first["type"] == "extra_forbidden":
        return CameraError(
            f"{name} has the unknown key {key!r}.", hint=_suggestion(key), detail=str(error)
        )
    if first["type"] == "missing":
        return CameraError(
            f"{name} lacks {key}.", hint=_HINTS.get(key, _EXAMPLE), detail=str(error)
        )
    shown = "empty (null)" if value is None else json.dumps(value, default=str)
    hint = _HINTS.get(key, _describe(key))
    return CameraError(f"{name}: {key} is {shown}.", hint=hint, detail=str(error))


def _suggestion(key: str) -> str:
    lowered = key.lower()
    known = [name for name in CameraConfig.model_fields if name != "schema_version"]
    near = difflib.get_close_matches(lowered, known, n=1, cutoff=0.6)
    meant = _OTHER_NAMES.get(lowered) or (near[0] if near else "")
    if meant:
        return f"Did you mean {meant}?"
    return f"Known keys are {', '.join(known)}."


def _describe(key: str) -> str:
    fields: Mapping[str, Any] = CameraConfig.model_fields
    if key not in fields:
        return _EXAMPLE
    extra = fields[key].json_schema_extra
    unit = extra.get("unit") if isinstance(extra, dict) else ""
    number = f"Give a number{f' in {unit}' if unit else ''}."
    return f"{number} {fields[key].description or ''}".strip()
