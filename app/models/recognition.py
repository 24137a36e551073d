"""What a dropped file is, by its content, and on which page it belongs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py

from app.models.steps import Step
from decode_engine.contract.configs import CameraConfig
from decode_engine.errors import EngineError, MovieError
from decode_engine.io.calibrations import is_calibration_file
from decode_engine.io.cameras import read_camera_config
from decode_engine.io.filetypes import describe_file_type, file_type
from decode_engine.io.localizations import is_ours, is_partial_result
from decode_engine.io.movies import FrameSource, open_movie

__all__ = ["CAN_BE_DROPPED", "Kind", "Recognized", "recognize"]

Kind = Literal[
    "project", "movie", "movie or beads", "calibration", "camera", "model", "localizations",
    "unknown",
]  # fmt: skip
CAN_BE_DROPPED = (
    "You can drop: a movie (TIFF, .raw, .dax, Micro-Manager folder), bead stacks (TIFF), a "
    "calibration (_3dcal.mat, .h5), a camera (.json), a model (.decode), localizations (.h5, "
    ".csv; also of ThunderSTORM, Picasso, SMAP and others), or a project folder."
)
_STEPS: dict[Kind, Step] = {
    "project": Step.START,
    "movie": Step.MOVIE,
    "movie or beads": Step.MOVIE,
    "calibration": Step.CALIBRATION,
    "camera": Step.CAMERA,
    "model": Step.LOCALIZE,
    "localizations": Step.EXPLORE,
    "unknown": Step.START,
}
# Z-scans over beads have at most some hundred slices, blinking movies thousands of frames.
_MOST_SLICES = 300
_BEAD_WORDS = ("bead", "zstack", "z-stack", "z_stack", "3dcal", "zscan")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recognized:
    """A path and what it is; ``words`` says why where it is nothing that can be used."""

    path: Path
    kind: Kind
    words: str = ""

    @property
    def step(self) -> Step:
        """The page it belongs on."""
        return _STEPS[self.kind]


def recognize(path: Path) -> Recognized:
    """Look into a file or folder; never raises for what it finds there."""
    try:
        kind, words = _kind(path)
    except PermissionError:
        kind, words = "unknown", f"You may not read {path}. Ask whoever owns it, or copy it."
    except OSError as error:
        kind, words = "unknown", f"{path} cannot be read: {error.strerror or error}."
    except (EngineError, ValueError, KeyError) as error:
        kind, words = "unknown", str(error)
    return Recognized(path=_project_folder(path) if kind == "project" else path, kind=kind,
                      words=words)  # fmt: skip


def _project_folder(path: Path) -> Path:
    return path if path.is_dir() else path.parent


def _kind(path: Path) -> tuple[Kind, str]:
    if not path.exists():
        return "unknown", f"{path} does not exist (any more)."
    if path.name == "project.json" or (path / "project.json").is_file():
        return "project", ""
    found = file_type(path)
    looks: dict[str, Callable[[Path], tuple[Kind, str]]] = {
        "folder": _folder,
        "hdf5": _hdf5,
        "matlab": _matlab,
        "json": _json,
        "text": _text,
        "tiff": _tiff,
        "raw": _movie,
        "npy": _movie,
    }
    if found in looks:
        return looks[found](path)
    if found == "zip" and path.suffix.lower() == ".decode":
        return "model", ""
    if _is_table(path):
        return "localizations", ""
    return "unknown", f"{path.name} is {describe_file_type(path)}; this app cannot use it."


def _folder(path: Path) -> tuple[Kind, str]:
    return ("localizations", "") if is_partial_result(path) else _movie(path)


def _hdf5(path: Path) -> tuple[Kind, str]:
    try:
        with h5py.File(path, "r", locking=False) as file:
            if is_ours(file):
                return "localizations", ""
    except OSError as error:
        if error.errno is not None:  # the drive's fault, not the file's
            raise
        return "unknown", (
            f"{path.name} is an HDF5 file, but damaged or cut off. Copy or export it again."
        )
    if is_calibration_file(path):
        return "calibration", ""
    if _is_table(path):
        return "localizations", ""
    return "unknown", f"{path.name} is an HDF5 file, but neither localizations nor a calibration."


def _matlab(path: Path) -> tuple[Kind, str]:
    if is_calibration_file(path):
        return "calibration", ""
    if _is_table(path):
        return "localizations", ""
    return "unknown", (
        f"{path.name} is a MATLAB file, but neither a calibration of SMAP or fit3Dcspline nor "
        "localizations of SMAP."
    )


def _json(path: Path) -> tuple[Kind, str]:
    if not isinstance(read_camera_config(path), CameraConfig):
        return "unknown", f"{path.name} is no camera file."
    return "camera", ""


def _text(path: Path) -> tuple[Kind, str]:
    if _is_table(path):
        return "localizations", ""
    return "unknown", (
        f"{path.name} is a text file, but no table of localizations that is known: its first line "
        "must name the columns frame, x_nm, y_nm, or those of ThunderSTORM, SMAP and others."
    )


def _is_table(path: Path) -> bool:
    """Tell whether any program's reader claims a file as its localizations."""
    from decode_engine.io.dialects.registry import recognise  # all readers: a slow import

    return recognise(path) is not None


def _open(path: Path) -> FrameSource:
    try:
        return open_movie(path)
    except MovieError as error:
        try:  # of several channels or slices one is chosen later, on the Movie page
            return open_movie(path, channel=0, z_slice=0)
        except MovieError:
            raise error from None


def _movie(path: Path) -> tuple[Kind, str]:
    with _open(path):
        return "movie", ""


def _tiff(path: Path) -> tuple[Kind, str]:
    with _open(path) as movie:
        few = movie.n_frames <= _MOST_SLICES
    named = any(word in path.name.lower() for word in _BEAD_WORDS)
    return ("movie or beads", "") if few or named else ("movie", "")
