"""Pairing true emitters with estimates, frame by frame, one to one.

Candidates are all pairs of one frame inside a cylinder: lateral distance at most
``tolerance_lateral_nm``, axial distance at most ``tolerance_axial_nm`` (both inclusive).
They are found exactly with a grid of cells no smaller than the lateral tolerance, for all
frames at once. Rules and tolerances are those of the SMLM challenge 2016 (Sage et al. 2019,
doi:10.1038/s41592-019-0364-4).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["Matching", "Points", "match"]

Index: TypeAlias = NDArray[np.int64]
Real: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[Any]

_BLOCK_CANDIDATES = 1 << 22  # candidates expanded at once: bounds the memory, not the result
_LARGEST_CELL_COUNT = 1 << 18  # cells along one axis, so that a cell number fits in 64 bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Positions to be matched; rows with a non-finite x or y never match.

    Parameters
    ----------
    frame : (N,) integer
        Frame index.
    x_nm, y_nm : (N,) float, nm
        Lateral position.
    z_nm : (N,) float, nm, or None
        Axial position; a row with NaN never matches as long as an axial tolerance is given.
    """

    frame: Numbers
    x_nm: Numbers
    y_nm: Numbers
    z_nm: Numbers | None = None

    def __len__(self) -> int:
        return int(self.frame.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """Pairs, ordered by truth row.

    Attributes
    ----------
    truth_index, estimate_index : (M,) int64
        Rows of the two tables that belong together; no row occurs twice.
    distance_nm : (M,) float64, nm
        Distance by which pairs were ranked: 3D, or lateral without axial tolerance.
    """

    truth_index: Index
    estimate_index: Index
    distance_nm: Real

    def __len__(self) -> int:
        return int(self.truth_index.size)


def match(
    truth: Points,
    estimate: Points,
    *,
    tolerance_lateral_nm: float = 250.0,
    tolerance_axial_nm: float | None = 500.0,
    method: Literal["greedy", "hungarian"] = "greedy",
) -> Matching:
    """Pair true emitters with estimates of the same frame.

    Parameters
    ----------
    truth, estimate : Points
        The two tables, in any order of frames.
    tolerance_lateral_nm : float, nm
        Radius of the cylinder, inclusive.
    tolerance_axial_nm : float or None, nm
        Half height of the cylinder, inclusive; None ignores z (2D).
    method : {"greedy", "hungarian"}
        ``greedy`` accepts candidates from the nearest to the farthest while both partners are
        free (ties: lower truth row, then lower estimate row). ``hungarian`` finds the largest
        possible number of pairs and, among those assignments, the one with the least sum of
        distances.
    """
    if tolerance_axial_nm is not None and (truth.z_nm is None or estimate.z_nm is None):
        raise ValueError("an axial tolerance needs z of both tables")
    pairs = _candidates(truth, estimate, tolerance_lateral_nm, tolerance_axial_nm)
    alone = (np.bincount(pairs.truth_index, minlength=1)[pairs.truth_index] == 1) & (
        np.bincount(pairs.estimate_index, minlength=1)[pairs.estimate_index] == 1
    )
    contested = np.flatnonzero(~alone)
    choose = _greedy if method == "greedy" else _hungarian
    chosen = np.concatenate([np.flatnonzero(alone), contested[choose(_take(pairs, contested))]])
    chosen = chosen[np.argsort(pairs.truth_index[chosen])]
    return _take(pairs, chosen)


def _take(pairs: Matching, rows: Index) -> Matching:
    return Matching(
        truth_index=pairs.truth_index[rows],
        estimate_index=pairs.estimate_index[rows],
        distance_nm=pairs.distance_nm[rows],
    )


def _greedy(pairs: Matching) -> Index:
    """Return the accepted rows of ``pairs``: nearest first, each partner once."""
    order = np.lexsort((pairs.estimate_index, pairs.truth_index, pairs.distance_nm))
    truth, truth_rows = np.unique(pairs.truth_index, return_inverse=True)
    estimate, estimate_rows = np.unique(pairs.estimate_index, return_inverse=True)
    truth_taken, estimate_taken = bytearray(truth.size), bytearray(estimate.size)
    accepted = bytearray(order.size)
    # The scan is sequential by nature; over plain lists it costs about 0.1 µs a candidate.
    ranked = zip(truth_rows[order].tolist(), estimate_rows[order].tolist(), strict=True)
    for rank, (t, e) in enumerate(ranked):
        if not (truth_taken[t] or estimate_taken[e]):
            truth_taken[t] = estimate_taken[e] = accepted[rank] = 1
    return order[np.frombuffer(accepted, np.bool_)]


def _hungarian(pairs: Matching) -> Index:
    """Return the rows of ``pairs`` that form a largest, then shortest, assignment."""
    if not len(pairs):
        return np.empty(0, np.int64)
    _, truth_rows = np.unique(pairs.truth_index, return_inverse=True)
    _, estimate_rows = np.unique(pairs.estimate_index, return_inverse=True)
    n_truth = int(truth_rows.max()) + 1
    n_nodes = n_truth + int(estimate_rows.max()) + 1
    graph = coo_array(
        (np.ones(len(pairs), np.int8), (truth_rows, n_truth + estimate_rows)),
        shape=(n_nodes, n_nodes),
    )
    _, label = connected_components(graph, directed=False)
    component = label[truth_rows]
    order = np.lexsort((pairs.distance_nm, component))
    component = component[order]
    starts = np.flatnonzero(np.diff(component, prepend=-1))
    sizes = np.stack(
        [
            np.bincount(part, minlength=label.max() + 1)
            for part in (label[:n_truth], label[n_truth:])
        ]
    )
    # With a single partner on one side, the nearest on the other side is the answer.
    single = sizes.min(axis=0)[component[starts]] == 1
    chosen = [order[starts[single]]]
    local_truth = _rank_within(label[:n_truth])[truth_rows[order]]
    local_estimate = _rank_within(label[n_truth:])[estimate_rows[order]]
    ends = np.append(starts[1:], order.size)
    for start, end in zip(starts[~single].tolist(), ends[~single].tolist(), strict=True):
        part = slice(start, end)
        rows = order[part]
        taken = _assign(local_truth[part], local_estimate[part], pairs.distance_nm[rows])
        chosen.append(rows[taken])
    return np.concatenate(chosen)


def _rank_within(label: Numbers) -> Index:
    """Return the position of each member within its group, counted from 0."""
    order = np.argsort(label, kind="stable")
    grouped = label[order]
    first = np.flatnonzero(np.diff(grouped, prepend=-1))
    rank = np.empty(label.size, np.int64)
    length = np.diff(first, append=label.size)
    rank[order] = np.arange(label.size) - np.repeat(first, length)
    return rank


def _assign(truth: Index, estimate: Index, distance_nm: Real) -> Index:
    """Solve one connected component; returns the chosen candidates.

    Parameters
    ----------
    truth, estimate : (K,) int64
        Partners of each candidate, numbered from 0 within the component.
    distance_nm : (K,) float64, nm
        Ascending.
    """
    shape = (int(truth.max()) + 1, int(estimate.max()) + 1)
    # A forbidden pair costs more than every allowed assignment together, so that the number
    # of allowed pairs is maximised before their distances are minimised.
    forbidden = (min(shape) + 1.0) * (float(distance_nm[-1]) + 1.0)
    cost = np.full(shape, forbidden)
    cost[truth, estimate] = distance_nm
    position = np.full(shape, -1, np.int64)
    position[truth, estimate] = np.arange(truth.size)
    chosen = position[linear_sum_assignment(cost)]
    return np.asarray(chosen[chosen >= 0])


def _candidates(
    truth: Points, estimate: Points, lateral_nm: float, axial_nm: float | None
) -> Matching:
    """Return every pair of one frame inside the cylinder, sorted by truth row."""
    truth_rows, estimate_rows = _near(truth, estimate, lateral_nm)
    none = np.empty(0, np.int64)
    blocks: list[tuple[Index, Index, Real]] = [(none, none, np.empty(0))]
    if truth_rows.size:
        blocks += _cell_by_cell(truth, estimate, (truth_rows, estimate_rows), lateral_nm, axial_nm)
    t_all, e_all, d_all = (np.concatenate(part) for part in zip(*blocks, strict=True))
    by_truth = np.lexsort((e_all, t_all))
    return Matching(
        truth_index=t_all[by_truth], estimate_index=e_all[by_truth], distance_nm=d_all[by_truth]
    )


def _cell_by_cell(
    truth: Points,
    estimate: Points,
    selection: tuple[Index, Index],
    lateral_nm: float,
    axial_nm: float | None,
) -> list[tuple[Index, Index, Real]]:
    """Return the pairs inside the cylinder, one block for each range of neighbouring cells."""
    truth_rows, estimate_rows = selection
    cells = _Cells.around(truth, truth_rows, lateral_nm)
    keys = cells.key(estimate, estimate_rows, 0)
    order = np.argsort(keys, kind="stable")
    keys, estimate_rows = keys[order], estimate_rows[order]
    # Searching in ascending order stays in the cache.
    truth_rows = truth_rows[np.argsort(cells.key(truth, truth_rows, 0), kind="stable")]
    blocks = []
    for row_step in (-1, 0, 1):
        first = np.searchsorted(keys, cells.key(truth, truth_rows, row_step) - 1, "left")
        last = np.searchsorted(keys, cells.key(truth, truth_rows, row_step) + 1, "right")
        for t, slot in _expand(first, last - first):
            rows = (truth_rows[t], estimate_rows[slot])
            blocks.append(_inside(truth, estimate, rows, lateral_nm, axial_nm))
    return blocks


def _near(truth: Points, estimate: Points, margin_nm: float) -> tuple[Index, Index]:
    """Return the finite rows of each table that lie in the other's bounding box."""
    kept = [np.isfinite(p.x_nm) & np.isfinite(p.y_nm) for p in (truth, estimate)]
    for _ in range(2):
        for own, other in ((0, 1), (1, 0)):
            points, rows = (truth, estimate)[own], kept[own]
            partner, partner_rows = (truth, estimate)[other], kept[other]
            if not partner_rows.any():
                return np.empty(0, np.int64), np.empty(0, np.int64)
            for name in ("x_nm", "y_nm"):
                values = np.asarray(getattr(points, name), np.float64)
                span = np.asarray(getattr(partner, name), np.float64)[partner_rows]
                rows = rows & (values >= span.min() - margin_nm - 1e-3)
                rows &= values <= span.max() + margin_nm + 1e-3
            kept[own] = rows
    return np.flatnonzero(kept[0]), np.flatnonzero(kept[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """Square cells, numbered frame by frame, row by row, with an empty cell at each row end.

    The cell to the left and to the right of cell ``k`` are ``k - 1`` and ``k + 1``, so three
    neighbours in a row are one range of sorted cell numbers.
    """

    left_nm: float
    top_nm: float
    size_nm: float
    columns: int
    rows: int
    first_frame: int

    @classmethod
    def around(cls, points: Points, rows: Index, tolerance_nm: float) -> _Cells:
        x = np.asarray(points.x_nm[rows], np.float64)
        y = np.asarray(points.y_nm[rows], np.float64)
        left, top = float(x.min()), float(y.min())
        width, height = float(x.max()) - left, float(y.max()) - top
        size = max(tolerance_nm * (1 + 1e-9), max(width, height) / _LARGEST_CELL_COUNT)
        return cls(
            left_nm=left,
            top_nm=top,
            size_nm=size,
            columns=int(width / size) + 5,
            rows=int(height / size) + 5,
            first_frame=int(points.frame.min()),
        )

    def key(self, points: Points, rows: Index, row_step: int) -> Index:
        """Return the cell numbers of some points, ``row_step`` rows further down."""
        # The estimates reach one cell beyond the truth on every side: hence the shift by two.
        x = np.asarray(points.x_nm[rows], np.float64) - self.left_nm
        y = np.asarray(points.y_nm[rows], np.float64) - self.top_nm
        column = np.floor(x / self.size_nm).astype(np.int64) + 2
        row = np.floor(y / self.size_nm).astype(np.int64) + 2 + row_step
        frame = points.frame[rows].astype(np.int64) - self.first_frame
        return (frame * self.rows + row) * self.columns + column


def _expand(first: Index, count: Index) -> list[tuple[Index, Index]]:
    """Turn ranges into (range number, slot) pairs, in blocks of bounded size."""
    used = np.flatnonzero(count)
    total = np.cumsum(count[used])
    if not used.size:
        return []
    cuts = np.searchsorted(total, np.arange(_BLOCK_CANDIDATES, int(total[-1]), _BLOCK_CANDIDATES))
    blocks = []
    for part in np.split(used, np.unique(cuts)):
        if part.size:
            owner = np.repeat(part, count[part])
            offset = np.cumsum(count[part]) - count[part]
            within = np.arange(owner.size) - np.repeat(offset, count[part])
            blocks.append((owner, first[owner] + within))
    return blocks


def _inside(
    truth: Points,
    estimate: Points,
    rows: tuple[Index, Index],
    lateral_nm: float,
    axial_nm: float | None,
) -> tuple[Index, Index, Real]:
    """Keep the candidates inside the cylinder and measure their distance."""
    t, e = rows
    dx = np.asarray(truth.x_nm[t], np.float64) - estimate.x_nm[e]
    dy = np.asarray(truth.y_nm[t], np.float64) - estimate.y_nm[e]
    squared = dx * dx + dy * dy
    kept = (squared <= lateral_nm**2) & (truth.frame[t] == estimate.frame[e])
    if axial_nm is not None and truth.z_nm is not None and estimate.z_nm is not None:
        dz = np.asarray(truth.z_nm[t], np.float64) - estimate.z_nm[e]
        kept &= np.abs(dz) <= axial_nm
        squared = squared + dz * dz
    return t[kept], e[kept], np.sqrt(squared[kept])
