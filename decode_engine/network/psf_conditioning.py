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
_RIDGE = 0.1  # of the smallest component's variance


@dataclass(frozen=True, slots=True, kw_only=True)
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
        self.hidden = _linear(components.shape[0], _HIDDEN)
        self.out = _linear(_HIDDEN, 2 * sum(channels))

    @classmethod
    def from_images(
        cls,
        z_nm: Tensor,
        images: Tensor,
        components: int,
        channels: Sequence[int],
        generator: torch.Generator,
    ) -> PsfConditioning:
        """Return one that begins without effect, for a family with the images (M, Z, R, R).

        A family of M members has at most M - 1 components.
        """
        components = min(components, len(images) - 1)
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
            _require_shapes(tensors["z_nm"], tensors["mean"], tensors["components"])
            made = cls(tensors["z_nm"], tensors["mean"], tensors["components"], channels)
            made.load_state_dict(tensors)
        except (KeyError, ValueError, RuntimeError) as error:
            raise ModelError(
                "What the starter model knows of PSFs does not fit its network.",
                hint="The file is damaged or from another version; start from another model.",
                detail=str(error),
            ) from error
        return made.requires_grad_(False)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return everything by name."""
        return {name: t.detach().cpu().float().numpy() for name, t in self.state_dict().items()}

    def sketch(self, images: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the (..., K) numbers that stand for PSFs with the images (..., Z, R, R).

        Parameters
        ----------
        images : (..., Z, R, R) Tensor
        known : (Z,) bool Tensor, optional
            Heights whose images count; left out: all. Of some only, the scores are a ridge
            regression on the components, which tells apart what those heights can.
        """
        difference = images - self.mean
        if known is None or bool(known.all()):
            scores: Tensor = difference.flatten(-3) @ self.components.flatten(1).mT
        else:
            square = self.components.flatten(1).square().sum(1)
            modes = (self.components / square[:, None, None, None])[:, known].flatten(1)
            ridge = (_RIDGE / square.max()) * torch.eye(
                len(modes), dtype=modes.dtype, device=modes.device
            )
            seen = difference[..., known, :, :].flatten(-3) @ modes.mT
            scores = torch.linalg.solve(modes @ modes.mT + ridge, seen[..., None])[..., 0]
        return scores.clamp(-_LARGEST, _LARGEST)

    def forward(self, sketch: Tensor) -> list[Modulation]:
        """Return the modulation of each convolution for sketches (..., K)."""
        values = self.out(functional.silu(self.hidden(sketch)))
        parts = values.split([2 * n for n in self._channels], dim=-1)
        halves = (part.chunk(2, dim=-1) for part in parts)
        return [Modulation(gain=gain.exp(), shift=shift) for gain, shift in halves]

    def of_psf(self, psf: PsfModel, *, mirrored_z: bool = False) -> list[Modulation]:
        """Return the modulations for a PSF; ``mirrored_z``: seen from the other side.

        Heights that the PSF does not know do not count.
        """
        z_nm = -self.z_nm if mirrored_z else self.z_nm
        psf = psf.to(z_nm.device)
        images = psf_images(psf, z_nm, self.mean.shape[-1])
        known = ~psf.out_of_range(z_nm)
        with torch.no_grad():
            return self.forward(self.sketch(images, known))


def psf_images(psf: PsfModel, z_nm: Tensor, window_px: int) -> Tensor:
    """Return the (Z, R, R) images of an emitter in the middle of a pixel."""
    centre = torch.zeros_like(z_nm)
    return psf.value(centre, centre, z_nm, window_px)


@torch.no_grad()
def fold(
    convolutions: Sequence[nn.Conv2d], old: Sequence[Modulation], new: Sequence[Modulation]
) -> None:
    """Turn convolutions whose features were modulated by ``old`` into those of ``new``.

    Raises
    ------
    ModelError
        If the weights would not be finite.
    """
    for convolution, was, becomes in zip(convolutions, old, new, strict=True):
        assert convolution.bias is not None
        ratio = becomes.gain / was.gain
        convolution.weight.mul_(ratio[:, None, None, None])
        convolution.bias.sub_(was.shift).mul_(ratio).add_(becomes.shift)
        if not all(bool(p.isfinite().all()) for p in (convolution.weight, convolution.bias)):
            raise ModelError(
                "The starter model cannot be set to this PSF: its weights would not be finite.",
                hint="The file is damaged or from another version; start from another model.",
            )


def _linear(inputs: int, outputs: int) -> nn.Linear:
    """Return a layer whose weights are not set yet (no draw from the global generator)."""
    return nn.Linear(inputs, outputs, device="meta").to_empty(device="cpu")


def _require_shapes(z_nm: Tensor, mean: Tensor, components: Tensor) -> None:
    window_px = mean.shape[-1] if mean.ndim else 0
    if z_nm.ndim != 1 or mean.shape != (len(z_nm), window_px, window_px) or window_px % 2 == 0:
        raise ValueError(f"mean images {tuple(mean.shape)} at {tuple(z_nm.shape)} heights")
    if components.ndim != 4 or components.shape[1:] != mean.shape:
        raise ValueError(f"components {tuple(components.shape)}, mean {tuple(mean.shape)}")
