"""Training batches of a family of microscopes: random PSFs, cameras, light and density."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from conditioned_net import ConditionedNet  # beside this script
from numpy.typing import NDArray
from psf_families import Family
from torch import Tensor

from decode_engine.contract.configs import SimulationConfig, TrainingConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.network.psf_conditioning import psf_images
from decode_engine.network.scaling import NetworkScaling
from decode_engine.psf.spline import SplinePsfModel
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.simulator import Simulator, TrainingBatch, _Sample
from decode_engine.training.stream import NetworkBatch, TrainingStream, to_network_units

__all__ = [
    "CAMERAS",
    "PIXEL_NM",
    "FamilySimulator",
    "StarterStream",
    "conditions",
    "member_psf",
    "on_device",
    "sketch_images",
    "wide_scaling",
]

PIXEL_NM = 100.0  # densities are per area of these pixels; members bring pixels of their own
_MEMBERS_AT_ONCE = 8


def _camera(kind: str, **values: float) -> CameraModel:
    return CameraModel(
        kind=kind,  # type: ignore[arg-type]
        name=f"starter {kind}",
        pixel_size_x_nm=PIXEL_NM,
        pixel_size_y_nm=PIXEL_NM,
        **values,
    )


CAMERAS = (
    _camera("scmos", offset_adu=100, e_per_adu=0.47, quantum_efficiency=0.82, read_noise_e=1.6),
    _camera("scmos", offset_adu=100, e_per_adu=0.25, quantum_efficiency=0.95, read_noise_e=0.8),
    _camera("scmos", offset_adu=400, e_per_adu=2.1, quantum_efficiency=0.72, read_noise_e=2.6),
    _camera(
        "emccd",
        offset_adu=100,
        e_per_adu=45,
        em_gain=300,
        quantum_efficiency=0.9,
        read_noise_e=74.4,
        spurious_charge_e=0.002,
    ),
    _camera(
        "emccd",
        offset_adu=398,
        e_per_adu=5,
        em_gain=100,
        quantum_efficiency=0.9,
        read_noise_e=30.0,
        spurious_charge_e=0.003,
    ),
)
_BACKGROUNDS = ((1.0, 30.0), (10.0, 70.0), (40.0, 200.0))  # photons per pixel
_FLUX_MEAN, _FLUX_STD, _FLUX_SPREAD = 3000.0, 2000.0, 5.0  # photons; each sample times 1/5 to 5
_LIFETIMES = (1.5, 3.0, 6.0)  # frames


def conditions(family: Family) -> list[SimulationConfig]:
    """Return all combinations of light; each batch is drawn under one of them.

    Bright and dim molecules stand side by side in every batch, each sample of one brightness.
    """
    limit_nm = family.z_limit_nm
    return [
        SimulationConfig(
            density_min_per_um2=0.05,
            density_max_per_um2=8.0,
            flux_distribution="lognormal",
            flux_mean=_FLUX_MEAN,
            flux_std=_FLUX_STD,
            flux_spread=_FLUX_SPREAD,
            lifetime_frames=lifetime,
            z_min_nm=-limit_nm,
            z_max_nm=limit_nm,
            background_min=low,
            background_max=high,
            background_variation=0.3,
            psf_width_jitter=0.02,
            z_scale_jitter=0.02,
            gain_jitter=0.05,
        )
        for (low, high), lifetime in itertools.product(_BACKGROUNDS, _LIFETIMES)
    ]


def wide_scaling(family: Family) -> NetworkScaling:
    """Return a scaling that covers all conditions and what users are likely to ask beyond."""
    return NetworkScaling(
        input_offset=40.0,
        input_scale=1.0,  # set by the camera
        photon_max=60_000.0,
        z_center_nm=0.0,
        z_half_range_nm=1.2 * family.z_limit_nm if family.is_3d else 0.0,
        background_max=300.0,
    )


class FamilySimulator(Simulator):
    """Draws each sample of a batch with one of a few members of a family.

    The members' slices stand one behind the other in one spline; what a sample's emitters show
    at z is found ``member * slices`` slices further on.

    Parameters
    ----------
    coefficients : (K, Z, 64, Y, X) float32 tensor
        Of all members, on the device.
    family : Family
    camera : CameraModel
    config : SimulationConfig
        z ranges with their jitter stay inside the members' slices.

    Attributes
    ----------
    chosen : list of int
        Members of the last batch; its samples take them in turn.
    """

    def __init__(
        self, coefficients: Tensor, family: Family, camera: CameraModel, config: SimulationConfig
    ) -> None:
        self._members = coefficients
        self._family = family
        self.chosen = [0]
        super().__init__(self._joined(self.chosen), camera, config, device=coefficients.device)
        low, high = self.psf.z_range_nm
        reach = family.z_limit_nm / (1.0 - 3.0 * config.z_scale_jitter)
        assert low <= -reach
        assert high >= reach
        self._member_nm = coefficients.shape[1] * family.dz_nm

    def training_batch(
        self,
        batch_size: int,
        patch_px: int,
        context_frames: int,
        generator: torch.Generator,
        *,
        label_min_photons: float = 0.0,
    ) -> TrainingBatch:
        """Draw members, then a batch with them; see `Simulator.training_batch`."""
        order = torch.randperm(len(self._members), generator=generator, device=generator.device)
        self.chosen = order[:_MEMBERS_AT_ONCE].tolist()
        self.psf = self._joined(self.chosen)
        return super().training_batch(
            batch_size, patch_px, context_frames, generator, label_min_photons=label_min_photons
        )

    def _joined(self, numbers: list[int]) -> SplinePsfModel:
        return member_psf(self._members[numbers].flatten(0, 1), self._family)

    def _render(
        self,
        emitters: EmitterBatch,
        molecule: Tensor,
        shape: tuple[int, int, int, int],
        sample: _Sample,
    ) -> Tensor:
        group = emitters.image // shape[1]
        shift_nm = (group % len(self.chosen)) * self._member_nm
        if sample.z_scale is not None:
            shift_nm = shift_nm * sample.z_scale[group]
        emitters = emitters._replace(z_nm=emitters.z_nm - shift_nm)
        return super()._render(emitters, molecule, shape, sample)


class StarterStream(TrainingStream):
    """Endless batches, each of one camera and one light.

    Parameters
    ----------
    coefficients, family
        As for `FamilySimulator`.
    config : TrainingConfig
    generator : torch.Generator
        On the coefficients' device.
    network : ConditionedNet
        Is told the PSFs of each batch.
    """

    def __init__(
        self,
        coefficients: Tensor,
        family: Family,
        config: TrainingConfig,
        generator: torch.Generator,
        network: ConditionedNet,
    ) -> None:
        wide = wide_scaling(family)
        self._network = network
        images = [sketch_images(member, family) for member in coefficients]
        self._sketches = network.conditioning.sketch(torch.stack(images))
        self._choices = [
            (FamilySimulator(coefficients, family, camera, light), wide.stabilised(camera))
            for camera, light in itertools.product(CAMERAS, conditions(family))
        ]
        super().__init__(self._choices[0][0], config, wide, generator)

    def next_batch(self) -> NetworkBatch:
        """Simulate the next batch, in the network's units of its camera."""
        generator, config = self._generator, self._config
        number = torch.randint(
            len(self._choices), (1,), generator=generator, device=generator.device
        )
        simulator, scaling = self._choices[int(number)]
        batch = simulator.training_batch(
            config.batch_size,
            config.patch_px,
            config.context_frames,
            generator,
            label_min_photons=config.label_min_photons,
        )
        sample = torch.arange(config.batch_size, device=self._sketches.device)
        chosen = torch.tensor(simulator.chosen, device=self._sketches.device)
        self._network.sketches = self._sketches[chosen[sample % len(chosen)]]
        return to_network_units(batch, scaling)


def member_psf(coefficients: Tensor, family: Family) -> SplinePsfModel:
    """Return the PSF of a member's (Z, 64, Y, X) coefficients, or of some one behind the other."""
    return SplinePsfModel(
        coefficients,
        dz_nm=family.dz_nm,
        z0_slice=(family.slices - 1) / 2,
        center_x_px=(family.roi_px - 1) / 2,
        center_y_px=(family.roi_px - 1) / 2,
    )


def sketch_images(coefficients: Tensor, family: Family) -> Tensor:
    """Return the (Z, R, R) images by which a member is known."""
    z_nm = torch.tensor(family.sketch_z_nm, dtype=torch.float32, device=coefficients.device)
    return psf_images(member_psf(coefficients, family), z_nm, family.sketch_px)


def on_device(coefficients: NDArray[np.float32], device: torch.device) -> Tensor:
    """Return the members' coefficients on a device."""
    return torch.from_numpy(coefficients).to(device)
