"""Networks by name."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TypeAlias

import torch

from decode_engine.errors import ConfigError
from decode_engine.network.base import LocalizationNetwork
from decode_engine.network.decode_net import DecodeNet
from decode_engine.network.fast_net import FastNet

__all__ = ["build_network", "network_names"]

Options: TypeAlias = Mapping[str, int | float | str | bool]


def _build_decode(
    options: Options, context_frames: int, generator: torch.Generator
) -> LocalizationNetwork:
    _require_known("decode", options, ("features",))
    return DecodeNet(context_frames, int(options.get("features", 48)), generator)


def _build_fast(
    options: Options, context_frames: int, generator: torch.Generator
) -> LocalizationNetwork:
    _require_known("fast", options, ("width", "loss", "stabilised_input", "detail"))
    return FastNet(
        context_frames,
        generator,
        width=int(options.get("width", 48)),
        loss=str(options.get("loss", "mixture")),
        stabilised_input=bool(options.get("stabilised_input", True)),
        detail=int(options.get("detail", 0)),
    )


_BUILDERS: Mapping[str, Callable[[Options, int, torch.Generator], LocalizationNetwork]] = {
    "decode": _build_decode,
    "fast": _build_fast,
}


def network_names() -> list[str]:
    """Return the names that `build_network` knows."""
    return sorted(_BUILDERS)


def build_network(
    name: str,
    options: Options,
    context_frames: int,
    generator: torch.Generator | None = None,
) -> LocalizationNetwork:
    """Build a network with its initial weights.

    Parameters
    ----------
    name : str
        One of `network_names`.
    options : mapping
        Options of that network.
    context_frames : int
        Frames seen at once.
    generator : torch.Generator, optional
        Source of the initial weights; a fixed one when left out (weights will be loaded).
    """
    if name not in _BUILDERS:
        raise ConfigError(
            f"There is no network named {name!r}.",
            hint=f"Choose one of: {', '.join(network_names())}.",
        )
    generator = generator or torch.Generator().manual_seed(0)
    return _BUILDERS[name](options, context_frames, generator)


def _require_known(name: str, options: Options, known: tuple[str, ...]) -> None:
    for option in options:
        if option not in known:
            near = difflib.get_close_matches(option, known, n=1)
            raise ConfigError(
                f"The network {name!r} has no option {option!r}.",
                hint=f"Did you mean {near[0]!r}?" if near else f"It has: {', '.join(known)}.",
            )
