from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_engine.analysis.matching import Matching, Points, match

LATERAL_NM, AXIAL_NM = 250.0, 500.0


def _points(n: int, seed: int, *, n_frames: int = 3, width_nm: float = 1500.0) -> Points:
    rng = np.random.default_rng(seed)
    return Points(
        frame=rng.integers(0, n_frames, n),
        x_nm=rng.uniform(-width_nm / 2, width_nm / 2, n),
        y_nm=rng.uniform(-width_nm / 2, width_nm / 2, n),
        z_nm=rng.uniform(-700, 700, n),
    )


def _one(frame: int, x: float, y: float, z: float) -> Points:
    return Points(
        frame=np.array([frame]), x_nm=np.array([x]), y_nm=np.array([y]), z_nm=np.array([z])
    )


def _allowed(
    truth: Points, estimate: Points, axial_nm: float | None
) -> dict[tuple[int, int], float]:
    """All pairs inside the cylinder with their distance, by the definition, one by one."""
    pairs = {}
    for t in range(len(truth)):
        for e in range(len(estimate)):
            dx = truth.x_nm[t] - estimate.x_nm[e]
            dy = truth.y_nm[t] - estimate.y_nm[e]
            dz = truth.z_nm[t] - estimate.z_nm[e] if axial_nm is not None else 0.0
            near = np.hypot(dx, dy) <= LATERAL_NM and abs(dz) <= (axial_nm or 1.0)
            if truth.frame[t] == estimate.frame[e] and near:
                pairs[t, e] = float(np.sqrt(dx**2 + dy**2 + dz**2))
    return pairs


def _greedy_by_definition(pairs: dict[tuple[int, int], float]) -> set[tuple[int, int]]:
    chosen: set[tuple[int, int]] = set()
    for t, e in sorted(pairs, key=lambda pair: (pairs[pair], pair)):
        if all(t != other and e != partner for other, partner in chosen):
            chosen.add((t, e))
    return chosen


def _as_set(matching: Matching) -> set[tuple[int, int]]:
    return set(zip(matching.truth_index.tolist(), matching.estimate_index.tolist(), strict=True))


@pytest.mark.parametrize("axial_nm", [AXIAL_NM, None])
@pytest.mark.parametrize("seed", range(25))
def test_greedy_is_the_definition_applied_one_by_one(seed: int, axial_nm: float | None) -> None:
    rng = np.random.default_rng(1000 + seed)
    truth = _points(int(rng.integers(0, 50)), seed)
    estimate = _points(int(rng.integers(0, 50)), seed + 500)
    found = match(truth, estimate, tolerance_axial_nm=axial_nm)
    pairs = _allowed(truth, estimate, axial_nm)
    assert _as_set(found) == _greedy_by_definition(pairs)
    expected = [pairs[pair] for pair in zip(found.truth_index, found.estimate_index, strict=True)]
    np.testing.assert_allclose(found.distance_nm, expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(30))
def test_hungarian_is_the_best_of_all_assignments(seed: int) -> None:
    truth = _points(5, seed, n_frames=1, width_nm=700)
    estimate = _points(6, seed + 500, n_frames=1, width_nm=700)
    pairs = _allowed(truth, estimate, AXIAL_NM)
    best = min(
        (
            (-len(used), sum(pairs[p] for p in used))
            for order in permutations(range(6), 5)
            if (used := [p for p in enumerate(order) if p in pairs]) is not None
        ),
    )
    found = match(truth, estimate, method="hungarian")
    assert _as_set(found) <= set(pairs)
    assert len(found) == -best[0]
    assert found.distance_nm.sum() == pytest.approx(best[1], abs=1e-9)


def test_greedy_and_hungarian_differ_where_they_should() -> None:
    # Greedy takes the nearest pair (t1, e0) and leaves t0 without a partner in reach.
    truth = Points(frame=np.zeros(2, int), x_nm=np.array([0.0, 260.0]), y_nm=np.zeros(2))
    estimate = Points(frame=np.zeros(2, int), x_nm=np.array([200.0, 500.0]), y_nm=np.zeros(2))
    greedy = match(truth, estimate, tolerance_axial_nm=None)
    hungarian = match(truth, estimate, tolerance_axial_nm=None, method="hungarian")
    assert _as_set(greedy) == {(1, 0)}
    assert _as_set(hungarian) == {(0, 0), (1, 1)}


