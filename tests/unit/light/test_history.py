"""The history of a run: nothing twice, nothing lost, whatever a kill left behind."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from decode_engine.errors import OutputError
from decode_engine.io.history import HistoryEntry, HistoryWriter, read_history


def test_entries_come_back_in_order(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path, 0)
    writer.append(1, {"loss": 2.5})
    writer.append(2, {"loss": math.nan})
    writer.append(2, {"validation_loss": 3.0})
    assert read_history(path) == [
        HistoryEntry(step=1, values={"loss": 2.5}),
        HistoryEntry(step=2, values={"loss": None}),
        HistoryEntry(step=2, values={"validation_loss": 3.0}),
    ]
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[1] == {"step": 2, "values": {"loss": None}}


def test_resuming_drops_what_will_be_made_again(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    writer = HistoryWriter(path, 0)
    for step in range(1, 9):
        writer.append(step, {"loss": float(step)})
    with path.open("a") as handle:
        handle.write('{"step": 9, "values": {"lo')
    resumed = HistoryWriter(path, 5)
    assert [e.step for e in read_history(path)] == list(range(1, 9))  # not yet touched
    resumed.append(5, {"loss": 50.0})  # reported before the kill already
    resumed.append(5, {"validation_loss": 1.0})
    resumed.append(6, {"loss": 60.0})
    entries = read_history(path)
    assert [e.step for e in entries] == [1, 2, 3, 4, 5, 5, 6]
    assert entries[4].values == {"loss": 5.0}
    assert entries[-1].values == {"loss": 60.0}


def test_a_new_run_forgets_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    HistoryWriter(path, 0).append(7, {"loss": 1.0})
    HistoryWriter(path, 0).append(1, {"loss": 2.0})
    assert [e.step for e in read_history(path)] == [1]


def test_missing_and_foreign_files(tmp_path: Path) -> None:
    assert read_history(tmp_path / "none.jsonl") == []
    path = tmp_path / "odd.jsonl"
    path.write_bytes(b'\xff\xfe\n[]\n3\n{"step": "x", "values": {}}\n{"step": 1, "values": {}}\n')
    assert read_history(path) == [HistoryEntry(step=1, values={})]
    with pytest.raises(OutputError):
        HistoryWriter(tmp_path / "no such folder" / "h.jsonl" / "..", 0).append(1, {})
