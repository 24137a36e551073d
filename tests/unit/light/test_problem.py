"""What is shown of an error in the window."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.models.problem import Problem
from decode_engine.errors import DiskFullError, InputError
from decode_engine.io.atomic import explain_os_error
from decode_engine.io.models import read_model


def test_a_missing_file_has_a_way_out_in_the_window(tmp_path: Path) -> None:
    """Regression: the card of a moved file said "Check the name", as for a terminal."""
    with pytest.raises(InputError) as caught:
        read_model(tmp_path / "gone.decode")
    problem = Problem.from_error(caught.value)
    assert "gone.decode" in problem.message
    assert "moved" in problem.hint
    assert "choose another" in problem.hint


def test_other_hints_stay() -> None:
    problem = Problem.from_error(InputError("The file is empty.", hint="Check the name."))
    assert problem.hint == "Check the name."


def test_numpy_s_words_for_a_full_disk_are_understood() -> None:
    """Regression: "406400 requested and 13216 written" was shown when a TIFF was exported."""
    error = explain_os_error(OSError("406400 requested and 13216 written"), Path("movie.tif"))
    assert isinstance(error, DiskFullError)
