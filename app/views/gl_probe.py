"""Which OpenGL is here: asked of Qt before vispy is imported.

Vispy needs OpenGL 2.1. Remote desktops offer 1.1, the offscreen platform none at all, and vispy
fails in the middle of drawing where it is missing.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache

from PySide6.QtGui import QGuiApplication, QOffscreenSurface, QOpenGLContext

__all__ = ["GlInfo", "is_gl_worthwhile", "probe_gl"]

_VERSION, _RENDERER = 0x1F02, 0x1F01  # GL_VERSION, GL_RENDERER
_BLANK_PLATFORMS = ("offscreen", "minimal", "vnc")  # Qt draws no OpenGL widgets on them
_SOFTWARE = ("llvmpipe", "softpipe", "gdi generic", "microsoft basic", "swiftshader", "swrast")
_OLDEST = (2, 1)
_SWITCH = "DECODE_DESKTOP_OPENGL"  # "off": for a broken driver; "on": software OpenGL too


@dataclass(frozen=True, slots=True, kw_only=True)
class GlInfo:
    """An OpenGL that vispy can use.

    Attributes
    ----------
    version, renderer : str
        As the driver names them.
    software : bool
        Drawn by the processor: works, but slowly.
    """

    version: str
    renderer: str
    software: bool


@cache
def probe_gl() -> GlInfo | None:
    """Return the OpenGL of this screen, None where there is none that suffices.

    Call it after the application object was made.
    """
    if os.environ.get(_SWITCH, "").lower() in ("off", "0", "no"):
        return None
    if QGuiApplication.platformName() in _BLANK_PLATFORMS:
        return None
    context, surface = QOpenGLContext(), QOffscreenSurface()
    if not context.create():
        return None
    surface.setFormat(context.format())
    surface.create()
    if not (surface.isValid() and context.makeCurrent(surface)):
        return None
    functions = context.functions()
    version, renderer = str(functions.glGetString(_VERSION)), str(functions.glGetString(_RENDERER))
    found = (context.format().majorVersion(), context.format().minorVersion())
    context.doneCurrent()
    if found < _OLDEST:
        return None
    software = any(word in renderer.lower() for word in _SOFTWARE)
    return GlInfo(version=version, renderer=renderer, software=software)


def is_gl_worthwhile() -> bool:
    """Return whether OpenGL draws faster than Qt's painter.

    On a processor it does not: uploading and drawing a picture of 1000 x 700 px takes llvmpipe
    20 ms, the painter 1 ms; a million points take it 3 s, our own projection 0.1 s.
    """
    found = probe_gl()
    if found is None:
        return False
    return not found.software or os.environ.get(_SWITCH, "").lower() == "on"
