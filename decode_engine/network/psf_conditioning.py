"""What a starter knows of the PSF that it is to be used with.

A starter is trained on many microscopes, and each sample's PSF, put into a few numbers, sets gains
and shifts of the features that enter the levels of the network's context U-Net (feature-wise linear
modulation: Perez et al. 2018, arXiv 1709.07871). Those features come out of convolutions, so for
one microscope gains and shifts are folded into their weights: what a user trains, keeps and
localizes with is the plain network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from decode_engine.errors import ModelError
from decode_engine.psf.base import PsfModel

__all__ = ["Modulation", "PsfConditioning", "fold", "psf_images"]

_HIDDEN = 64
_LARGEST = 3.0  # standard deviations of the family; a PSF far outside of it is taken as its edge


@dataclass(frozen=True, slots=True)
class Modulation:
    """Of the features of one convolution: ``gain * features + shift``, (C,) or (B, C) each."""

    gain: Tensor
    shift: Tensor


class PsfConditioning(nn.Module):
    """From a PSF to the modulations of a network.

    Parameters
    ----------
    z_nm : (Z,) float
        Heights at which a PSF is looked at.
    mean : (Z, R, R) float
        Mean image of the family's PSFs.
    components : (K, Z, R, R) float
        Principal components, divided by the standard deviation of their scores.
    channels : sequence of int
        Features of each convolution that is modulated.
    """

    z_nm: Tensor
    mean: Tensor
    components: Tensor

    def __init__(
        self, z_nm: Tensor, mean: Tensor, components: Tensor, channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.register_buffer("z_nm", z_nm.float())
        self.register_buffer("mean", mean.float())
        self.register_buffer("components", components.float())
        self._channels = tuple(channels)
        self.hidden = nn.Linear(components.shape[0], _HIDDEN)
        self.out = nn.Linear(_HIDDEN, 2 * sum(channels))

    @classmethod
    def from_images(
        cls,
        z_nm: Tensor,
        images: Tensor,
        components: int,
        channels: Sequence[int],
        generator: torch.Generator,
    ) -> PsfConditioning:
        """Return one that begins without effect, for a family with the images (M, Z, R, R)."""
        mean = images.mean(0)
        rows = (images - mean).flatten(1).double()
        _, singular, axes = torch.linalg.svd(rows, full_matrices=False)
        scores_std = singular[:components] / len(images) ** 0.5
        chosen = (axes[:components] / scores_std[:, None]).view(-1, *mean.shape)
        made = cls(z_nm, mean, chosen, channels)
        with torch.no_grad():
            nn.init.normal_(made.hidden.weight, std=components**-0.5, generator=generator)
            for parameter in (made.hidden.bias, made.out.weight, made.out.bias):
                parameter.zero_()
        return made

    @classmethod
    def from_arrays(
        cls, arrays: Mapping[str, NDArray[np.floating]], channels: Sequence[int]
    ) -> PsfConditioning:
        """Return the one that `arrays` was called on.

        Raises
        ------
        ModelError
            If arrays are missing or of other sizes than the network's.
        """
        tensors = {n: torch.from_numpy(np.array(a, np.float32)) for n, a in arrays.items()}
        try:
            made = cls(tensors["z_nm"], tensors["mean"], tensors["components"], channels)
            made.load_state_dict(tensors)
        except (KeyError, IndexError, RuntimeError) as error:
            raise ModelError(
                "What the starter model knows of PSFs does not fit its network.",
                hint="The file is damaged or from another version; start from another model.",
                detail=str(error),
            ) from error
        return made.requires_grad_(False)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return everything by name."""
        return {name: t.detach().cpu().float().numpy() for name, t in self.state_dict().items()}

    def sketch(self, images: Tensor) -> Tensor:
        """Return the (..., K) numbers that stand for PSFs with the images (..., Z, R, R)."""
        difference = (images - self.mean).flatten(-3)
        scores: Tensor = difference @ self.components.flatten(1).mT
        return scores.clamp(-_LARGEST, _LARGEST)

    def forward(self, sketch: Tensor) -> list[Modulation]:
        """Return the modulation of each convolution for sketches (..., K)."""
        values = self.out(functional.silu(self.hidden(sketch)))
        parts = values.split([2 * n for n in self._channels], dim=-1)
        halves = (part.chunk(2, dim=-1) for part in parts)
        return [Modulation(gain=1.0 + gain, shift=shift) for gain, shift in halves]

    def of_psf(self, psf: PsfModel, *, mirrored_z: bool = False) -> list[Modulation]:
        """Return the modulations for a PSF; ``mirrored_z``: seen from the other side."""
        sign = -1.0 if mirrored_z else 1.0
        images = psf_images(psf.to(self.mean.device), sign * self.z_nm, self.mean.shape[-1])
        with torch.no_grad():
            return self.forward(self.sketch(images))


def psf_images(psf: PsfModel, z_nm: Tensor, window_px: int) -> Tensor:
    """Return the (Z, R, R) images of an emitter in the middle of a pixel."""
    centre = torch.zeros_like(z_nm)
    return psf.value(centre, centre, z_nm, window_px)


@torch.no_grad()
def fold(
    convolutions: Sequence[nn.Conv2d], old: Sequence[Modulation], new: Sequence[Modulation]
) -> None:
    """Turn convolutions whose features were modulated by ``old`` into those of ``new``."""
    for convolution, was, becomes in zip(convolutions, old, new, strict=True):
        assert convolution.bias is not None
        ratio = becomes.gain / was.gain
        convolution.weight.mul_(ratio[:, None, None, None])
        convolution.bias.sub_(was.shift).mul_(ratio).add_(becomes.shift)
