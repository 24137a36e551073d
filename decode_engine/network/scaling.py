"""`NetworkScaling`: the only place where network units and physical units are converted."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import ModelError
from decode_engine.psf.fisher import noise_terms

__all__ = ["NetworkScaling"]

_STABILISED_SCALE = 4.0  # noise of 1/4, peaks of a few: what convolutions begin well with
_OPTIONAL = ("input_excess", "input_variance")
_MARGIN = 1.2  # outputs saturate at +-1 or 0..1; the useful range stays clear of that


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkScaling:
    """Affine maps between physical and network units.

    Parameters
    ----------
    input_offset, input_scale : float, photons
        Frames enter as ``(frame - input_offset) / input_scale``.
    photon_max : float, photons
        Photons that correspond to 1.
    z_center_nm, z_half_range_nm : float
        ``z_nm = z_center_nm + z_half_range_nm * z``; the range covers both ends of the simulated
        z with a margin. A half range of 0 marks a two-dimensional model.
    background_max : float, photons per pixel
        Background that corresponds to 1.
    input_excess, input_variance : float, 1 and photons^2
        Variance of a pixel is ``input_excess * mean + input_variance``. An excess above 0 makes
        frames enter with the same noise at any brightness: ``(a(frame) - a(input_offset)) /
        input_scale`` with the generalised Anscombe transform ``a`` (Murtagh, Starck & Bijaoui
        1995); 0 is the linear input.
    """

    input_offset: float
    input_scale: float
    photon_max: float
    z_center_nm: float
    z_half_range_nm: float
    background_max: float
    input_excess: float = 0.0
    input_variance: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not math.isfinite(value):
                raise ModelError(f"The network scaling has {field.name} = {value}.")
        for name in ("input_scale", "photon_max", "background_max"):
            if not getattr(self, name) > 0:
                raise ModelError(f"The network scaling {name} = {getattr(self, name)} is not > 0.")
        if self.z_half_range_nm < 0:
            raise ModelError(f"The z half range {self.z_half_range_nm} nm is negative.")
        for name in _OPTIONAL:
            if getattr(self, name) < 0:
                raise ModelError(f"The network scaling {name} = {getattr(self, name)} is < 0.")

    @classmethod
    def from_simulation(
        cls, simulation: SimulationConfig, calibration: Calibration
    ) -> NetworkScaling:
        """Derive the scaling from what the simulation can produce.

        The photon range covers the mean flux plus eight standard deviations (Speiser et al.
        2021, doi 10.1038/s41592-021-01236-x) and, where the flux hardly varies, a margin; where
        whole samples are brighter, three standard deviations of the brightest. The background
        range covers its highest level including the spatial variation.
        """
        mean, std = simulation.flux_mean, simulation.flux_std
        brightest = simulation.flux_spread * (mean + 3.0 * std)
        z_min_nm, z_max_nm = z_limits_nm(simulation, calibration)
        background_top = simulation.background_max * (1.0 + 2.0 * simulation.background_variation)
        return cls(
            input_offset=0.5 * (simulation.background_min + simulation.background_max),
            input_scale=max(mean / 50.0, 1.0),
            photon_max=max(mean + 8.0 * std, _MARGIN * mean, brightest),
            z_center_nm=0.5 * (z_min_nm + z_max_nm),
            z_half_range_nm=_MARGIN * 0.5 * (z_max_nm - z_min_nm),
            background_max=max(_MARGIN * background_top, 1.0),
        )

    def stabilised(self, camera: CameraModel) -> NetworkScaling:
        """Return the same scaling with an input of unit noise for a camera."""
        noise = noise_terms(camera)
        return dataclasses.replace(
            self,
            input_scale=_STABILISED_SCALE,
            input_excess=noise.excess_noise,
            input_variance=float(np.mean(noise.read_variance)),
        )

    def continued_from(self, parent: NetworkScaling) -> NetworkScaling:
        """Return the scaling for a network that begins with the weights of another.

        Where the parent's ranges hold what is needed here they are kept, so that its outputs
        mean what they meant and its input looks as it did; only the noise of the camera, to
        which a stabilised input is scaled, is the own one. Otherwise the own scaling is
        returned, and the network's outputs begin stretched.
        """
        if self.is_3d != parent.is_3d or bool(self.input_excess) != bool(parent.input_excess):
            return self
        half_nm = self.z_half_range_nm / _MARGIN
        reach_nm = abs(self.z_center_nm - parent.z_center_nm) + half_nm
        holds = (
            parent.photon_max >= self.photon_max
            and parent.background_max >= self.background_max / _MARGIN
            and parent.z_half_range_nm >= reach_nm
        )
        if not holds:
            return self
        own = {name: getattr(self, name) for name in _OPTIONAL}
        return dataclasses.replace(parent, **own)

    def mirrored_z(self) -> NetworkScaling:
        """Return the scaling of the same network after `LocalizationNetwork.flip_z`."""
        return dataclasses.replace(self, z_center_nm=-self.z_center_nm)

    @property
    def is_3d(self) -> bool:
        """Whether the network estimates z."""
        return self.z_half_range_nm > 0

    def to_dict(self) -> dict[str, float]:
        """Return the numbers by name, for JSON; those of a stabilised input where it is."""
        values = dataclasses.asdict(self)
        if not self.input_excess:
            for name in _OPTIONAL:
                del values[name]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> NetworkScaling:
        """Build from `to_dict`; raise `ModelError` when names are missing or unknown."""
        names = {field.name for field in dataclasses.fields(cls)}
        wrong = (names ^ set(values)) - ({*_OPTIONAL} - set(values))
        if wrong:
            raise ModelError(
                f"The network scaling has missing or unknown entries: {', '.join(sorted(wrong))}.",
                hint="The model was written by another version; train it again or update.",
            )
        return cls(**{name: float(value) for name, value in values.items()})

    def frames_to_network(self, frames: Tensor) -> Tensor:
        """Convert frames (any shape) from photons."""
        if not self.input_excess:
            return (frames - self.input_offset) / self.input_scale
        dark = self._anscombe(self.input_offset)
        squared = self.input_excess * frames + self._anscombe_constant
        stable: Tensor = squared.clamp(min=0).sqrt() * (2.0 / self.input_excess)
        return (stable - dark) / self.input_scale

    @property
    def _anscombe_constant(self) -> float:
        return self.input_variance + 0.375 * self.input_excess**2

    def _anscombe(self, photons: float) -> float:
        squared = self.input_excess * photons + self._anscombe_constant
        return 2.0 / self.input_excess * math.sqrt(max(squared, 0.0))

    def photons_to_network(self, photons: Tensor) -> Tensor:
        """Convert photons (also their sigma)."""
        return photons / self.photon_max

    def photons_from_network(self, photons: Tensor) -> Tensor:
        """Return photons (also their sigma)."""
        return photons * self.photon_max

    def z_to_network(self, z_nm: Tensor) -> Tensor:
        """Convert z in nm; everything is 0 in 2D."""
        return (z_nm - self.z_center_nm) / self.z_half_range_nm if self.is_3d else z_nm * 0.0

    def z_from_network(self, z: Tensor) -> Tensor:
        """Return z in nm; ``z_center_nm`` everywhere in 2D."""
        return self.z_center_nm + z * self.z_half_range_nm

    def sigma_z_from_network(self, sigma_z: Tensor) -> Tensor:
        """Return the standard deviation of z in nm; 0 in 2D."""
        return sigma_z * self.z_half_range_nm

    def background_to_network(self, background: Tensor) -> Tensor:
        """Convert background in photons per pixel."""
        return background / self.background_max

    def background_from_network(self, background: Tensor) -> Tensor:
        """Return background in photons per pixel."""
        return background * self.background_max


def z_limits_nm(simulation: SimulationConfig, calibration: Calibration) -> tuple[float, float]:
    """Return the z range that is simulated: the configured one, else the calibration's."""
    low, high = calibration.z_range_nm
    z_min = low if simulation.z_min_nm is None else simulation.z_min_nm
    z_max = high if simulation.z_max_nm is None else simulation.z_max_nm
    return (z_min, z_max)
