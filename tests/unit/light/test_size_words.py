from __future__ import annotations

import pytest

from app.models.size_words import size_words


@pytest.mark.parametrize(
    ("n_bytes", "words"),
    [
        (0, "0 bytes"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (999_700, "1 MB"),  # Regression: "1e+03 kB"
        (1_234_567, "1.23 MB"),
        (20e9, "20 GB"),
        (3.2e15, "3.2e+03 TB"),
    ],
)
def test_sizes_have_three_digits(n_bytes: float, words: str) -> None:
    assert size_words(n_bytes) == words
