"""What kind of file something is, by its first bytes; never by opening it with a parser."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

__all__ = ["FileType", "describe_file_type", "file_type"]

FileType: TypeAlias = Literal[
    "tiff", "hdf5", "matlab", "npy", "npz", "zip", "image", "json", "yaml", "text", "microscope",
    "raw", "spreadsheet", "folder", "empty", "unknown",
]  # fmt: skip

_MAGIC: tuple[tuple[bytes, FileType], ...] = (
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),
    (b"MM\0+", "tiff"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"MATLAB", "matlab"),
    (b"\x93NUMPY", "npy"),
    (b"PK\x03\x04", "zip"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
    (b"GIF8", "image"),
    (b"BM", "image"),
)
_SUFFIXES: dict[str, FileType] = {
    ".raw": "raw", ".dax": "raw", ".json": "json", ".yaml": "yaml", ".yml": "yaml",
    ".npz": "npz", ".nd2": "raw", ".czi": "microscope", ".lif": "microscope",
    ".oif": "microscope", ".oib": "microscope", ".vsi": "microscope", ".ims": "microscope",
    ".sif": "microscope", ".spe": "microscope", ".fits": "microscope", ".stk": "tiff",
}  # fmt: skip
_WORDS: dict[FileType, str] = {
    "tiff": "a TIFF image",
    "hdf5": "an HDF5 file (localizations or a calibration, perhaps)",
    "matlab": "a MATLAB file (a calibration, perhaps)",
    "npy": "a NumPy array",
    "npz": "a NumPy archive",
    "zip": "a ZIP archive (a model, perhaps)",
    "image": "a picture",
    "json": "a JSON file (a camera, perhaps)",
    "yaml": "a YAML file",
    "text": "a text file (a table, perhaps)",
    "microscope": "a microscope vendor's file",
    "raw": "a raw movie",
    "spreadsheet": "a spreadsheet (save it as CSV)",
    "folder": "a folder",
    "empty": "an empty file",
    "unknown": "a file of unknown type",
}


def file_type(path: Path) -> FileType:
    """Return the type of an existing file or folder."""
    if path.is_dir():
        return "folder"
    with path.open("rb") as handle:
        head = handle.read(1024)
    if not head:
        return "empty"
    suffix = path.suffix.lower()
    # A MATLAB v7.3 file is HDF5 behind a 512-byte text header that also begins with MATLAB.
    found = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if found == "zip" and suffix in (".npz", ".xlsx"):
        return "npz" if suffix == ".npz" else "spreadsheet"
    if found is not None:
        return found
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    return "text" if _is_text(head) else "unknown"


def describe_file_type(path: Path) -> str:
    """Return the type in words, with its article."""
    return _WORDS[file_type(path)]


def _is_text(head: bytes) -> bool:
    if b"\0" in head:
        return False
    try:
        head.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4  # a character cut by the limit
    return True
