from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from decode_engine.io.fast_columns import read_columns

N = 100_003  # not a whole number of chunks
VALUES = np.random.default_rng(0).normal(size=N)


def write(path: Path, **datasets: tuple[Any, dict[str, Any]]) -> None:
    with h5py.File(path, "w") as file:
        for name, (values, options) in datasets.items():
            file.create_dataset(name, data=values, **options)


def test_reads_what_hdf5_reads(tmp_path: Path) -> None:
    packed: dict[str, Any] = {"chunks": (4096,), "shuffle": True, "compression": "gzip"}
    path = tmp_path / "columns.h5"
    write(
        path,
        real=(VALUES.astype("<f4"), packed),
        whole=((1000 * VALUES).astype("<i4"), packed),
        flags=(np.arange(N, dtype="<u4"), packed),
        big_endian=(VALUES.astype(">f4"), packed),
        double=(VALUES.astype("<f8"), packed),
        not_shuffled=(VALUES.astype("<f4"), packed | {"shuffle": False}),
        checked=(VALUES.astype("<f4"), packed | {"fletcher32": True}),
        contiguous=(VALUES.astype("<f4"), {}),
        empty=(np.empty(0, "<f4"), packed | {"maxshape": (None,)}),
    )
    with h5py.File(path) as file:
        columns = read_columns(dict(file.items()))
        assert set(columns) == set(file)
        for name, values in columns.items():
            assert values.dtype == file[name].dtype
            np.testing.assert_array_equal(values, file[name][:], err_msg=name)


def test_chunks_that_were_never_written_hold_the_fill_value(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "holes.h5", "w") as file:
        for name, fill in (("zeros", 0.0), ("sevens", 7.0)):
            dataset = file.create_dataset(
                name, (N,), "<f4", chunks=(4096,), shuffle=True, compression="gzip", fillvalue=fill
            )
            dataset[5000:6000] = 1.0
        for name, values in read_columns(dict(file.items())).items():
            np.testing.assert_array_equal(values, file[name][:], err_msg=name)


def test_a_damaged_chunk_is_an_error_of_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "damaged.h5"
    options: dict[str, Any] = {"chunks": (4096,), "shuffle": True, "compression": "gzip"}
    write(path, real=(VALUES.astype("<f4"), options))
    with h5py.File(path) as file:
        info = file["real"].id.get_chunk_info(3)
    with path.open("r+b") as raw:
        raw.seek(info.byte_offset + info.size // 2)
        raw.write(b"\xff" * 64)
    with h5py.File(path) as file, pytest.raises(OSError, match=r"chunk 3|chunk|inflate|filter"):
        read_columns(dict(file.items()))
