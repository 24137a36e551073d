"""Where molecules are: anywhere, on 3D filaments, or on nuclear-pore-like rings.

A structure is drawn once per sample (or movie) as a fixed set of labelled sites; every
on-event picks one of them at random, so a site lights up again and again as in DNA-PAINT or
with a dye that recovers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from decode_engine.simulation import draws

__all__ = [
    "Box",
    "PositionPrior",
    "Positions",
    "SitePrior",
    "UniformPrior",
    "filament_sites",
    "make_prior",
    "ring_sites",
]

# Filaments: about the look of microtubules in a flat cell.
_FILAMENT_UM_PER_UM2 = 1.5  # contour length per area
_FILAMENT_UM = 6.0  # contour length of one
_SITE_STEP_NM = 16.0  # distance of labels along it
_PERSISTENCE_NM = 8000.0  # of the direction in the plane
_SLOPE_STD = 0.2  # of the rise along the filament
_SLOPE_LENGTH_NM = 1000.0  # over which the rise changes
_LINKAGE_NM = 3.0  # distance of the dye from its target, per axis

# Rings: Nup96 in the nuclear pore (Thevathasan et al. 2019, doi 10.1038/s41592-019-0574-9).
_RINGS_PER_UM2 = 4.0
_RING_DIAMETER_NM = 107.0
_RING_DISTANCE_NM = 50.0
_RING_CORNERS = 8
_RING_TILT_STD = 0.1  # rad


class Positions(NamedTuple):
    """Positions of K molecules.

    Attributes
    ----------
    x_px, y_px : (K,) float32, px
    z_nm : (K,) float32, nm
    """

    x_px: Tensor
    y_px: Tensor
    z_nm: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """The volume in which molecules are simulated: the field, its margin, and the z range.

    Attributes
    ----------
    x_low_px, x_high_px, y_low_px, y_high_px : float, px
        Borders, the same for all samples; the field begins at -0.5.
    z_low_nm, z_high_nm : (G,) float32, nm
        z range of each sample.
    pixel_x_nm, pixel_y_nm : float
        Pixel size in nm.
    """

    x_low_px: float
    x_high_px: float
    y_low_px: float
    y_high_px: float
    z_low_nm: Tensor
    z_high_nm: Tensor
    pixel_x_nm: float
    pixel_y_nm: float

    @property
    def width_nm(self) -> float:
        """Extent along x."""
        return (self.x_high_px - self.x_low_px) * self.pixel_x_nm

    @property
    def height_nm(self) -> float:
        """Extent along y."""
        return (self.y_high_px - self.y_low_px) * self.pixel_y_nm

    @property
    def area_um2(self) -> float:
        """Area of the field with its margin."""
        return self.width_nm * self.height_nm * 1e-6

    def from_nm(self, x_nm: Tensor, y_nm: Tensor, z_nm: Tensor) -> Positions:
        """Convert nm counted from the box's corner (z from the focus) to positions."""
        return Positions(
            self.x_low_px + x_nm / self.pixel_x_nm, self.y_low_px + y_nm / self.pixel_y_nm, z_nm
        )


class PositionPrior(Protocol):
    """Draws positions of molecules."""

    def sample(self, group: Tensor, generator: torch.Generator) -> Positions:
        """Return positions for molecules of the given (K,) samples."""
        ...


@dataclass(frozen=True, slots=True)
class UniformPrior:
    """Molecules anywhere in the box; every on-event has a new position."""

    box: Box

    def sample(self, group: Tensor, generator: torch.Generator) -> Positions:
        """Return uniform positions for molecules of the given (K,) samples."""
        box = self.box
        u = draws.uniform((3, int(group.shape[0])), generator, group.device)
        low, high = box.z_low_nm[group], box.z_high_nm[group]
        return Positions(
            box.x_low_px + (box.x_high_px - box.x_low_px) * u[0],
            box.y_low_px + (box.y_high_px - box.y_low_px) * u[1],
            low + (high - low) * u[2],
        )


@dataclass(frozen=True, slots=True)
class SitePrior:
    """Molecules on fixed sites, each as likely as the others.

    Attributes
    ----------
    box : Box
    sites_nm : (G, S, 3) float32, nm
        x and y from the box's corner, z from the focus.
    """

    box: Box
    sites_nm: Tensor

    def sample(self, group: Tensor, generator: torch.Generator) -> Positions:
        """Return the positions of randomly chosen sites of the given (K,) samples."""
        n_sites = int(self.sites_nm.shape[1])
        site = draws.integers(n_sites, (int(group.shape[0]),), generator, group.device)
        x_nm, y_nm, z_nm = self.sites_nm[group, site].unbind(-1)
        return self.box.from_nm(x_nm, y_nm, z_nm)


def make_prior(
    kind: Literal["uniform", "filaments", "rings"], box: Box, generator: torch.Generator
) -> PositionPrior:
    """Return the prior of the configuration; structures are drawn here."""
    if kind == "uniform":
        return UniformPrior(box)
    sites = filament_sites if kind == "filaments" else ring_sites
    return SitePrior(box, sites(box, generator))


