"""Read any ``.mat`` file into a tree of plain Python and numpy values.

| MATLAB | here |
|---|---|
| scalar struct | ``dict`` |
| struct array | `MatlabList` of ``dict`` |
| cell | `MatlabList` |
| char | ``str`` (a char matrix with several rows: `MatlabList` of ``str``) |
| number, logical | numpy array in MATLAB's shape (at least 2-D), logical as bool |
| object of a class, function handle, table, string, sparse matrix | `Opaque` |

Versions 4 to 7 are read through `scipy.io.loadmat`, version 7.3 (HDF5 behind a 512-byte header)
through h5py: axes come reversed there, cells and struct arrays hold object references into
``/#refs#``, empty arrays hold their size and the attribute ``MATLAB_empty``, the class is the
attribute ``MATLAB_class``. Objects never stop the reading: they become `Opaque`.
"""

from __future__ import annotations

import fnmatch
import struct
import warnings
import zlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import h5py
import numpy as np
import scipy.io
from numpy.typing import NDArray
from scipy.io.matlab import MatlabFunction, MatlabObject, MatlabOpaque, MatReadError

from decode_engine.errors import InputError

__all__ = [
    "LazyArray",
    "MatlabList",
    "MatlabTree",
    "MatlabValue",
    "Opaque",
    "is_matlab_file",
    "read_mat",
    "variable_names",
]

_HEADER_BYTES = 128
_MI_COMPRESSED = 15
_MX_OPAQUE = 17
_LAZY_ELEMENTS = 1 << 18
_MAX_DEPTH = 64
# What scipy and h5py raise for damaged or foreign files.
_READ_ERRORS = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    RuntimeError,
    NotImplementedError,
    EOFError,
    MatReadError,
    struct.error,
    zlib.error,
)
_NUMERIC = frozenset(
    {"double", "single", "logical", "int8", "int16", "int32", "int64"}
    | {"uint8", "uint16", "uint32", "uint64"}
)


@dataclass(frozen=True, slots=True)
class Opaque:
    """A member that has no plain value: an object of a class, a function handle, ..."""

    class_name: str


@dataclass(frozen=True, slots=True)
class LazyArray:
    """A large array of a v7.3 file that is read when numpy asks for it.

    ``shape`` is MATLAB's shape. Use `numpy.asarray` to read it.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        with h5py.File(self.path, "r") as file:
            values = np.asarray(file[self.name][()]).T
        return values if dtype is None else values.astype(dtype)


class MatlabList(list["MatlabValue"]):
    """The elements of a cell or a struct array in MATLAB's linear (column-major) order."""

    def __init__(self, values: Iterable[MatlabValue] = (), shape: tuple[int, ...] = ()) -> None:
        super().__init__(values)
        self.shape = shape or (1, len(self))


MatlabValue: TypeAlias = (
    "dict[str, MatlabValue] | MatlabList | NDArray[Any] | LazyArray | str | Opaque"
)
MatlabTree: TypeAlias = "dict[str, MatlabValue]"


@dataclass(frozen=True, slots=True)
class _Wanted:
    """Which dotted paths are read: whole variables by name, minus patterns."""

    variables: frozenset[str] | None = None
    skip: tuple[str, ...] = field(default=())

    def __call__(self, path: str) -> bool:
        if self.variables is not None and path.split(".", 1)[0] not in self.variables:
            return False
        return not any(fnmatch.fnmatchcase(path, pattern) for pattern in self.skip)


def is_matlab_file(path: Path) -> bool:
    """Whether the first bytes are those of a MATLAB file of version 5 to 7.3."""
    with path.open("rb") as handle:
        return handle.read(6) == b"MATLAB"


def variable_names(path: Path) -> list[str]:
    """Return the names of the variables without reading their values."""
    _require_file(path)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return [str(name) for name in file if not str(name).startswith("#")]
        if is_matlab_file(path):
            return _scan_version_5(path)
        return [str(name) for name, _, _ in scipy.io.whosmat(path)]
    except _READ_ERRORS as error:
        raise _damaged(path, error) from error


def read_mat(
    path: Path,
    *,
    variables: Collection[str] | None = None,
    skip: Collection[str] = (),
) -> MatlabTree:
    """Read a MATLAB file.

    Parameters
    ----------
    path : Path
    variables : collection of str, optional
        Names of the variables to read; all when left out.
    skip : collection of str
        Patterns (``*`` matches anything, dots too) of dotted paths that are left out, for
        example ``"*.cspline.global"``. Indices of cells and struct arrays are no part of a path.

    Raises
    ------
    InputError
        If the file is missing, no MATLAB file, or damaged.
    """
    wanted = _Wanted(None if variables is None else frozenset(variables), tuple(skip))
    _require_file(path)
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return _Hdf5Reader(path, file, wanted).tree()
        return _read_version_5(path, wanted)
    except _READ_ERRORS as error:
        raise _damaged(path, error) from error


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"There is no file {path}.", hint="Check the name and the folder.")


