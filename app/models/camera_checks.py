"""Plausibility of camera values: by themselves, against the file, against the movie's pixels."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from app.models.camera_proposal import CameraProposal
from app.models.movie_sample import MovieSample
from app.models.verdict import Light
from decode_engine.analysis.noise_check import DimPixelNoise
from decode_engine.contract.configs import CameraConfig

__all__ = ["check_values", "check_with_movie"]

_DATA_SHEET = "check the camera's data sheet"
_LIKELY_RATIO = (0.6, 2.0)  # of measured to expected noise; blinking makes it larger


class _Usual(NamedTuple):
    """Range in which values lie in most laboratories, and in which they can lie at all."""

    low: float
    high: float
    words: str
    possible_low: float = 0.0
    possible_high: float = float("inf")


_PIXEL = _Usual(50, 250, "50-250 nm", 10, 5000)
_CONVERSION = {
    "scmos": _Usual(0.1, 3.0, "0.1-3 e-/ADU (up to 8 in 12-bit high-well modes)"),
    "emccd": _Usual(1.0, 25.0, "1-25 e-/ADU, before EM gain"),
    "ideal": _Usual(0.01, 100.0, "about 1"),
}
_READ_NOISE = {
    "scmos": _Usual(0.3, 4.0, "0.5-3 e-"),
    "emccd": _Usual(8.0, 250.0, "20-150 e-"),
}
_OFFSET = _Usual(50, 1000, "90-500 ADU", -1e6)


def check_values(camera: CameraConfig) -> dict[str, Light]:
    """Judge the values by themselves."""
    lights = {
        "pixel_size_x_nm": _in_range(camera.pixel_size_x_nm, _PIXEL, "nm"),
        "offset_adu": _in_range(camera.offset_adu, _OFFSET, "ADU"),
        "e_per_adu": _in_range(camera.e_per_adu, _CONVERSION[camera.kind], "e-/ADU"),
        "read_noise_e": _read_noise(camera),
        "em_gain": _em_gain(camera),
        "quantum_efficiency": _efficiency(camera.quantum_efficiency),
        "spurious_charge_e": _spurious(camera),
        "saturation_adu": _saturation(camera),
        "em_mirrored": _mirrored(camera),
    }
    if camera.pixel_size_y_nm is not None:
        lights["pixel_size_y_nm"] = _in_range(camera.pixel_size_y_nm, _PIXEL, "nm")
    else:
        lights["pixel_size_y_nm"] = Light("none", "")
    return lights


def check_with_movie(
    camera: CameraConfig,
    sample: MovieSample,
    noise: DimPixelNoise | None,
    proposal: CameraProposal,
) -> dict[str, Light]:
    """Judge the values against a movie; only fields about which the movie says something."""
    lights: dict[str, Light] = {}
    for name in proposal.differs_from(camera):
        stated = proposal.values[name]
        shown = f"{stated:.4g}" if isinstance(stated, float) else str(stated)
        lights[name] = Light("doubt", f"Your file says {shown} ({proposal.reasons[name]}).")
    part = sample.part(sample.first)
    darkest, middle = np.quantile(part[:, ::2, ::2], (0.01, 0.5))
    offset = _offset_against(camera, float(darkest), float(middle))
    if offset is not None:
        lights["offset_adu"] = offset
    if noise is not None and lights.get("offset_adu", Light("ok", "")).level == "ok":
        lights["e_per_adu"] = _noise_against(camera, noise)
    highest = float(part.max())
    if camera.saturation_adu is not None and camera.saturation_adu < highest:
        lights["saturation_adu"] = Light(
            "bad",
            f"The movie has pixels of {highest:g} ADU, above this level. Use the level at which "
            "the camera clips, or leave it empty.",
        )
    return lights


def _in_range(value: float | str, usual: _Usual, unit: str) -> Light:
    if isinstance(value, str):
        return Light("ok", "A per-pixel map.")
    if not usual.possible_low < value < usual.possible_high:
        return Light("bad", f"{value:g} {unit} is not possible; usual: {usual.words}.")
    if not usual.low <= value <= usual.high:
        return Light("doubt", f"{value:g} {unit} is unusual; usual: {usual.words}.")
    return Light("ok", f"Usual: {usual.words}.")


def _read_noise(camera: CameraConfig) -> Light:
    value = camera.read_noise_e
    if isinstance(value, str):
        return Light("ok", "A per-pixel map.")
    if value < 0:
        return Light("bad", "Noise cannot be negative.")
    if camera.kind == "ideal":
        if value > 0:
            return Light("bad", "An ideal camera has no read noise: set 0 or choose sCMOS.")
        return Light("ok", "An ideal camera has none.")
    if value == 0:
        return Light("doubt", f"No real camera reads out without noise; {_DATA_SHEET}.")
    usual = _READ_NOISE[camera.kind]
    if camera.kind == "emccd" and value < usual.low:
        return Light(
            "doubt",
            f"{value:g} e- is small for an EMCCD. Enter the value after the EM register (usual: "
            f"{usual.words}); data sheets that promise below 1 e- have divided it by the EM gain.",
        )
    return _in_range(value, usual, "e-")


def _em_gain(camera: CameraConfig) -> Light:
    gain = camera.em_gain
    if camera.kind != "emccd":
        if gain != 1:
            return Light("bad", "Only an EMCCD has an EM gain: set 1 or choose EMCCD.")
        return Light("ok", "No EM register.")
    if gain < 1:
        return Light("bad", f"An EM gain of {gain:g} is not possible; usual: 30-300.")
    if gain < 2:
        return Light(
            "doubt",
            "EM off? Then choose sCMOS as kind of camera: without EM register there is no "
            "EM noise.",
        )
    if gain > 1000:
        return Light("doubt", f"{gain:g} is unusual; usual: 30-300.")
    return Light("ok", "Usual: 30-300; real gain, not the camera's slider unless it is linear.")


def _efficiency(value: float) -> Light:
    if not 0 < value <= 1:
        return Light(
            "bad", f"{value:g} is not a fraction: 82 % is 0.82; 1 counts detected photons."
        )
    if value < 0.3:
        return Light("doubt", f"{value:g} is low; usual: 0.6-0.95, or 1 to count detected photons.")
    if value < 1:
        return Light("ok", "Photon numbers are those that reached the chip.")
    return Light("ok", "1: photon numbers mean detected photons.")


def _spurious(camera: CameraConfig) -> Light:
    value = camera.spurious_charge_e
    if value < 0:
        return Light("bad", "It cannot be negative.")
    if value > 1:
        return Light("doubt", f"{value:g} e- per frame is much; usual: below 0.05.")
    return Light("ok", "Usual: 0 (sCMOS), 0.002-0.05 (EMCCD).")


def _saturation(camera: CameraConfig) -> Light:
    level, offset = camera.saturation_adu, camera.offset_adu
    if level is None:
        return Light("none", "")
    if isinstance(offset, float) and level <= offset:
        return Light("bad", f"It must lie above the offset of {offset:g} ADU.")
    return Light("ok", "65535 for 16 bit, 4095 for 12 bit.")


def _mirrored(camera: CameraConfig) -> Light:
    if camera.em_mirrored and camera.kind != "emccd":
        return Light("doubt", "Only EM read-out mirrors frames.")
    return Light("none", "")


def _offset_against(camera: CameraConfig, darkest: float, middle: float) -> Light | None:
    offset = camera.offset_adu
    if isinstance(offset, str):
        return None
    e_per_adu = camera.e_per_adu if isinstance(camera.e_per_adu, float) else 1.0
    noise_e = camera.read_noise_e if isinstance(camera.read_noise_e, float) else 1.0
    noise_adu = noise_e / e_per_adu if e_per_adu > 0 else 0.0
    if offset > middle:
        return Light(
            "bad",
            f"Most pixels of the movie are darker (half of them below {middle:.4g} ADU) and would "
            "have negative photons. Measure the offset from frames without light.",
        )
    if offset > darkest + 2.4 * noise_adu + 1:
        return Light(
            "doubt",
            f"The darkest pixels (1 %: {darkest:.4g} ADU) lie below by more than read noise "
            "explains; the offset may be too high.",
        )
    if offset < 0.5 * darkest and darkest > 60:
        return Light(
            "doubt",
            f"Far below the darkest pixels (1 %: {darkest:.4g} ADU). Right only if the background "
            "is that bright; else the offset is too low.",
        )
    return Light("ok", f"Fits the movie, whose darkest pixels (1 %) have {darkest:.4g} ADU.")


def _noise_against(camera: CameraConfig, noise: DimPixelNoise) -> Light:
    low, high = _LIKELY_RATIO
    ratio = noise.ratio
    if low <= ratio <= high:
        return Light(
            "ok", f"Fits the movie: the noise of its dim pixels is {ratio:.2g} × the expected one."
        )
    more = "more" if ratio > 1 else "less"
    text = (
        f"The dim pixels of the movie have {more} noise than these values predict "
        f"({ratio:.2g} × the expected variance)."
    )
    if isinstance(camera.e_per_adu, float) and noise.mean_photons > 0:
        text += f" About {camera.e_per_adu / ratio:.3g} e-/ADU would fit if the offset is right."
    if ratio > 1:
        text += " Many blinking molecules also add noise."
    else:
        text += " Or the offset is too low."
    return Light("doubt", text)
