"""ThunderSTORM's ``-protocol.txt`` (JSON) and a macro: they carry pixel size and camera.

On import, ThunderSTORM applies ``cameraSettings`` of the protocol to its camera setup. A
protocol that names a filter or a detector it does not know is thrown away as a whole, so only
the camera and the image are written. ``decodeDesktop`` is ours; readers of JSON skip it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from decode_engine.io.dialects.base import ExportContext, Guess
from decode_engine.io.dialects.convention import Geometry

__all__ = ["Protocol", "macro_text", "photons_per_adu", "protocol_text", "read_protocol"]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """What a protocol says; everything is unknown where there is none."""

    geometry: Geometry = field(default_factory=Geometry)
    camera: Mapping[str, object] = field(default_factory=dict)
    guesses: tuple[Guess, ...] = ()


def read_protocol(path: Path) -> Protocol:
    """Read the protocol beside a table; a damaged one counts as none, and is said to be so."""
    if not path.is_file():
        return Protocol()
    try:
        values = json.loads(path.read_text("utf-8-sig"))
        settings = dict(values.get("cameraSettings") or {})
        ours = dict(values.get("decodeDesktop") or {})
        size = _number(settings.get("pixelSize"))
        geometry = Geometry(
            pixel_size_x_nm=_number(ours.get("pixelSizeX")) or size,
            pixel_size_y_nm=_number(ours.get("pixelSizeY")) or size,
            width_px=ours.get("widthPx"),
            height_px=ours.get("heightPx"),
            roi_origin_px=tuple(ours.get("roiOriginPx", (0, 0))),
            n_frames=ours.get("frames"),
        )
        camera = _camera(settings) if ours.get("cameraKnown", True) else {}
    except (ValueError, TypeError, AttributeError) as error:
        guess = Guess("protocol", "ignored", f"{path.name} cannot be read: {error}")
        return Protocol(guesses=(guess,))
    guesses = []
    if size:
        sizes = dict.fromkeys((geometry.pixel_size_x_nm, geometry.pixel_size_y_nm))
        words = " x ".join(f"{one:g}" for one in sizes)
        guesses.append(Guess("pixel size", f"{words} nm", f"from {path.name}"))
    return Protocol(geometry=geometry, camera=camera, guesses=tuple(guesses))


def photons_per_adu(protocol: Protocol) -> float | None:
    """Return the photons of one A/D count with the protocol's camera, or None without one."""
    camera = protocol.camera
    if "e_per_adu" not in camera:
        return None
    electrons = float(str(camera["e_per_adu"]))
    efficiency = float(str(camera.get("quantum_efficiency", 1.0)))
    return electrons / efficiency / float(str(camera.get("em_gain", 1.0)))


def protocol_text(context: ExportContext) -> str:
    """Return the protocol of an export."""
    geometry = context.geometry
    size_x, size_y = geometry.pixel_size_nm("for ThunderSTORM's camera setup")
    left, top = geometry.roi_origin_px
    width, height = geometry.width_px or 0, geometry.height_px or 0
    version = context.versions.get("decode-desktop", "")
    values: dict[str, Any] = {
        "version": f"Decode Desktop {version}".strip(),
        "imageInfo": {
            "title": _title(context),
            "roiBounds": {"x": 0, "y": 0, "width": width, "height": height},
        },
        "cameraSettings": {**_setup(context), "pixelSize": size_x},
        "postProcessing": [],
        "decodeDesktop": {
            "pixelSizeX": size_x,
            "pixelSizeY": size_y,
            "widthPx": geometry.width_px,
            "heightPx": geometry.height_px,
            "roiOriginPx": [left, top],
            "frames": geometry.n_frames,
            "cameraKnown": context.camera is not None,
            "sigma": "unknown; a constant was written",
        },
    }
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"


