"""A few frames of a training's validation with truth and prediction: ``sample.npz``.

Arrays of the file, readable with `numpy.load` alone:

===========================  ==========================================================
``step``                     () int64, step of the validation
``pixel_size_nm``            (2,) float64, along x and y
``frames``                   (N, H, W) float32, photons
``truth_frame``              (T,) int64, index into ``frames``
``truth_x_px`` ...           (T,) float32: ``x_px``, ``y_px``, ``z_nm``, ``photons``
``found_frame``              (F,) int64, index into ``frames``
``found_x_px`` ...           (F,) float32: ``x_px``, ``y_px``, ``z_nm``, ``photons``,
                             ``probability``, ``sigma_x_nm``, ``sigma_y_nm``, ``sigma_z_nm``
===========================  ==========================================================

(0, 0) px is the centre of the top-left pixel, x to the right, y downwards. Molecules dimmer than
those that the network should find are not among the true ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import InputError
from decode_engine.io.atomic import atomic_path

__all__ = ["FOUND", "TRUTH", "TrainingSample", "read_training_sample", "write_training_sample"]

TRUTH = ("x_px", "y_px", "z_nm", "photons")
FOUND = (*TRUTH, "probability", "sigma_x_nm", "sigma_y_nm", "sigma_z_nm")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """Frames, their true molecules and those that the network finds; see the module.

    Attributes
    ----------
    step : int
    pixel_size_nm : tuple of float
        Along x and y.
    frames : (N, H, W) float32, photons
    truth_frame, found_frame : (T,) and (F,) int64
        Index into ``frames``.
    truth, found : dict of (T,) and (F,) float32
        Columns `TRUTH` and `FOUND`.
    """

    step: int
    pixel_size_nm: tuple[float, float]
    frames: NDArray[np.float32]
    truth_frame: NDArray[np.int64]
    truth: dict[str, NDArray[np.float32]]
    found_frame: NDArray[np.int64]
    found: dict[str, NDArray[np.float32]]

    def truth_of(self, frame: int) -> dict[str, NDArray[np.float32]]:
        """Return the true molecules of one frame."""
        return {name: a[self.truth_frame == frame] for name, a in self.truth.items()}

    def found_in(self, frame: int) -> dict[str, NDArray[np.float32]]:
        """Return what the network finds in one frame."""
        return {name: a[self.found_frame == frame] for name, a in self.found.items()}


def write_training_sample(path: Path, sample: TrainingSample) -> None:
    """Write the file, replacing an earlier one at once: a reader never sees half of it."""
    arrays: dict[str, Any] = {
        "step": np.int64(sample.step),
        "pixel_size_nm": np.asarray(sample.pixel_size_nm, np.float64),
        "frames": sample.frames.astype(np.float32),
        "truth_frame": sample.truth_frame.astype(np.int64),
        "found_frame": sample.found_frame.astype(np.int64),
    }
    arrays |= {f"truth_{name}": sample.truth[name].astype(np.float32) for name in TRUTH}
    arrays |= {f"found_{name}": sample.found[name].astype(np.float32) for name in FOUND}
    with atomic_path(path, overwrite=True) as temporary:
        np.savez(temporary, **arrays)


def read_training_sample(path: Path) -> TrainingSample:
    """Read the file.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            x_nm, y_nm = arrays["pixel_size_nm"].tolist()
            return TrainingSample(
                step=int(arrays["step"]),
                pixel_size_nm=(x_nm, y_nm),
                frames=arrays["frames"],
                truth_frame=arrays["truth_frame"],
                truth={name: arrays[f"truth_{name}"] for name in TRUTH},
                found_frame=arrays["found_frame"],
                found={name: arrays[f"found_{name}"] for name in FOUND},
            )
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise InputError(
            f"{path} is no sample of a training.",
            hint="It is written at each validation of a training.",
            detail=repr(error),
        ) from error
