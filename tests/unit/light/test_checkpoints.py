"""Checkpoint files: exact round trip, the previous one as a fallback, kills while writing."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from decode_engine.errors import DiskFullError
from decode_engine.io import checkpoints
from decode_engine.io.atomic import explain_os_error
from decode_engine.io.checkpoints import (
    Checkpoint,
    read_latest_checkpoint,
    remove_checkpoints,
    write_checkpoint,
)


def checkpoint(step: int) -> Checkpoint:
    rng = np.random.default_rng(step)
    return Checkpoint(
        step=step,
        arrays={
            "weights/a": rng.normal(size=(2, 3)).astype(np.float32),
            "optimizer/step/a": np.array(step, np.float32),
            "stream": rng.integers(0, 255, 16).astype(np.uint8),
        },
        record={"progress": {"elapsed_s": 0.1 + step, "best_score": None, "bad": float("nan")}},
    )


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_round_trip_is_exact(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(7), tmp_path)
    read = read_latest_checkpoint(tmp_path)
    assert read is not None
    assert read.step == 7
    for name, values in checkpoint(7).arrays.items():
        assert read.arrays[name].dtype == values.dtype
        assert read.arrays[name].shape == values.shape  # a scalar stays a scalar
        np.testing.assert_array_equal(read.arrays[name], values)
    np.testing.assert_equal(read.record, checkpoint(7).record)


def test_two_are_kept(tmp_path: Path) -> None:
    assert read_latest_checkpoint(tmp_path) is None
    for step in (9, 10, 100, 2000):
        write_checkpoint(checkpoint(step), tmp_path)
    assert names(tmp_path) == [
        "checkpoint-000000100.safetensors",
        "checkpoint-000002000.safetensors",
    ]


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_damaged_newest_falls_back_to_the_previous(tmp_path: Path, keep: int) -> None:
    write_checkpoint(checkpoint(1), tmp_path)
    newest = write_checkpoint(checkpoint(2), tmp_path)
    newest.write_bytes(newest.read_bytes()[:keep])
    read = read_latest_checkpoint(tmp_path)
    assert read is not None
    assert read.step == 1


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
    ],
)
def test_failure_while_writing_leaves_the_previous(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    raised: type[BaseException],
) -> None:
    write_checkpoint(checkpoint(1), tmp_path)
    write = Path.write_bytes

    def interrupted(path: Path, content: bytes) -> None:
        write(path, content[:100])
        raise error

    monkeypatch.setattr(Path, "write_bytes", interrupted)
    with pytest.raises(raised):
        write_checkpoint(checkpoint(2), tmp_path)
    assert names(tmp_path) == ["checkpoint-000000001.safetensors"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_full_disk_is_reported_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operating system's own error, from a device that is always full."""

    @contextlib.contextmanager
    def full(_path: Path, *, overwrite: bool) -> Iterator[Path]:
        assert overwrite
        try:
            yield Path("/dev/full")
        except OSError as error:
            raise explain_os_error(error, tmp_path) from error

    monkeypatch.setattr(checkpoints, "atomic_path", full)
    with pytest.raises(DiskFullError, match="disk is full"):
        write_checkpoint(checkpoint(1), tmp_path)


def test_what_a_kill_left_is_ignored_and_removed(tmp_path: Path) -> None:
    write_checkpoint(checkpoint(1), tmp_path)
    (tmp_path / ".checkpoint-000000002.1234abcd.safetensors").write_bytes(b"half")
    (tmp_path / "notes.txt").write_text("mine")
    read = read_latest_checkpoint(tmp_path)
    assert read is not None
    assert read.step == 1
    remove_checkpoints(tmp_path)
    assert names(tmp_path) == ["notes.txt"]
