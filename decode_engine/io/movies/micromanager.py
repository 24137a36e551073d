"""Micro-Manager's own notes: summary, per-frame settings, ``metadata.txt`` (JSON)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

__all__ = [
    "frame_facts",
    "number",
    "read_metadata_text",
    "summary_axes",
    "summary_facts",
]

# Settings that say which way the signal left the chip, and what their values mean.
_EM_SWITCHES = ("Output_Amplifier", "EMSwitch", "Port")
_EM_ANSWERS = {
    "electron multiplying": True,
    "multiplication gain": True,
    "em gain": True,
    "emgain": True,
    "em": True,
    "on": True,
    "conventional": False,
    "normal": False,
    "off": False,
}
_TEXT_LIMIT = 1 << 20  # of metadata.txt; the first frame's settings are in its first kilobytes


def number(value: object) -> float | None:
    """Return a finite number from a number or from text that begins with one, else None."""
    if isinstance(value, bool) or value is None:
        return None
    match = re.match(r"\s*([-+]?\d*\.?\d+(?:[eE][-+]?\d+)?)", str(value))
    result = float(match.group(1)) if match else math.nan
    return result if math.isfinite(result) else None


def summary_axes(summary: Mapping[str, Any]) -> tuple[int, int, int, str]:
    """Return channels, slices, time points and their order, fastest first."""
    dimensions = summary.get("IntendedDimensions")  # Micro-Manager 2
    source = dimensions if isinstance(dimensions, dict) else summary
    names = ("channel", "z", "time") if source is dimensions else ("Channels", "Slices", "Frames")
    channels, slices, times = (max(1, int(number(source.get(n)) or 1)) for n in names)
    order = "CZT" if not summary.get("SlicesFirst", False) else "ZCT"
    return channels, slices, times, order


def summary_facts(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `MovieMetadata` fields that a summary tells."""
    facts: dict[str, Any] = {}
    pixel_um = number(summary.get("PixelSize_um"))
    if pixel_um and pixel_um > 0:
        facts["pixel_size_x_nm"] = facts["pixel_size_y_nm"] = pixel_um * 1e3
    if interval := number(summary.get("Interval_ms") or summary.get("WaitInterval")):
        facts["frame_interval_ms"] = interval
    if version := summary.get("MicroManagerVersion"):
        facts["software"] = f"Micro-Manager {version}"
    if started := summary.get("StartTime") or summary.get("Time"):
        facts["acquired"] = str(started)
    return facts


def frame_facts(frame: Mapping[str, Any]) -> dict[str, Any]:
    """Return the `MovieMetadata` fields that the settings of one frame tell."""
    facts: dict[str, Any] = {}
    pixel_um = number(frame.get("PixelSizeUm") or frame.get("PixelSize_um"))
    if pixel_um and pixel_um > 0:
        facts["pixel_size_x_nm"] = facts["pixel_size_y_nm"] = pixel_um * 1e3
    roi = re.fullmatch(r"(\d+)-(\d+)-\d+-\d+", str(frame.get("ROI", "")))
    if roi:
        facts["roi_origin_px"] = (int(roi.group(1)), int(roi.group(2)))
    device = str(frame.get("Camera") or frame.get("Core-Camera") or "")
    exposures = (frame.get(n) for n in ("Exposure-ms", "Exposure", f"{device}-Exposure"))
    exposure = next((ms for text in exposures if (ms := number(text)) and ms > 0), None)
    if exposure is not None:
        facts["exposure_ms"] = exposure
    if device:
        named = frame.get(f"{device}-CameraName") or frame.get(f"{device}-Name") or device
        facts["camera"], facts["device"] = str(named), device
        prefix = f"{device}-"
        properties = {
            k[len(prefix) :]: str(v) for k, v in sorted(frame.items()) if k.startswith(prefix)
        }
        facts["properties"] = MappingProxyType(properties)
        facts.update(_em_facts(properties))
    if binning := number(frame.get("Binning")):
        facts["binning"] = int(binning)
    return facts


def _em_facts(properties: Mapping[str, str]) -> dict[str, Any]:
    """Return whether and how an EM register amplified, by Andor's and Photometrics' settings."""
    facts: dict[str, Any] = {}
    for name in _EM_SWITCHES:
        answer = _EM_ANSWERS.get(properties.get(name, "").strip().lower())
        if answer is not None:
            facts["em_register_on"] = answer
            break
    has_register = "em_register_on" in facts or "MultiplierGain" in properties
    # Andor calls the EM gain Gain, beside Pre-Amp-Gain; Photometrics calls the amplifier's so.
    andor = "Output_Amplifier" in properties or "EMSwitch" in properties
    names = ("MultiplierGain", "EMGain", *(("Gain",) if andor else ()))
    gains = (number(properties.get(name)) for name in names)
    gain = next((value for value in gains if value is not None and value >= 1), None)
    if has_register and gain is not None:
        facts["em_gain"] = gain
    return facts


def read_metadata_text(path: Path) -> dict[str, Any]:
    """Return `MovieMetadata` fields from a ``metadata.txt``; empty if it cannot be read.

    The file lists the settings of every frame and can be hundreds of megabytes: only its first
    megabyte is read, and from it the summary and the first frame.
    """
    try:
        with path.open("rb") as handle:
            text = handle.read(_TEXT_LIMIT).decode("utf-8", "replace")
    except OSError:
        return {}
    summary = _object_after(text, r'"Summary"\s*:')
    frame = _object_after(text, r'"(?:FrameKey-\d+-\d+-\d+|Metadata-[^"]*)"\s*:')
    facts = summary_facts(summary)
    facts.update(frame_facts(_unwrapped(frame)))
    if summary:
        channels, slices, times, _ = summary_axes(summary)
        facts["announced_frames"] = channels * slices * times
    return facts


def _object_after(text: str, pattern: str) -> dict[str, Any]:
    match = re.search(pattern, text)
    if match is None:
        return {}
    start = text.find("{", match.end())
    try:
        found, _ = json.JSONDecoder().raw_decode(text, start)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _unwrapped(frame: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain settings: Micro-Manager 2 wraps each device property in ``PropVal``."""
    return {
        key: value["PropVal"] if isinstance(value, dict) and "PropVal" in value else value
        for key, value in frame.items()
    }
