"""`Simulator`: everything that makes frames, for training and for movies."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.contract.configs import SimulationConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.localizations import Emitters
from decode_engine.errors import CalibrationError, ConfigError
from decode_engine.psf.base import PsfModel
from decode_engine.simulation import draws
from decode_engine.simulation.background import BackgroundProcess
from decode_engine.simulation.camera_noise import CameraNoise
from decode_engine.simulation.emitters import BlinkingProcess, EmitterBatch
from decode_engine.simulation.priors import Box, PositionPrior, make_prior
from decode_engine.simulation.rendering import render_dense, render_shared

__all__ = ["MovieChunk", "Simulator", "TargetSet", "TrainingBatch"]

_CHUNK_PIXELS = 1 << 20  # pixels of a movie simulated at once: about 0.2 s, so a cancel is prompt
_DENSE_FRAME_PX = 64 * 64  # larger frames are mostly empty around each molecule
_JITTER_LIMIT = 3.0  # jitters are cut at this many standard deviations


class TargetSet(NamedTuple):
    """Emitters that a network should find, packed to the longest list of the batch.

    Attributes
    ----------
    x_px, y_px : (B, M) float32, px
        0 where not valid.
    z_nm : (B, M) float32, nm
    photons : (B, M) float32
    valid : (B, M) bool
    """

    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor
    photons: Tensor
    valid: Tensor


class TrainingBatch(NamedTuple):
    """Noisy frames and what is true of their central one.

    Attributes
    ----------
    frames : (B, T, H, W) float32, photons
        Recorded ADU turned into photons with the camera's nominal values.
    background : (B, H, W) float32, photons
        Expected background of the central frame.
    targets : TargetSet
    """

    frames: Tensor
    background: Tensor
    targets: TargetSet


@dataclass(frozen=True, slots=True, kw_only=True)
class MovieChunk:
    """Some consecutive frames of a simulated movie.

    Attributes
    ----------
    first_frame : int
    frames_adu : (N, H, W) uint16, ADU
    background : (N, H, W) float32, photons
        Expected background.
    emitters : Emitters
        Truth inside the field, with movie frame numbers.
    """

    first_frame: int
    frames_adu: NDArray[np.uint16]
    background: NDArray[np.float32]
    emitters: Emitters


class _Sample(NamedTuple):
    """Random properties of independent samples (B,)."""

    density: Tensor  # 1/um^2
    width_scale: Tensor | None
    z_scale: Tensor | None
    gain: Tensor | float
    flux_factor: Tensor | None = None


class Simulator:
    """Simulates frames of blinking emitters for one PSF, camera and configuration.

    Parameters
    ----------
    psf : PsfModel
    camera : CameraModel
    config : SimulationConfig
    device : torch.device or str
        Where frames are computed. The generators given to the methods may live on the CPU
        all the same.

    Raises
    ------
    CalibrationError
        If the configuration asks for z outside the PSF's range.

    Notes
    -----
    Jitters are drawn once per training sample or movie and cut at three standard deviations.
    A PSF scaled axially by ``s`` shows at z what the calibration shows at ``z / s``; the z
    range of such a sample is cut so that this lies inside the calibration. A PSF scaled
    laterally keeps its photons (`resampling.scale_patches`). A jittered gain is unknown to
    the conversion back to photons.
    """

    def __init__(
        self,
        psf: PsfModel,
        camera: CameraModel,
        config: SimulationConfig,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        self.device = torch.device(device)
        self.psf = psf.to(self.device)
        self.camera = camera
        self.config = config
        self.z_range_nm = _z_range(psf, config)
        self.margin_px = psf.support_px / 2 if config.margin_px is None else config.margin_px
        self._noise = CameraNoise(camera, self.device)

    @torch.no_grad()
    def training_batch(
        self,
        batch_size: int,
        patch_px: int,
        context_frames: int,
        generator: torch.Generator,
        *,
        label_min_photons: float = 0.0,
    ) -> TrainingBatch:
        """Simulate independent samples of a few consecutive frames each.

        Targets are the emitters of the central frame that lie inside it
        (``-0.5 <= x, y < patch_px - 0.5``) and have at least ``label_min_photons`` photons
        there; all others are in the image only.
        """
        shape = (batch_size, context_frames, patch_px, patch_px)
        sample = self._draw_samples(batch_size, generator)
        box = self._box(patch_px, patch_px, sample)
        prior = make_prior(self.config.prior, box, generator)
        process = self._blinking(sample, box, prior)
        emitters, molecule = process.advance(context_frames, generator).emitters(context_frames)
        expected = self._render(emitters, molecule, shape, sample)
        field = BackgroundProcess(
            self.config, (batch_size, patch_px, patch_px), generator, self.device
        )
        background = field.advance(context_frames, generator)
        pixels = self._noise.random_windows(batch_size, patch_px, patch_px, generator)
        adu = self._noise.sample(expected + background, generator, pixels=pixels, gain=sample.gain)
        return TrainingBatch(
            frames=self._noise.to_photons(adu, pixels=pixels),
            background=background[:, context_frames // 2].contiguous(),
            targets=_targets(emitters, shape, label_min_photons),
        )

    def movie_chunks(
        self,
        n_frames: int,
        width_px: int,
        height_px: int,
        generator: torch.Generator,
        *,
        drift_nm: tuple[float, float, float] = (0.0, 0.0, 0.0),
        chunk_frames: int | None = None,
    ) -> Iterator[MovieChunk]:
        """Simulate a movie piece by piece; emitters and background go on from one to the next.

        Parameters
        ----------
        n_frames, width_px, height_px : int
        generator : torch.Generator
        drift_nm : tuple of float
            Movement of the sample in x, y, z from the first to the last frame (linear). The
            emitters' table holds the positions they really had.
        chunk_frames : int, optional
            Frames at once; by memory when left out. The random numbers, and so the movie,
            depend on it.

        Raises
        ------
        CameraError
            If the camera's maps have another size than the movie.
        ConfigError
            If the z drift is larger than the z range.
        """
        self.camera.require_frame_size(height_px, width_px)
        with torch.no_grad():
            sample = self._draw_samples(1, generator)
            box = self._drifting_box(width_px, height_px, sample, drift_nm)
            prior = make_prior(self.config.prior, box, generator)
            process = self._blinking(sample, box, prior)
            field = BackgroundProcess(self.config, (1, height_px, width_px), generator, self.device)
        drift = _Drift(drift_nm, n_frames, self.camera)
        step = chunk_frames or max(1, min(n_frames, _CHUNK_PIXELS // (width_px * height_px)))
        for first in range(0, n_frames, step):
            n = min(step, n_frames - first)
            with torch.no_grad():
                emitters, molecule = process.advance(n, generator).emitters(n)
                background = field.advance(n, generator)
                if drift.moves:
                    emitters = drift.apply(emitters, first)
                    molecule = torch.arange(emitters.n_rows, device=self.device)
                shape = (1, n, height_px, width_px)
                expected = self._render(emitters, molecule, shape, sample)
                adu = self._noise.sample(expected + background, generator, gain=sample.gain)
                yield self._chunk(first, adu[0], background[0], emitters)

    def _draw_samples(self, n: int, generator: torch.Generator) -> _Sample:
        config = self.config
        u = draws.uniform((n,), generator, self.device)
        low, high = config.density_min_per_um2, config.density_max_per_um2
        # Log-uniform has no lower end at 0; there a uniform draw is what is left.
        density = low * (high / low) ** u if low > 0 else high * u
        z_jitter = config.z_scale_jitter if self.psf.is_3d else 0.0
        gain = self._jitter(n, config.gain_jitter, generator)
        return _Sample(
            density=density,
            width_scale=self._jitter(n, config.psf_width_jitter, generator),
            z_scale=self._jitter(n, z_jitter, generator),
            gain=1.0 if gain is None else gain[:, None, None, None],
            flux_factor=self._flux_factor(n, generator),
        )

    def _blinking(self, sample: _Sample, box: Box, prior: PositionPrior) -> BlinkingProcess:
        mean_on = sample.density * box.area_um2
        return BlinkingProcess(self.config, mean_on, prior, sample.flux_factor)

    def _flux_factor(self, n: int, generator: torch.Generator) -> Tensor | None:
        """Draw how bright the molecules of each sample are; None where all are alike."""
        spread = self.config.flux_spread
        if spread == 1:
            return None
        exponent: Tensor = 2.0 * draws.uniform((n,), generator, self.device) - 1.0
        return torch.exp(math.log(spread) * exponent)

    def _jitter(self, n: int, std: float, generator: torch.Generator) -> Tensor | None:
        """Draw factors around 1; None when there is no jitter."""
        if std == 0:
            return None
        unit = draws.normal((n,), generator, self.device)
        return 1.0 + std * unit.clamp(-_JITTER_LIMIT, _JITTER_LIMIT)

    def _box(self, width_px: int, height_px: int, sample: _Sample) -> Box:
        low, high = (torch.full_like(sample.density, z) for z in self.z_range_nm)
        if sample.z_scale is not None:
            psf_low, psf_high = self.psf.z_range_nm
            low = torch.maximum(low, sample.z_scale * psf_low)
            high = torch.minimum(high, sample.z_scale * psf_high)
        return Box(
            x_low_px=-0.5 - self.margin_px,
            x_high_px=width_px - 0.5 + self.margin_px,
            y_low_px=-0.5 - self.margin_px,
            y_high_px=height_px - 0.5 + self.margin_px,
            z_low_nm=low,
            z_high_nm=torch.maximum(low, high),
            pixel_x_nm=self.camera.pixel_size_x_nm,
            pixel_y_nm=self.camera.pixel_size_y_nm,
        )

    def _drifting_box(
        self,
        width_px: int,
        height_px: int,
        sample: _Sample,
        drift_nm: tuple[float, float, float],
    ) -> Box:
        """Widen the box in x and y, and narrow it in z, so that drift never leaves it."""
        box = self._box(width_px, height_px, sample)
        x_px = drift_nm[0] / box.pixel_x_nm
        y_px = drift_nm[1] / box.pixel_y_nm
        low = box.z_low_nm - min(0.0, drift_nm[2])
        high = box.z_high_nm - max(0.0, drift_nm[2])
        if bool((low > high).any()):
            raise ConfigError(
                f"The drift of {drift_nm[2]:g} nm along z is larger than the z range of "
                f"{float(box.z_low_nm[0]):g} to {float(box.z_high_nm[0]):g} nm.",
                hint="Choose a smaller drift, or a calibration that covers more.",
            )
        return Box(
            x_low_px=box.x_low_px - max(0.0, x_px),
            x_high_px=box.x_high_px - min(0.0, x_px),
            y_low_px=box.y_low_px - max(0.0, y_px),
            y_high_px=box.y_high_px - min(0.0, y_px),
            z_low_nm=low,
            z_high_nm=high,
            pixel_x_nm=box.pixel_x_nm,
            pixel_y_nm=box.pixel_y_nm,
        )

    def _render(
        self,
        emitters: EmitterBatch,
        molecule: Tensor,
        shape: tuple[int, int, int, int],
        sample: _Sample,
    ) -> Tensor:
        """Return the (B, T, H, W) expected photons of the emitters, with the PSF's jitter."""
        group = emitters.image // shape[1]
        if sample.z_scale is not None:
            emitters = emitters._replace(z_nm=emitters.z_nm / sample.z_scale[group])
        width_scale = None if sample.width_scale is None else sample.width_scale[group]
        if self.device.type == "cuda" and shape[2] * shape[3] <= _DENSE_FRAME_PX:
            return render_dense(self.psf, emitters, molecule, shape, width_scale)
        images = (shape[0] * shape[1], shape[2], shape[3])
        return render_shared(self.psf, emitters, molecule, images, width_scale).reshape(shape)

    def _chunk(
        self, first: int, adu: Tensor, background: Tensor, emitters: EmitterBatch
    ) -> MovieChunk:
        height_px, width_px = int(adu.shape[1]), int(adu.shape[2])
        truth = emitters.select(_inside(emitters, height_px, width_px))
        # Rows are by molecule; a table of a movie is by frame.
        truth = truth.select(torch.argsort(truth.image, stable=True))
        row, column = ((p + 0.5).floor().long() for p in (truth.y_px, truth.x_px))
        local = background[truth.image, row, column]
        limit = float(np.iinfo(np.uint16).max)
        return MovieChunk(
            first_frame=first,
            frames_adu=adu.clamp(max=limit).cpu().numpy().astype(np.uint16),
            background=background.cpu().numpy(),
            emitters=Emitters(
                frame=(truth.image + first).cpu().numpy(),
                x_nm=(truth.x_px * self.camera.pixel_size_x_nm).cpu().numpy(),
                y_nm=(truth.y_px * self.camera.pixel_size_y_nm).cpu().numpy(),
                z_nm=truth.z_nm.cpu().numpy(),
                photons=truth.photons.cpu().numpy(),
                background=local.cpu().numpy(),
                emitter_id=truth.emitter_id.cpu().numpy(),
            ),
        )


