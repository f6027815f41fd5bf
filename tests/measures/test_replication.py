import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import measures


def test_fidelity_is_one_for_copies_and_zero_for_silence():
    parents = np.random.default_rng(0).normal(size=(5, 30)).astype(np.float32)
    np.testing.assert_allclose(measures.fidelity(parents, parents), 1.0)
    np.testing.assert_allclose(measures.fidelity(parents, 0 * parents), 0.0, atol=1e-6)
    noisy = parents + 0.1
    expected = 1 - 30 * 0.1**2 / np.sum(parents**2, axis=1)
    np.testing.assert_allclose(measures.fidelity(parents, noisy), expected, rtol=1e-4)


def test_heredity_is_the_share_of_children_that_know_their_parent():
    random = np.random.default_rng(1)
    parents = random.normal(size=(50, 20)).astype(np.float32)
    assert float(measures.heredity(parents, parents + 0.1 * random.normal(size=(50, 20)))) == 1.0
    assert float(measures.heredity(parents, np.roll(parents, 1, axis=0))) == 0.0
    everyone_alike = np.tile(parents[:1], (50, 1))
    assert float(measures.heredity(parents, everyone_alike)) == pytest.approx(1 / 50)


def test_heredity_against_brute_force():
    random = np.random.default_rng(2)
    parents, children = random.normal(size=(2, 40, 6))
    children = parents + 1.5 * children
    nearest = [np.argmin(np.linalg.norm(parents - child, axis=1)) for child in children]
    assert float(measures.heredity(jnp.array(parents), jnp.array(children))) == pytest.approx(
        np.mean(np.array(nearest) == np.arange(40))
    )


def test_variation_is_relative_to_the_mean():
    siblings = np.array([[1.0, 3.0], [3.0, 3.0]])
    assert float(measures.variation(siblings)) == pytest.approx(1 / np.hypot(2, 3))


def test_bytes_are_compared_by_equality():
    random = np.random.default_rng(3)
    parents = random.integers(0, 256, (30, 64), dtype=np.uint8)
    kept = random.random((30, 64)) < 0.7
    children = np.where(kept, parents, parents + np.uint8(1))
    np.testing.assert_allclose(measures.fidelity(jnp.array(parents), jnp.array(children)), kept.mean(axis=1), rtol=1e-6)
    assert float(measures.heredity(jnp.array(parents), jnp.array(children))) == 1.0
    assert float(measures.heredity(jnp.array(parents), jnp.array(np.roll(children, 1, axis=0)))) == 0.0
    pairs = [np.mean(a != b) for a in children for b in children]
    assert float(measures.variation(jnp.array(children))) == pytest.approx(np.mean(pairs), rel=1e-5)


def test_equal_parents_count_as_one_and_a_tie_with_another_as_none():
    parents = jnp.array([[1, 2, 3], [1, 2, 3], [1, 2, 9]], jnp.uint8)
    children = jnp.array([[1, 2, 3], [1, 7, 3], [1, 2, 5]], jnp.uint8)
    assert float(measures.heredity(parents, children)) == pytest.approx(2 / 3)


def test_the_bootstrap_interval_is_as_wide_as_the_standard_error_says():
    values = np.random.default_rng(0).normal(3.0, 2.0, 400)
    error = values.std() / np.sqrt(values.size)
    for confidence, z in ((0.95, 1.960), (0.8, 1.282)):
        low, high = measures.bootstrap_interval(values, confidence)
        assert low == pytest.approx(values.mean() - z * error, abs=0.08 * error)
        assert high == pytest.approx(values.mean() + z * error, abs=0.08 * error)
    assert (
        measures.bootstrap_interval(values)
        == measures.bootstrap_interval(values)
        != measures.bootstrap_interval(values, seed=1)
    )


def test_the_bootstrap_interval_covers_the_mean_as_often_as_it_says():
    random = np.random.default_rng(1)
    intervals = [measures.bootstrap_interval(random.exponential(size=80), 0.9, 400, seed=i) for i in range(300)]
    covered = np.mean([low < 1 < high for low, high in intervals])
    assert 0.83 < covered < 0.94  # 0.9 ± 2.3 standard errors of 300 trials, and a little less for a skewed law


def test_equal_values_have_an_interval_of_no_width():
    assert measures.bootstrap_interval([500.0] * 20) == (500.0, 500.0)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([],), "values"),
        (([1.0],), "values"),
        (([1.0, np.nan],), "values"),
        (([[1.0]],), "values"),
        (([1.0, 2.0], 1.0), "confidence"),
        (([1.0, 2.0], 0.9, 0), "resamples"),
    ],
)
def test_bootstrap_arguments_out_of_range_are_named(arguments, field):
    with pytest.raises(ValueError, match=f"^{field} must"):
        measures.bootstrap_interval(*arguments)