@pytest.mark.parametrize(
    ("offset", "matches"),
    [
        ((250.0, 0.0, 0.0), True),
        ((250.1, 0.0, 0.0), False),
        ((177.0, 177.0, 0.0), False),  # 250.3 nm: a cylinder, not a box
        ((0.0, 0.0, 500.0), True),
        ((0.0, 0.0, -500.1), False),
        ((250.0, 0.0, 500.0), True),  # a cylinder, not an ellipsoid
    ],
)
def test_tolerance_is_an_inclusive_cylinder(
    offset: tuple[float, float, float], *, matches: bool
) -> None:
    found = match(_one(7, 0, 0, 0), _one(7, *offset))
    assert len(found) == int(matches)


def test_frames_never_mix() -> None:
    assert len(match(_one(3, 0, 0, 0), _one(4, 0, 0, 0))) == 0


@pytest.mark.parametrize("method", ["greedy", "hungarian"])
def test_rows_without_position_never_match(method: str) -> None:
    nan = np.nan
    truth = Points(
        frame=np.zeros(3, int), x_nm=np.array([0, nan, 0]), y_nm=np.zeros(3), z_nm=np.zeros(3)
    )
    estimate = Points(
        frame=np.zeros(3, int),
        x_nm=np.array([1.0, 2.0, np.inf]),
        y_nm=np.zeros(3),
        z_nm=np.array([nan, 0.0, 0.0]),
    )
    found = match(truth, estimate, method=method)  # type: ignore[arg-type]  # parametrised
    assert _as_set(found) == {(0, 1)}


def test_far_outliers_neither_match_nor_disturb() -> None:
    truth = _points(30, 1)
    far = Points(
        frame=truth.frame,
        x_nm=np.where(np.arange(30) == 4, 1e15, truth.x_nm),
        y_nm=np.where(np.arange(30) == 9, -1e15, truth.y_nm),
        z_nm=truth.z_nm,
    )
    expected = _greedy_by_definition(_allowed(truth, far, AXIAL_NM))
    assert _as_set(match(truth, far)) == expected
    assert _as_set(match(far, truth)) == {(e, t) for t, e in expected}


def test_dense_data_are_handled_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, estimate = _points(60, 3, n_frames=1), _points(70, 4, n_frames=1)
    whole = match(truth, estimate)
    monkeypatch.setattr("decode_engine.analysis.matching._BLOCK_CANDIDATES", 7)
    assert _as_set(match(truth, estimate)) == _as_set(whole)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    n=st.integers(0, 40),
    m=st.integers(0, 40),
    seed=st.integers(0, 10_000),
    method=st.sampled_from(["greedy", "hungarian"]),
)
def test_matching_is_one_to_one_maximal_and_independent_of_row_order(
    n: int, m: int, seed: int, method: str
) -> None:
    truth, estimate = _points(n, seed), _points(m, seed + 1)
    found = match(truth, estimate, method=method)  # type: ignore[arg-type]  # parametrised
    pairs = _as_set(found)
    assert len(set(found.truth_index)) == len(set(found.estimate_index)) == len(found)
    allowed = _allowed(truth, estimate, AXIAL_NM)
    for t, e in allowed:  # whatever is left unpaired has no free partner
        assert t in found.truth_index or e in found.estimate_index
    assert len(found) >= len(_greedy_by_definition(allowed)) * (1 if method == "hungarian" else 0)
    order = np.random.default_rng(seed).permutation(m)
    shuffled = Points(
        frame=estimate.frame[order],
        x_nm=estimate.x_nm[order],
        y_nm=estimate.y_nm[order],
        z_nm=estimate.z_nm[order],
    )
    again = match(truth, shuffled, method=method)  # type: ignore[arg-type]  # parametrised
    assert {(t, int(order[e])) for t, e in _as_set(again)} == pairs
