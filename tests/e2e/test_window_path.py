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
    home = tmp_path / "home"
    home.mkdir()
    own = {"HOME": str(home), "OMP_NUM_THREADS": "1"}  # no setting or kernel of the user's
    with virtual_display() as display:
        run = subprocess.run(
            [sys.executable, "-m", "tests.e2e.window_path", str(tmp_path), "--minutes", "1"],
            cwd=REPOSITORY,
            env=os.environ | display | own,
            capture_output=True,
            text=True,
            timeout=840,
            check=False,
        )
    assert run.returncode == 0, run.stderr[-3000:]
    report = json.loads(run.stdout.splitlines()[-1])
    print(report)  # the latencies are for reading: a busy machine is late
    assert report["calibration"] == report["training"] == "completed"
    assert report["beads_used"] >= 5
    assert report["simulation_changed"]
    assert report["training_jaccard"] > 0.3  # of the example's model, trained on for a minute
    # The example has 12,959 emitters in its frames; its model finds seven of ten.
    assert 6_000 < report["localizations"] < 13_000
    assert report["picture_colored"] > 0.001
    assert {Path(name).suffix for name in report["exported"]} == {".csv", ".png", ".tif"}
    assert report["warnings"] == []
    assert "QProcess" not in run.stderr  # no engine outlives its window
