"""What must be right before movies are localized: the model, and what it was made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from decode_engine.contract.configs import LocalizeConfig
from decode_engine.contract.jobs import LocalizeSpec
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import ConfigError, MismatchError
from decode_engine.inference.predictor import Predictor, PredictorOptions
from decode_engine.io.cameras import read_camera
from decode_engine.io.models import ModelBundle, read_model, require_match
from decode_engine.jobs.context import JobContext
from decode_engine.jobs.optics import read_calibration_for
from decode_engine.network.bundle import (
    network_from_bundle,
    scaling_from_bundle,
    uncertainty_from_bundle,
)
from decode_engine.network.device import choose_device
from decode_engine.network.scaling import z_limits_nm

__all__ = ["Setup", "prepare"]


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


def prepare(spec: LocalizeSpec, context: JobContext) -> Setup:
    """Read the model and check that it belongs to what is given.

    Raises
    ------
    MismatchError
        If camera, calibration or pixel size differ from the model's; names all that do.
    """
    bundle = read_model(Path(spec.model))
    camera = read_camera(Path(spec.camera)) if spec.camera is not None else bundle.camera
    notes: tuple[str, ...] = ()
    try:
        _require_match(bundle, camera, spec)
    except MismatchError as error:
        if not spec.config.allow_mismatch:
            raise
        notes = (error.message,)
        context.log(f"{error.message} The fit goes on as asked.", "warning")
    predictor = _predictor(bundle, camera, spec.config, spec.device)
    if not predictor.scaling.is_3d:
        context.log("The model is two-dimensional: z_nm and sigma_z_nm will be NaN.")
    return Setup(bundle=bundle, camera=camera, predictor=predictor, notes=notes)


def _require_match(bundle: ModelBundle, camera: CameraModel, spec: LocalizeSpec) -> None:
    calibration, size_nm = None, spec.pixel_size_nm
    if spec.calibration is None and (spec.region, spec.channel) != (None, None):
        raise ConfigError(
            "A region or channel was chosen, but no calibration to choose it from.",
            hint="Give the calibration too (--calibration), or leave the choice out.",
        )
    if spec.calibration is not None:
        calibration = read_calibration_for(
            camera, Path(spec.calibration), region=spec.region, channel=spec.channel
        )
    require_match(
        bundle,
        calibration=calibration,
        camera=camera,
        pixel_size_nm=(size_nm, size_nm) if size_nm is not None else None,
    )


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
    return Predictor(
        network,
        scaling,
        camera,
        device=where,
        options=options,
        uncertainty=uncertainty_from_bundle(bundle),
    )
