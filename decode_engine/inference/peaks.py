"""From the network's maps to localizations: which pixels together are one emitter.

The mixture loss is content to split one emitter's probability over neighbouring pixels (an
emitter on a pixel corner may become four quarters), so a threshold on single pixels loses it.
Two ways to put the parts together are offered:

``collapse`` (default)
    Each candidate pixel is a component of a mixture: its probability sits where it *predicts*
    the emitter, not where the pixel is. Components that predict the same place are one emitter.
``integration``
    The spatial integration of the paper (Speiser et al. 2021, doi 10.1038/s41592-021-01236-x):
    local maxima of the probability, summed over a cross of five pixels. Kept for comparison.

Everything is vectorised over frames and peaks, runs on the device of the input, and gives the
same answer for a frame whatever frames share its batch: sums run over a fixed neighbourhood in a
fixed order (no atomic additions) and ties go to the pixel that comes first in raster order.
"""

from __future__ import annotations

import itertools
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from decode_engine.network.output import NetworkOutput
from decode_engine.network.scaling import NetworkScaling
from decode_engine.network.uncertainty import Peaks, Uncertainty

__all__ = [
    "Candidates",
    "PeakMethod",
    "PeakTable",
    "correct_peaks",
    "extract_peaks",
    "find_peaks",
]

PeakMethod: TypeAlias = Literal["collapse", "integration"]

CANDIDATE_PROBABILITY = 0.01  # pixels below carry no mass worth collecting
MERGE_RADIUS_PX = 1.0  # candidates that predict positions closer than this are one emitter
COLLECT_RADIUS_PX = 1.5  # mass within this distance of a peak counts for it
NEIGHBOUR_REACH_PX = 3  # offsets are at most 1 px, so merging pixels are at most 3 px apart
INTEGRATION_CANDIDATE_PROBABILITY = 0.1  # raw threshold of the original's fitting program
INTEGRATION_ISOLATED_PROBABILITY = 0.6  # beyond this a pixel counts though a neighbour is higher
BLOCK_CANDIDATES = 1 << 16  # bounds the memory of the neighbour tables


class PeakTable(NamedTuple):
    """Localizations of a batch of images, packed: one entry per peak, all (P,) tensors.

    Positions are in pixels of the image that the network saw; (0, 0) is the centre of its
    top-left pixel. ``row``/``column`` name the pixel that speaks for the peak (the highest of
    its pixels), an integer label that does not change when the position moves by rounding; the
    offsets count from that pixel's centre and are equally exact anywhere in a frame.
    """

    image: Tensor  # int64, index of the image in the batch
    row: Tensor  # int64
    column: Tensor  # int64
    offset_x_px: Tensor  # x_px - column
    offset_y_px: Tensor  # y_px - row
    x_px: Tensor  # along columns, to the right
    y_px: Tensor  # along rows, downwards
    z_nm: Tensor
    photons: Tensor
    background: Tensor  # photons per pixel
    probability: Tensor  # 0..1
    sigma_x_px: Tensor
    sigma_y_px: Tensor
    sigma_z_nm: Tensor
    sigma_photons: Tensor

    def select(self, rows: Tensor) -> PeakTable:
        """Return the peaks chosen by a mask or an index tensor."""
        return PeakTable(*(column[rows] for column in self))

    def __len__(self) -> int:
        return int(self.image.shape[0])


class Candidates(NamedTuple):
    """Pixels that may belong to an emitter, in raster order (image, row, column): (K,) each."""

    image: Tensor  # int64
    row: Tensor  # int64
    column: Tensor  # int64
    probability: Tensor
    offset_x_px: Tensor  # predicted position minus pixel centre
    offset_y_px: Tensor
    z_nm: Tensor
    photons: Tensor
    background: Tensor
    sigma_x_px: Tensor
    sigma_y_px: Tensor
    sigma_z_nm: Tensor
    sigma_photons: Tensor


