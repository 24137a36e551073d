"""`FrameFitter`: camera frames in, localizations of isolated emitters out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import PixelGrid
from decode_engine.domain.localizations import LocalizationFlag, Localizations
from decode_engine.psf.base import PsfModel
from decode_engine.psf.detection import (
    Candidates,
    DetectionOptions,
    crowded,
    detection_width_px,
    find_candidates,
)
from decode_engine.psf.fisher import noise_terms
from decode_engine.psf.fitting import FitOptions, FitStart, MleResult, fit_emitters
from decode_engine.psf.windows import Windows, cut_windows

__all__ = ["FrameFitOptions", "FrameFitter"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameFitOptions:
    """Window, detection threshold and fit; the fields of `FitMleConfig` that matter here."""

    fit_px: int = 13
    detection_sigma: float = 5.0
    max_iterations: int = 50
    z_starts_nm: tuple[float, ...] | None = None


class FrameFitter:
    """Detects and fits the emitters of frames, each by itself.

    Parameters
    ----------
    psf : PsfModel
    camera : CameraModel
        Of the region that is fitted (`CameraModel.crop`).
    grid : PixelGrid
        Of the same region; turns pixels into nm of the full frame.
    options : FrameFitOptions or None
    """

    def __init__(
        self,
        psf: PsfModel,
        camera: CameraModel,
        grid: PixelGrid,
        options: FrameFitOptions | None = None,
    ) -> None:
        self._psf = psf
        self._camera = camera
        self._grid = grid
        self._options = options or FrameFitOptions()
        noise = noise_terms(camera)
        read = noise.read_variance
        self._read_variance: float | Tensor = (
            torch.from_numpy(np.asarray(read, np.float32)).to(psf.device, psf.dtype)
            if isinstance(read, np.ndarray)
            else read
        )
        self._detection = DetectionOptions(
            width_px=detection_width_px(psf),
            threshold=self._options.detection_sigma,
            excess_noise=noise.excess_noise,
        )
        self._fit = FitOptions(
            max_iterations=self._options.max_iterations,
            z_starts_nm=self._options.z_starts_nm,
            excess_noise=noise.excess_noise,
        )

    def fit(self, frames_adu: NDArray[Any], first_frame: int) -> Localizations:
        """Localize consecutive frames.

        Parameters
        ----------
        frames_adu : (N, H, W) array, ADU
        first_frame : int
            Number of the first of them in the movie.

        Returns
        -------
        Localizations
            In the order of frames, with sigmas, log-likelihood, iterations and flags.
        """
        photons = torch.from_numpy(self._camera.adu_to_photons(frames_adu))
        photons = photons.to(self._psf.device, self._psf.dtype)
        candidates = find_candidates(
            photons, options=self._detection, read_variance=self._read_variance
        )
        windows = cut_windows(photons, candidates, self._options.fit_px)
        read = self._read_variance
        fits = fit_emitters(
            self._psf,
            windows.rois,
            read_variance=windows.cut_map(read) if isinstance(read, Tensor) else read,
            start=FitStart(windows.offset_x_px, windows.offset_y_px),
            options=self._fit,
        )
        flags = fits.flags | self._flags(frames_adu, candidates, windows)
        return self._table(candidates.frame + first_frame, windows, fits, flags)

    def _flags(self, frames_adu: NDArray[Any], candidates: Candidates, windows: Windows) -> Tensor:
        flags = torch.where(windows.shifted, LocalizationFlag.NEAR_BORDER, 0)
        near = crowded(candidates, self._options.fit_px)
        flags = flags | torch.where(near, LocalizationFlag.CROWDED, 0)
        if self._camera.saturation_adu is not None:
            clipped = torch.from_numpy(np.asarray(frames_adu >= self._camera.saturation_adu))
            pixels = windows.cut_frames(clipped.to(flags.device), candidates.frame)
            flags |= torch.where(pixels.flatten(1).any(1), LocalizationFlag.SATURATED, 0)
        return flags

    def _table(
        self, frame: Tensor, windows: Windows, fits: MleResult, flags: Tensor
    ) -> Localizations:
        grid = self._grid
        x_px = windows.center_x_px.cpu().double() + fits.x_px.cpu().double()
        y_px = windows.center_y_px.cpu().double() + fits.y_px.cpu().double()
        columns: dict[str, NDArray[Any]] = {
            "frame": _numpy(frame).astype(np.int32),
            "x_nm": _numpy(grid.x_to_nm(x_px)),
            "y_nm": _numpy(grid.y_to_nm(y_px)),
            "z_nm": _numpy(fits.z_nm),
            "photons": _numpy(fits.photons),
            "background": _numpy(fits.background),
            "sigma_x_nm": _numpy(fits.sigma_x_px * grid.pixel_size_x_nm),
            "sigma_y_nm": _numpy(fits.sigma_y_px * grid.pixel_size_y_nm),
            "sigma_photons": _numpy(fits.sigma_photons),
            "sigma_background": _numpy(fits.sigma_background),
            "log_likelihood": _numpy(fits.log_likelihood),
            "iterations": _numpy(fits.iterations),
            "flags": _numpy(flags).astype(np.uint32),
        }
        if self._psf.is_3d:
            columns["sigma_z_nm"] = _numpy(fits.sigma_z_nm)
        return Localizations(**columns)


def _numpy(values: Tensor) -> NDArray[Any]:
    return np.asarray(values.cpu().numpy())
