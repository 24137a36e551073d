"""What a model file holds, in words for the lists that offer it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.models.simulation_words import molecule_words
from decode_engine.io.models import read_model

__all__ = ["ModelDescription", "describe_model"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDescription:
    """What must be known of a model to choose it.

    Parameters
    ----------
    words : str
        One or two sentences: kind, depth, pixel size, how it was trained, how good it was.
    pixel_size_nm : (x, y), nm
    """

    path: str
    words: str
    pixel_size_nm: tuple[float, float]
    is_3d: bool


def describe_model(path: str) -> ModelDescription:
    """Read a model file and put it into words.

    Raises
    ------
    ModelError
        If it is none.
    """
    bundle = read_model(Path(path))
    camera, config = bundle.camera, bundle.training_config
    low, high = bundle.calibration.z_range_nm
    simulation = config.simulation
    low = low if simulation.z_min_nm is None else simulation.z_min_nm
    high = high if simulation.z_max_nm is None else simulation.z_max_nm
    kind = f"3D, z {low:.0f} to {high:.0f} nm" if high > low else "2D"
    sentences = [f"{kind}; pixels of {camera.pixel_size_x_nm:g} nm; {molecule_words(simulation)}."]
    jaccard = _best_jaccard(bundle.training_record)
    if jaccard is not None:
        sentences.append(f"It agreed with {jaccard:.0%} of its simulated test (Jaccard index).")
    return ModelDescription(
        path=path,
        words=" ".join(sentences),
        pixel_size_nm=(camera.pixel_size_x_nm, camera.pixel_size_y_nm),
        is_3d=high > low,
    )


def _best_jaccard(record: dict[str, Any]) -> float | None:
    """Return the Jaccard index of the validation whose weights were kept."""
    history = record.get("history")
    if not isinstance(history, list):
        return None
    for entry in history:
        if isinstance(entry, dict) and entry.get("step") == record.get("best_step"):
            value = entry.get("jaccard")
            return float(value) if isinstance(value, (int, float)) else None
    return None
