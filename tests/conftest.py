"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Qt aborts the interpreter without a display unless told otherwise, so before any Qt import.
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
# Two intra-op threads on two busy cores are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data that is not part of the project (its licences vary)."""
    folder = Path(os.environ.get("DECODE_DATA", REPOSITORY.parent / "shared" / "data"))
    if folder.is_dir():
        return folder
    reason = f"the real data folder {folder} is not here"
    if os.environ.get("DECODE_REQUIRE_DATA") == "1":
        pytest.fail(f"{reason}, but DECODE_REQUIRE_DATA=1")
    pytest.skip(reason)
