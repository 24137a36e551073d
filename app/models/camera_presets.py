"""Camera presets: typical values of common cameras, and the user's own ones."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from decode_engine.contract.base import Config
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import CameraError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.movies import MovieMetadata
from decode_engine.io.resources import resource_path

__all__ = [
    "CameraMode",
    "CameraPreset",
    "ModeValues",
    "apply_mode",
    "load_presets",
    "matching_presets",
    "own_preset",
    "save_preset",
]


class ModeValues(Config):
    """Values of `CameraConfig` that depend on read-out mode and gain; None leaves one as it is."""

    offset_adu: float | None = None
    e_per_adu: float | None = None
    em_gain: float | None = None
    read_noise_e: float | None = None
    spurious_charge_e: float | None = None
    saturation_adu: float | None = None
    em_mirrored: bool | None = None
    pixel_size_x_nm: float | None = None  # own presets only: it depends on the microscope
    quantum_efficiency: float | None = None


class CameraMode(Config):
    """One read-out mode of a camera.

    ``match`` are words of the metadata (any case) by which the mode is recognised; ``kind`` is
    given where it is not the camera's usual one: an EMCCD read out without EM register has no
    excess noise and counts as scmos.
    """

    name: str
    match: tuple[str, ...] = ()
    kind: Literal["ideal", "emccd", "scmos"] | None = None
    values: ModeValues


class CameraPreset(Config):
    """A camera model with its modes.

    ``match`` are words by which the camera is recognised in a movie's metadata (any case);
    ``source`` says where the values come from, ``note`` what to mind.
    """

    schema_version: Literal[1] = 1
    id: str
    vendor: str
    model: str
    kind: Literal["ideal", "emccd", "scmos"]
    chip_pixel_um: float | None = None
    match: tuple[str, ...] = ()
    modes: tuple[CameraMode, ...]
    note: str = ""
    source: str
    own: bool = False  # made by the user

    @property
    def title(self) -> str:
        """Name in lists."""
        return f"{self.vendor} {self.model}".strip()


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


def save_preset(preset: CameraPreset, folder: Path) -> Path:
    """Write a preset as ``<id>.json``; one of the same id is replaced."""
    path = folder / f"{preset.id}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(path, overwrite=True) as temporary:
            temporary.write_text(preset.model_dump_json(indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CameraError(
            f"The preset cannot be saved as {path}: {error.strerror or error}.",
            hint="Free space, or check the rights of that folder.",
        ) from error
    return path


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
        id=re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "camera",
        vendor="",
        model=name,
        kind=camera.kind,
        match=(camera_name,) if camera_name else (),
        modes=(CameraMode(name="saved values", values=ModeValues(**values)),),
        source="Saved by you.",
        own=True,
    )


def matching_presets(
    presets: Iterable[CameraPreset], metadata: MovieMetadata
) -> list[tuple[CameraPreset, CameraMode]]:
    """Return presets whose words are in a movie's metadata, the surest first, with their mode."""
    camera = (metadata.camera or "").lower()
    settings = " | ".join(f"{k}={v}" for k, v in metadata.properties.items()).lower()
    text = f"{camera} | {settings} |"
    found: list[tuple[int, CameraPreset, CameraMode]] = []
    for preset in presets:
        hits = [word for word in preset.match if word and word.lower() in text]
        if hits:
            found.append((max(map(len, hits)), preset, _matching_mode(preset.modes, text)))
    found.sort(key=lambda entry: (-entry[1].own, -entry[0]))
    return [(preset, mode) for _, preset, mode in found]


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
    values.update({k: v for k, v in mode.values.model_dump().items() if v is not None})
    return CameraConfig(**values)


def _matching_mode(modes: Sequence[CameraMode], text: str) -> CameraMode:
    """Return the mode with the most words in the metadata, else the first."""
    return max(modes, key=lambda mode: sum(word.lower() in text for word in mode.match))


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
