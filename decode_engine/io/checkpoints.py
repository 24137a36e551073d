"""Checkpoints of an unfinished training: arrays and a JSON record in one safetensors file.

A checkpoint is written under a temporary name, flushed to disk and renamed, and the one before
it stays, so a kill at any moment leaves at least one that is complete. The record sits in the
file's metadata, so arrays and record can never belong to different steps.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from decode_engine.io.atomic import atomic_path

__all__ = ["Checkpoint", "read_latest_checkpoint", "remove_checkpoints", "write_checkpoint"]

_NAME = re.compile(r"checkpoint-(\d{9})\.safetensors")
_KEPT = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a training after ``step`` steps.

    Attributes
    ----------
    step : int
    arrays : dict of ndarray
        By slash-separated names.
    record : dict
        JSON values.
    """

    step: int
    arrays: dict[str, NDArray[Any]]
    record: dict[str, Any]


def write_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write a checkpoint, then remove all but the newest two."""
    path = folder / f"checkpoint-{checkpoint.step:09d}.safetensors"
    # np.ascontiguousarray would turn a scalar into an array of one.
    arrays = {name: np.asarray(array, order="C") for name, array in checkpoint.arrays.items()}
    metadata = {"step": str(checkpoint.step), "record": json.dumps(checkpoint.record)}
    with atomic_path(path, overwrite=True) as temporary:
        # Written here and not by save_file, whose error on a full disk is no OSError.
        temporary.write_bytes(save(arrays, metadata))
    for old in _paths(folder)[_KEPT:]:
        old.unlink(missing_ok=True)
    return path


def read_latest_checkpoint(folder: Path) -> Checkpoint | None:
    """Return the newest checkpoint that can be read, None if there is none."""
    for path in _paths(folder):
        checkpoint = _read(path)
        if checkpoint is not None:
            return checkpoint
    return None


def remove_checkpoints(folder: Path) -> None:
    """Remove all checkpoints, and what a killed writer left, from a folder."""
    for path in [*_paths(folder), *folder.glob(".checkpoint-*.safetensors")]:
        path.unlink(missing_ok=True)


def _paths(folder: Path) -> list[Path]:
    """Return the checkpoints, newest first."""
    return sorted((p for p in folder.glob("checkpoint-*") if _NAME.fullmatch(p.name)), reverse=True)


def _read(path: Path) -> Checkpoint | None:
    try:
        with safe_open(path, framework="numpy") as handle:
            metadata = handle.metadata() or {}
            arrays = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
        return Checkpoint(
            step=int(metadata["step"]), arrays=arrays, record=json.loads(metadata["record"])
        )
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
