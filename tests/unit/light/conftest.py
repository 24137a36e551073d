"""Writers of MATLAB files that `scipy.io.savemat` cannot make: v7.3, and objects in v5.

They follow the published layout of the MAT-file format and what real v7.3 files contain; the
reader under test shares no code with them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest


@dataclass(frozen=True)
class MatObject:
    """An object of a MATLAB class, to be written as MATLAB stores those."""

    class_name: str


@dataclass(frozen=True)
class MatCell:
    """A cell: values in column-major order."""

    values: list[Any]
    shape: tuple[int, int]


@dataclass(frozen=True)
class MatStructs:
    """A struct array: one mapping per element, column-major."""

    elements: list[Mapping[str, Any]]
    shape: tuple[int, int]


class MatWriter:
    """Names for the writers and their values, handed to tests by the fixture."""

    Object = MatObject
    Cell = MatCell
    Structs = MatStructs

    @staticmethod
    def v73(path: Path, variables: Mapping[str, Any]) -> Path:
        """Write as MATLAB's ``save -v7.3``."""
        with h5py.File(path, "w", userblock_size=512) as file:
            writer = _V73(file)
            for name, value in variables.items():
                writer.put(file, name, value)
        header = b"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024"
        with path.open("r+b") as handle:
            handle.write(header.ljust(116) + bytes(8) + b"\x00\x02IM")
        return path

    @staticmethod
    def v5(path: Path, variables: Mapping[str, Any]) -> Path:
        """Write as MATLAB's ``save -v6`` (uncompressed version 5)."""
        body = b"".join(_v5_matrix(name, value) for name, value in variables.items())
        header = b"MATLAB 5.0 MAT-file, Platform: GLNXA64, Created on: Mon Jan 01 00:00:00 2024"
        path.write_bytes(header.ljust(116) + bytes(8) + b"\x00\x01IM" + body)
        return path


@pytest.fixture(scope="session")
def mat_writer() -> type[MatWriter]:
    """Give the writers of MATLAB files."""
    return MatWriter


_CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}


class _V73:
    def __init__(self, file: h5py.File) -> None:
        self._refs = file.create_group("#refs#")
        self._count = 0

    def put(self, parent: h5py.Group, name: str, value: Any) -> h5py.Group | h5py.Dataset:
        if isinstance(value, Mapping):
            item = parent.create_group(name)
            for key, member in value.items():
                self.put(item, key, member)
            return self._marked(item, "struct")
        if isinstance(value, MatStructs):
            item = parent.create_group(name)
            for key in value.elements[0]:
                self._references(item, key, [e[key] for e in value.elements], value.shape)
            return self._marked(item, "struct")
        if isinstance(value, MatCell):
            return self._marked(self._references(parent, name, value.values, value.shape), "cell")
        if isinstance(value, MatObject):
            item = parent.create_dataset(name, data=np.array([[3707764736, 2, 1, 1, 1, 1]], "u4"))
            item.attrs["MATLAB_object_decode"] = np.int32(3)
            return self._marked(item, value.class_name)
        if isinstance(value, str):
            return self._characters(parent, name, value)
        return self._numbers(parent, name, np.atleast_2d(np.asarray(value)))

    def _marked(self, item: Any, class_name: str) -> Any:
        item.attrs["MATLAB_class"] = np.bytes_(class_name)
        return item

    def _references(
        self, parent: h5py.Group, name: str, values: list[Any], shape: tuple[int, int]
    ) -> h5py.Dataset:
        references = np.empty(len(values), dtype=h5py.ref_dtype)
        for index, value in enumerate(values):
            self._count += 1
            references[index] = self.put(self._refs, f"r{self._count}", value).ref
        reversed_shape = (shape[1], shape[0])
        return parent.create_dataset(
            name, data=references.reshape(reversed_shape), dtype=h5py.ref_dtype
        )

    def _empty(self, parent: h5py.Group, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
        item = parent.create_dataset(name, data=np.asarray(shape, "u8"))
        item.attrs["MATLAB_empty"] = np.uint8(1)
        return item

    def _characters(self, parent: h5py.Group, name: str, value: str) -> h5py.Dataset:
        if not value:
            return self._marked(self._empty(parent, name, (0, 0)), "char")
        units = np.frombuffer(value.encode("utf-16-le"), "u2").reshape(-1, 1)
        item = parent.create_dataset(name, data=units)
        item.attrs["MATLAB_int_decode"] = np.int32(2)
        return self._marked(item, "char")

    def _numbers(self, parent: h5py.Group, name: str, array: np.ndarray) -> h5py.Dataset:
        class_name = _CLASSES.get(array.dtype.name, array.dtype.name)
        if array.size == 0:
            return self._marked(self._empty(parent, name, array.shape), class_name)
        stored = array.astype("u1") if array.dtype == bool else array
        item = parent.create_dataset(name, data=stored.T)
        return self._marked(item, class_name)


_V5_NUMBERS: dict[str, tuple[int, int]] = {  # dtype: (array class, data type)
    "float64": (6, 9),
    "float32": (7, 7),
    "uint32": (13, 6),
    "bool": (9, 2),
}


def _v5_element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def _v5_matrix(name: str, value: Any) -> bytes:
    if isinstance(value, MatObject):
        parts = [name, "MCOS", value.class_name]
        body = _v5_element(6, struct.pack("<II", 17, 0))
        body += b"".join(_v5_element(1, part.encode()) for part in parts)
        body += _v5_matrix("", np.array([[3707764736], [2], [1], [1], [1], [1]], "u4"))
        return _v5_element(14, body)
    if isinstance(value, Mapping):
        value = MatStructs([value], (1, 1))
    if isinstance(value, MatStructs):
        names = list(value.elements[0])
        body = _v5_header(2, value.shape, name) + _v5_element(5, struct.pack("<I", 32))
        body += _v5_element(1, b"".join(n.encode().ljust(32, b"\0") for n in names))
        body += b"".join(_v5_matrix("", e[n]) for e in value.elements for n in names)
        return _v5_element(14, body)
    if isinstance(value, MatCell):
        body = _v5_header(1, value.shape, name)
        return _v5_element(14, body + b"".join(_v5_matrix("", v) for v in value.values))
    if isinstance(value, str):
        units = np.frombuffer(value.encode("utf-16-le"), "u2")
        body = _v5_header(4, (1, units.size), name) + _v5_element(4, units.tobytes())
        return _v5_element(14, body)
    array = np.atleast_2d(np.asarray(value))
    array_class, kind = _V5_NUMBERS[array.dtype.name]
    logical = 0x0200 if array.dtype == bool else 0
    body = _v5_header(array_class | logical, array.shape, name)
    return _v5_element(14, body + _v5_element(kind, array.tobytes(order="F")))


def _v5_header(flags: int, shape: tuple[int, ...], name: str) -> bytes:
    return (
        _v5_element(6, struct.pack("<II", flags, 0))
        + _v5_element(5, struct.pack(f"<{len(shape)}i", *shape))
        + _v5_element(1, name.encode())
    )
