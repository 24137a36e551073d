"""Where the files that ship with the product are: source tree, installed, or frozen."""

from __future__ import annotations

import sys
from pathlib import Path

from decode_engine.errors import InputError

__all__ = ["resource_path"]


def resource_path(*parts: str) -> Path:
    """Return the path of a bundled file or folder, for example ``("example", "movie.tif")``.

    Raises
    ------
    InputError
        If this installation lacks it.
    """
    places = [
        Path(__file__).resolve().parents[2] / "resources",
        Path(sys.prefix) / "share" / "decode-desktop",
    ]
    frozen = getattr(sys, "_MEIPASS", None)  # PyInstaller's folder of unpacked data
    if frozen is not None:
        places.insert(0, Path(frozen) / "resources")
    for place in places:
        path = place.joinpath(*parts)
        if path.exists():
            return path
    raise InputError(
        f"The bundled file {'/'.join(parts)} is not part of this installation.",
        hint="Install the product again.",
        detail=f"looked in {[str(p) for p in places]}",
    )
