"""Points in space seen from a side: the rotating view where there is no fast OpenGL; no Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from decode_engine.analysis.cloud_kernels import add_points, tone_points

__all__ = ["Camera", "Cloud", "box_edges", "draw_cloud", "rotation"]

Points: TypeAlias = NDArray[np.float32]
Pixels: TypeAlias = NDArray[np.uint8]

_BRIGHTEST = 0.985  # quantile of the filled pixels
_FAINT = 0.1  # of a point: below is the tail of its softness
_SAMPLED = 2  # every so many pixels tell the brightness


@dataclass(frozen=True, slots=True)
class Cloud:
    """Points around their middle, in random order.

    Attributes
    ----------
    xyz_nm : (N, 3) float32, nm
        Positions.
    rgb : (N, 3) uint8
        Colours.
    reach_nm : (3,) float32, nm
        How far they reach from the middle along x, y and z.
    """

    xyz_nm: Points
    rgb: Pixels
    reach_nm: Points = field(init=False)

    def __post_init__(self) -> None:
        # Computed once: the frame is painted many times a second.
        empty = not len(self.xyz_nm)
        reach = np.ones(3, np.float32) if empty else np.abs(self.xyz_nm).max(axis=0)
        object.__setattr__(self, "reach_nm", reach)

    @property
    def radius_nm(self) -> float:
        """Return how far the points reach from the middle, nm."""
        return max(1.0, float(np.linalg.norm(self.reach_nm)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Camera:
    """From where the cloud is seen (no perspective: lengths stay comparable).

    Parameters
    ----------
    azimuth_deg : float
        Turn around the z axis of the sample.
    elevation_deg : float
        90 looks down the z axis, as in the flat picture; 0 looks from the side.
    pixel_size_nm : float, nm
        Size of a pixel of the canvas.
    z_stretch : float
        z is drawn this many times as tall.
    """

    azimuth_deg: float = 30.0
    elevation_deg: float = 30.0
    pixel_size_nm: float = 10.0
    z_stretch: float = 1.0

    def turned(self, right_deg: float, up_deg: float) -> Self:
        """Return the camera after a drag; it cannot turn over the top."""
        elevation = min(max(self.elevation_deg + up_deg, -90.0), 90.0)
        azimuth = (self.azimuth_deg + right_deg) % 360.0
        return replace(self, azimuth_deg=azimuth, elevation_deg=elevation)

    def zoomed(self, factor: float) -> Self:
        """Return the camera with everything magnified."""
        pixel = min(max(self.pixel_size_nm / factor, 0.05), 1e6)
        return replace(self, pixel_size_nm=pixel)

    def fitted(self, radius_nm: float, width_px: int, height_px: int) -> Self:
        """Return the camera that has everything in view, whichever way it is turned."""
        pixel = 2.1 * radius_nm / max(min(width_px, height_px), 1)
        return replace(self, pixel_size_nm=pixel)


def rotation(camera: Camera) -> Points:
    """Return (3, 3): columns are x, y, z of the sample; rows right, down, and towards the eye.

    At an elevation of 90 degrees and no azimuth x points right and y down, as in the flat view.
    """
    a, e = math.radians(camera.azimuth_deg), math.radians(90.0 - camera.elevation_deg)
    turn = np.array([[math.cos(a), -math.sin(a), 0.0], [math.sin(a), math.cos(a), 0.0], [0, 0, 1]])
    tilt = np.array([[1.0, 0, 0], [0, math.cos(e), -math.sin(e)], [0, math.sin(e), math.cos(e)]])
    stretch = np.diag([1.0, 1.0, camera.z_stretch])
    return np.asarray(tilt @ turn @ stretch, np.float32)


def draw_cloud(
    cloud: Cloud, camera: Camera, size_px: tuple[int, int], *, soft_px: float, most: int = 1 << 62
) -> Pixels:
    """Draw the points additively; returns (height, width, 3) uint8.

    Parameters
    ----------
    cloud : Cloud
        Points in random order, so that the first ones are a fair sample.
    camera : Camera
        From where.
    size_px : (width, height)
        Of the image.
    soft_px : float, px
        Standard deviation of a point; 0 draws single pixels, which is quicker.
    most : int
        Draw at most this many points.
    """
    width, height = size_px
    matrix = rotation(camera)[:2] / np.float32(camera.pixel_size_nm)
    sums = np.zeros((height, width, 4), np.float32)
    add_points(cloud.xyz_nm[:most], cloud.rgb[:most], matrix, soft_px, sums)
    some = sums[::_SAMPLED, ::_SAMPLED, 0]
    filled = some[some > _FAINT]
    white = max(float(np.quantile(filled, _BRIGHTEST)), 1e-3) if filled.size else 1.0
    pixels: Pixels = np.empty((height, width, 3), np.uint8)
    tone_points(sums, white, pixels)
    return pixels


def box_edges(cloud: Cloud, camera: Camera) -> NDArray[np.float32]:
    """Return (12, 2, 2): the edges of the box around the points, in px from the middle."""
    corners = (
        np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * cloud.reach_nm
    )
    flat = (corners.astype(np.float32) @ rotation(camera)[:2].T) / camera.pixel_size_nm
    pairs = [(a, a | bit) for bit in (4, 2, 1) for a in range(8) if not a & bit]
    return np.asarray([[flat[a], flat[b]] for a, b in pairs], np.float32)
