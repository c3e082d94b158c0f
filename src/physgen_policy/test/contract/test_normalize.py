# SPDX-License-Identifier: Apache-2.0
"""normalize and denormalize are inverses inside the range and never turn noise of idle dimensions into motion."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from physgen_policy.contract.normalize import MIN_HALF_RANGE, NormStats

actions = hnp.arrays(
    np.float32,
    st.tuples(st.integers(2, 40), st.just(7)),
    elements=st.floats(-0.125, 0.125, width=32),
)


@given(actions)
def test_round_trip_inside_the_quantiles(values: np.ndarray) -> None:
    """Values between the quantiles come back to within float32 rounding."""
    stats = NormStats.fit(values)
    normalised = stats.normalize(values)
    assert normalised.dtype == np.float32 and np.abs(normalised).max() <= 1.0
    inside = np.abs((values - stats.center) / stats.half_range) <= 1.0
    back = stats.denormalize(normalised)
    assert np.abs(back - values)[inside].max(initial=0.0) <= 1e-6


@given(hnp.arrays(np.float32, (5, 7), elements=st.floats(-1, 1, width=32)))
def test_denormalize_then_normalize_is_identity(values: np.ndarray) -> None:
    """Model units survive the trip through SI units: feeding back applied actions costs nothing."""
    stats = NormStats.fit(np.linspace(-0.05, 0.05, 70, dtype=np.float32).reshape(10, 7))
    assert np.abs(stats.normalize(stats.denormalize(values)) - values).max() <= 1e-5


def test_idle_dimension_keeps_a_floor_and_gripper_is_untouched() -> None:
    """A dimension that never moves gets the documented minimum range; the gripper stays +1 / -1."""
    values = np.zeros((100, 7), np.float32)
    values[:, 6] = -1.0
    stats = NormStats.fit(values)
    assert np.allclose(stats.half_range, MIN_HALF_RANGE)
    assert stats.normalize(values)[0, 6] == -1.0


def test_json_round_trip_and_missing_key() -> None:
    """What is stored is what is used, bit for bit; a missing key is named."""
    stats = NormStats.fit(np.random.default_rng(0).normal(0, 0.02, (200, 7)).astype(np.float32))
    again = NormStats.from_json(json.loads(json.dumps(stats.to_json())))
    assert (again.center == stats.center).all() and (again.half_range == stats.half_range).all()
    with pytest.raises(ValueError, match="half_range"):
        NormStats.from_json({"center": [0.0], "count": 1})


def test_refuses_empty_and_nonfinite() -> None:
    """No statistics from nothing, none with NaN."""
    with pytest.raises(ValueError, match="at least one labelled action"):
        NormStats.fit(np.zeros((0, 7), np.float32))
    with pytest.raises(ValueError, match="finite"):
        NormStats(np.array([np.nan], np.float32), np.array([1.0], np.float32), 1)
