"""The model bundle: a trained network with all that is needed to use it safely, in one file.

A zip archive without compression:

``model.json``
    ``format`` = "decode-desktop model", ``schema_version`` = 1, ``network``, ``network_options``,
    ``scaling``, ``uncertainty`` (where it was measured), ``training_config``,
    ``training_record``, and the fingerprints of calibration and camera.
``weights.safetensors``
    The network's parameters, float32 or float16.
``conditioning.safetensors``
    Of a starter that knows PSFs: what sets its weights to another PSF, float32.
``calibration.h5``
    The calibration that the network was trained for, in our native format.
``camera.json``, ``camera.*.npy``
    The camera, as a camera file; per-pixel maps lie beside it.

Nothing is pickled: reading a bundle cannot run code.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

from decode_engine.contract.configs import CameraConfig, TrainingConfig
from decode_engine.domain.calibration import Calibration
from decode_engine.domain.camera import CameraModel
from decode_engine.errors import EngineError, MismatchError, ModelError
from decode_engine.io.atomic import atomic_path
from decode_engine.io.calibration_native import calibration_from_bytes, calibration_to_bytes

__all__ = ["ModelBundle", "read_model", "require_match", "write_model"]

_FORMAT = "decode-desktop model"
_VERSION = 1
_MAPS = ("offset_adu", "e_per_adu", "read_noise_e")
_CONDITIONING = "conditioning.safetensors"
_RELATIVE_TOLERANCE = 1e-3  # of numbers that a user typed with few digits

JsonDict = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class ModelBundle:
    """A trained model.

    Parameters
    ----------
    network : str
        Name in the network registry.
    network_options : dict
    weights : dict of ndarray
        Parameters by name, float32 or float16.
    scaling : dict
        `NetworkScaling` by name.
    uncertainty : dict
        `network.uncertainty.Uncertainty` by name; empty where it was not measured.
    conditioning : dict of ndarray
        Of a starter: `network.psf_conditioning.PsfConditioning` by name, float32; its weights are
        those for ``calibration``. Empty for other models.
    training_config : TrainingConfig
    training_record : dict
        What happened: steps, time, device, metrics over time, versions. JSON values; what is
        not finite becomes None.
    calibration : Calibration
    camera : CameraModel
    """

    network: str
    network_options: dict[str, int | float | str | bool] = field(default_factory=dict)
    weights: dict[str, NDArray[Any]]
    scaling: dict[str, float]
    uncertainty: dict[str, list[float]] = field(default_factory=dict)
    conditioning: dict[str, NDArray[Any]] = field(default_factory=dict)
    training_config: TrainingConfig
    training_record: JsonDict = field(default_factory=dict)
    calibration: Calibration
    camera: CameraModel

    def __post_init__(self) -> None:
        for name, values in (*self.weights.items(), *self.conditioning.items()):
            if values.dtype not in (np.float32, np.float16):
                raise ModelError(f"The weights {name!r} are {values.dtype}, not float32 or 16.")
            if not np.all(np.isfinite(values)):
                raise ModelError(
                    f"The weights {name!r} contain values that are not finite.",
                    hint="The training diverged; train again with a smaller learning rate.",
                )
        object.__setattr__(self, "training_record", _finite(self.training_record))

    @property
    def model_id(self) -> str:
        """SHA-256 over weights and `model.json` without the training record.

        It changes with anything that changes results, and not with how long or on which
        machine the training ran: the same training gives the same identity.
        """
        digest = hashlib.sha256(_weights_bytes(self.weights))
        if self.conditioning:
            digest.update(_weights_bytes(self.conditioning))
        content = {k: v for k, v in _description(self).items() if k != "training_record"}
        digest.update(_json_bytes(content))
        return digest.hexdigest()

    def holds(
        self, network: str, options: dict[str, int | float | str | bool], context_frames: int
    ) -> bool:
        """Tell whether a training that asks for this network can begin with the weights.

        Options that it leaves open are the model's.
        """
        own = (self.network, self.training_config.context_frames)
        agree = options.items() <= self.network_options.items()
        return own == (network, context_frames) and agree

    def with_half_precision(self) -> ModelBundle:
        """Return the bundle with float16 weights, half the size (relative rounding 5e-4)."""
        half = {name: values.astype(np.float16) for name, values in self.weights.items()}
        return dataclasses.replace(self, weights=half)


def write_model(bundle: ModelBundle, path: Path, *, overwrite: bool) -> None:
    """Write a bundle; nothing is left behind if that fails."""
    config, maps = _camera_entries(bundle.camera)
    entries = {
        "model.json": _json_bytes(_description(bundle)),
        "weights.safetensors": _weights_bytes(bundle.weights),
        "calibration.h5": calibration_to_bytes(bundle.calibration),
        "camera.json": config.model_dump_json(indent=1).encode(),
        **maps,
        **({_CONDITIONING: _weights_bytes(bundle.conditioning)} if bundle.conditioning else {}),
    }
    with (
        atomic_path(path, overwrite=overwrite) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, content in entries.items():
            # A fixed date: the same model gives the same file.
            archive.writestr(zipfile.ZipInfo(name), content)


def read_model(path: Path) -> ModelBundle:
    """Read a bundle.

    Raises
    ------
    ModelError
        If the file is missing, damaged, not a model, or written by a later version.
    """
    if not path.is_file():
        raise ModelError(f"There is no model file {path}.", hint="Check the name.")
    try:
        with zipfile.ZipFile(path) as archive:
            return _bundle({name: archive.read(name) for name in archive.namelist()}, path)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        # Of an encrypted member zipfile says RuntimeError, of an unknown compression the other.
        raise ModelError(
            f"{path} is not a model of this program, or it is damaged.",
            hint="Give a model file that 'train' has written.",
            detail=str(error),
        ) from error
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror or error}.") from error


def require_match(
    bundle: ModelBundle,
    *,
    calibration: Calibration | None = None,
    camera: CameraModel | None = None,
    pixel_size_nm: tuple[float, float] | None = None,
) -> None:
    """Raise `MismatchError` unless the model was made for what is given.

    Parameters
    ----------
    bundle : ModelBundle
    calibration, camera : optional
        Compared by content; names and notes do not count.
    pixel_size_nm : (x, y), optional
        Of the movie.
    """
    differences = []
    if calibration is not None and calibration.fingerprint() != bundle.calibration.fingerprint():
        differences.append(
            f"calibration (model: {_calibration_words(bundle.calibration)}; "
            f"given: {_calibration_words(calibration)})"
        )
    if camera is not None:
        differences += _camera_differences(bundle.camera, camera)
    if pixel_size_nm is not None:
        own = (bundle.camera.pixel_size_x_nm, bundle.camera.pixel_size_y_nm)
        if not np.allclose(own, pixel_size_nm, rtol=_RELATIVE_TOLERANCE):
            differences.append(
                f"pixel size (model: {own[0]:g} x {own[1]:g} nm; given: "
                f"{pixel_size_nm[0]:g} x {pixel_size_nm[1]:g} nm)"
            )
    if differences:
        raise MismatchError(
            "The model was made for something else: " + ", ".join(differences) + ".",
            hint="Use the model made for this data, train one, or allow it (--allow-mismatch).",
        )


def _description(bundle: ModelBundle) -> JsonDict:
    return {
        "format": _FORMAT,
        "schema_version": _VERSION,
        "network": bundle.network,
        "network_options": bundle.network_options,
        "scaling": bundle.scaling,
        **({"uncertainty": bundle.uncertainty} if bundle.uncertainty else {}),
        "training_config": bundle.training_config.model_dump(mode="json"),
        "training_record": bundle.training_record,
        "calibration_sha256": bundle.calibration.fingerprint(),
        "camera_sha256": bundle.camera.fingerprint(),
    }


def _bundle(entries: Mapping[str, bytes], path: Path) -> ModelBundle:
    missing = {"model.json", "weights.safetensors", "calibration.h5", "camera.json"} - set(entries)
    if missing:
        raise ModelError(
            f"{path} is not a model of this program: it lacks {', '.join(sorted(missing))}.",
            hint="Give a model file that 'train' has written.",
        )
    try:
        text = json.loads(entries["model.json"])
        _require_version(text, path)
        for name in ("network_options", "scaling", "training_record"):
            if not isinstance(text[name], dict):
                raise TypeError(f"{name} is a {type(text[name]).__name__}")
        return ModelBundle(
            network=text["network"],
            network_options=text["network_options"],
            weights=load_safetensors(entries["weights.safetensors"]),
            scaling=text["scaling"],
            uncertainty=dict(text.get("uncertainty", {})),
            conditioning=(
                load_safetensors(entries[_CONDITIONING]) if _CONDITIONING in entries else {}
            ),
            training_config=TrainingConfig.model_validate(text["training_config"]),
            training_record=text["training_record"],
            calibration=calibration_from_bytes(entries["calibration.h5"], f"{path}: calibration"),
            camera=_camera(entries),
        )
    except ModelError:
        raise
    except (
        KeyError,
        TypeError,
        ValueError,
        RecursionError,
        SafetensorError,
        ValidationError,
    ) as error:
        raise ModelError(
            f"The model {path} is damaged or from another version.",
            hint="Train the model again, or use the program that wrote it.",
            detail=str(error),
        ) from error
    except EngineError as error:
        raise ModelError(f"{path}: {error.message}", hint=error.hint) from error


def _require_version(text: Any, path: Path) -> None:
    if not isinstance(text, dict) or text.get("format") != _FORMAT:
        raise ModelError(f"{path} is not a model of this program.")
    if text["schema_version"] != _VERSION:
        raise ModelError(
            f"{path} has the format version {text['schema_version']}; this program reads "
            f"{_VERSION}.",
            hint="Update the program.",
        )


def _camera_entries(camera: CameraModel) -> tuple[CameraConfig, dict[str, bytes]]:
    values: JsonDict = {f.name: getattr(camera, f.name) for f in dataclasses.fields(camera)}
    maps = {}
    for name in _MAPS:
        if isinstance(values[name], np.ndarray):
            buffer = io.BytesIO()
            np.save(buffer, values[name], allow_pickle=False)
            maps[f"camera.{name}.npy"] = buffer.getvalue()
            values[name] = f"camera.{name}.npy"
    return CameraConfig(**values), maps


def _camera(entries: Mapping[str, bytes]) -> CameraModel:
    config = CameraConfig.model_validate_json(entries["camera.json"])
    values = config.model_dump(exclude={"schema_version"})
    for name in _MAPS:
        if isinstance(values[name], str):
            values[name] = np.load(io.BytesIO(entries[values[name]]), allow_pickle=False)
    if values["pixel_size_y_nm"] is None:
        values["pixel_size_y_nm"] = values["pixel_size_x_nm"]
    return CameraModel(**values)


def _camera_differences(own: CameraModel, given: CameraModel) -> list[str]:
    differences = []
    for name in (f.name for f in dataclasses.fields(own) if f.name != "name"):
        a, b = getattr(own, name), getattr(given, name)
        if _same(a, b):
            continue
        differences.append(f"camera {name} (model: {_words(a)}; given: {_words(b)})")
    return differences


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (bool, str)) or a is None or b is None:
        return bool(a == b)
    return np.shape(a) == np.shape(b) and np.allclose(a, b, rtol=_RELATIVE_TOLERANCE)


def _words(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"map of {value.shape[1]} x {value.shape[0]} px, mean {value.mean():g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _calibration_words(calibration: Calibration) -> str:
    low, high = calibration.z_range_nm
    source = calibration.source or "of unknown source"
    mirrored = {True: ", mirrored as EM frames are", False: ", not mirrored", None: ""}
    factor = calibration.refractive_index_factor
    depth = "" if factor == 1.0 else f" with the refractive-index factor {factor:g}"
    return (
        f"{source}, z {low:g} to {high:g} nm{depth}{mirrored[calibration.em_mirrored]}, "
        f"{calibration.fingerprint()[:8]}"
    )


def _weights_bytes(weights: Mapping[str, NDArray[Any]]) -> bytes:
    ordered = {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
    content: bytes = save_safetensors(ordered)
    return content


def _json_bytes(values: JsonDict) -> bytes:
    return json.dumps(values, indent=1, sort_keys=True, allow_nan=False).encode()


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinity) by None, at any depth."""
    if isinstance(value, dict):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
