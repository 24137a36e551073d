"""A person's whole way through the window, with the real engine, under a virtual display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.virtual_display import virtual_display

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_from_movie_to_exported_files_through_the_window(tmp_path: Path) -> None:
    with virtual_display() as display:
        run = subprocess.run(
            [sys.executable, "-m", "tests.e2e.window_path", str(tmp_path), "--minutes", "1"],
            cwd=REPOSITORY,
            env=os.environ | display | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=840,
            check=False,
        )
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    assert report["calibration"] == report["training"] == "completed"
    assert report["simulation_changed"]
    assert report["training_jaccard"] > 0.3  # of the example's model, trained on for a minute
    assert report["localizations"] > 500  # of 400 frames with about 3 molecules each
    assert report["picture_brightness"] > 1
    assert {Path(name).suffix for name in report["exported"]} == {".csv", ".png", ".tif"}
    assert report["warnings"] == []