def extract_peaks(
    output: NetworkOutput,
    scaling: NetworkScaling,
    threshold: float,
    *,
    method: PeakMethod = "collapse",
) -> PeakTable:
    """Turn the network's maps into localizations.

    Parameters
    ----------
    output : NetworkOutput
        Maps (N, H, W) in network units.
    scaling : NetworkScaling
    threshold : float
        Peaks with a probability below are dropped; 0 < threshold < 1.
    method : {"collapse", "integration"}
        How pixels are joined; see `find_peaks`.

    Returns
    -------
    PeakTable
        Sorted by image, then raster order of the peak's pixel; ``z_nm`` and ``sigma_z_nm`` are
        NaN for a two-dimensional model.
    """
    probability = output.logit.float().sigmoid()
    found = probability > candidate_probability(method, threshold)
    image, row, column = found.nonzero(as_tuple=True)
    at = {name: maps[image, row, column].float() for name, maps in output._asdict().items()}
    nan = torch.full_like(at["z"], torch.nan)
    candidates = Candidates(
        image=image,
        row=row,
        column=column,
        probability=probability[image, row, column],
        offset_x_px=at["x"],
        offset_y_px=at["y"],
        z_nm=scaling.z_from_network(at["z"]) if scaling.is_3d else nan,
        photons=scaling.photons_from_network(at["photons"]),
        background=scaling.background_from_network(at["background"]),
        sigma_x_px=at["sigma_x"],
        sigma_y_px=at["sigma_y"],
        sigma_z_nm=scaling.sigma_z_from_network(at["sigma_z"]) if scaling.is_3d else nan,
        sigma_photons=scaling.photons_from_network(at["sigma_photons"]),
    )
    n_images, height, width = probability.shape
    return find_peaks(candidates, (n_images, height, width), threshold, method)


def correct_peaks(
    peaks: PeakTable, uncertainty: Uncertainty, row: Tensor, column: Tensor
) -> PeakTable:
    """Return peaks with the sigmas and probabilities that were measured.

    Parameters
    ----------
    peaks : PeakTable
    uncertainty : Uncertainty
    row, column : (P,) int64
        The peaks' pixels in the whole frame, the same for any tiling.
    """
    corrected = uncertainty.correct(
        Peaks(
            image=peaks.image,
            row=row,
            column=column,
            photons=peaks.photons,
            background=peaks.background,
            probability=peaks.probability,
            sigma_x=peaks.sigma_x_px,
            sigma_y=peaks.sigma_y_px,
            sigma_z=peaks.sigma_z_nm,
            sigma_photons=peaks.sigma_photons,
        )
    )
    changed = {
        "probability": corrected.probability,
        "sigma_x_px": corrected.sigma_x,
        "sigma_y_px": corrected.sigma_y,
        "sigma_z_nm": corrected.sigma_z,
        "sigma_photons": corrected.sigma_photons,
    }
    return PeakTable(**{**peaks._asdict(), **changed})


def find_peaks(
    candidates: Candidates,
    shape: tuple[int, int, int],
    threshold: float,
    method: PeakMethod = "collapse",
) -> PeakTable:
    """Join candidate pixels to peaks.

    Parameters
    ----------
    candidates : Candidates
        Pixels above `candidate_probability` of the method, in raster order.
    shape : (N, H, W)
        Shape of the maps that the candidates come from.
    threshold : float
        Peaks with a (summed) probability below are dropped.
    method : {"collapse", "integration"}

    Returns
    -------
    PeakTable
        Sorted by image, then raster order of the peak's pixel.

    Notes
    -----
    ``collapse``: candidate j with probability p_j predicts the position r_j. The density at a
    candidate is ``q_i = sum_j p_j max(0, 1 - |r_i - r_j|^2 / R^2)`` (Epanechnikov kernel of
    radius R = `MERGE_RADIUS_PX`); a candidate is a peak when no other within R has a higher q.
    Each candidate then gives its whole mass to the nearest peak within `COLLECT_RADIUS_PX` and
    to no other, so nothing is counted twice, and the peak's probability is ``min(1, sum p_j)``.
    Working with the predicted positions themselves instead of a grid of pixels makes the result
    independent of where an emitter lies relative to the pixels. ``tests.bench.peaks`` compares
    the methods on a trained model; the radii are not critical (0.7 to 1.3 px differ little).

    A peak is the mixture of its members with the weights ``w_j = p_j / (s_xj s_yj s_zj)`` (the
    height of each component's density: a confident pixel says more). Its features are the
    mixture's mean ``m = sum w_j m_j / sum w_j`` and, for x, y, z and photons, its standard
    deviation ``s^2 = sum w_j (s_j^2 + (m_j - m)^2) / sum w_j`` (law of total variance: the
    pixels' own uncertainty plus their disagreement). Dividing by the number of members would be
    wrong: they all saw the same photons, so their errors are not independent.

    ``integration``: see `_integrate`; features are those of the single pixel.
    """
    join = _collapse if method == "collapse" else _integrate
    tables = [join(part, shape, threshold) for part in _image_groups(candidates, shape[0])]
    if len(tables) == 1:
        return tables[0]
    return PeakTable(*(torch.cat(columns) for columns in zip(*tables, strict=True)))


