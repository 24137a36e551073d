"""One simulated frame of a training with the truth and what the network makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from decode_engine.errors import InputError

__all__ = ["TrainingSample", "read_sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingSample:
    """A test frame as the training wrote it beside its checkpoints.

    Attributes
    ----------
    frame : (H, W) ndarray
        Camera counts, ADU.
    truth_x_px, truth_y_px, truth_z_nm : (N,) ndarray
        True emitters.
    x_px, y_px, z_nm, sigma_nm : (M,) ndarray
        Localizations; sigma is the lateral one.
    pixel_size_nm : float
    """

    frame: NDArray[Any]
    truth_x_px: NDArray[np.floating]
    truth_y_px: NDArray[np.floating]
    truth_z_nm: NDArray[np.floating]
    x_px: NDArray[np.floating]
    y_px: NDArray[np.floating]
    z_nm: NDArray[np.floating]
    sigma_nm: NDArray[np.floating]
    pixel_size_nm: float


def read_sample(path: Path) -> TrainingSample:
    """Read ``sample.npz``.

    Raises
    ------
    InputError
        If it is not there or not whole.
    """
    try:
        with np.load(path, allow_pickle=False) as arrays:
            sigma = np.hypot(arrays["sigma_x_nm"], arrays["sigma_y_nm"]) / np.sqrt(2.0)
            return TrainingSample(
                frame=arrays["frame"],
                truth_x_px=arrays["truth_x_px"],
                truth_y_px=arrays["truth_y_px"],
                truth_z_nm=arrays["truth_z_nm"],
                x_px=arrays["x_px"],
                y_px=arrays["y_px"],
                z_nm=arrays["z_nm"],
                sigma_nm=sigma,
                pixel_size_nm=float(arrays["pixel_size_nm"]),
            )
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"The sample frame {path} cannot be read.",
            hint="The next one follows with the next test of the network.",
            detail=repr(error),
        ) from error