class _Drift:
    """Linear movement of the sample over a movie."""

    def __init__(
        self, drift_nm: tuple[float, float, float], n_frames: int, camera: CameraModel
    ) -> None:
        self.moves = any(drift_nm) and n_frames > 1
        self._last = max(1, n_frames - 1)
        self._x_px = drift_nm[0] / camera.pixel_size_x_nm
        self._y_px = drift_nm[1] / camera.pixel_size_y_nm
        self._z_nm = drift_nm[2]

    def apply(self, emitters: EmitterBatch, first_frame: int) -> EmitterBatch:
        """Return the emitters of a chunk where the sample has carried them."""
        part = (emitters.image + first_frame) / self._last
        return emitters._replace(
            x_px=emitters.x_px + self._x_px * part,
            y_px=emitters.y_px + self._y_px * part,
            z_nm=emitters.z_nm + self._z_nm * part,
        )


def _z_range(psf: PsfModel, config: SimulationConfig) -> tuple[float, float]:
    """Return the z range of the configuration, or the PSF's own where it says nothing."""
    low, high = psf.z_range_nm
    z_min = low if config.z_min_nm is None else config.z_min_nm
    z_max = high if config.z_max_nm is None else config.z_max_nm
    asked = f"z from {z_min:g} to {z_max:g} nm was asked"
    if not psf.is_3d:
        if (config.z_min_nm or 0.0, config.z_max_nm or 0.0) != (0.0, 0.0):
            raise CalibrationError(
                f"{asked} of a 2D calibration.", hint="Use a 3D calibration, or leave z out."
            )
        return 0.0, 0.0
    tolerance_nm = 1e-3  # rounding of z0 * dz in single precision
    if z_min < low - tolerance_nm or z_max > high + tolerance_nm or z_min > z_max:
        raise CalibrationError(
            f"{asked}, but the calibration covers {low:g} to {high:g} nm.",
            hint="Choose a z range inside the calibration, or record a longer bead stack.",
        )
    return z_min, z_max