def candidate_probability(method: PeakMethod, threshold: float) -> float:
    """Return the probability above which a pixel is a candidate."""
    if method == "collapse":
        return min(CANDIDATE_PROBABILITY, threshold)
    return min(INTEGRATION_CANDIDATE_PROBABILITY, threshold)


def _image_groups(candidates: Candidates, n_images: int) -> list[Candidates]:
    """Cut the candidates between images into parts of about `BLOCK_CANDIDATES`.

    Images do not influence each other; the parts keep the image indices of the whole.
    """
    if candidates.image.shape[0] <= BLOCK_CANDIDATES:
        return [candidates]
    ends = torch.bincount(candidates.image, minlength=n_images).cumsum(0)
    last_of_group = ends[:-1] // BLOCK_CANDIDATES != ends[1:] // BLOCK_CANDIDATES
    cuts = [0, *ends[:-1][last_of_group].tolist(), candidates.image.shape[0]]
    return [
        Candidates(*(column[start:stop] for column in candidates))
        for start, stop in itertools.pairwise(cuts)
    ]


def _collapse(candidates: Candidates, shape: tuple[int, int, int], threshold: float) -> PeakTable:
    """Join candidates that predict the same position (see `find_peaks`)."""
    near, dx, dy = _neighbours(candidates, shape, NEIGHBOUR_REACH_PX)
    distance2 = (dx - candidates.offset_x_px[:, None]).square()
    distance2 += (dy - candidates.offset_y_px[:, None]).square()
    number = torch.arange(near.shape[0], device=near.device)

    kernel = (1 - distance2 / MERGE_RADIUS_PX**2).clamp(min=0)
    density = (_look_up(candidates.probability, 0, near) * kernel).sum(1)
    other = _look_up(density, -torch.inf, near)
    better = (other > density[:, None]) | ((other == density[:, None]) & (near < number[:, None]))
    is_peak = ~(better & (distance2 < MERGE_RADIUS_PX**2)).any(1)

    reachable = _look_up(is_peak, False, near) & (distance2 <= COLLECT_RADIUS_PX**2)
    nearest, which = distance2.where(reachable, torch.inf).min(1)
    owner = near.gather(1, which[:, None])[:, 0].where(nearest < torch.inf, -1)

    peaks = is_peak.nonzero()[:, 0]
    near = near[peaks]
    members = _look_up(owner, -1, near) == peaks[:, None]
    mass = (_look_up(candidates.probability, 0, near) * members).sum(1)
    keep = mass >= threshold
    offsets = (dx[peaks[keep]], dy[peaks[keep]])
    return _combine(candidates, peaks[keep], near[keep], members[keep], offsets, mass[keep])


def _integrate(candidates: Candidates, shape: tuple[int, int, int], threshold: float) -> PeakTable:
    """Sum the probability over a cross around local maxima (the paper's post-processing).

    A candidate (probability above 0.1) is a peak when it is the highest of its 3x3 pixels, or
    when it exceeds 0.6 by itself. The peak's probability is the sum over the pixel and its four
    edge neighbours, at most 1; its features are those of the pixel.
    """
    near, _, _ = _neighbours(candidates, shape, 1)
    number = torch.arange(near.shape[0], device=near.device)
    own = candidates.probability[:, None]
    other = _look_up(candidates.probability, 0, near)
    better = (other > own) | ((other == own) & (near < number[:, None]))
    is_peak = ~better.any(1) | (candidates.probability > INTEGRATION_ISOLATED_PROBABILITY)
    cross = torch.tensor([1, 3, 4, 5, 7], device=near.device)
    mass = other[:, cross].sum(1)

    peaks = (is_peak & (mass >= threshold)).nonzero()[:, 0]
    offsets = (candidates.offset_x_px[peaks, None], candidates.offset_y_px[peaks, None])
    members = torch.ones_like(peaks, dtype=torch.bool)[:, None]
    return _combine(candidates, peaks, peaks[:, None], members, offsets, mass[peaks])


