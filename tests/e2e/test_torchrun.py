"""One training by two processes that ``torchrun`` starts, and what they refuse."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch.distributed

from decode_engine.io.checkpoints import read_latest_checkpoint
from decode_engine.io.models import read_model
from tests.training_samples import write_inputs

pytestmark = [
    pytest.mark.skipif(os.name == "nt", reason="torch for Windows has no torchrun of this kind"),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without processes"),
]

SETTINGS = (
    "--device cpu --set network_options.width=6 --set patch_px=16 --set validation_frames=8 "
    "--set validate_every_steps=3 --set ema_decay=0.9 --set simulation.margin_px=2"
)


def train_words(folder: Path, out: str, *extra: str) -> list[str]:
    return [
        "train", "--calibration", str(folder / "cal.h5"), "--camera", str(folder / "cam.json"),
        "--out", str(folder / out), *SETTINGS.split(), *extra,
    ]  # fmt: skip


TORCHRUN = [
    sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
    "-m", "decode_engine",
]  # fmt: skip


def together(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_two_processes_train_one_model(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    words = train_words(tmp_path, "m.decode", "--set", "batch_size=4", "--json")
    result = together(*words, "--steps", "6")
    assert result.returncode == 0, result.stderr
    summary = json.loads(result.stdout)  # one process speaks
    assert summary["steps"] == 6
    record = read_model(tmp_path / "m.decode").training_record
    assert record["machine"]["processes"] == "2"
    # Half a batch each, of different molecules: not what one process makes of either half.
    alone = subprocess.run(
        [
            sys.executable, "-m", "decode_engine",
            *train_words(tmp_path, "alone.decode", "--set", "batch_size=2", "--steps", "6"),
        ],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )  # fmt: skip
    assert alone.returncode == 0, alone.stderr
    together_weights = read_model(tmp_path / "m.decode").weights
    alone_weights = read_model(tmp_path / "alone.decode").weights
    assert any(
        not np.array_equal(together_weights[name], alone_weights[name]) for name in alone_weights
    )


def test_a_shared_training_is_cancelled_and_goes_on(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    words = train_words(tmp_path, "m.decode", "--set", "batch_size=4", "--steps", "400", "--json")
    process = subprocess.Popen(
        [*TORCHRUN, *words, "--set", "checkpoint_every_s=0.1"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "m.decode.training"
    try:
        while not list(folder.glob("checkpoint-*.safetensors")) and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    assert said.count("The job was cancelled.") == 1
    checkpoint = read_latest_checkpoint(folder)
    assert checkpoint is not None
    assert 0 < checkpoint.record["progress"]["step"] < 400
    result = together(*words, "--resume")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["steps"] == 400


def test_what_cannot_be_shared_is_refused_once(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    uneven = together(*train_words(tmp_path, "m.decode", "--set", "batch_size=3", "--steps", "6"))
    assert uneven.returncode != 0
    assert uneven.stderr.count("cannot share a batch of 3 samples evenly") == 1
    assert read_latest_checkpoint(tmp_path / "m.decode.training") is None

    movie = tmp_path / "movie.tif"
    localize = together(
        "localize",
        str(movie),
        "--model",
        str(tmp_path / "m.decode"),
        "--out",
        str(tmp_path / "l.h5"),
    )
    assert localize.returncode != 0
    assert localize.stderr.count("would each do the same localize") == 1