def _inside(emitters: EmitterBatch, height_px: int, width_px: int) -> Tensor:
    """Return where emitters lie on a pixel of the image."""
    x, y = emitters.x_px, emitters.y_px
    return (x >= -0.5) & (x < width_px - 0.5) & (y >= -0.5) & (y < height_px - 0.5)


def _targets(
    emitters: EmitterBatch, shape: tuple[int, int, int, int], label_min_photons: float
) -> TargetSet:
    """Pack the labelled emitters of the central frames, one row of the result per sample."""
    n, n_frames, height_px, width_px = shape
    central = emitters.image % n_frames == n_frames // 2
    bright = (emitters.photons > 0) & (emitters.photons >= label_min_photons)
    chosen = emitters.select(central & bright & _inside(emitters, height_px, width_px))
    group = chosen.image // n_frames
    order = torch.argsort(group, stable=True)
    chosen, group = chosen.select(order), group[order]
    counts = torch.bincount(group, minlength=n)
    longest = int(counts.max()) if n else 0
    slot = torch.arange(chosen.n_rows, device=group.device) - (counts.cumsum(0) - counts)[group]

    def packed(values: Tensor) -> Tensor:
        table = values.new_zeros(n, longest)
        table[group, slot] = values
        return table

    return TargetSet(
        x_px=packed(chosen.x_px),
        y_px=packed(chosen.y_px),
        z_nm=packed(chosen.z_nm),
        photons=packed(chosen.photons),
        valid=packed(torch.ones_like(group, dtype=torch.bool)),
    )
