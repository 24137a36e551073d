"""A sampled PSF as the ``psf-preview`` job writes it, and its planes with square pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import InputError

__all__ = ["Normalisation", "PsfVolume", "read_psf_volume"]

Normalisation = Literal["slice", "volume"]
_ARRAYS = ("volume", "z_nm", "crlb_x_nm", "crlb_y_nm", "crlb_z_nm", "pixel_size_nm")
_FINEST = 8  # samples a pixel is split into, at most, where z is sampled finer than pixels
_ASSUMED_PIXEL_NM = 100.0  # for the shape of side views only, where no size is known


@dataclass(frozen=True, kw_only=True, eq=False)
class PsfVolume:
    """Photon fractions over z, and bounds of the precision.

    Attributes
    ----------
    volume : (Z, Y, X) float32
    z_nm : (Z,) float64, rising
    crlb_x_nm, crlb_y_nm, crlb_z_nm : (Z,) float64
        Smallest possible standard deviations; NaN where there is none.
    pixel_size_nm : (2,) float64
        Along x and y; NaN where unknown.
    """

    volume: NDArray[np.float32]
    z_nm: NDArray[np.float64]
    crlb_x_nm: NDArray[np.float64]
    crlb_y_nm: NDArray[np.float64]
    crlb_z_nm: NDArray[np.float64]
    pixel_size_nm: NDArray[np.float64]

    @property
    def n_slices(self) -> int:
        """Heights that were sampled; 1 for a 2D PSF."""
        return len(self.z_nm)

    @property
    def focus_index(self) -> int:
        """Slice nearest to z = 0."""
        return int(np.argmin(np.abs(self.z_nm)))

    @property
    def side_scale(self) -> int:
        """Samples that stand for one pixel in a side view."""
        if self.n_slices < 2:
            return 1
        step_nm = float(self.z_nm[1] - self.z_nm[0])
        return int(np.clip(round(self._pixel_nm / step_nm), 1, _FINEST))

    @property
    def side_sample_nm(self) -> float:
        """Size of a sample of a side view."""
        return self._pixel_nm / self.side_scale

    def xy(self, index: int, normalisation: Normalisation) -> NDArray[np.float32]:
        """Return one slice (rows, columns), scaled to 0..1 by its own or the whole maximum."""
        return np.asarray(self._scaled(normalisation)[index])

    def side(self, axis: Literal["x", "y"], normalisation: Normalisation) -> NDArray[np.float32]:
        """Return the cut through the centre: z downwards from the top of the range, x or y right.

        Samples are square, so that widths and heights can be compared by eye.
        """
        volume = self._scaled(normalisation)
        middle = volume.shape[1] // 2
        plane = volume[:, middle, :] if axis == "x" else volume[:, :, middle]
        rows = self._rows()
        return np.repeat(plane[rows], self.side_scale, axis=1)

    def row_of(self, index: int) -> float:
        """Return the row of a slice in side views."""
        rows = self._rows()
        return float(np.flatnonzero(rows == index).mean()) if index in rows else float("nan")

    @property
    def _pixel_nm(self) -> float:
        size = float(np.sqrt(self.pixel_size_nm.prod()))
        return size if np.isfinite(size) else _ASSUMED_PIXEL_NM

    def _rows(self) -> NDArray[np.intp]:
        """Return the slice of each row of a side view, highest z first."""
        if self.n_slices < 2:
            return np.zeros(1, np.intp)
        low, high = float(self.z_nm[0]), float(self.z_nm[-1])
        number = max(self.n_slices, round((high - low) / self.side_sample_nm))
        places = np.linspace(self.n_slices - 1, 0, number)
        return np.round(places).astype(np.intp)

    def _scaled(self, normalisation: Normalisation) -> NDArray[np.float32]:
        if normalisation == "volume":
            return self.volume / max(float(self.volume.max()), 1e-12)
        peaks = self.volume.max(axis=(1, 2), keepdims=True)
        return np.asarray(self.volume / np.maximum(peaks, 1e-12), np.float32)


def read_psf_volume(path: Path) -> PsfVolume:
    """Read ``psf.npz``.

    Raises
    ------
    InputError
        If it is not there or not complete.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return PsfVolume(**{name: file[name] for name in _ARRAYS})
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"The preview {path.name} cannot be read.",
            hint="Choose the calibration again.",
            detail=repr(error),
        ) from error
