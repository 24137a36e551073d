"""Devices as the inference rooms name them; the choice itself lives beside the networks."""

from __future__ import annotations

from decode_engine.network.device import (
    autocast_dtype,
    available_devices,
    choose_device,
    supports_bf16,
)

__all__ = ["autocast_dtype", "available_devices", "choose_device", "supports_bf16"]