def _damaged(path: Path, error: Exception) -> InputError:
    return InputError(
        f"{path.name} cannot be read as a MATLAB file.",
        hint="It may be incomplete or of another kind; copy it again or save it again in MATLAB.",
        detail=repr(error),
    )


# ---------------------------------------------------------------- versions 4 to 7 (scipy)


def _read_version_5(path: Path, wanted: _Wanted) -> MatlabTree:
    names = None if wanted.variables is None else sorted(wanted.variables)
    # scipy's default takes MATLAB's 16-bit characters for bytes and spoils all beyond ASCII.
    options: dict[str, Any] = {
        "variable_names": names,
        "uint16_codec": "utf-16-be" if _byte_order(path) == ">" else "utf-16-le",
    }
    with warnings.catch_warnings(record=True) as caught:
        # Several objects at the top level share scipy's name None; they are opaque anyway.
        warnings.simplefilter("always")
        raw = scipy.io.loadmat(path, mat_dtype=True, **options)
    if any(issubclass(w.category, np.exceptions.ComplexWarning) for w in caught):
        # With mat_dtype scipy drops imaginary parts; without it, logical comes as uint8.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            raw = scipy.io.loadmat(path, mat_dtype=False, **options)
    tree: MatlabTree = {}
    for name, value in raw.items():
        if isinstance(value, MatlabOpaque):
            name = _opaque_name(value) or str(name)
        if not str(name).startswith("__") and wanted(str(name)):
            tree[str(name)] = _plain(value, str(name), wanted)
    return tree


def _byte_order(path: Path) -> str:
    with path.open("rb") as handle:
        return ">" if handle.read(_HEADER_BYTES)[-2:] == b"MI" else "<"


def _scan_version_5(path: Path) -> list[str]:
    # scipy.io.whosmat fails on objects, so the headers of the elements are walked here.
    names: list[str] = []
    order = _byte_order(path)
    with path.open("rb") as handle:
        handle.seek(_HEADER_BYTES)
        while len(tag := handle.read(8)) == 8:
            kind, size = struct.unpack(f"{order}II", tag)
            start = handle.tell()
            head = handle.read(min(size, 1024))
            if kind == _MI_COMPRESSED:
                head = zlib.decompressobj().decompress(head, 512)[8:]
            names.append(_element_name(head, order))
            handle.seek(start + size)
    # The unnamed element at the end holds the objects' insides.
    named = [name for name in names if name]
    if not all(name.isidentifier() for name in named):
        raise ValueError("names that MATLAB does not allow")
    return named


def _element_name(head: bytes, order: str) -> str:
    """Return the name of a matrix element, whose own tag was removed."""
    array_class = struct.unpack_from(f"{order}I", head, 8)[0] & 0xFF
    offset = 16
    if array_class != _MX_OPAQUE:
        _, offset = _sub_element(head, offset, order)
    name, _ = _sub_element(head, offset, order)
    return name.decode("ascii", "replace")


def _sub_element(head: bytes, offset: int, order: str) -> tuple[bytes, int]:
    """Return the data of the element at ``offset`` and the offset of the next one."""
    kind, size = struct.unpack_from(f"{order}II", head, offset)
    if kind >> 16:  # small format: size and type share four bytes, the data take the next four
        return head[offset + 4 : offset + 4 + (kind >> 16)], offset + 8
    return head[offset + 8 : offset + 8 + size], offset + 8 + (size + 7) // 8 * 8


def _opaque_name(value: MatlabOpaque) -> str:
    # scipy keeps the variable's name in the first field, as such elements have no header.
    first = value["s0"].flat[0] if value.size else b""
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)


def _plain(value: Any, path: str, wanted: _Wanted) -> MatlabValue:
    if isinstance(value, MatlabOpaque):
        name = value["s2"].flat[0] if value.size else b""
        return Opaque(name.decode(errors="replace") if isinstance(name, bytes) else str(name))
    if isinstance(value, MatlabFunction):
        return Opaque("function_handle")
    if isinstance(value, MatlabObject):
        return Opaque(str(value.classname))
    if not isinstance(value, np.ndarray):
        return Opaque("sparse" if hasattr(value, "tocsc") else type(value).__name__)
    if value.dtype.names is not None:
        return _plain_structs(value, path, wanted)
    if value.dtype.kind == "U":
        rows = [str(row) for row in value.flat]
        return _rows_or_text(rows)
    if value.dtype.kind == "O":
        return MatlabList([_plain(v, path, wanted) for v in value.ravel("F")], value.shape)
    return value


def _plain_structs(value: NDArray[Any], path: str, wanted: _Wanted) -> MatlabValue:
    names = [n for n in value.dtype.names or () if wanted(f"{path}.{n}")]
    elements: list[MatlabValue] = [
        {name: _plain(element[name], f"{path}.{name}", wanted) for name in names}
        for element in value.ravel("F")
    ]
    return elements[0] if len(elements) == 1 else MatlabList(elements, value.shape)


