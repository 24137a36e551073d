"""What a TIFF movie says about itself: OME-XML, ImageJ, Micro-Manager and tifffile notes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from html import unescape
from typing import Any

import tifffile

from decode_engine.io.movies.micromanager import frame_facts, number, summary_axes, summary_facts
from decode_engine.io.movies.source import MovieMetadata
from decode_engine.io.movies.tiff_pages import TiffPages

__all__ = ["StackAxes", "TiffDescription", "describe_tiff"]

# Pixel sizes outside are not sample-plane sizes (a screen's 96 dpi would be 264 um).
_PIXEL_NM = (1.0, 20000.0)
_LENGTH_NM = {"nm": 1.0, "um": 1e3, "µm": 1e3, "μm": 1e3, "micron": 1e3, "microns": 1e3}
_LENGTH_NM |= {"pm": 1e-3, "mm": 1e6, "cm": 1e7, "m": 1e9, "": 1e3}
_TIME_MS = {"s": 1e3, "ms": 1.0, "us": 1e-3, "µs": 1e-3, "sec": 1e3, "": 1e3}
_IMAGEJ, _OME = "ImageJ TIFF", "OME-TIFF"


@dataclass(frozen=True, slots=True, kw_only=True)
class StackAxes:
    """Channels, z slices and time points of a stack, and which of them runs fastest."""

    channels: int = 1
    slices: int = 1
    times: int = 1
    order: str = "CZT"  # fastest first

    @property
    def planes(self) -> int:
        """Number of planes."""
        return self.channels * self.slices * self.times


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffDescription:
    """Metadata, axes (None where the file does not tell) and planes in one contiguous run."""

    metadata: MovieMetadata
    axes: StackAxes | None = None
    contiguous_planes: int | None = None


def describe_tiff(pages: TiffPages) -> TiffDescription:
    """Read the first page's texts, at most 64 kB each whatever their real size."""
    texts = pages.text(270)
    ome = next((t for t in texts if "<OME" in t[:4096] or "<Pixels" in t), None)
    imagej = next((_imagej(t) for t in texts if t.startswith("ImageJ=")), {})
    shape = next((s for t in texts if (s := _shaped(t))), None)
    summary = _micromanager_summary(pages)
    facts: dict[str, Any] = {}
    facts.update(_resolution(pages, imagej))
    if imagej:
        facts.update(_imagej_facts(imagej))
    if ome is not None:
        facts.update(_ome_facts(ome))
    facts.update(summary_facts(summary))
    facts.update(_page_facts(pages))
    axes = _choose_axes(ome, imagej, shape, summary)
    facts["kind"] = _kind(ome, imagej, summary)
    if (software := pages.text(305)) and "software" not in facts:
        facts["software"] = software[0]
    if axes is not None and "announced_frames" not in facts:
        facts["announced_frames"] = axes.planes
    contiguous = int(imagej.get("images", 1)) if imagej else None
    if contiguous is None and shape is not None and axes is not None:
        contiguous = axes.planes
    return TiffDescription(metadata=MovieMetadata(**facts), axes=axes, contiguous_planes=contiguous)


def _kind(ome: str | None, imagej: Mapping[str, str], summary: Mapping[str, Any]) -> str:
    if summary:
        return "Micro-Manager OME-TIFF" if ome is not None else "Micro-Manager TIFF"
    return _OME if ome is not None else _IMAGEJ if imagej else "TIFF"


def _choose_axes(
    ome: str | None,
    imagej: Mapping[str, str],
    shape: tuple[int, ...] | None,
    summary: Mapping[str, Any],
) -> StackAxes | None:
    if ome is not None and (axes := _ome_axes(ome)) is not None:
        return axes
    if summary:
        channels, slices, times, order = summary_axes(summary)
        return StackAxes(channels=channels, slices=slices, times=times, order=order)
    if "images" in imagej:
        return _imagej_axes(imagej)
    if shape is not None and len(shape) > 2:
        return _shaped_axes(shape)
    return None


