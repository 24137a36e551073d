"""Write trees of plain values as MATLAB files: version 7, or 7.3 (HDF5) where 7 is too small.

The kinds of values: ``dict`` = scalar struct, `Cell` = cell, `Structs` = struct array, ``str`` =
char, array = matrix, ``float``, ``int``, ``bool`` = 1 x 1. 1-D arrays become columns.

Version 7.3 is HDF5 behind a header of 512 bytes: axes are reversed, each object has the attribute
``MATLAB_class``, text is UTF-16 code units (``MATLAB_int_decode`` 2), logical is uint8
(``MATLAB_int_decode`` 1), an empty array is stored as its size (``MATLAB_empty``), the fields of
a struct keep their order in ``MATLAB_fields``, the elements of cells and struct arrays are object
references into ``/#refs#``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray

__all__ = ["Cell", "Structs", "WritableTree", "matlab_bytes", "write_mat7", "write_mat73"]

WritableTree: TypeAlias = Mapping[str, Any]

_USERBLOCK = 512
_CLASSES = {"float64": "double", "float32": "single", "bool": "logical"}
_COMPRESSION = 3  # as MATLAB's own
_CHUNK = 1 << 17
_SMALL = 512  # elements; below, MATLAB stores in one piece too


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: its elements in column-major order; one row unless a shape is given."""

    values: Sequence[Any] = ()
    shape: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.shape or ((1, len(self.values)) if self.values else (0, 0))


@dataclass(frozen=True, slots=True)
class Structs:
    """A struct array of one row; all elements have the fields of the first."""

    elements: Sequence[Mapping[str, Any]]


def matlab_bytes(value: Any) -> int:
    """Return about how many bytes a value takes uncompressed.

    Version 7 holds less than 2 GiB a variable (MATLAB's limit; scipy counts to 4).
    """
    if isinstance(value, Mapping):
        return sum(matlab_bytes(member) + 64 for member in value.values())
    if isinstance(value, Cell | Structs):
        members = value.values if isinstance(value, Cell) else value.elements
        return sum(matlab_bytes(member) + 64 for member in members)
    if isinstance(value, str):
        return 2 * len(value)
    return int(np.asarray(value).nbytes)


def write_mat7(path: Path, tree: WritableTree) -> None:
    """Write version 7 (compressed MAT 5)."""
    content = {name: _for_scipy(value) for name, value in tree.items()}
    scipy.io.savemat(
        str(path),
        content,
        appendmat=False,
        do_compression=True,
        long_field_names=True,
        oned_as="column",
    )


def write_mat73(path: Path, tree: WritableTree) -> None:
    """Write version 7.3."""
    with h5py.File(path, "w", userblock_size=_USERBLOCK, libver=("earliest", "v110")) as file:
        writer = _Writer(file)
        for name, value in tree.items():
            writer.put(file, name, value)
    stamp = datetime.now(UTC).strftime("%a %b %d %H:%M:%S %Y")
    text = f"MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: {stamp} HDF5 schema 1.00 ."
    with path.open("r+b") as handle:
        # 116 bytes of text, 8 of subsystem offset, version 0x0200, byte order
        handle.write(text.encode("ascii").ljust(116) + bytes(8) + b"\x00\x02IM")


def _for_scipy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _for_scipy(member) for name, member in value.items()}
    if isinstance(value, Structs):
        return _struct_array(value)
    if isinstance(value, Cell):
        cell = np.empty(len(value.values), dtype=object)
        for index, member in enumerate(value.values):
            cell[index] = _for_scipy(member)
        return cell.reshape(value.size, order="F")
    if isinstance(value, str) and not value:
        return np.zeros((0, 0), dtype="<U1")
    if isinstance(value, bool):
        return np.array([[value]])
    return float(value) if isinstance(value, int) else value


def _struct_array(value: Structs) -> NDArray[Any]:
    elements = [_for_scipy(member) for member in value.elements]
    names = list(elements[0])
    array = np.empty((1, len(elements)), dtype=[(name, object) for name in names])
    for index, element in enumerate(elements):
        for name in names:
            array[name][0, index] = element[name]
    return array


