"""Per-pixel camera maps of other programs: NumPy, TIFF, MATLAB.

Recognised are

- a stack of three or more planes in the order offset, variance, gain (storm-analysis: ADU,
  ADU^2, ADU per electron; later planes, the relative quantum efficiency among them, are named
  and left out), as ``.npy`` of numbers or as TIFF;
- one plane (``.npy``, ``.tif``), which the caller says to be an offset, a variance or a gain;
- a ``.mat`` with 2-D variables whose names begin with or contain offset, dark or mean; var; gain.

storm-analysis' first calibration files, a plain array in ``.npy``, hold columns first; its later
ones are pickled and not read here. A stack in ``.npy`` must therefore be said to be transposed or
not. (On its real example, the variance map explains the variance of the movie's pixels only when
transposed: correlation 0.45, as it is 0.00.)

What the units are is not written in any of these files. The caller says what gain means
(``adu_per_e``, as in storm-analysis, or ``e_per_adu``); variances are taken in ADU^2.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import tifffile
from numpy.typing import NDArray

from decode_engine.errors import CameraError, InputError
from decode_engine.io.matlab import is_matlab_file, read_mat

__all__ = ["CameraMaps", "GainMeaning", "MapKind", "read_camera_maps"]

GainMeaning = Literal["adu_per_e", "e_per_adu"]
MapKind = Literal["offset", "variance", "gain"]

_KINDS: tuple[MapKind, ...] = ("offset", "variance", "gain")
_WORDS: dict[MapKind, tuple[str, ...]] = {
    "variance": ("var",),
    "gain": ("gain", "amplification"),
    "offset": ("offset", "dark", "mean", "baseline"),
}
_HOW = (
    "Give a stack of offset [ADU], variance [ADU^2] and gain (.npy, .tif), a .mat with variables "
    "of these names, or one map a file."
)


@dataclass(frozen=True, kw_only=True)
class CameraMaps:
    """Maps in our units; None where a file has none.

    Parameters
    ----------
    offset_adu, e_per_adu, read_noise_e : (H, W) float32 or None
    notes : tuple of str
        What was assumed and left out.
    """

    offset_adu: NDArray[np.float32] | None
    e_per_adu: NDArray[np.float32] | None
    read_noise_e: NDArray[np.float32] | None
    notes: tuple[str, ...]


def read_camera_maps(
    path: Path,
    *,
    gain_means: GainMeaning = "adu_per_e",
    kind: MapKind | None = None,
    transposed: bool | None = None,
) -> CameraMaps:
    """Read the maps of one file.

    Parameters
    ----------
    path : Path
    gain_means : {"adu_per_e", "e_per_adu"}
        What the numbers of the gain are.
    kind : {"offset", "variance", "gain"} or None
        What a file with a single plane holds.
    transposed : bool or None
        Whether the file's first axis are columns. None is an error for a stack in ``.npy`` and
        means no for all others.

    Raises
    ------
    CameraError
        If the file holds no maps, they differ in size, or a pixel is impossible; the pixel is
        named.
    """
    planes, notes = _planes(path, kind, transposed)
    if transposed:
        planes = {name: np.ascontiguousarray(plane.T) for name, plane in planes.items()}
        notes.append("Rows and columns of the maps are exchanged, as was asked.")
    shapes = {name: plane.shape for name, plane in planes.items()}
    if len(set(shapes.values())) > 1:
        raise CameraError(
            f"The maps of {path.name} differ in size: {shapes}.",
            hint="All maps must cover the same pixels.",
        )
    for name, plane in planes.items():
        _require_possible(path, name, plane)
    gain = planes.get("gain")
    e_per_adu = None
    if gain is not None:
        e_per_adu = 1.0 / gain if gain_means == "adu_per_e" else gain
        unit = "ADU per electron" if gain_means == "adu_per_e" else "electrons per ADU"
        notes.append(f"The gain (median {np.median(gain):.4g}) is taken as {unit}.")
    variance, noise = planes.get("variance"), None
    if variance is not None:
        if e_per_adu is None:
            raise CameraError(
                f"{path.name} has a variance in ADU^2 but no gain to turn it into electrons.",
                hint="Import the gain together with it, or give the read noise as a number.",
            )
        noise = np.sqrt(variance) * e_per_adu
        notes.append(f"The variance (median {np.median(variance):.4g}) is taken in ADU^2.")
    return CameraMaps(
        offset_adu=_single(planes.get("offset")),
        e_per_adu=_single(e_per_adu),
        read_noise_e=_single(noise),
        notes=tuple(notes),
    )


def _planes(
    path: Path, kind: MapKind | None, transposed: bool | None
) -> tuple[dict[MapKind, NDArray[np.float64]], list[str]]:
    if not path.is_file():
        raise CameraError(f"The map {path} does not exist.", hint="Check the name.")
    if path.suffix.lower() == ".mat" or is_matlab_file(path):
        return _of_matlab(path)
    array = _array(path)
    array = array[0] if array.ndim == 3 and array.shape[0] == 1 else array
    if array.ndim == 2:
        if kind is None:
            raise CameraError(
                f"{path.name} holds one map of {array.shape[1]} x {array.shape[0]} pixels and "
                "does not say of what.",
                hint="Say whether it is an offset, a variance or a gain (--map-kind).",
            )
        return {kind: array.astype(np.float64)}, []
    if array.ndim != 3 or not 3 <= array.shape[0] <= 8:
        raise CameraError(
            f"{path.name} has the shape {array.shape}, which is not that of camera maps.", hint=_HOW
        )
    if transposed is None and path.suffix.lower() == ".npy":
        raise CameraError(
            f"{path.name} does not say whether its maps begin with rows or with columns.",
            hint="Say --transposed true for a calibration of storm-analysis (columns first), "
            "--transposed false where the first axis is that of the rows.",
        )
    notes = ["The planes are taken in the order offset, variance, gain."]
    if array.shape[0] > 3:
        notes.append(f"Planes 4 to {array.shape[0]} (relative efficiency, ...) are left out.")
    planes = {name: array[index].astype(np.float64) for index, name in enumerate(_KINDS)}
    return planes, notes


def _array(path: Path) -> NDArray[np.generic]:
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = tifffile.imread(path)
    except (OSError, ValueError, EOFError, tifffile.TiffFileError) as error:
        raise CameraError(
            f"{path.name} cannot be read as camera maps.", hint=_HOW, detail=repr(error)
        ) from error
    if array.dtype.kind not in "biuf":
        raise CameraError(f"{path.name} holds values of type {array.dtype}, no numbers.", hint=_HOW)
    return np.asarray(array)


def _of_matlab(path: Path) -> tuple[dict[MapKind, NDArray[np.float64]], list[str]]:
    try:
        tree = read_mat(path)
    except InputError as error:
        raise CameraError(error.message, hint=_HOW, detail=error.detail) from error
    arrays = {
        name: np.asarray(value, np.float64)
        for name, value in tree.items()
        if getattr(value, "ndim", len(getattr(value, "shape", ()))) == 2 and min(value.shape) > 1  # type: ignore[union-attr]  # checked by its shape
    }
    planes: dict[MapKind, NDArray[np.float64]] = {}
    notes = []
    for kind, words in _WORDS.items():
        found = [n for n in arrays if any(word in n.lower() for word in words)]
        if len(found) > 1:
            raise CameraError(
                f"{path.name} has several maps of the {kind}: {', '.join(found)}.",
                hint="Keep one of each in the file.",
            )
        if found:
            planes[kind] = arrays.pop(found[0])
            notes.append(f"The variable {found[0]} is taken as the {kind}.")
    if not planes:
        raise CameraError(
            f"{path.name} holds {', '.join(sorted(tree)[:8]) or 'nothing'}, no camera maps.",
            hint=_HOW,
        )
    return planes, notes


def _require_possible(path: Path, kind: MapKind, plane: NDArray[np.float64]) -> None:
    bad = ~np.isfinite(plane)
    if kind == "gain":
        bad |= plane <= 0
    elif kind == "variance":
        bad |= plane < 0
    if not bad.any():
        return
    row, column = (int(index) for index in np.argwhere(bad)[0])
    raise CameraError(
        f"The {kind} map of {path.name} is {plane[row, column]:g} at column {column}, row {row} "
        f"({int(bad.sum())} such pixels).",
        hint="Replace dead pixels by their neighbours' median before the import.",
    )


def _single(plane: NDArray[np.float64] | None) -> NDArray[np.float32] | None:
    return None if plane is None else plane.astype(np.float32)
