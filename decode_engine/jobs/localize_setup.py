"""What must be right before a movie is localized: model, camera, movie, region and range."""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from decode_engine.contract.configs import LocalizeConfig
from decode_engine.domain.camera import CameraModel
from decode_engine.domain.geometry import Roi
from decode_engine.errors import CameraError, ConfigError, MismatchError
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.calibrations import read_calibration
from decode_engine.io.cameras import read_camera
from decode_engine.io.models import ModelBundle, read_model, require_match
from decode_engine.io.movies import FrameSource
from decode_engine.jobs.context import JobContext
from decode_engine.network.bundle import network_from_bundle, scaling_from_bundle
from decode_engine.network.device import choose_device
from decode_engine.network.scaling import z_limits_nm

__all__ = ["Setup", "camera_record", "check_movie", "frame_range", "prepare", "region_of"]

_SAMPLED_FRAMES = 5  # of a movie, to compare its level with the camera's offset
_PIXEL_SIZE_TOLERANCE = 0.02  # what metadata may differ by without a word


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A model ready to work, and what was found odd on the way.

    Parameters
    ----------
    bundle : ModelBundle
    camera : CameraModel
        Of the movies: the one given, else the model's own.
    predictor : Predictor
    notes : tuple of str
        For the provenance.
    """

    bundle: ModelBundle
    camera: CameraModel
    predictor: Predictor
    notes: tuple[str, ...]

    @property
    def device_words(self) -> str:
        """Device and arithmetic, for the provenance."""
        precision = "fp32" if self.predictor.autocast_dtype is None else "bf16"
        return f"{self.predictor.device}, {precision}"


def prepare(
    model: Path,
    config: LocalizeConfig,
    device: str,
    context: JobContext,
    *,
    camera: Path | None = None,
    calibration: Path | None = None,
    pixel_size_nm: float | None = None,
) -> Setup:
    """Read the model and check that it belongs to what is given.

    Raises
    ------
    MismatchError
        If camera, calibration or pixel size differ from the model's; names all that do.
    """
    bundle = read_model(model)
    own = read_camera(camera) if camera is not None else bundle.camera
    try:
        require_match(
            bundle,
            calibration=read_calibration(calibration) if calibration is not None else None,
            camera=own,
            pixel_size_nm=(pixel_size_nm, pixel_size_nm) if pixel_size_nm is not None else None,
        )
        notes: tuple[str, ...] = ()
    except MismatchError as error:
        if not config.allow_mismatch:
            raise
        notes = (error.message,)
        context.log(f"{error.message} The fit goes on as asked.", "warning")
    predictor = _predictor(bundle, own, config, device)
    if not predictor.scaling.is_3d:
        context.log("The model is two-dimensional: z_nm and sigma_z_nm will be NaN.")
    return Setup(bundle=bundle, camera=own, predictor=predictor, notes=notes)


def _predictor(
    bundle: ModelBundle, camera: CameraModel, config: LocalizeConfig, device: str
) -> Predictor:
    where = choose_device(device)
    scaling = scaling_from_bundle(bundle)
    limits = z_limits_nm(bundle.training_config.simulation, bundle.calibration)
    options = PredictorOptions(
        probability_threshold=config.probability_threshold,
        precision=config.precision,
        batch_frames=config.batch_frames,
        tile_px=config.tile_px,
        z_limits_nm=limits if scaling.is_3d else None,
    )
    network = network_from_bundle(bundle, where)
    return Predictor(network, scaling, camera, device=where, options=options)


def check_movie(source: FrameSource, setup: Setup, config: LocalizeConfig) -> tuple[str, ...]:
    """Check that a movie can be localized as asked; return what is odd about it.

    Raises
    ------
    CameraError
        If the camera's maps have another size than the frames, or its offset lies above the
        movie's level.
    ConfigError
        If the range or the region reaches beyond the movie.
    """
    setup.camera.require_frame_size(source.height_px, source.width_px)
    setup.predictor.plan(source, region_of(config))
    frame_range(source, config)
    _require_offset(source, setup.camera)
    warnings = list(source.metadata.warnings)
    size_nm = source.metadata.pixel_size_x_nm
    if size_nm and abs(size_nm / setup.camera.pixel_size_x_nm - 1) > _PIXEL_SIZE_TOLERANCE:
        warnings.append(
            f"{source.path.name} says that its pixels are {size_nm:g} nm wide, the camera "
            f"{setup.camera.pixel_size_x_nm:g} nm; the camera's value is used."
        )
    return tuple(warnings)


def region_of(config: LocalizeConfig) -> Roi | None:
    """Return the region that is asked for, None for the whole frame."""
    if config.roi is None:
        return None
    x_px, y_px, width_px, height_px = config.roi
    return Roi(x_px=x_px, y_px=y_px, width_px=width_px, height_px=height_px)


def frame_range(source: FrameSource, config: LocalizeConfig) -> tuple[int, int]:
    """Return the frames that are asked for and there (end exclusive)."""
    start, stop = config.frames if config.frames is not None else (0, source.n_frames)
    if not 0 <= start < stop <= source.n_frames:
        raise ConfigError(
            f"The frames {start}:{stop} were asked of {source.path.name}, which has "
            f"{source.n_frames}.",
            hint=f"Choose a first frame and an end (exclusive) within 0:{source.n_frames}.",
        )
    return start, stop


def _require_offset(source: FrameSource, camera: CameraModel) -> None:
    """Raise `CameraError` if the movie's median lies below the camera's offset.

    A dark movie may lie below by its read noise; a wrong offset lies below by far more.
    """
    picks = np.unique(np.linspace(0, source.n_frames - 1, _SAMPLED_FRAMES).astype(int))
    frames = np.concatenate([source.read(int(i), int(i) + 1) for i in picks])
    above = float(np.median(frames - np.asarray(camera.offset_adu, np.float32)))
    noise_adu = float(np.median(np.asarray(camera.read_noise_e) / np.asarray(camera.e_per_adu)))
    if above < -max(1.0, noise_adu):
        raise CameraError(
            f"The camera's offset of {np.median(camera.offset_adu):g} ADU lies above the median "
            f"of {source.path.name}, {np.median(frames):g} ADU.",
            hint="Photons would be negative: measure the offset from frames without light.",
        )


def camera_record(camera: CameraModel) -> dict[str, Any]:
    """Return the camera as JSON values; per-pixel maps by size, mean and checksum."""
    record: dict[str, Any] = {}
    for field in dataclasses.fields(camera):
        value = getattr(camera, field.name)
        if isinstance(value, np.ndarray):
            digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
            height, width = value.shape
            value = f"map of {width} x {height} px, mean {value.mean():g}, sha256 {digest}"
        record[field.name] = value
    return record
