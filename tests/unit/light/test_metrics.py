from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from decode_engine.analysis.metrics import (
    ALPHA_AXIAL_PER_NM,
    ALPHA_LATERAL_PER_NM,
    efficiency,
    evaluate,
    judge,
    rmse_over_crlb,
)
from decode_engine.contract.configs import EvaluateConfig
from decode_engine.domain.localizations import Emitters, Localizations
from decode_engine.errors import ConfigError


def _truth(x: Any, y: Any, z: Any, photons: Any, frame: Any = 0) -> Emitters:
    x, y, z, photons, frame = np.broadcast_arrays(x, y, z, photons, frame)
    return Emitters(frame=frame, x_nm=x, y_nm=y, z_nm=z, photons=photons)


def _estimate(x: Any, y: Any, z: Any, **columns: Any) -> Localizations:
    x, y, z = np.broadcast_arrays(x, y, z)
    n = x.size
    given = {"frame": np.zeros(n, int), "photons": np.ones(n), "background": np.ones(n), **columns}
    return Localizations(x_nm=x, y_nm=y, z_nm=z, **given)


@pytest.mark.parametrize(
    ("jaccard", "lateral_nm", "axial_nm", "printed"),
    [
        (0.462, 24.2, 172.0, 19.8),  # 3D-WTM, MT1.N1.LD, biplane: rows of the leaderboard
        (0.634, 56.6, 86.8, 37.9),  # FALCON, MT2.N1.HD, biplane
    ],
)
def test_efficiency_reproduces_the_leaderboard(
    jaccard: float, lateral_nm: float, axial_nm: float, printed: float
) -> None:
    lateral = efficiency(jaccard, lateral_nm, ALPHA_LATERAL_PER_NM)
    axial = efficiency(jaccard, axial_nm, ALPHA_AXIAL_PER_NM)
    assert round(100 * (lateral + axial) / 2, 1) == printed


def test_counts_and_errors_by_hand() -> None:
    truth = _truth([0, 1000, 2000, 3000], 0, 0, [100, 200, 300, 400])
    estimate = _estimate(
        [30, 1000, 5000], [40, 0, 0], [0, 100, 0], photons=np.array([110.0, 220.0, 1.0])
    )
    result = evaluate(truth, estimate, EvaluateConfig())
    assert (result.n_truth, result.n_localizations, result.n_matched) == (4, 3, 2)
    assert result.jaccard == pytest.approx(2 / 5)
    assert result.precision == pytest.approx(2 / 3)
    assert result.recall == pytest.approx(2 / 4)
    assert result.f1 == pytest.approx(4 / 7)
    assert result.rmse_lateral_nm == pytest.approx(50 / math.sqrt(2))
    assert result.rmse_axial_nm == pytest.approx(100 / math.sqrt(2))
    assert (result.bias_x_nm, result.bias_y_nm, result.bias_z_nm) == (15, 20, 50)
    assert result.photons_ratio == pytest.approx(1.1)
    lateral = 1 - math.hypot(0.6, 0.5 / math.sqrt(2))
    axial = 1 - math.hypot(0.6, 0.5 / math.sqrt(2))  # 100 nm at half the price
    assert result.efficiency_lateral == pytest.approx(lateral)
    assert result.efficiency_axial == pytest.approx(axial)
    assert result.efficiency_3d == pytest.approx((lateral + axial) / 2)


def test_photon_rule_removes_dim_emitters_together_with_their_partners() -> None:
    truth = _truth([0, 1000, 2000, 3000], 0, 0, [100, 200, 300, 400])
    # Partners of a dim and of a bright emitter, and one estimate of nothing.
    estimate = _estimate([0, 2000, 5000], 0, 0)
    result = evaluate(truth, estimate, EvaluateConfig(min_photons=200))
    assert (result.n_truth, result.n_localizations, result.n_matched) == (2, 2, 1)
    assert (result.n_truth_not_judged, result.n_localizations_not_judged) == (2, 1)


def test_photon_rule_applies_after_matching() -> None:
    """A dim emitter may take the estimate that a bright one could have had."""
    truth = _truth([0, 100], 0, 0, [50, 500])
    result = evaluate(truth, _estimate([10], 0, 0), EvaluateConfig(min_photons=50))
    assert (result.n_truth, result.n_localizations, result.n_matched) == (1, 0, 0)
    assert result.recall == 0
    assert math.isnan(result.precision)


def test_photon_quantile_is_taken_over_all_emitters() -> None:
    photons = np.arange(1.0, 102.0)  # the 25 % quantile of 1..101 is 26
    truth = _truth(np.arange(101) * 1000.0, 0, 0, photons)
    result = evaluate(truth, Localizations.empty(), EvaluateConfig(min_photons_quantile=0.25))
    assert result.n_truth == 101 - 26


def test_border_rule_applies_to_both_tables_before_matching() -> None:
    config = EvaluateConfig(border_nm=450, field_nm=(0, 0, 6400, 6400))
    truth = _truth([440, 3000, 460], [3000, 5960, 3000], 0, 1000)
    estimate = _estimate([460, 3000, 9000], [3000, 3000, 3000], 0)
    judgement = judge(truth, estimate, config)
    assert judgement.truth_judged.tolist() == [False, False, True]
    assert judgement.estimate_judged.tolist() == [True, True, False]
    assert judgement.truth_index.tolist() == [2]
    assert judgement.estimate_index.tolist() == [0]


