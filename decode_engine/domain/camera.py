"""`CameraModel`: how a camera turns detected photons into ADU, and the way back."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.domain.geometry import Roi
from decode_engine.errors import CameraError

__all__ = ["CameraKind", "CameraModel", "PixelMap"]

_MAP_FIELDS = ("offset_adu", "e_per_adu", "read_noise_e")
_NUMBER_FIELDS = (
    "pixel_size_x_nm",
    "pixel_size_y_nm",
    "em_gain",
    "quantum_efficiency",
    "spurious_charge_e",
    "saturation_adu",
)

CameraKind: TypeAlias = Literal["ideal", "emccd", "scmos"]
PixelMap: TypeAlias = float | NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class CameraModel:
    """A camera: pixel size, offset, gain and noise, each a scalar or (sCMOS) a per-pixel map.

    Parameters
    ----------
    kind : {"ideal", "emccd", "scmos"}
        ``ideal`` has shot noise only (offset and conversion still apply).
    pixel_size_x_nm, pixel_size_y_nm : float
        Pixel size in the sample plane.
    offset_adu : float or (H, W) float32
        Signal of a pixel that received no light.
    e_per_adu : float or (H, W) float32
        Electrons per ADU at the read-out node (after the EM register).
    em_gain : float
        Mean multiplication of the EM register; 1 where there is none.
    quantum_efficiency : float
        Detected electrons per photon. 1 (default) makes "photons" mean detected photons.
    read_noise_e : float or (H, W) float32
        Standard deviation of the read-out in electrons, **after** the EM register.
    spurious_charge_e : float
        Mean clock-induced and dark electrons per pixel and frame, before the EM register.
    saturation_adu : float or None
        ADU at which pixels clip; None when unknown.
    em_mirrored : bool
        True when frames are (or have been) mirrored left-right by the EM register's read-out.

    Notes
    -----
    ``photons = ((adu - offset) * e_per_adu / em_gain - spurious) / QE`` and the variance of a
    pixel with the mean ``mu`` photons is, in photon^2,
    ``F * (mu + spurious / QE) / QE + (read_noise / (em_gain * QE))**2`` with F = 2 for an EMCCD
    (Robbins & Hadwen 2003, doi 10.1109/TED.2003.813462), F = 1 otherwise.
    """

    kind: CameraKind
    pixel_size_x_nm: float
    pixel_size_y_nm: float
    offset_adu: PixelMap = 0.0
    e_per_adu: PixelMap = 1.0
    em_gain: float = 1.0
    quantum_efficiency: float = 1.0
    read_noise_e: PixelMap = 0.0
    spurious_charge_e: float = 0.0
    saturation_adu: float | None = None
    em_mirrored: bool = False
    name: str = ""

    def __post_init__(self) -> None:
        for field in _MAP_FIELDS:
            object.__setattr__(self, field, _as_map(field, getattr(self, field)))
        for field in _NUMBER_FIELDS:
            # Plain floats: the same camera must have the same fingerprint as 100 and as 100.0.
            object.__setattr__(self, field, _as_number(field, getattr(self, field)))
        self._check_values()
        self._check_kind()
        _ = self.map_shape

    def _check_values(self) -> None:
        _require(
            self.pixel_size_x_nm > 0 and self.pixel_size_y_nm > 0,
            "pixel size",
            f"{self.pixel_size_x_nm} x {self.pixel_size_y_nm} nm",
            "Give the pixel size in the sample plane, usually 80-160 nm.",
        )
        _require(
            bool(np.all(np.asarray(self.e_per_adu) > 0)),
            "conversion",
            f"{np.min(self.e_per_adu)} e-/ADU",
            "e-/ADU must be above 0, usually 0.1-50; it is on the camera's data sheet.",
        )
        _require(
            self.em_gain > 0,
            "EM gain",
            str(self.em_gain),
            "Without an EM register choose kind 'scmos' and leave the EM gain at 1.",
        )
        _require(
            0 < self.quantum_efficiency <= 1,
            "quantum efficiency",
            str(self.quantum_efficiency),
            "Give a fraction above 0 and up to 1.",
        )
        _require(
            bool(np.all(np.asarray(self.read_noise_e) >= 0)),
            "read noise",
            f"{np.min(self.read_noise_e)} e-",
            "It cannot be negative.",
        )
        _require(
            self.spurious_charge_e >= 0,
            "spurious charge",
            f"{self.spurious_charge_e} e-",
            "It cannot be negative.",
        )
        if self.saturation_adu is not None:
            _require(
                self.saturation_adu > float(np.max(self.offset_adu)),
                "saturation",
                f"{self.saturation_adu} ADU",
                "It must lie above the offset.",
            )

    def _check_kind(self) -> None:
        if self.kind not in ("ideal", "emccd", "scmos"):
            raise CameraError(
                f"The camera kind {self.kind!r} is unknown.", hint="Choose ideal, emccd or scmos."
            )
        if self.kind == "emccd" and self.em_gain < 1:
            raise CameraError(
                f"The EM gain {self.em_gain} is below 1.",
                hint="Usual values are 30-300; use kind 'scmos' if EM is off.",
            )
        if self.kind != "emccd" and self.em_gain != 1:
            raise CameraError(
                f"A camera of kind {self.kind!r} has no EM gain ({self.em_gain}).",
                hint="Choose kind 'emccd' or remove the EM gain.",
            )
        if self.kind == "ideal" and bool(np.any(np.asarray(self.read_noise_e) > 0)):
            raise CameraError("An ideal camera has no read noise.", hint="Choose kind 'scmos'.")

    def __eq__(self, other: object) -> bool:
        # The generated comparison would ask a map for its truth value.
        if not isinstance(other, CameraModel):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, f), getattr(other, f)) for f in self.__dataclass_fields__
        )

    def __hash__(self) -> int:
        return hash((self.kind, self.name, self.pixel_size_x_nm, self.map_shape))

    @property
    def excess_noise(self) -> float:
        """Excess noise factor F of the variance: 2 for an EMCCD, else 1."""
        return 2.0 if self.kind == "emccd" else 1.0

    @property
    def map_shape(self) -> tuple[int, int] | None:
        """(H, W) of the per-pixel maps, or None when all values are scalars."""
        maps = {f: np.asarray(getattr(self, f)) for f in _MAP_FIELDS}
        shapes = {f: m.shape for f, m in maps.items() if m.ndim == 2}
        if len(set(shapes.values())) > 1:
            raise CameraError(
                f"The camera maps differ in size: {shapes}.",
                hint="All maps must cover the same pixels.",
            )
        return next(((int(s[0]), int(s[1])) for s in shapes.values()), None)

    def require_frame_size(self, height_px: int, width_px: int) -> None:
        """Raise `CameraError` if the per-pixel maps do not cover frames of this size."""
        if self.map_shape is not None and self.map_shape != (height_px, width_px):
            raise CameraError(
                f"The camera maps cover {self.map_shape[1]} x {self.map_shape[0]} pixels, the "
                f"movie has {width_px} x {height_px}.",
                hint="Use maps of the movie's region, or crop the maps to it.",
            )

    def crop(self, roi: Roi) -> CameraModel:
        """Return the camera of a region: per-pixel maps are cut, scalars kept."""
        rows = slice(roi.y_px, roi.y_px + roi.height_px)
        cols = slice(roi.x_px, roi.x_px + roi.width_px)
        values = {f: getattr(self, f) for f in self.__dataclass_fields__}
        for field in _MAP_FIELDS:
            if np.ndim(values[field]) == 2:
                values[field] = values[field][rows, cols]
        return CameraModel(**values)

    def adu_to_photons(self, frames_adu: NDArray[Any]) -> NDArray[np.float32]:
        """Convert ADU to (noisy, possibly negative) photons.

        Parameters
        ----------
        frames_adu : (..., H, W) array, ADU

        Returns
        -------
        (..., H, W) float32, photons
        """
        gain = np.asarray(self.e_per_adu, np.float32) / np.float32(
            self.em_gain * self.quantum_efficiency
        )
        dark = np.float32(self.spurious_charge_e / self.quantum_efficiency)
        signal = frames_adu.astype(np.float32) - np.asarray(self.offset_adu, np.float32)
        return np.asarray(signal * gain - dark, np.float32)

    @property
    def read_variance_photons2(self) -> PixelMap:
        """Read-out variance referred to photons: scalar or (H, W) float32."""
        sigma = np.asarray(self.read_noise_e, np.float32) / np.float32(
            self.em_gain * self.quantum_efficiency
        )
        return float(sigma**2) if sigma.ndim == 0 else np.asarray(sigma**2, np.float32)

    def fingerprint(self) -> str:
        """Return a SHA-256 over everything that changes the photons (not the name)."""
        digest = hashlib.sha256()
        for field in sorted(self.__dataclass_fields__):
            if field != "name":
                value = getattr(self, field)
                digest.update(field.encode())
                digest.update(
                    value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
                )
        return digest.hexdigest()


def _require(condition: bool, what: str, value: str, hint: str) -> None:
    if not condition:
        raise CameraError(f"The {what} of {value} is not possible.", hint=hint)


def _as_number(field: str, value: float | None) -> float | None:
    if value is None:
        if field == "saturation_adu":
            return None
        raise CameraError(f"{field} is missing.", hint="Give a number.")
    if not np.isfinite(value):
        raise CameraError(f"{field} of {value} is not possible.", hint="Give a finite number.")
    return float(value)


def _as_map(field: str, value: PixelMap) -> PixelMap:
    array = np.asarray(value, np.float32)
    if array.ndim not in (0, 2):
        raise CameraError(f"{field} must be a number or a 2-D map, not {array.ndim}-D.")
    if not np.all(np.isfinite(array)):
        raise CameraError(
            f"{field} contains values that are not finite.",
            hint="Replace NaN pixels of the camera map by their neighbours' mean.",
        )
    return float(value) if array.ndim == 0 else array
