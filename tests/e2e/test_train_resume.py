"""Trainings that are killed, cancelled and resumed by the command line; warm starts; refusals.

What is to be killed runs in a process of its own, everything else in this one: importing torch
takes longer than these trainings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from decode_engine.cli.main import main
from decode_engine.domain.calibration import GaussianPsf
from decode_engine.io.calibrations import write_calibration
from decode_engine.io.cameras import write_camera
from decode_engine.io.models import ModelBundle, read_model
from tests.training_samples import CALIBRATION, CAMERA, write_inputs

pytestmark = pytest.mark.skipif(os.name == "nt", reason="kills and signals are those of POSIX")

STEPS = 40
# A checkpoint after each step, so that a kill may also meet the writing of one.
SETTINGS = (
    "--device cpu --set network_options.width=3 --set patch_px=16 --set batch_size=2 "
    "--set validation_frames=8 --set validate_every_steps=5 --set ema_decay=0.9 "
    "--set checkpoint_every_s=0.001 --set simulation.margin_px=2"
)


def words(folder: Path, out: str, *extra: str, steps: int = STEPS) -> list[str]:
    return [
        "train", "--calibration", str(folder / "cal.h5"), "--camera", str(folder / "cam.json"),
        "--out", str(folder / out), "--steps", str(steps), *SETTINGS.split(), *extra,
    ]  # fmt: skip


def finish(command: list[str], code: int = 0, threads: int = 1) -> str:
    """Run to the end in this process; return what was said on standard error."""
    said, threads_before = io.StringIO(), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            assert main(command) == code, said.getvalue()
    finally:
        torch.set_num_threads(threads_before)
    return said.getvalue()


def start(command: list[str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "decode_engine", *command],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def newest_step(folder: Path, out: str) -> int:
    """Return the step of the newest checkpoint; -1 if there is none."""
    names = [p.name for p in (folder / f"{out}.training").glob("checkpoint-*.safetensors")]
    return max((int(name[11:20]) for name in names), default=-1)


def stop_at(command: list[str], folder: Path, out: str, step: int, number: int) -> int:
    """Start, wait for the checkpoint of a step, send the signal; return the exit code."""
    process = start(command)
    try:
        while newest_step(folder, out) < step and process.poll() is None:
            time.sleep(0.001)
        process.send_signal(number)
        return process.wait(timeout=60)
    finally:
        process.kill()
        process.wait()


def assert_same_model(a: ModelBundle, b: ModelBundle) -> None:
    assert a.weights.keys() == b.weights.keys()
    for name, values in a.weights.items():
        np.testing.assert_array_equal(values, b.weights[name], err_msg=name)
    assert a.model_id == b.model_id
    curves = [
        [
            {k: v for k, v in entry.items() if k not in ("elapsed_s", "cpu_s")}
            for entry in m.training_record["history"]
        ]
        for m in (a, b)
    ]
    assert curves[0] == curves[1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make calibration, camera and the model of an uninterrupted training."""
    result = tmp_path_factory.mktemp("trainings")
    write_inputs(result)
    finish(words(result, "whole.decode"))
    return result