def test_border_is_measured_from_the_truth_where_no_field_is_given() -> None:
    truth = _truth([0, 5000, 10000], [0, 5000, 10000], 0, 1000)
    estimate = _estimate([5000, 90000], [5000, 5000], 0)
    result = evaluate(truth, estimate, EvaluateConfig(border_nm=450))
    assert (result.n_truth, result.n_localizations, result.n_matched) == (1, 1, 1)


@pytest.mark.parametrize("asked", [True, False])
def test_two_dimensions(*, asked: bool) -> None:
    z = 600.0 if asked else np.nan
    result = evaluate(
        _truth([0.0], 0, 0, 100), _estimate([3.0], [4.0], z), EvaluateConfig(two_dimensional=asked)
    )
    assert result.two_dimensional
    assert result.n_matched == 1
    assert result.rmse_lateral_nm == pytest.approx(5)
    assert math.isnan(result.rmse_axial_nm)
    assert math.isnan(result.efficiency_3d)
    assert result.efficiency_lateral == pytest.approx(0.95)


def test_single_missing_z_counts_as_wrong() -> None:
    estimate = _estimate([0, 1000], 0, [np.nan, 0])
    result = evaluate(_truth([0, 1000], 0, 0, 1), estimate, EvaluateConfig())
    assert (result.n_matched, result.n_localizations) == (1, 2)


@pytest.mark.parametrize("with_truth", [True, False])
@pytest.mark.parametrize("with_estimate", [True, False])
@pytest.mark.parametrize("method", ["greedy", "hungarian"])
def test_empty_tables(*, with_truth: bool, with_estimate: bool, method: str) -> None:
    truth = _truth([0.0], 0, 0, 1) if with_truth else Emitters.empty()
    estimate = _estimate([9000.0], 0, 0) if with_estimate else Localizations.empty()
    config = EvaluateConfig(
        min_photons_quantile=0.0, border_nm=0, matching=method, field_nm=(-1, -1, 1e4, 1e4)
    )
    result = evaluate(truth, estimate, config)
    assert result.n_matched == 0
    assert result.n_localizations == int(with_estimate)
    assert math.isnan(result.rmse_lateral_nm)
    # At the quantile 0 the only emitter is the dimmest, and is not judged.
    assert result.n_truth == 0
    assert (result.jaccard == 0) if with_estimate else math.isnan(result.jaccard)


def test_sigma_calibration_sees_honest_and_too_small_sigmas() -> None:
    rng = np.random.default_rng(0)
    n = 20_000
    sigma = rng.uniform(5, 20, n)
    columns = {
        "frame": np.arange(n),
        "sigma_x_nm": sigma,
        "sigma_y_nm": sigma / 2,
        "sigma_z_nm": sigma,
    }
    error = rng.normal(0, sigma, (3, n))
    error[2, ::50] *= 20  # outliers, which the robust figure must not see
    estimate = _estimate(error[0], error[1], error[2], **columns)
    truth = _truth(np.zeros(n), 0, 0, 1, frame=np.arange(n))
    result = evaluate(truth, estimate, EvaluateConfig())
    # The standard deviation of n normal numbers scatters by 1/sqrt(2n), its robust estimate by
    # 1.17/sqrt(n); five of these.
    scatter, robust_scatter = 5 / math.sqrt(2 * n), 5 * 1.17 / math.sqrt(n)
    assert result.z_score_x == pytest.approx(1, abs=scatter)
    assert result.z_score_y == pytest.approx(2, abs=2 * scatter)
    assert result.z_score_z > 2
    assert result.z_score_robust_x == pytest.approx(1, abs=robust_scatter)
    # Two percent of outliers move the median of |z| from 0.674 to about 0.69.
    assert result.z_score_robust_z == pytest.approx(1, abs=0.03 + robust_scatter)
    assert math.isnan(result.z_score_photons)


def test_rmse_over_crlb() -> None:
    rng = np.random.default_rng(1)
    bound = rng.uniform(1, 10, 50_000)
    error = rng.normal(0, 1.1 * bound)
    bound[:5] = [0, np.nan, np.inf, -1, 1]
    error[4] = np.nan
    ratio = rmse_over_crlb(error, bound)
    assert ratio.n == 50_000 - 5
    assert ratio.rms == pytest.approx(1.1, abs=5 * 1.1 / math.sqrt(2 * ratio.n))
    assert ratio.robust == pytest.approx(1.1, abs=5 * 1.1 * 1.17 / math.sqrt(ratio.n))
    assert math.isnan(rmse_over_crlb(np.empty(0), np.empty(0)).rms)


def test_as_dict_has_the_keys_of_the_command_line() -> None:
    result = evaluate(Emitters.empty(), Localizations.empty(), EvaluateConfig())
    keys = (
        "jaccard precision recall rmse_lateral_nm rmse_axial_nm efficiency_lateral "
        "efficiency_axial efficiency_3d n_truth n_localizations n_matched"
    )
    assert set(keys.split()) <= set(result.as_dict())


@pytest.mark.parametrize(
    "config",
    [
        EvaluateConfig(field_nm=(1000, 1000, 0, 0)),
        EvaluateConfig(field_nm=(0, 0, 1000, 1000), border_nm=500),
        EvaluateConfig(border_nm=5000),
    ],
    ids=["turned round", "border", "border of the data"],
)
def test_a_field_without_inside_is_refused(config: EvaluateConfig) -> None:
    """Regression: nothing was judged, and all scores were missing without a reason."""
    truth, estimate = _truth([0, 1000], [0, 1000], 0, 100), _estimate([0, 1000], [0, 1000], 0)
    with pytest.raises(ConfigError, match="Nothing is left"):
        evaluate(truth, estimate, config)
