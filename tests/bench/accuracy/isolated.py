"""Single emitters on an empty field against the Cramer-Rao bound."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from decode_engine.contract.configs import EvaluateConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.inference.peaks import correct_peaks, extract_peaks
from decode_engine.network.device import autocast_dtype
from decode_engine.network.uncertainty import LOWEST_PROBABILITY
from decode_engine.psf.base import PsfModel
from decode_engine.psf.fisher import crlb, noise_terms
from decode_engine.simulation.camera_noise import CameraNoise
from decode_engine.simulation.emitters import EmitterBatch
from decode_engine.simulation.rendering import render_emitters
from decode_engine.training.stream import named_generator
from tests.bench.accuracy.conditions import (
    BACKGROUND,
    ISOLATED_PHOTONS,
    ISOLATED_REPEATS,
    ISOLATED_Z_NM,
    TEST_SEED,
)
from tests.bench.accuracy.measuring import AXES, WORKING_THRESHOLD, Model

_ISOLATED_PX = 32
_RULES = EvaluateConfig()
_BATCH = 64  # triples of frames at a time: bounds the memory


def measure_isolated(model: Model, psf: PsfModel, repeats: int) -> dict[str, NDArray[np.float64]]:
    """Localize single emitters, on in the middle frame of three.

    Returns
    -------
    dict
        Per emitter: ``z_nm``, ``photons``, ``found`` (0 or 1), and for each axis the error, the
        bound and the predicted sigma (``error_x``, ``bound_x``, ``sigma_x``) in nm; NaN if missed.
    """
    rows = [part for part in _isolated_parts(model, psf, repeats)]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def _isolated_parts(
    model: Model, psf: PsfModel, repeats: int
) -> Iterator[dict[str, NDArray[np.float64]]]:
    generator = named_generator(TEST_SEED, "accuracy/isolated", "cpu")
    for photons in ISOLATED_PHOTONS:
        z_nm = torch.tensor(ISOLATED_Z_NM).repeat_interleave(repeats)
        n = len(z_nm)
        shift = torch.rand(2, n, generator=generator) - 0.5
        middle = (_ISOLATED_PX - 1) // 2
        emitters = EmitterBatch(
            image=torch.arange(n) * 3 + 1,
            x_px=middle + shift[0],
            y_px=middle + shift[1],
            z_nm=z_nm,
            photons=torch.full((n,), photons),
            emitter_id=torch.arange(n),
        )
        light = render_emitters(psf, emitters, 3 * n, _ISOLATED_PX, _ISOLATED_PX) + BACKGROUND
        noise = CameraNoise(model.bundle.camera)
        frames = noise.to_photons(noise.sample(light, generator))
        frames = frames.view(n, 3, _ISOLATED_PX, _ISOLATED_PX)
        yield _isolated_rows(model, psf, emitters, frames)


def _isolated_rows(
    model: Model, psf: PsfModel, emitters: EmitterBatch, frames: Tensor
) -> dict[str, NDArray[np.float64]]:
    pixel_nm = model.bundle.camera.pixel_size_x_nm
    parts = [_peaks(model, frames, start) for start in range(0, len(frames), _BATCH)]
    peaks = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    k = peaks["image"].astype(np.int64)
    errors = {
        "x": (peaks["x_px"] - emitters.x_px.numpy()[k]) * pixel_nm,
        "y": (peaks["y_px"] - emitters.y_px.numpy()[k]) * pixel_nm,
        "z": peaks["z_nm"] - emitters.z_nm.numpy()[k],
    }
    near = np.hypot(errors["x"], errors["y"]) <= _RULES.tolerance_lateral_nm
    # Of several peaks near an emitter the most probable one is taken.
    order = np.argsort(peaks["probability"], kind="stable")
    order = order[(near & (np.abs(errors["z"]) <= _RULES.tolerance_axial_nm))[order]]
    best = np.full(len(frames), -1)
    best[k[order]] = order
    found = best >= 0
    bounds = _bounds(psf, model.bundle.camera, emitters)
    rows = {"z_nm": emitters.z_nm.double().numpy(), "photons": emitters.photons.double().numpy()}
    rows["found"] = found.astype(np.float64)
    for axis in AXES:
        for name, values in (("error", errors[axis]), ("sigma", peaks[f"sigma_{axis}_nm"])):
            rows[f"{name}_{axis}"] = np.full(len(frames), np.nan)
            rows[f"{name}_{axis}"][found] = values[best[found]]
        rows[f"bound_{axis}"] = bounds[axis]
    return rows


@torch.inference_mode()
def _peaks(model: Model, frames: Tensor, start: int) -> dict[str, NDArray[np.float64]]:
    """Return the peaks of some triples of frames, as the predictor would find them."""
    context = model.network.context_frames
    first = 1 - context // 2
    part = frames[start : start + _BATCH, first : first + context].to(model.device)
    dtype = autocast_dtype(model.device, "auto")
    with torch.autocast(model.device.type, dtype=dtype, enabled=dtype is not None):
        output = model.network(model.scaling.frames_to_network(part))
    corrects = bool(model.uncertainty.detection)
    lowest = min(WORKING_THRESHOLD, LOWEST_PROBABILITY) if corrects else WORKING_THRESHOLD
    peaks = extract_peaks(output, model.scaling, lowest)
    peaks = correct_peaks(peaks, model.uncertainty, peaks.row, peaks.column)
    peaks = peaks.select(peaks.probability >= WORKING_THRESHOLD)
    pixel_nm = model.bundle.camera.pixel_size_x_nm
    columns = {
        "image": peaks.image + start,
        "x_px": peaks.x_px,
        "y_px": peaks.y_px,
        "z_nm": peaks.z_nm,
        "probability": peaks.probability,
        "sigma_x_nm": peaks.sigma_x_px * pixel_nm,
        "sigma_y_nm": peaks.sigma_y_px * pixel_nm,
        "sigma_z_nm": peaks.sigma_z_nm,
    }
    return {name: column.double().cpu().numpy() for name, column in columns.items()}


def _bounds(
    psf: PsfModel, camera: CameraModel, emitters: EmitterBatch
) -> dict[str, NDArray[np.float64]]:
    noise = noise_terms(camera)
    x, y = emitters.x_px.to(psf.dtype), emitters.y_px.to(psf.dtype)
    bound = crlb(
        psf,
        dx_px=x - x.round(),
        dy_px=y - y.round(),
        z_nm=emitters.z_nm.to(psf.dtype),
        photons=emitters.photons.to(psf.dtype),
        background=torch.full_like(x, BACKGROUND),
        roi_px=psf.support_px,
        excess_noise=noise.excess_noise,
        read_variance=float(np.mean(noise.read_variance)),
    )
    return {
        "x": bound.x_px.double().numpy() * camera.pixel_size_x_nm,
        "y": bound.y_px.double().numpy() * camera.pixel_size_y_nm,
        "z": bound.z_nm.double().numpy(),
    }


def isolated_repeats(scale: float) -> int:
    return max(2, round(ISOLATED_REPEATS * scale))