def _rows_or_text(rows: list[str]) -> MatlabValue:
    if len(rows) > 1:
        return MatlabList(rows, (len(rows), 1))
    return rows[0] if rows else ""


# ---------------------------------------------------------------- version 7.3 (HDF5)


class _Hdf5Reader:
    """Turns the objects of an open v7.3 file into plain values."""

    def __init__(self, path: Path, file: h5py.File, wanted: _Wanted) -> None:
        self._path = path
        self._file = file
        self._wanted = wanted

    def tree(self) -> MatlabTree:
        names = [str(n) for n in self._file if not str(n).startswith("#")]
        return {n: self._value(self._file[n], n, 0) for n in names if self._wanted(n)}

    def _value(self, item: h5py.Group | h5py.Dataset, path: str, depth: int) -> MatlabValue:
        if depth > _MAX_DEPTH:
            raise ValueError(f"{path} is nested deeper than {_MAX_DEPTH} levels")
        name = _class_of(item)
        if isinstance(item, h5py.Group):
            if "MATLAB_sparse" in item.attrs:
                return Opaque("sparse")
            return self._group(item, path, depth) if name in ("struct", "") else Opaque(name)
        if "MATLAB_object_decode" in item.attrs or name == "function_handle":
            return Opaque(name)
        if item.attrs.get("MATLAB_empty", 0):
            return _empty(name, tuple(int(n) for n in np.ravel(item[()])))
        if name == "cell" or (not name and _holds_references(item)):
            return self._cell(item, path, depth)
        if name == "char":
            return _characters(np.asarray(item[()]))
        if name in _NUMERIC or not name:
            return self._numbers(item, name)
        return Opaque(name)

    def _group(self, group: h5py.Group, path: str, depth: int) -> MatlabValue:
        names = [str(n) for n in group]
        members = {n: group[n] for n in names if self._wanted(f"{path}.{n}")}
        # Only the fields of a struct array are references without a class of their own.
        arrays = {n: m for n, m in members.items() if not _class_of(m) and _holds_references(m)}
        if members and len(arrays) == len(members):
            return self._struct_array(arrays, path, depth)
        return {n: self._value(m, f"{path}.{n}", depth + 1) for n, m in members.items()}

    def _struct_array(self, fields: dict[str, h5py.Dataset], path: str, depth: int) -> MatlabValue:
        columns = {
            name: [self._referenced(r, f"{path}.{name}", depth) for r in np.ravel(item[()])]
            for name, item in fields.items()
        }
        shape = next(iter(fields.values())).shape[::-1]
        count = int(np.prod(shape))
        return MatlabList([{n: c[i] for n, c in columns.items()} for i in range(count)], shape)

    def _cell(self, item: h5py.Dataset, path: str, depth: int) -> MatlabList:
        # Reversed axes in C order are MATLAB's axes in column-major order.
        values = [self._referenced(r, path, depth) for r in np.ravel(item[()])]
        return MatlabList(values, item.shape[::-1])

    def _referenced(self, reference: Any, path: str, depth: int) -> MatlabValue:
        if not reference:
            return np.empty((0, 0))
        return self._value(self._file[reference], path, depth + 1)

    def _numbers(self, item: h5py.Dataset, name: str) -> MatlabValue:
        shape = item.shape[::-1]
        if item.dtype.names is None and name != "logical" and item.size > _LAZY_ELEMENTS:
            return LazyArray(self._path, str(item.name), shape, item.dtype)
        values = np.asarray(item[()]).T
        if values.dtype.names is not None and set(values.dtype.names) >= {"real", "imag"}:
            return np.asarray(values["real"] + 1j * values["imag"])
        return values.astype(np.bool_) if name == "logical" else values


def _class_of(item: h5py.Group | h5py.Dataset) -> str:
    name = item.attrs.get("MATLAB_class", "")
    return name.decode() if isinstance(name, bytes) else str(name)


def _holds_references(item: h5py.Group | h5py.Dataset) -> bool:
    return isinstance(item, h5py.Dataset) and h5py.check_ref_dtype(item.dtype) is h5py.Reference


def _empty(name: str, shape: tuple[int, ...]) -> MatlabValue:
    if name == "char":
        return ""
    if name in ("cell", "struct"):
        return MatlabList([], shape)
    if name in _NUMERIC:
        kinds = {"double": "float64", "single": "float32", "logical": "bool"}
        return np.empty(shape, kinds.get(name, name))
    return np.empty(shape) if "empty" in name else Opaque(name)


def _characters(units: NDArray[Any]) -> MatlabValue:
    # (columns, rows) code units; MATLAB's characters are UTF-16.
    rows = np.atleast_2d(units.T)
    return _rows_or_text(
        [row.astype("<u2").tobytes().decode("utf-16-le", "replace") for row in rows]
    )