def _neighbours(
    candidates: Candidates, shape: tuple[int, int, int], reach_px: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Look up the candidates among the pixels around each candidate.

    Returns
    -------
    near : (K, (2 * reach_px + 1)^2) int64
        Numbers of the candidates in raster order of the neighbourhood; K where there is none.
    dx, dy : same shape, px
        Position that the neighbour predicts minus the centre of the own pixel; infinite where
        there is none. Small numbers, so that they are equally exact anywhere in a frame.
    """
    count, device = candidates.image.shape[0], candidates.image.device
    height, width = shape[1] + 2 * reach_px, shape[2] + 2 * reach_px
    flat = (candidates.image * height + candidates.row + reach_px) * width
    flat = flat + candidates.column + reach_px
    numbers = torch.full((shape[0] * height * width,), count, dtype=torch.int64, device=device)
    numbers[flat] = torch.arange(count, device=device)
    step = torch.arange(-reach_px, reach_px + 1, device=device)
    step_y, step_x = (grid.reshape(-1) for grid in torch.meshgrid(step, step, indexing="ij"))
    around = flat[:, None] + step_y * width + step_x
    near = numbers.index_select(0, around.flatten()).view(around.shape)
    dx = step_x + _look_up(candidates.offset_x_px, torch.inf, near)
    dy = step_y + _look_up(candidates.offset_y_px, torch.inf, near)
    return near, dx, dy


def _look_up(values: Tensor, none: float, near: Tensor) -> Tensor:
    """Return the candidates' values at ``near``; ``none`` where that is no candidate."""
    extended = torch.cat([values, values.new_full((1,), none)])
    # Twice as fast as extended[near] on a processor.
    return extended.index_select(0, near.flatten()).view(near.shape)


def _combine(
    candidates: Candidates,
    peaks: Tensor,
    near: Tensor,
    members: Tensor,
    offsets: tuple[Tensor, Tensor],
    mass: Tensor,
) -> PeakTable:
    """Return mean and standard deviation of the mixture of each peak's members.

    Parameters
    ----------
    peaks : (P,) int64
        Number of the peak's own candidate.
    near, members : (P, M) int64, bool
        Candidates around it and whether they belong to it.
    offsets : two (P, M) tensors, px
        Positions that they predict, from the centre of the peak's pixel.
    mass : (P,)
        Sum of the members' probabilities.
    """

    def gather(values: Tensor) -> Tensor:
        return _look_up(values, 0, near)

    sigma_z = candidates.sigma_z_nm.nan_to_num(nan=1.0)  # NaN in 2D, where it cannot weigh
    inverse = 1 / (candidates.sigma_x_px * candidates.sigma_y_px * sigma_z)
    weight = gather(candidates.probability * inverse) * members
    weight = weight / weight.sum(1, keepdim=True)

    def mean_and_sigma(values: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
        values = values.where(members, 0)
        mean = (weight * values).sum(1)
        variance = weight * (gather(sigma).square() + (values - mean[:, None]).square())
        return mean, variance.sum(1).sqrt()

    x_px, sigma_x_px = mean_and_sigma(offsets[0], candidates.sigma_x_px)
    y_px, sigma_y_px = mean_and_sigma(offsets[1], candidates.sigma_y_px)
    z_nm, sigma_z_nm = mean_and_sigma(gather(candidates.z_nm), candidates.sigma_z_nm)
    photons, sigma_photons = mean_and_sigma(gather(candidates.photons), candidates.sigma_photons)
    return PeakTable(
        image=candidates.image[peaks],
        row=candidates.row[peaks],
        column=candidates.column[peaks],
        offset_x_px=x_px,
        offset_y_px=y_px,
        x_px=candidates.column[peaks] + x_px,
        y_px=candidates.row[peaks] + y_px,
        z_nm=z_nm,
        photons=photons,
        background=(weight * gather(candidates.background)).sum(1),
        probability=mass.clamp(max=1),
        sigma_x_px=sigma_x_px,
        sigma_y_px=sigma_y_px,
        sigma_z_nm=sigma_z_nm,
        sigma_photons=sigma_photons,
    )
