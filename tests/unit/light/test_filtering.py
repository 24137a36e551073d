from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from decode_engine.analysis.filtering import ColumnRange, FilterSpec
from decode_engine.domain.localizations import LocalizationFlag, Localizations
from decode_engine.errors import ConfigError, LocalizationsError


def _localizations(n: int = 200, seed: int = 0) -> Localizations:
    rng = np.random.default_rng(seed)
    x, y, z, photons, probability = rng.uniform(0, 1, (5, n))
    z[::7] = np.nan
    return Localizations(
        frame=rng.integers(0, 50, n),
        x_nm=x,
        y_nm=y,
        z_nm=z,
        photons=photons,
        background=photons,
        probability=probability,
        flags=rng.integers(0, 32, n).astype(np.uint32),
    )


def test_no_range_keeps_everything() -> None:
    assert FilterSpec().mask(_localizations()).all()


def test_all_ranges_hold_and_limits_are_inclusive() -> None:
    table = _localizations()
    spec = FilterSpec().with_range("frame", 10, 20).with_range("probability", low=0.5)
    expected = (table.frame >= 10) & (table.frame <= 20) & (table.probability >= 0.5)
    np.testing.assert_array_equal(spec.mask(table), expected)
    assert expected.any()
    assert not expected.all()


def test_limits_are_not_rounded_to_single_precision() -> None:
    """0.7 in single precision is 0.699999988: below the limit 0.7."""
    table = _localizations(1).replace(probability=np.array([0.7], np.float32))
    assert float(table.probability[0]) < 0.7
    assert not FilterSpec().with_range("probability", low=0.7).mask(table)[0]


def test_nan_is_outside_every_range() -> None:
    table = _localizations()
    missing = np.isnan(table.z_nm)
    for low, high in ((-1e9, math.inf), (-math.inf, 1e9)):
        mask = FilterSpec(ranges=(ColumnRange(column="z_nm", low=low, high=high),)).mask(table)
        np.testing.assert_array_equal(mask, ~missing)


def test_flags_are_excluded_bit_by_bit() -> None:
    table = _localizations()
    spec = FilterSpec(excluded_flags=LocalizationFlag.Z_AT_LIMIT | LocalizationFlag.SATURATED)
    np.testing.assert_array_equal(spec.mask(table), (table.flags & np.uint32(9)) == 0)
    without = Localizations(**{k: v for k, v in table.columns().items() if k != "flags"})
    assert spec.mask(without).all()


def test_setting_a_range_again_replaces_it_and_infinite_limits_lift_it() -> None:
    spec = FilterSpec().with_range("photons", 0.2).with_range("photons", 0.4, 0.5)
    assert spec.ranges == (ColumnRange(column="photons", low=0.4, high=0.5),)
    assert spec.with_range("photons") == FilterSpec()


def test_mistakes_are_explained() -> None:
    with pytest.raises(LocalizationsError, match=r"'photon'.*Did you mean 'photons'"):
        FilterSpec().with_range("photon", 1).mask(_localizations())
    with pytest.raises(ConfigError, match="5 to 2"):
        ColumnRange(column="photons", low=5, high=2)
    with pytest.raises(ConfigError, match="nan"):
        ColumnRange(column="photons", low=math.nan)
    two = (ColumnRange(column="frame", low=1), ColumnRange(column="frame", high=2))
    with pytest.raises(ConfigError, match="two ranges"):
        FilterSpec(ranges=two)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(low=st.floats(0, 1), width=st.floats(0, 1), seed=st.integers(0, 1000))
def test_filtering_twice_is_filtering_once(low: float, width: float, seed: int) -> None:
    table = _localizations(50, seed)
    spec = FilterSpec(excluded_flags=4).with_range("x_nm", low, low + width).with_range("z_nm", 0.1)
    once = table.take(spec.mask(table))
    assert spec.mask(once).all()
