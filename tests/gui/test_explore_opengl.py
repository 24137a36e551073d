"""Vispy really draws: in a process of its own under a virtual display."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.virtual_display import skip_display, virtual_display

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPT = Path(__file__).with_name("explore_on_screen.py")


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    more = {"PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error::RuntimeWarning"}
    with virtual_display("1024x768x24") as display:
        run = subprocess.run(
            [sys.executable, str(SCRIPT)],
            env=os.environ | display | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
    assert run.returncode == 0, run.stderr[-3000:]
    values: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    if values["renderer"] is None:
        skip_display("the virtual display has no OpenGL 2.1")
    return values


def test_vispy_shows_the_same_as_the_painter(found: dict[str, Any]) -> None:
    assert found["back_end"] == "gl"
    assert found["spread"] > 20
    assert found["differs"] < 0.06
    assert found["differs_moved"] < 0.06


def test_a_lost_context_falls_back(found: dict[str, Any]) -> None:
    assert found["after_loss"] == "paint"
    assert found["differs_after_loss"] < 0.001


def test_points_turn_and_survive_changing_tabs(found: dict[str, Any]) -> None:
    points = found["points"]
    assert points["used_gl"]
    assert points["bright"] > 500
    assert points["turned"] > 200
    assert not points["after_loss"]
