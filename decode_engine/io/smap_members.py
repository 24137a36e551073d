"""The members of SMAP's calibration files: splines, Gaussian vectors, pixel sizes, settings.

The conventions are those described in `decode_engine.io.calibration_smap`.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass, field
from pathlib import PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.calibration import GaussianPsf, SplinePsf
from decode_engine.errors import CalibrationError
from decode_engine.io.calibration_report import PixelSize
from decode_engine.io.matlab import LazyArray, MatlabList, MatlabTree, MatlabValue

__all__ = [
    "PARAMETERS",
    "GaussianMember",
    "SplineMember",
    "Struct",
    "base_name",
    "flip_spline",
    "gaussian_member",
    "mirror_columns",
    "mirrored",
    "number",
    "numbers",
    "pixel_size",
    "settings_facts",
    "spline_members",
]

Struct = dict[str, MatlabValue]

PARAMETERS = ("parameters", "parameters_g", "parameters1", "parameters2")
_PIXEL_UM_RANGE = (0.02, 1.0)
_SETTINGS = ("modality", "zcorr", "ROIxy", "ROIz", "smoothz", "fminmax", "gaussrange")
_MIRROR_AXES = {1: 1, 2: 0}  # SMAP: 1 = right-left (columns), 2 = up-down (rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplineMember:
    """One spline of a file; large coefficients of v7.3 files are not read yet.

    ``channel`` counts the cells of ``coeff``. ``photon_factor`` is the channel's ``normf``,
    ``unmirror_axis`` the axis that must be flipped to get the orientation of the chip.
    """

    channel: int
    coefficients: NDArray[np.generic] | LazyArray
    dz_nm: float
    z0_slice: float
    center_x_px: float
    center_y_px: float
    photon_factor: float = 1.0
    unmirror_axis: int | None = None
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, slices of voxels."""
        rows, columns, slices, _ = self.coefficients.shape
        return rows, columns, slices

    def psf(self, pixel: PixelSize | None) -> SplinePsf:
        """Read the coefficients; the pixel size plays no part."""
        del pixel
        values = np.asarray(self.coefficients, np.float32)
        if self.unmirror_axis is not None:
            values = flip_spline(values, self.unmirror_axis)
        if self.photon_factor != 1.0:
            values = values / np.float32(self.photon_factor)
        return SplinePsf(
            coefficients=values,
            dz_nm=self.dz_nm,
            z0_slice=self.z0_slice,
            center_x_px=self.center_x_px,
            center_y_px=self.center_y_px,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMember:
    """The 8 numbers [sigma0x Ax Ay Bx By g d sigma0y]; widths in px, g and d in um."""

    vector: NDArray[np.float64]
    z_limit_nm: float
    file_name: str
    channel: int = 0
    facts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = (
        "widths are stored in camera pixels: a pixel size is needed",
        "no z range is stored; the one given here is estimated from the curve",
    )

    def psf(self, pixel: PixelSize | None) -> GaussianPsf:
        """Convert widths to nm with the pixel size of the calibration's camera."""
        if pixel is None:
            raise CalibrationError(
                f"{self.file_name} stores the PSF's width in camera pixels "
                f"({self.vector[0]:.3g} x {self.vector[7]:.3g} px) and no pixel size.",
                hint="Give the pixel size of the camera that recorded the beads.",
            )
        sigma_x, cubic_x, cubic_y, quartic_x, quartic_y, gamma_um, depth_um, sigma_y = (
            float(v) for v in self.vector
        )
        return GaussianPsf(
            sigma0_x_nm=abs(sigma_x) * pixel.x_nm,
            sigma0_y_nm=abs(sigma_y) * pixel.y_nm,
            depth_nm=abs(depth_um) * 1e3,
            focus_x_nm=gamma_um * 1e3,
            focus_y_nm=-gamma_um * 1e3,
            cubic_x=cubic_x * math.copysign(1.0, depth_um),
            cubic_y=cubic_y * math.copysign(1.0, depth_um),
            quartic_x=quartic_x,
            quartic_y=quartic_y,
            z_min_nm=-self.z_limit_nm,
            z_max_nm=self.z_limit_nm,
        )


# ---------------------------------------------------------------- splines


def spline_members(file_name: str, cspline: Struct, tree: MatlabTree) -> list[SplineMember]:
    """Read the splines of one ``cspline`` struct: one for each cell of ``coeff``.

    Raises
    ------
    CalibrationError
        If coefficients or the slice distance are missing or of a wrong shape.
    """
    cells, unmirrored = _coefficient_cells(cspline)
    if not cells:
        raise CalibrationError(
            f"{file_name} has a cspline without coefficients (coeff is empty).",
            hint="Make the calibration again with 'spline' as the PSF model.",
        )
    return [
        _spline_member(file_name, cspline, tree, (channel, coefficients, unmirrored))
        for channel, coefficients in enumerate(cells)
    ]


def _spline_member(
    file_name: str,
    cspline: Struct,
    tree: MatlabTree,
    cell: tuple[int, NDArray[np.generic] | LazyArray, bool],
) -> SplineMember:
    channel, coefficients, unmirrored = cell
    rows, columns, slices = _voxels(file_name, coefficients)
    notes: list[str] = []
    z0 = number(cspline.get("z0"))
    if z0 is None:
        z0 = float((slices + 2) // 2)
        notes.append(f"z0 is missing; z = 0 is put at the middle slice, {z0:g}")
    x0 = number(cspline.get("x0"))
    if x0 is None:
        notes.append(
            f"x0 is missing; the centre is put at the middle, sample {columns // 2} x {rows // 2}"
        )
    mirror = int(number(cspline.get("mirror")) or 0)
    factors = numbers(cspline.get("normf"))
    factor = factors[min(channel, factors.size - 1)] if factors.size else 1.0
    if not (math.isfinite(factor) and factor > 0):
        notes.append(f"normf is {factor:g} and was ignored")
        factor = 1.0
    return SplineMember(
        channel=channel,
        coefficients=coefficients,
        dz_nm=_slice_distance(file_name, cspline, tree),
        z0_slice=z0,
        center_x_px=float(columns // 2) if x0 is None else x0 - 1.0,
        center_y_px=float(rows // 2) if x0 is None else x0 - 1.0,
        photon_factor=float(factor),
        unmirror_axis=_MIRROR_AXES.get(mirror) if channel > 0 and not unmirrored else None,
        facts={"smap_mirror": str(mirror), "smap_normf": f"{factor:.9g}"},
        notes=tuple(notes),
    )


def _coefficient_cells(cspline: Struct) -> tuple[list[NDArray[np.generic] | LazyArray], bool]:
    """Return the coefficients of each channel and whether they are in chip orientation."""
    coefficients = cspline.get("coeff")
    cells: list[MatlabValue]
    if isinstance(coefficients, MatlabList):
        cells = list(coefficients)
    elif isinstance(coefficients, np.ndarray) and coefficients.ndim == 5:
        cells = [coefficients[..., k] for k in range(coefficients.shape[4])]
    else:
        cells = [] if coefficients is None else [coefficients]
    arrays = [c for c in cells if isinstance(c, np.ndarray | LazyArray) and c.size > 0]
    if len(arrays) == 2:
        raw = [_raw_coefficients(cspline, name) for name in ("coeffrawref", "coeffrawtar")]
        if raw[0] is not None and raw[1] is not None:
            return [raw[0], raw[1]], True
    return arrays, False


def _raw_coefficients(cspline: Struct, name: str) -> NDArray[np.generic] | LazyArray | None:
    shared = cspline.get("global")
    found = cspline.get(name)
    if found is None and isinstance(shared, dict):
        found = shared.get(name)
    return found if isinstance(found, np.ndarray | LazyArray) and found.size > 0 else None


def _voxels(file_name: str, coefficients: NDArray[np.generic] | LazyArray) -> tuple[int, int, int]:
    shape = coefficients.shape
    if len(shape) != 4 or shape[3] != 64:
        raise CalibrationError(
            f"{file_name} has spline coefficients of the shape {shape}; rows x columns x slices "
            "x 64 is needed.",
            hint="Only cubic splines (64 coefficients a voxel) in a 3D stack are supported.",
        )
    return shape[0], shape[1], shape[2]


def _slice_distance(file_name: str, cspline: Struct, tree: MatlabTree) -> float:
    dz_nm = number(cspline.get("dz"))
    if dz_nm is None:
        candidates = (number(p.get("dz")) for p in _parameter_structs(tree))
        dz_nm = next((v for v in candidates if v is not None), None)
    if dz_nm is None or not dz_nm > 0:
        raise CalibrationError(
            f"{file_name} does not say the distance of its slices (cspline.dz is {dz_nm}).",
            hint="Make the calibration again with 'distance between frames' set.",
        )
    return dz_nm


def flip_spline(coefficients: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Mirror a spline along rows (axis 0) or columns (axis 1).

    Voxels change order, and in each the polynomial ``p(t)`` becomes ``p(1 - t)``: by the
    binomial theorem ``b_k = sum_n a_n C(n, k) (-1)^k``.
    """
    turn = np.array([[math.comb(n, k) * (-1) ** k for n in range(4)] for k in range(4)], np.float64)
    split = np.flip(coefficients, axis).reshape(*coefficients.shape[:3], 4, 4, 4)
    # Exponents are (z, x, y) after the split of p_y + 4 p_x + 16 p_z.
    form = "kn,yxzabn->yxzabk" if axis == 0 else "kn,yxzanb->yxzakb"
    flipped = np.einsum(form, turn, split, dtype=np.float64)
    return np.ascontiguousarray(flipped.reshape(coefficients.shape), np.float32)


def mirror_columns(psf: SplinePsf) -> SplinePsf:
    """Mirror a PSF left-right, its centre too."""
    return dataclasses.replace(
        psf,
        coefficients=flip_spline(psf.coefficients, 1),
        center_x_px=psf.coefficients.shape[1] - psf.center_x_px,
    )


# ---------------------------------------------------------------- Gaussians


def gaussian_member(file_name: str, value: MatlabValue, name: str) -> GaussianMember:
    """Read the 8 numbers of an astigmatic Gaussian.

    Raises
    ------
    CalibrationError
        If there are not 8 finite numbers, or a width or the depth is zero.
    """
    vector = numbers(value)
    usable = vector.size == 8 and bool(np.all(np.isfinite(vector)))
    if not usable or 0 in (vector[0], vector[6], vector[7]):
        shown = ", ".join(f"{v:g}" for v in vector[:8])
        raise CalibrationError(
            f"{file_name} has a Gaussian calibration {name} of {vector.size} numbers ({shown}) "
            "where 8 finite ones with positive widths are needed.",
            hint="Make the calibration again.",
        )
    return GaussianMember(vector=vector, z_limit_nm=_gaussian_limit_nm(vector), file_name=file_name)


def _gaussian_limit_nm(vector: NDArray[np.float64]) -> float:
    _, cubic_x, cubic_y, quartic_x, quartic_y, gamma_um, depth_um, _ = vector
    limit_um = abs(gamma_um) + abs(depth_um)
    z_um = np.linspace(-limit_um, limit_um, 2001)
    positive = np.ones(z_um.shape, np.bool_)
    for cubic, quartic, focus_um in (
        (cubic_x, quartic_x, gamma_um),
        (cubic_y, quartic_y, -gamma_um),
    ):
        u = (z_um - focus_um) / depth_um
        positive &= 1 + u**2 + cubic * u**3 + quartic * u**4 > 0
    bad_um = np.abs(z_um[~positive])
    return float(1e3 * (bad_um.min() * 0.99 if bad_um.size else limit_um))


# ---------------------------------------------------------------- settings


def pixel_size(tree: MatlabTree) -> PixelSize | None:
    """Return the pixel size if ``parameters.pixelsize`` can be trusted.

    SMAP's own loader writes micrometres, [x y] or one number for each file; its plain TIFF
    reader writes the placeholder 100. Values that no microscope has, or that differ from file
    to file, are not trusted.
    """
    found: set[tuple[float, float]] = set()
    for parameters in _parameter_structs(tree):
        stored = parameters.get("pixelsize")
        for cell in stored if isinstance(stored, MatlabList) else [stored]:
            values_um = numbers(cell)
            if values_um.size:
                found.add((float(values_um[0]), float(values_um[min(1, values_um.size - 1)])))
    if len(found) != 1:
        return None
    low, high = _PIXEL_UM_RANGE
    x_um, y_um = found.pop()
    if not (low <= x_um <= high and low <= y_um <= high):
        return None
    return PixelSize(x_nm=x_um * 1e3, y_nm=y_um * 1e3)


def mirrored(element: Struct, tree: MatlabTree) -> bool | None:
    """Return whether the beads were mirrored as EM frames are; None where the file is silent."""
    cspline = element.get("cspline")
    candidates = [element.get("EMon"), tree.get("EMon")]
    if isinstance(cspline, dict):
        candidates.append(cspline.get("isEM"))
    candidates += [p.get("emgain") for p in _parameter_structs(tree)]
    for candidate in candidates:
        values = numbers(candidate)
        if values.size and bool(np.all(np.isfinite(values))):
            return bool(np.any(values != 0))
    return None


def settings_facts(tree: MatlabTree) -> dict[str, str]:
    """Return the settings of the calibration worth keeping, as text."""
    facts: dict[str, str] = {}
    for parameters in _parameter_structs(tree):
        for name in _SETTINGS:
            text = _as_text(parameters.get(name))
            if text:
                facts.setdefault(f"smap_{name}", text)
        files = parameters.get("filelist")
        listed = [files] if isinstance(files, str) else files
        if isinstance(listed, list):
            names = [base_name(f) for f in listed if isinstance(f, str)]
            if names:
                facts.setdefault("bead_files", "; ".join(names))
    return facts


def number(value: Any) -> float | None:
    """Return the first finite number of an array, or None."""
    values = numbers(value)
    return float(values[0]) if values.size and math.isfinite(values[0]) else None


def numbers(value: Any) -> NDArray[np.float64]:
    """Return the numbers of a small array in MATLAB's order; none for anything else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf" and value.size <= 4096:
        return value.ravel("F").astype(np.float64)
    return np.empty(0, np.float64)


def base_name(text: str) -> str:
    """Return the file name of a Windows or POSIX path."""
    return PurePosixPath(PureWindowsPath(text).as_posix()).name


def _parameter_structs(tree: MatlabTree) -> list[Struct]:
    return [value for name in PARAMETERS if isinstance(value := tree.get(name), dict)]


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return " ".join(f"{v:g}" for v in numbers(value)[:16])
