"""The compiled kernels where their cache cannot be written, and after they were cached."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from decode_engine.analysis import render_kernels as kernels

_PACKAGE = Path(kernels.__file__).parents[1]
_PROGRAM = """
import numpy as np
from decode_engine.analysis import render_kernels as kernels
out = np.zeros((1, 1))
kernels.halve(np.ones((2, 2)), 1, out)
print(kernels.__file__, out[0, 0])
"""


def _run(folder: Path, **environment: str) -> str:
    names = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
    kept = {name: os.environ[name] for name in names if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _copy(folder: Path) -> Path:
    """Copy the package to a folder whose ``__pycache__`` cannot be made: a file is in its place."""
    target = folder / "decode_engine"
    shutil.copytree(_PACKAGE, target, ignore=shutil.ignore_patterns("__pycache__"))
    blocked = target / "analysis" / "__pycache__"
    blocked.write_text("")
    return blocked


def test_kernels_run_where_no_cache_can_be_written(tmp_path: Path) -> None:
    blocked = _copy(tmp_path)
    nowhere = {
        "NUMBA_CACHE_DIR": str(blocked / "cache"),
        "HOME": str(blocked),
        "XDG_CACHE_HOME": str(blocked),
        "LOCALAPPDATA": str(blocked),
    }
    out = _run(tmp_path, **nowhere)
    assert out.split() == [str(tmp_path / "decode_engine/analysis/render_kernels.py"), "4.0"]


def test_kernels_are_kept_in_the_folder_that_the_app_names(tmp_path: Path) -> None:
    _copy(tmp_path)
    cache = tmp_path / "cache"
    _run(tmp_path, NUMBA_CACHE_DIR=str(cache))
    assert list(cache.rglob("*halve*.nbc"))


def test_the_tabulated_normal_distribution_is_exact() -> None:
    u = np.random.default_rng(0).uniform(-7, 7, 2000)
    np.testing.assert_allclose([kernels._phi(v) for v in u], ndtr(u), rtol=0, atol=2e-9)


def test_band_sums_equal_matrix_products() -> None:
    rng = np.random.default_rng(0)
    for n_channels in (1, 3, 4):
        nodes = rng.random((9, 11, n_channels))
        first = [np.sort(rng.integers(-3, 11, n)) for n in (6, 8)]
        weight = [rng.random((n, 4)) for n in (6, 8)]
        matrices = []
        for start, band, size in zip(first, weight, (9, 11), strict=True):
            matrix = np.zeros((start.size, size))
            for row in range(start.size):
                for tap in range(4):
                    if 0 <= start[row] + tap < size:
                        matrix[row, start[row] + tap] = band[row, tap]
            matrices.append(matrix)
        out = np.zeros((6, 8 * n_channels))
        bands = [(f.astype(np.int64), w) for f, w in zip(first, weight, strict=True)]
        kernels.apply_bands(nodes.reshape(9, -1), n_channels, *bands, 0, 6, out)
        expected = np.einsum("yr,rcn,xc->yxn", matrices[0], nodes, matrices[1])
        np.testing.assert_allclose(out.reshape(6, 8, n_channels), expected, rtol=1e-12)
