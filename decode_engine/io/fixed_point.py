"""Columns of numbers as text in fixed-point notation, computed for whole columns at once.

Formatting a million rows with Python's own number formatting takes the better part of a minute.
No number is ever written with an exponent: several readers (Java's among them) take ``1e-05``
for 1.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Words", "text_blocks"]

_BLOCK_ROWS = 1 << 16
_PAD = 0  # byte that is removed after all columns of a block are laid side by side
_LARGEST_SCALED = 2.0**53  # above, a scaled integer would have lost digits


class Words(NamedTuple):
    """How numbers that are not finite are spelled."""

    nan: bytes = b"NaN"
    inf: bytes = b"Inf"
    minus_inf: bytes = b"-Inf"


def text_blocks(
    columns: Mapping[str, NDArray[Any]],
    decimals: Mapping[str, int],
    *,
    words: Words | None = None,
    delimiter: bytes = b",",
) -> Iterator[bytes]:
    """Yield the rows of a table as lines of text, some ten thousand at a time.

    Parameters
    ----------
    columns : mapping of str to (N,) array
        In the order in which they are written.
    decimals : mapping of str to int
        Digits behind the point, by column; ignored for integers.
    """
    words = words or Words()
    names = list(columns)
    n_rows = len(columns[names[0]]) if names else 0
    for start in range(0, n_rows, _BLOCK_ROWS):
        pieces: list[NDArray[np.uint8]] = []
        for name in names:
            values = columns[name][start : start + _BLOCK_ROWS]
            pieces.append(_digits(values, decimals[name], words))
            end = b"\n" if name == names[-1] else delimiter
            pieces.append(np.full((values.size, 1), end[0], np.uint8))
        block = np.concatenate(pieces, axis=1)
        yield block[block != _PAD].tobytes()


def _digits(values: NDArray[Any], decimals: int, words: Words) -> NDArray[np.uint8]:
    """Return each number's text as a row of bytes, padded on the left with `_PAD`.

    Returns
    -------
    (N, W) uint8
        W is what the longest number needs.
    """
    if values.dtype.kind in "iu":
        return _fixed_point(values.astype(np.int64), 0, values < 0)
    scaled = values.astype(np.float64) * 10.0**decimals
    finite = np.isfinite(scaled)
    if bool(np.any(np.abs(scaled[finite]) >= _LARGEST_SCALED)):
        return _formatted(values, decimals, words)
    whole = np.rint(np.where(finite, scaled, 0.0)).astype(np.int64)
    text = _fixed_point(whole, decimals, whole < 0)
    if not finite.all():
        text = _with_words(text, values, words)
    return text


def _fixed_point(
    scaled: NDArray[np.int64], decimals: int, negative: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    rest = np.abs(scaled)
    largest = int(rest.max()) if rest.size else 0
    n_digits = max(len(str(largest)), decimals + 1)
    width = 1 + n_digits + (1 if decimals else 0)
    text = np.full((rest.size, width), _PAD, np.uint8)
    # 32-bit division is several times faster, and most columns fit
    rest = rest.astype(np.uint32) if largest < 2**32 else rest.astype(np.uint64)
    ten = rest.dtype.type(10)
    first = np.full(rest.size, width, np.int64)
    position = width - 1
    for digit in range(n_digits):
        if decimals and digit == decimals:
            text[:, position] = ord(".")
            position -= 1
        shown = (rest > 0) | (digit <= decimals)
        quotient = rest // ten
        text[:, position] = np.where(shown, rest - quotient * ten + ord("0"), _PAD)
        first[shown] = position
        rest = quotient
        position -= 1
    rows = np.flatnonzero(negative)
    text[rows, first[rows] - 1] = ord("-")
    return text


def _with_words(text: NDArray[np.uint8], values: NDArray[Any], words: Words) -> NDArray[np.uint8]:
    """Replace the rows of numbers that are not finite."""
    longest = max(map(len, words))
    if text.shape[1] < longest:
        pad = np.full((text.shape[0], longest - text.shape[1]), _PAD, np.uint8)
        text = np.concatenate([pad, text], axis=1)
    for word, mask in (
        (words.nan, np.isnan(values)),
        (words.inf, values == np.inf),
        (words.minus_inf, values == -np.inf),
    ):
        rows = np.flatnonzero(mask)
        if rows.size:
            text[rows] = _PAD
            if word:  # an empty field is a word, too
                text[rows, -len(word) :] = np.frombuffer(word, np.uint8)
    return text


def _formatted(values: NDArray[Any], decimals: int, words: Words) -> NDArray[np.uint8]:
    """Return the text of columns with numbers too large for scaled integers."""
    texts = [_one(float(value), decimals, words) for value in values]
    width = max(map(len, texts))
    joined = b"".join(text.rjust(width, bytes([_PAD])) for text in texts)
    return np.frombuffer(joined, np.uint8).reshape(len(texts), width)


def _one(value: float, decimals: int, words: Words) -> bytes:
    if np.isfinite(value):
        return f"{value:.{decimals}f}".encode()
    return words.nan if np.isnan(value) else words.inf if value > 0 else words.minus_inf
