"""Between a network with its weights and the numpy-only model bundle."""

from __future__ import annotations

import numpy as np
import torch

from decode_engine.errors import ModelError
from decode_engine.io.models import ModelBundle
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.psf_conditioning import PsfConditioning, fold
from decode_engine.network.registry import build_network
from decode_engine.network.scaling import NetworkScaling
from decode_engine.network.uncertainty import Uncertainty
from decode_engine.psf.base import PsfModel
from decode_engine.psf.models import psf_from_calibration

__all__ = [
    "network_from_bundle",
    "scaling_from_bundle",
    "uncertainty_from_bundle",
    "warm_start",
]


def network_from_bundle(
    bundle: ModelBundle, device: torch.device | str = "cpu"
) -> LocalizationNetwork:
    """Return the bundle's network in evaluation mode, float32, on a device."""
    network = build_network(
        bundle.network, bundle.network_options, bundle.training_config.context_frames
    )
    _fill(network, bundle)
    return network.to(device).eval().requires_grad_(False)


def scaling_from_bundle(bundle: ModelBundle) -> NetworkScaling:
    """Return the bundle's scaling."""
    return NetworkScaling.from_dict(bundle.scaling)


def uncertainty_from_bundle(bundle: ModelBundle) -> Uncertainty:
    """Return the bundle's corrections of sigma and probability; empty where it has none."""
    return Uncertainty.from_dict(bundle.uncertainty)


def warm_start(
    network: LocalizationNetwork,
    bundle: ModelBundle,
    name: str,
    options: dict[str, int | float | str | bool],
    *,
    psf: PsfModel | None = None,
    mirrored_z: bool = False,
) -> None:
    """Give a network that is about to be trained the weights of a model.

    Parameters
    ----------
    network : LocalizationNetwork
        On the CPU.
    bundle : ModelBundle
    name, options
        Of the network that is to be trained.
    psf : PsfModel, optional
        Of the training; a starter that knows PSFs is set to it.
    mirrored_z : bool
        The model's z runs the other way.

    Raises
    ------
    ModelError
        If the model holds another network, other options or another number of frames.
    """
    if not bundle.holds(name, options, network.context_frames):
        own = (name, options, network.context_frames)
        other = (bundle.network, bundle.network_options, bundle.training_config.context_frames)
        raise ModelError(
            f"The training cannot start from this model: it holds {_words(*other)}, "
            f"but {_words(*own)} is to be trained.",
            hint="Choose the same network, options and context frames, or another model.",
        )
    _fill(network, bundle)
    if bundle.conditioning and psf is not None:
        convolutions = network.context_inputs()
        channels = [convolution.out_channels for convolution in convolutions]
        conditioning = PsfConditioning.from_arrays(bundle.conditioning, channels)
        at_first = conditioning.of_psf(psf_from_calibration(bundle.calibration))
        fold(convolutions, at_first, conditioning.of_psf(psf, mirrored_z=mirrored_z))


@torch.no_grad()
def _fill(network: LocalizationNetwork, bundle: ModelBundle) -> None:
    parameters = dict(network.named_parameters())
    if set(parameters) != set(bundle.weights):
        wrong = sorted(set(parameters) ^ set(bundle.weights))
        raise ModelError(
            f"The model's weights do not fit the network {bundle.network!r}: {wrong[0]!r} is "
            "missing or unknown.",
            hint="The model was written by another version; train it again.",
        )
    for name, parameter in parameters.items():
        values = bundle.weights[name]
        if values.shape != tuple(parameter.shape):
            raise ModelError(
                f"The model's weights {name!r} have the shape {values.shape}, the network "
                f"{bundle.network!r} needs {tuple(parameter.shape)}."
            )
        parameter.copy_(torch.from_numpy(np.array(values, np.float32)))


def _words(name: str, options: dict[str, int | float | str | bool], context_frames: int) -> str:
    settings = ", ".join(f"{k}={v}" for k, v in sorted(options.items())) or "default options"
    return f"the network {name!r} ({settings}, {context_frames} frames)"