def _imagej(text: str) -> dict[str, str]:
    pairs = (line.split("=", 1) for line in text.splitlines() if "=" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def _imagej_axes(imagej: Mapping[str, str]) -> StackAxes:
    images = int(imagej["images"])
    channels, slices = int(imagej.get("channels", 1)), int(imagej.get("slices", 1))
    times = int(imagej.get("frames", 1))
    if channels * slices * times != images:  # plain stacks may leave all three out
        return StackAxes(times=images)
    return StackAxes(channels=channels, slices=slices, times=times)


def _imagej_facts(imagej: Mapping[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"software": f"ImageJ {imagej['ImageJ']}"}
    if (interval := number(imagej.get("finterval"))) and interval > 0:
        unit = imagej.get("tunit", "s")
        facts["frame_interval_ms"] = interval * _TIME_MS.get(unit, 1e3)
    return facts


def _resolution(pages: TiffPages, imagej: Mapping[str, str]) -> dict[str, Any]:
    """Return the pixel size of the resolution tags, where their unit is a length."""
    unit_nm = {2: 2.54e7, 3: 1e7}.get(pages.integer(296, 2))
    if imagej:
        text = imagej.get("unit", "").encode("latin1", "replace").decode("unicode_escape")
        unit_nm = _LENGTH_NM.get(text, 0.0) if text else 0.0
    facts = {}
    for name, code in (("pixel_size_x_nm", 282), ("pixel_size_y_nm", 283)):
        per_unit = pages.rational(code)
        if unit_nm and per_unit and _PIXEL_NM[0] <= unit_nm / per_unit <= _PIXEL_NM[1]:
            facts[name] = unit_nm / per_unit
    return facts


def _attributes(xml: str, tag: str) -> dict[str, str]:
    """Return the attributes of the first ``<tag`` in the text; the XML may be cut short."""
    match = re.search(rf"<(?:\w+:)?{tag}\b([^<>]*)>?", xml)
    found = re.findall(r'(\w+)\s*=\s*"([^"]*)"', match.group(1)) if match else []
    return {name: unescape(value) for name, value in found}


def _ome_axes(xml: str) -> StackAxes | None:
    pixels = _attributes(xml, "Pixels")
    try:
        sizes = {axis: int(pixels[f"Size{axis}"]) for axis in "CZT"}
    except (KeyError, ValueError):
        return None
    order = pixels.get("DimensionOrder", "XYCZT")[2:]
    if sorted(order) != ["C", "T", "Z"]:
        order = "CZT"
    return StackAxes(channels=sizes["C"], slices=sizes["Z"], times=sizes["T"], order=order)


def _ome_facts(xml: str) -> dict[str, Any]:
    pixels = _attributes(xml, "Pixels")
    facts: dict[str, Any] = {}
    for axis in "XY":
        size = number(pixels.get(f"PhysicalSize{axis}"))
        unit_nm = _LENGTH_NM.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"), 0.0)
        if size and _PIXEL_NM[0] <= size * unit_nm <= _PIXEL_NM[1]:
            facts[f"pixel_size_{axis.lower()}_nm"] = size * unit_nm
    if (interval := number(pixels.get("TimeIncrement"))) and interval > 0:
        unit = pixels.get("TimeIncrementUnit", "s")
        facts["frame_interval_ms"] = interval * _TIME_MS.get(unit, 1e3)
    plane = _attributes(xml, "Plane")
    if (exposure := number(plane.get("ExposureTime"))) and exposure > 0:
        facts["exposure_ms"] = exposure * _TIME_MS.get(plane.get("ExposureTimeUnit", "s"), 1e3)
    detector = _attributes(xml, "Detector")
    if camera := detector.get("Model") or detector.get("ID", ""):
        facts["camera"] = camera
    if date := re.search(r"<AcquisitionDate>([^<]*)<", xml):
        facts["acquired"] = date.group(1)
    return facts


def _shaped(text: str) -> tuple[int, ...] | None:
    """Return the shape that tifffile notes in the first description, as JSON."""
    if not text.startswith("{") or '"shape"' not in text:
        return None
    try:
        shape = json.loads(text)["shape"]
        return tuple(int(size) for size in shape)
    except (ValueError, KeyError, TypeError):
        return None


def _shaped_axes(shape: tuple[int, ...]) -> StackAxes | None:
    leading = [size for size in shape[:-2] if size != 1]
    if len(leading) > 1:  # more than one axis and no names: the caller must ask
        return StackAxes(slices=leading[-1], times=_product(leading[:-1]), order="ZTC")
    return StackAxes(times=leading[0] if leading else 1)


def _product(sizes: list[int]) -> int:
    result = 1
    for size in sizes:
        result *= size
    return result


def _micromanager_summary(pages: TiffPages) -> dict[str, Any]:
    """Return Micro-Manager's summary from the file's head, or an empty dict."""
    head = pages.head(40)
    if not any(int.from_bytes(head[i : i + 4], "little") in _MM_MARKS for i in (8, 32)):
        return {}
    try:
        found = tifffile.read_micromanager_metadata(pages.handle, keys={"Summary"})
    except ValueError:
        return {}
    summary = found.get("Summary", {})
    return summary if isinstance(summary, dict) else {}


_MM_MARKS = (54773648, 483729, 2355492)  # index map, NDTiff, summary


def _page_facts(pages: TiffPages) -> dict[str, Any]:
    """Return what Micro-Manager notes with the first frame (tag 51123, JSON)."""
    for text in pages.text(51123, limit=1 << 18):
        try:
            found = json.loads(text)
        except ValueError:
            continue
        if isinstance(found, dict):
            return frame_facts(found)
    return {}