def filament_sites(box: Box, generator: torch.Generator) -> Tensor:
    """Draw filaments and return the labelled sites on them.

    In the plane each filament is a worm-like chain (its direction does a random walk); its
    slope along z is a stationary AR(1) process. Filaments are mirrored at the box's walls.

    Returns
    -------
    (G, S, 3) float32, nm, inside the box
    """
    device = box.z_low_nm.device
    n_groups = int(box.z_low_nm.shape[0])
    count = max(1, round(_FILAMENT_UM_PER_UM2 * box.area_um2 / _FILAMENT_UM))
    steps = round(_FILAMENT_UM * 1000 / _SITE_STEP_NM)
    start = draws.uniform((n_groups, count, 4), generator, device)
    turns = draws.normal((2, n_groups, count, steps), generator, device)
    bend = math.sqrt(_SITE_STEP_NM / _PERSISTENCE_NM)
    angle = 2 * math.pi * start[..., 3:] + (bend * turns[0]).cumsum(-1)
    slope = _ar1(turns[1], math.exp(-_SITE_STEP_NM / _SLOPE_LENGTH_NM)) * _SLOPE_STD
    z_span = (box.z_high_nm - box.z_low_nm)[:, None, None]
    flat = torch.cos(slope) * _SITE_STEP_NM
    x_nm = box.width_nm * start[..., 0:1] + (flat * torch.cos(angle)).cumsum(-1)
    y_nm = box.height_nm * start[..., 1:2] + (flat * torch.sin(angle)).cumsum(-1)
    z_nm = z_span * start[..., 2:3] + (_SITE_STEP_NM * torch.sin(slope)).cumsum(-1)
    nodes = torch.stack([x_nm, y_nm, z_nm], dim=-1).reshape(n_groups, -1, 3)
    return _linked(nodes, box, generator)


def ring_sites(box: Box, generator: torch.Generator) -> Tensor:
    """Draw eight-cornered double rings and return their labelled corners.

    Returns
    -------
    (G, S, 3) float32, nm, inside the box
    """
    device = box.z_low_nm.device
    n_groups = int(box.z_low_nm.shape[0])
    count = max(1, round(_RINGS_PER_UM2 * box.area_um2))
    u = draws.uniform((n_groups, count, 4), generator, device)
    tilt = draws.normal((n_groups, count, 2), generator, device) * _RING_TILT_STD
    corner = torch.arange(_RING_CORNERS, device=device) * (2 * math.pi / _RING_CORNERS)
    angle = u[..., 3:] * (2 * math.pi) + corner  # (G, C, 8)
    x_nm = torch.cos(angle) * (_RING_DIAMETER_NM / 2)
    y_nm = torch.sin(angle) * (_RING_DIAMETER_NM / 2)
    # A small tilt turns the plane z = 0 into z = tilt_x * x + tilt_y * y and shifts the two
    # rings against each other by the same angle.
    rise = tilt[..., 0:1] * x_nm + tilt[..., 1:2] * y_nm
    half = _RING_DISTANCE_NM / 2
    room = (box.z_high_nm - box.z_low_nm - _RING_DISTANCE_NM).clamp_min(0)[:, None]
    z_span = (box.z_high_nm - box.z_low_nm)[:, None]
    centre_z = (z_span - room) / 2 + room * u[..., 2]
    centre = torch.stack([u[..., 0] * box.width_nm, u[..., 1] * box.height_nm, centre_z], dim=-1)
    rings = []
    for side in (-half, half):
        shifted = torch.stack([-side * tilt[..., 0:1] + x_nm, -side * tilt[..., 1:2] + y_nm], -1)
        rings.append(torch.cat([shifted, (rise + side)[..., None]], dim=-1))
    sites = torch.cat(rings, dim=2) + centre[:, :, None, :]  # (G, C, 16, 3)
    return _linked(sites.reshape(n_groups, -1, 3), box, generator)


def _linked(nodes: Tensor, box: Box, generator: torch.Generator) -> Tensor:
    """Move sites by the linkage error and mirror what leaves the box back into it.

    ``nodes`` and the folding count z from the box's floor; the result counts from the focus.
    """
    moved = nodes + _LINKAGE_NM * draws.normal(tuple(nodes.shape), generator, nodes.device)
    low = box.z_low_nm[:, None]
    return torch.stack(
        [
            _fold(moved[..., 0], torch.tensor(box.width_nm, device=nodes.device)),
            _fold(moved[..., 1], torch.tensor(box.height_nm, device=nodes.device)),
            low + _fold(moved[..., 2], box.z_high_nm[:, None] - low),
        ],
        dim=-1,
    )


def _fold(position: Tensor, span: Tensor) -> Tensor:
    """Mirror positions at 0 and at ``span`` until they lie between."""
    period = (2 * span).clamp_min(torch.finfo(position.dtype).tiny)
    return span - (torch.remainder(position, period) - span).abs()


def _ar1(shocks: Tensor, keep: float) -> Tensor:
    """Return the stationary AR(1) process of unit variance driven by (..., N) normal shocks."""
    value = shocks[..., 0]
    values = [value]
    for shock in shocks[..., 1:].unbind(-1):
        value = keep * value + math.sqrt(1 - keep**2) * shock
        values.append(value)
    return torch.stack(values, dim=-1)
