"""Where networks run and in which arithmetic: one place decides."""

from __future__ import annotations

from typing import Literal

import torch

from decode_engine.errors import DeviceError

__all__ = ["autocast_dtype", "available_devices", "choose_device", "supports_bf16"]


def available_devices() -> list[str]:
    """Return the names that `choose_device` accepts here, best first."""
    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps")
    return [*names, "cpu"]


def choose_device(name: str) -> torch.device:
    """Return the device of that name; ``auto`` takes the best one that is here.

    Raises
    ------
    DeviceError
        If the device does not exist here.
    """
    names = available_devices()
    if name == "auto":
        return torch.device(names[0])
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in names:
        raise DeviceError(
            f"The device {name!r} does not exist here.", hint=f"Choose auto or {', '.join(names)}."
        )
    return torch.device(wanted)


def supports_bf16(device: torch.device) -> bool:
    """Return whether the hardware multiplies bfloat16 natively; emulation is slower than fp32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False


def autocast_dtype(
    device: torch.device, precision: Literal["auto", "fp32", "bf16"]
) -> torch.dtype | None:
    """Return bfloat16 if convolutions should run in it, None for single precision."""
    if precision == "bf16" or (precision == "auto" and supports_bf16(device)):
        return torch.bfloat16
    return None