class _Writer:
    """Puts values into an open file."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file
        self._count = 0

    def put(self, parent: Any, name: str, value: Any) -> Any:
        if isinstance(value, Mapping):
            return self._struct(parent, name, value)
        if isinstance(value, Structs):
            return self._struct_array(parent, name, value)
        if isinstance(value, Cell):
            return self._cell(parent, name, value)
        if isinstance(value, str):
            return self._text(parent, name, value)
        array = np.asarray(float(value) if type(value) is int else value)
        if array.ndim < 2:
            array = array.reshape(-1, 1)
        return self._matrix(parent, name, array)

    def _struct(self, parent: Any, name: str, value: Mapping[str, Any]) -> Any:
        item = parent.create_group(name)
        for member, content in value.items():
            self.put(item, member, content)
        self._order_fields(item, list(value))
        return _marked(item, "struct")

    def _order_fields(self, item: Any, names: list[str]) -> None:
        letters = np.empty(len(names), dtype=object)
        for index, field in enumerate(names):
            letters[index] = np.array([letter.encode() for letter in field], dtype="S1")
        item.attrs.create("MATLAB_fields", letters, dtype=h5py.vlen_dtype(np.dtype("S1")))

    def _cell(self, parent: Any, name: str, value: Cell) -> Any:
        if not value.values:
            return _marked(_sized(parent, name, (0, 0)), "cell")
        return _marked(self._references(parent, name, value.values, value.size), "cell")

    def _struct_array(self, parent: Any, name: str, value: Structs) -> Any:
        item = parent.create_group(name)
        names = list(value.elements[0])
        for field in names:
            members = [element[field] for element in value.elements]
            self._references(item, field, members, (1, len(members)))
        self._order_fields(item, names)
        return _marked(item, "struct")

    def _references(
        self, parent: Any, name: str, values: Sequence[Any], shape: tuple[int, int]
    ) -> Any:
        pool = self._file.require_group("#refs#")
        references = np.empty(len(values), dtype=h5py.ref_dtype)
        for index, value in enumerate(values):
            self._count += 1
            references[index] = self.put(pool, f"r{self._count}", value).ref
        return parent.create_dataset(
            name, data=references.reshape(shape[::-1]), dtype=h5py.ref_dtype
        )

    def _text(self, parent: Any, name: str, value: str) -> Any:
        if not value:
            return _marked(_sized(parent, name, (0, 0)), "char", decode=2)
        units = np.frombuffer(value.encode("utf-16-le"), "<u2").reshape(-1, 1)
        return _marked(parent.create_dataset(name, data=units), "char", decode=2)

    def _matrix(self, parent: Any, name: str, array: NDArray[Any]) -> Any:
        kind = _CLASSES.get(array.dtype.name, array.dtype.name)
        decode: Literal[1] | None = 1 if kind == "logical" else None
        if array.size == 0:
            return _marked(_sized(parent, name, array.shape), kind, decode=decode)
        stored = array.astype(np.uint8) if kind == "logical" else array
        options: dict[str, Any] = {}
        if array.size > _SMALL:
            chunk = (1,) * (array.ndim - 1) + (min(array.shape[0], _CHUNK),)
            options = {"chunks": chunk, "compression": "gzip", "compression_opts": _COMPRESSION}
        item = parent.create_dataset(name, data=stored.T, **options)
        return _marked(item, kind, decode=decode)


def _sized(parent: Any, name: str, shape: tuple[int, ...]) -> Any:
    item = parent.create_dataset(name, data=np.asarray(shape, np.uint64))
    item.attrs["MATLAB_empty"] = np.uint8(1)
    return item


def _marked(item: Any, class_name: str, *, decode: int | None = None) -> Any:
    item.attrs["MATLAB_class"] = np.bytes_(class_name)
    if decode is not None:
        item.attrs["MATLAB_int_decode"] = np.int32(decode)
    return item
