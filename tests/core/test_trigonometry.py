"""Sine, cosine and remainder against NumPy in double precision."""

import jax
import numpy as np
import pytest
from hypothesis import given, strategies as st

from neuralmutator.core import trigonometry

LARGEST = 30_000.0


@pytest.mark.parametrize("largest", [1.6, 100.0, LARGEST])
def test_sine_and_cosine_are_right_to_rounding(largest):
    x = np.linspace(-largest, largest, 400_001, dtype=np.float32)
    exact = x.astype(np.float64)
    np.testing.assert_allclose(jax.jit(trigonometry.sin)(x), np.sin(exact), rtol=0, atol=2e-7)
    np.testing.assert_allclose(jax.jit(trigonometry.cos)(x), np.cos(exact), rtol=0, atol=2e-7)


def test_sine_and_cosine_of_what_is_not_finite_are_nan():
    x = np.array([np.nan, np.inf, -np.inf], np.float32)
    assert np.isnan(trigonometry.sin(x)).all()
    assert np.isnan(trigonometry.cos(x)).all()


def test_a_sine_keeps_small_angles():
    x = np.array([0.0, 1e-30, -1e-10, 1e-4], np.float32)
    np.testing.assert_allclose(trigonometry.sin(x), np.sin(x.astype(np.float64)), rtol=1e-6)


@given(st.floats(-1e4, 1e4, width=32), st.sampled_from([0.25, 1.0, 3.0, -2.5, 2 * np.pi]))
def test_a_remainder_is_right_to_the_rounding_of_the_number(x, y):
    x, y = np.float64(x), np.float64(np.float32(y))
    found = float(trigonometry.remainder(np.float32(x), float(y)))
    gap = abs(found - np.fmod(x, y))
    assert min(gap, abs(gap - abs(y))) <= 2 * np.spacing(np.float32(abs(x)))  # just below y is as near as 0
    assert abs(found) <= abs(y)
    assert found * x >= 0 or abs(found) < 1e-30


def test_remainders_of_multiples_are_nothing():
    np.testing.assert_array_equal(trigonometry.remainder(np.array([0.0, 3.0, -3.0, 6.0, 300.0], np.float32), 3.0), 0.0)
