"""Measures of mutators against NumPy, and against what is known of Gaussian steps on a sphere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import measures

KEY = jax.random.key(9)


@pytest.fixture(scope="module")
def noise():
    return jax.random.normal(KEY, (40, 500))


def parent(size=10, mutator=None):
    params = jnp.zeros(0) if mutator is None else mutator.init(KEY)
    return nm.Genome(jnp.full(size, 2.0), params, jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.float32(0))


def test_changes_are_what_the_mutator_does():
    mutator = nm.mutators.self_adaptive(0.3)
    genome = parent(6, mutator)
    found = jax.jit(lambda key: measures.changes(mutator, key, genome, 5))(KEY)
    for row, key in zip(found, jax.random.split(KEY, 5), strict=True):
        child = mutator.mutate(key, genome).child
        np.testing.assert_allclose(row[:6], child.policy - genome.policy, atol=1e-6)
        np.testing.assert_allclose(row[6:], child.mutator - genome.mutator, atol=1e-6)


def test_noise_is_neither_correlated_nor_drifting_nor_concentrated(noise):
    assert abs(measures.correlation(noise)) < 0.01
    assert measures.drift_share(noise) == pytest.approx(1 / 40, rel=0.1)
    assert measures.concentration(noise) == pytest.approx(0.85, abs=0.05)  # 0.9 but for the spread of 40 draws
    assert abs(measures.excess_kurtosis(noise)) < 0.15
    assert 34 < measures.effective_rank(noise) <= 39.001


def test_one_fixed_rewriting_is_all_of_it(noise):
    same = jnp.tile(noise[:1], (7, 1)) * jnp.arange(1.0, 8.0)[:, None]
    assert measures.correlation(same) == pytest.approx(1, abs=1e-5)
    assert measures.drift_share(jnp.tile(noise[:1], (7, 1))) == pytest.approx(1, abs=1e-5)
    assert measures.effective_rank(same) == pytest.approx(1, abs=1e-3)


def test_correlation_is_the_mean_of_all_cosines(noise):
    few = np.asarray(noise[:6] + 0.5, np.float64)
    unit = few / np.linalg.norm(few, axis=1, keepdims=True)
    cosines = unit @ unit.T
    assert measures.correlation(few) == pytest.approx(cosines[~np.eye(6, dtype=bool)].mean(), abs=1e-5)


def test_concentration_counts_the_weights_that_carry_the_change():
    changed = jnp.zeros((3, 100)).at[:, :4].set(1.0)
    assert measures.concentration(changed) == pytest.approx(0.04)
    assert measures.concentration(changed, 0.5) == pytest.approx(0.02)
    assert measures.concentration(jnp.ones((3, 100))) == pytest.approx(0.9)


def test_selectivity_and_untouched_compare_weights():
    changed = jnp.array([[1.0, -4.0, 0.0], [-1.0, 2.0, 0.2], [1.0, 3.0, -0.1]])
    assert measures.selectivity(changed) == pytest.approx(3 / 0.1)
    assert measures.untouched(changed) == pytest.approx(1 / 3)
    assert measures.untouched(changed, 1.0) == pytest.approx(2 / 3)
    assert measures.selectivity(changed.at[:, 2].set(0.0)) == np.inf


def test_a_shape_is_all_of_them(noise):
    found = measures.shape(noise)
    for name, value in found._asdict().items():
        np.testing.assert_array_equal(value, getattr(measures, name)(noise))


def test_the_null_has_the_same_size_in_every_weight_and_nothing_else(noise):
    shaped = noise * jnp.linspace(0.1, 3, 500) + 1.0
    null = jax.vmap(lambda key: measures.gaussian_null(key, shaped))(jax.random.split(KEY, 50))
    wanted = np.sqrt(np.mean(np.asarray(shaped) ** 2, axis=0))
    np.testing.assert_allclose(np.sqrt(np.mean(np.asarray(null) ** 2, axis=(0, 1))), wanted, rtol=0.1)
    assert abs(measures.correlation(null[0])) < 0.02 < measures.correlation(shaped)


def test_small_steps_on_a_sphere_are_better_half_of_the_time():
    """And their expected gain is 2 |x| std / sqrt(2 pi): the gradient's length times the mean of half a Gaussian."""
    genome = parent()
    small, large = (std * jax.random.normal(KEY, (4000, 10)) for std in (1e-3, 20.0))

    def of(changed):
        gained = measures.gains(lambda key, genome: -jnp.sum(genome.policy**2), KEY, genome, changed, evaluations=1)
        return measures.effects(gained)

    found = of(small)
    assert found.better == pytest.approx(0.5, abs=0.03) and found.not_worse == pytest.approx(
        float(found.better), abs=1e-3
    )
    assert found.expected_gain == pytest.approx(2 * np.sqrt(40) * 1e-3 / np.sqrt(2 * np.pi), rel=0.1)
    assert of(large).better < 0.01 and of(large).mean_gain < -1000 < of(large).best_gain


def test_common_random_numbers_and_the_tolerance():
    """Noise that all meet alike is no gain; a gain within the tolerance is none."""
    genome = parent(3)
    changed = jnp.array([[0.0, 0, 0], [0.1, 0, 0], [-0.1, 0, 0]])
    gained = measures.gains(lambda key, g: g.policy[0] + 100 * jax.random.normal(key), KEY, genome, changed, 3)
    np.testing.assert_allclose(gained, [0.0, 0.1, -0.1], atol=1e-4)
    found = measures.effects(jnp.round(gained, 3))
    assert found.better == pytest.approx(1 / 3) and found.not_worse == pytest.approx(2 / 3)
    lax = measures.effects(gained, tolerance=0.2)
    assert lax.better == 0 and lax.not_worse == 1


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: measures.changes(nm.mutators.gaussian(), KEY, parent(), 0), "count must be a whole number"),
        (lambda: measures.concentration(jnp.ones((2, 2)), 0.0), r"share must lie in \(0, 1\], got 0.0"),
        (
            lambda: measures.effects(jnp.zeros(3), tolerance=-1.0),
            "tolerance must be a finite number of at least 0",
        ),
        (
            lambda: measures.gains(lambda key, g: 0.0, KEY, parent(), jnp.zeros((1, 10)), 0),
            "evaluations must be a whole number",
        ),
        (lambda: measures.untouched(jnp.ones((2, 2)), 2.0), r"share must lie in \(0, 1\], got 2.0"),
    ],
)
def test_bad_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
