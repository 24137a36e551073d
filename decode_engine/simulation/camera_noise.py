"""Photons to ADU with a camera's noise, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from decode_engine.domain.camera import CameraModel
from decode_engine.errors import CameraError
from decode_engine.simulation import draws

__all__ = ["CameraNoise", "PixelValues"]

Gain: TypeAlias = Tensor | float


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelValues:
    """Offset, conversion and read noise of some pixels; they broadcast against the frames.

    Attributes
    ----------
    offset_adu, e_per_adu, read_noise_e : () or (H, W) or (B, 1, H, W) float32
    """

    offset_adu: Tensor
    e_per_adu: Tensor
    read_noise_e: Tensor


class CameraNoise:
    """Samples what a camera records, and inverts its mean.

    ``n ~ Poisson(photons * QE + spurious)`` electrons; an EM register turns them into
    ``Gamma(shape=n, scale=em_gain)`` (variance of the output ``2 n em_gain^2``: excess noise
    factor 2); ``adu = round((electrons + Normal(0, read_noise)) / e_per_adu + offset)``,
    clipped at 0 and at the saturation.

    Rounding is to the nearest whole ADU (halves to even). A converter that truncates has a
    mean that lies half an ADU lower, which a measured offset contains already; rounding keeps
    the mean equal to what `to_photons` inverts. The quantization adds ``e_per_adu^2 / 12`` to
    the variance.

    Parameters
    ----------
    camera : CameraModel
    device : torch.device or str
    """

    def __init__(self, camera: CameraModel, device: torch.device | str = "cpu") -> None:
        self.camera = camera
        self.device = torch.device(device)
        self._whole = PixelValues(
            offset_adu=self._tensor(camera.offset_adu),
            e_per_adu=self._tensor(camera.e_per_adu),
            read_noise_e=self._tensor(camera.read_noise_e),
        )
        self._reads_noisily = bool(np.any(np.asarray(camera.read_noise_e) > 0))

    def _tensor(self, value: object) -> Tensor:
        return torch.as_tensor(np.asarray(value, np.float32).copy(), device=self.device)

    def random_windows(
        self, n: int, height_px: int, width_px: int, generator: torch.Generator
    ) -> PixelValues:
        """Cut ``n`` windows from the camera at random, one for each training sample.

        Returns
        -------
        PixelValues
            Maps become (n, 1, height_px, width_px); scalars stay scalars.

        Raises
        ------
        CameraError
            If the camera's maps are smaller than the window.
        """
        shape = self.camera.map_shape
        if shape is None:
            return self._whole
        if shape[0] < height_px or shape[1] < width_px:
            raise CameraError(
                f"The camera maps cover {shape[1]} x {shape[0]} pixels, less than the training "
                f"frames of {width_px} x {height_px}.",
                hint="Choose a smaller patch_px, or maps of a larger region.",
            )
        top = draws.integers(shape[0] - height_px + 1, (n, 1, 1, 1), generator, self.device)
        left = draws.integers(shape[1] - width_px + 1, (n, 1, 1, 1), generator, self.device)
        rows = top + torch.arange(height_px, device=self.device)[:, None]
        columns = left + torch.arange(width_px, device=self.device)

        def cut(values: Tensor) -> Tensor:
            return values[rows, columns] if values.ndim == 2 else values

        return PixelValues(
            offset_adu=cut(self._whole.offset_adu),
            e_per_adu=cut(self._whole.e_per_adu),
            read_noise_e=cut(self._whole.read_noise_e),
        )

    def sample(
        self,
        expected_photons: Tensor,
        generator: torch.Generator,
        *,
        pixels: PixelValues | None = None,
        gain: Gain = 1.0,
    ) -> Tensor:
        """Draw what the camera records.

        Parameters
        ----------
        expected_photons : (..., H, W) float32
            Mean photons; negative values count as 0.
        generator : torch.Generator
        pixels : PixelValues, optional
            Windows of the camera as made by `random_windows`; the whole camera otherwise.
        gain : float or (B, 1, 1, 1) float32
            Factor on the camera's gain that `to_photons` does not know of.

        Returns
        -------
        (..., H, W) float32, ADU (whole numbers)
        """
        values = self._pixels_of(expected_photons, pixels)
        camera = self.camera
        mean_e = expected_photons.float().clamp_min(0) * camera.quantum_efficiency
        signal = draws.poisson(mean_e + camera.spurious_charge_e, generator)
        if camera.kind == "emccd":
            signal = draws.gamma(signal, generator) * camera.em_gain
        signal = signal * gain
        if self._reads_noisily:
            noise = draws.normal(tuple(signal.shape), generator, self.device)
            signal = signal + noise * values.read_noise_e
        adu = torch.round(signal / values.e_per_adu + values.offset_adu)
        return adu.clamp(0.0, camera.saturation_adu)

    def to_photons(self, adu: Tensor, *, pixels: PixelValues | None = None) -> Tensor:
        """Convert (..., H, W) ADU to float32 photons, as `CameraModel.adu_to_photons` does."""
        values = self._pixels_of(adu, pixels)
        camera = self.camera
        gain = values.e_per_adu / (camera.em_gain * camera.quantum_efficiency)
        dark = camera.spurious_charge_e / camera.quantum_efficiency
        return (adu.float() - values.offset_adu) * gain - dark

    def _pixels_of(self, frames: Tensor, pixels: PixelValues | None) -> PixelValues:
        if pixels is not None:
            return pixels
        self.camera.require_frame_size(int(frames.shape[-2]), int(frames.shape[-1]))
        return self._whole