def test_killed_and_resumed_equals_uninterrupted(folder: Path) -> None:
    """Three kills in one training, at moments drawn beforehand."""
    out, extra = "killed.decode", list[str]()
    for step in sorted(random.Random(20).sample(range(1, STEPS - 10), 3)):
        command = words(folder, out, *extra)
        assert stop_at(command, folder, out, step, signal.SIGKILL) == -signal.SIGKILL
        assert not (folder / out).exists()
        assert STEPS > newest_step(folder, out) >= step
        extra = ["--resume"]
    # Without being told so, nobody goes on with it or throws it away.
    refused = finish(words(folder, out), code=2)
    assert "unfinished training" in refused
    assert "Resume it" in refused
    finish(words(folder, out, "--resume"))
    assert_same_model(read_model(folder / "whole.decode"), read_model(folder / out))
    history = (folder / f"{out}.training" / "history.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in history]
    steps = [e["step"] for e in entries if "validation_loss" in e["values"]]
    assert steps == list(range(5, STEPS + 1, 5))


def test_killed_before_the_first_checkpoint(folder: Path) -> None:
    out = "early.decode"
    process = start(words(folder, out, "--set", "checkpoint_every_s=1000", steps=100_000))
    try:
        job = folder / f"{out}.training" / "job.json"
        while not job.exists() and process.poll() is None:
            time.sleep(0.001)
    finally:
        process.kill()
    assert process.wait() == -signal.SIGKILL
    assert newest_step(folder, out) == -1
    said = finish(words(folder, out, "--resume"))
    assert "no checkpoint" in said
    assert_same_model(read_model(folder / "whole.decode"), read_model(folder / out))


@pytest.fixture(scope="module")
def terminated(folder: Path) -> Path:
    """Return the run folder of a training that SIGTERM has cancelled."""
    out = "terminated.decode"
    assert stop_at(words(folder, out), folder, out, 7, signal.SIGTERM) == 4
    assert 7 <= newest_step(folder, out) < STEPS
    assert not (folder / out).exists()
    return folder / f"{out}.training"


def copied(terminated: Path, out: str) -> None:
    shutil.copytree(terminated, terminated.with_name(f"{out}.training"))


def test_terminated_and_resumed_equals_uninterrupted(folder: Path, terminated: Path) -> None:
    copied(terminated, "resumed.decode")
    finish(words(folder, "resumed.decode", "--resume"))
    assert_same_model(read_model(folder / "whole.decode"), read_model(folder / "resumed.decode"))


def test_resuming_something_else_is_refused(folder: Path, terminated: Path) -> None:
    copied(terminated, "other.decode")
    resume = words(folder, "other.decode", "--resume")
    refused = finish([*resume, "--set", "seed=5", "--set", "simulation.flux_mean=900"], code=2)
    assert "seed (0 then, 5 now)" in refused
    assert "simulation.flux_mean (3500.0 then, 900.0 now)" in refused
    other = dataclasses.replace(CAMERA, read_noise_e=3.0)
    write_camera(other, folder / "noisy.json", overwrite=True)
    refused = finish([*resume, "--camera", str(folder / "noisy.json")], code=2)
    assert f"camera ({CAMERA.fingerprint()[:12]}… then, {other.fingerprint()[:12]}… now)" in refused
    assert "calibration (" not in refused


def test_resuming_with_other_threads_is_warned_about(folder: Path, terminated: Path) -> None:
    copied(terminated, "threads.decode")
    said = finish(words(folder, "threads.decode", "--resume"), threads=2)
    assert "threads (1 then, 2 now)" in said
    assert read_model(folder / "threads.decode").training_record["step"] == STEPS


def test_warm_start(folder: Path) -> None:
    """A vanishing rate keeps the parent's weights, which a cold start does not have."""
    parent = read_model(folder / "whole.decode")
    still = ["--set", "learning_rate=1e-12", "--set", "weight_decay=0", "--set", "seed=9"]
    init = ["--init", str(folder / "whole.decode")]
    finish(words(folder, "child.decode", *init, *still, steps=1))
    child = read_model(folder / "child.decode")
    assert child.training_record["parent_model_id"] == parent.model_id
    for name, values in child.weights.items():
        np.testing.assert_allclose(values, parent.weights[name], rtol=0, atol=1e-9, err_msg=name)
    finish(words(folder, "cold.decode", *still, steps=1))
    cold = read_model(folder / "cold.decode")
    assert any(np.abs(v - parent.weights[n]).max() > 0.1 for n, v in cold.weights.items())


def test_warm_start_from_another_network_is_refused(folder: Path) -> None:
    init = ["--init", str(folder / "whole.decode"), "--set", "network_options.width=6"]
    refused = finish(words(folder, "wrong.decode", *init), code=2)
    assert "width=3" in refused
    assert "width=6" in refused
    assert not (folder / "wrong.decode.training").exists()


def test_z_beyond_the_calibration_is_refused(folder: Path) -> None:
    refused = finish(words(folder, "z.decode", "--set", "simulation.z_max_nm=501"), code=2)
    assert "z from -500 to 501 nm was asked" in refused
    assert "-500 to 500 nm" in refused


def test_z_of_a_flat_calibration_is_refused(folder: Path) -> None:
    flat = dataclasses.replace(CALIBRATION, psf=GaussianPsf(sigma0_x_nm=130.0, sigma0_y_nm=130.0))
    write_calibration(flat, folder / "flat.h5", overwrite=True)
    asked = ["--set", "simulation.z_min_nm=-300", "--set", "simulation.z_max_nm=300"]
    command = words(folder, "flat.decode", "--calibration", str(folder / "flat.h5"))
    refused = finish([*command, *asked], code=2)
    assert "2D calibration" in refused
    assert not (folder / "flat.decode").exists()
    finish([*command, "--steps", "1"])  # without z it is welcome
    assert not read_model(folder / "flat.decode").calibration.is_3d
