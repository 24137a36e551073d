"""`LocalizationMetadata`: the provenance that every localization file carries."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Self

from decode_engine.errors import LocalizationsError

__all__ = ["LocalizationMetadata", "software_versions", "utc_now"]

# Settings that do not change the result, so a job may be resumed with others.
_EXECUTION_SETTINGS = frozenset(
    {
        "allow_mismatch",
        "batch_frames",
        "chunk_frames",
        "write_every_s",
        "follow_s",
        "overwrite",
        "resume",
    }
)
_IDENTITY = {
    "movie_fingerprint": "movie",
    "model_id": "model",
    "calibration_id": "calibration",
    "camera": "camera",
    "pixel_size_x_nm": "pixel size x",
    "pixel_size_y_nm": "pixel size y",
    "width_px": "frame width",
    "height_px": "frame height",
    "roi": "region",
    "frame_start": "first frame",
    "refractive_index_factor": "refractive-index factor",
    "seed": "seed",
}


@dataclass(frozen=True, kw_only=True)
class LocalizationMetadata:
    """Where localizations come from: enough to make them again.

    Parameters
    ----------
    movie_paths : tuple of str
        Files as they were given.
    movie_fingerprint : str
        `FrameSource.fingerprint` of the frames that were there.
    movie_frames : int
        Frames of the movie.
    width_px, height_px : int
        Size of the full frame (not of the region).
    pixel_size_x_nm, pixel_size_y_nm : float
    roi : (x, y, width, height) or None
        Region in pixels; None = the whole frame.
    frame_start, frame_stop : int
        Range of frames that were localized, end exclusive.
    is_3d : bool
        Whether ``z_nm`` was estimated.
    refractive_index_factor : float
        What the calibration's stage heights were multiplied by; ``z_nm`` and ``sigma_z_nm``
        contain it already.
    method : str
        Job that made them ("localize", "fit-mle", ...).
    model_id, calibration_id : str
        Checksums (SHA-256) of the model bundle and of the PSF.
    camera : mapping
        Camera as JSON values (`CameraConfig`).
    config : mapping
        Settings of the job as JSON values.
    versions : mapping
        Software versions (`software_versions`).
    seed : int or None
    device : str
    created : str
        UTC, ISO 8601.
    frames_done : int
        Finished frames of the range; written by `LocalizationWriter`.
    complete : bool
        The job ran to its end; written by `LocalizationWriter`.
    notes : tuple of str
        Warnings for the reader (frames missing in the movie, checks overridden, ...).
    """

    movie_paths: tuple[str, ...] = ()
    movie_fingerprint: str = ""
    movie_frames: int = 0
    width_px: int
    height_px: int
    pixel_size_x_nm: float
    pixel_size_y_nm: float
    roi: tuple[int, int, int, int] | None = None
    frame_start: int = 0
    frame_stop: int = 0
    is_3d: bool = True
    refractive_index_factor: float = 1.0
    method: str = ""
    model_id: str = ""
    calibration_id: str = ""
    camera: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    config: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    versions: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    seed: int | None = None
    device: str = ""
    created: str = ""
    frames_done: int = 0
    complete: bool = False
    notes: tuple[str, ...] = ()

    @property
    def n_frames(self) -> int:
        """Frames of the range."""
        return self.frame_stop - self.frame_start

    def to_json(self) -> str:
        """Return all fields as a JSON object."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        plain = {k: dict(v) if isinstance(v, Mapping) else v for k, v in values.items()}
        return json.dumps(plain, indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read `to_json`'s text; fields of later versions are ignored.

        Raises
        ------
        LocalizationsError
            If the text is not that of a provenance.
        """
        try:
            values = json.loads(text)
            known = {f.name for f in dataclasses.fields(cls)}
            kept = {k: v for k, v in values.items() if k in known}
            for name in ("movie_paths", "notes"):
                kept[name] = tuple(kept.get(name, ()))
            kept["roi"] = tuple(kept["roi"]) if kept.get("roi") else None
            for name in ("camera", "config", "versions"):
                kept[name] = MappingProxyType(dict(kept.get(name, {})))
            return cls(**kept)
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise LocalizationsError(
                "The provenance of the localizations cannot be read.",
                hint="The file is damaged or not a result of this program; make it again.",
                detail=str(error),
            ) from error

    def differences(self, other: LocalizationMetadata) -> list[str]:
        """Name what differs between two jobs such that one cannot continue the other."""
        mine, theirs = json.loads(self.to_json()), json.loads(other.to_json())
        found = [
            f"{word} ({_short(theirs[name])} instead of {_short(mine[name])})"
            for name, word in _IDENTITY.items()
            if mine[name] != theirs[name]
        ]
        ours, others = mine["config"], theirs["config"]
        for name in sorted((set(ours) | set(others)) - _EXECUTION_SETTINGS):
            if ours.get(name) != others.get(name):
                found.append(
                    f"setting {name} ({_short(others.get(name))} instead of "
                    f"{_short(ours.get(name))})"
                )
        return found


def _short(value: object) -> str:
    text = json.dumps(value) if not isinstance(value, str) else value
    return text if len(text) <= 40 else f"{text[:12]}…"


def software_versions() -> dict[str, str]:
    """Return the versions of what may influence a result, without importing it."""
    versions = {"python": platform.python_version()}
    for package in ("decode-desktop", "torch", "numpy", "scipy", "h5py", "tifffile"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def utc_now() -> str:
    """Return the time as ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")