def macro_text(table_name: str, context: ExportContext) -> str:
    """Return an ImageJ macro that opens the table, which lies beside it, in ThunderSTORM."""
    setup = _setup(context)
    size_x, _ = context.geometry.pixel_size_nm("for ThunderSTORM's camera setup")
    words = [
        f"readoutnoise={setup['readoutNoise']:.6g}",
        f"offset={setup['offset']:.6g}",
        f"quantumefficiency={setup['quantumEfficiency']:.6g}",
        f"isemgain={str(setup['isEmGain']).lower()}",
        f"photons2adu={setup['photons2ADU']:.6g}",
    ]
    if setup["isEmGain"]:
        words.append(f"gainem={setup['gain']:.6g}")
    words.append(f"pixelsize={size_x:.6g}")
    name = table_name.replace("\\", "\\\\").replace('"', '\\"')
    lines = [
        "// Opens the table beside this macro in ThunderSTORM: drop this file on Fiji's window",
        "// and press Run.",
        'here = getInfo("macro.filepath");',
        'if (here == "") folder = getDirectory("Folder of the table");',
        'else folder = File.getParent(here) + "/";',
        f'path = replace(folder + "{name}", "\\\\\\\\", "/");',
        f'run("Camera setup", "{" ".join(words)}");',
        'run("Import results", "detectmeasurementprotocol=false filepath=[" + path + "] " +',
        '    "fileformat=[CSV (comma separated)] livepreview=false rawimagestack= " +',
        '    "startingframe=1 append=false");',
    ]
    if context.geometry.width_px and context.geometry.height_px:
        width, height = context.geometry.width_px, context.geometry.height_px
        lines.append(
            f'run("Visualization", "imleft=0.0 imtop=0.0 imwidth={width}.0 imheight={height}.0 '
            "renderer=[Averaged shifted histograms] magnification=10.0 colorize=false "
            'threed=false shifts=2");'
        )
    return "\n".join(lines) + "\n"


def _setup(context: ExportContext) -> dict[str, Any]:
    """Return the camera as ThunderSTORM has it; photons are ours already, so 1 where unknown."""
    camera = context.camera
    if camera is None:
        offset, conversion, noise, efficiency, gain, em = 0.0, 1.0, 0.0, 1.0, 1.0, False
    else:
        offset, conversion = _scalar(camera.offset_adu, 0.0), _scalar(camera.e_per_adu, 1.0)
        noise, efficiency = _scalar(camera.read_noise_e, 0.0), camera.quantum_efficiency
        gain, em = camera.em_gain, camera.kind == "emccd" and camera.em_gain > 1
    return {
        "readoutNoise": noise,
        "offset": offset,
        "quantumEfficiency": efficiency,
        "isEmGain": em,
        "photons2ADU": conversion,
        "gain": gain if em else 1.0,
    }


def _scalar(value: float | str, otherwise: float) -> float:
    """Return a camera value; ThunderSTORM has no place for the map that a text names."""
    return otherwise if isinstance(value, str) else float(value)


def _title(context: ExportContext) -> str:
    movies = context.metadata.movie_paths if context.metadata else ()
    return Path(movies[0].replace("\\", "/")).name if movies else ""


def _camera(settings: Mapping[str, Any]) -> dict[str, object]:
    """Turn ThunderSTORM's camera settings into the names of `CameraConfig`."""
    camera: dict[str, object] = {}
    for theirs, ours in (
        ("offset", "offset_adu"),
        ("photons2ADU", "e_per_adu"),
        ("readoutNoise", "read_noise_e"),
        ("quantumEfficiency", "quantum_efficiency"),
    ):
        value = _number(settings.get(theirs))
        if value is not None:
            camera[ours] = value
    if settings.get("isEmGain"):
        camera["kind"] = "emccd"
        gain = _number(settings.get("gain"))
        if gain:
            camera["em_gain"] = gain
    return camera


def _number(value: Any) -> float | None:
    """Return a number, also from a text; None where there is none."""
    if value is None or value == "":
        return None
    return float(value)
