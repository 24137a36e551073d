"""Write a result in a process that is killed again and again, and check what is left.

Run as ``python -m tests.unit.light.kill_writer FOLDER KILLS``; a process of its own, so that
it may fork (no threads here) and a kill costs no start of Python. Prints where the kills hit.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np

from decode_engine.domain.localizations import Localizations
from decode_engine.io.localizations import (
    LocalizationMetadata,
    LocalizationWriter,
    partial_path,
    read_localization_metadata,
    read_localizations,
)

METADATA = LocalizationMetadata(
    width_px=64, height_px=64, pixel_size_x_nm=100.0, pixel_size_y_nm=100.0, frame_stop=60
)
CHUNKS, ROWS = 6, 500


def table(chunk: int) -> Localizations:
    rng = np.random.default_rng(chunk)
    names = ("x_nm", "y_nm", "z_nm", "photons", "background", "sigma_x_nm")
    columns = {name: rng.normal(1000, 300, ROWS).astype(np.float32) for name in names}
    return Localizations(frame=np.full(ROWS, 10 * chunk, np.int32), **columns)


def write(path: Path) -> None:
    with LocalizationWriter.resume(path, METADATA) as writer:
        for chunk in range(writer.frames_done // 10, CHUNKS):
            writer.append(table(chunk), frames_done=10 * (chunk + 1))
        writer.finish()


def killed_after(path: Path, seconds: float) -> bool:
    """Return whether the writer had to be killed."""
    process = os.fork()
    if process == 0:
        write(path)
        os._exit(0)
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    if not os.WIFSIGNALED(status):
        assert os.waitstatus_to_exitcode(status) == 0, "the writer failed"
    return os.WIFSIGNALED(status)


def check(path: Path, done: int, expected: Localizations) -> int:
    """Compare what is on the disk with what must be there; return the finished frames."""
    source = path if path.exists() else partial_path(path)
    if not (source.is_file() or (source / "metadata.json").exists()):
        assert done == 0, "the finished chunks are gone"
        return 0
    found, frames_done = read_localizations(source), read_localization_metadata(source).frames_done
    assert frames_done >= done, f"{done} frames were done, {frames_done} are left"
    assert len(found) == ROWS * frames_done // 10
    for name, values in found.columns().items():
        np.testing.assert_array_equal(values, expected.columns()[name][: len(found)])
    return frames_done


def main(folder: Path, kills: int) -> None:
    rng = random.Random(kills)
    expected = Localizations.concatenate([table(chunk) for chunk in range(CHUNKS)])
    start = time.perf_counter()
    write(folder / "timing.h5")
    whole_s = time.perf_counter() - start
    hits: Counter[int] = Counter()
    path, done = folder / "locs.h5", 0
    while sum(hits.values()) < kills:
        if killed_after(path, 0.5 * whole_s * rng.random() ** 2):
            done = check(path, done, expected)
            hits[done] += 1
            continue
        assert check(path, done, expected) == 60
        assert sorted(p.name for p in folder.iterdir()) == ["locs.h5", "timing.h5"]
        path.unlink()
        done = 0
    print(f"{kills} kills; finished frames after them: {dict(sorted(hits.items()))}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
