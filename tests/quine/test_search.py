import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import quine, rollout

exact = jax.jit(quine.exact, static_argnames=("max_steps", "damping"))


def born(seed, **options):
    key_quine, key_weights = jax.random.split(jax.random.key(seed))
    q = quine.vanilla(key_quine, **options)
    return q, q.init(key_weights)


def small(seed=0, activation=quine.leaky_relu):
    return born(seed, hidden=(30, 30), activation=activation, encoding=quine.random_projection(30, 0.03))


def test_homeostatic_regeneration_follows_its_equation():
    q, params = small()
    new, info = quine.homeostatic_regeneration(q, damping=0.3, gamma=1.2)(jax.random.key(0), params)
    w, f = np.asarray(params, np.float64), np.asarray(q.predict(params), np.float64)
    scaled = (np.linalg.norm(w) / np.linalg.norm(f)) ** 1.2 * f
    np.testing.assert_allclose(new, 0.7 * w + 0.3 * scaled, atol=1e-6)
    np.testing.assert_allclose(info.unexplained, np.sum((f - w) ** 2) / np.sum(w**2), rtol=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_an_exact_quine_in_float32(seed):
    """Relative error below 1e-6, a loss below 1e-11 (the paper: 0.86), and weights as large as any network's."""
    q, params = born(seed, activation=quine.leaky_relu, encoding=quine.random_projection(std=0.03))
    found = exact(q, params)
    w, f = np.asarray(found.params, np.float64), np.asarray(q.predict(found.params), np.float64)
    assert np.linalg.norm(f - w) / np.linalg.norm(w) < 1e-6
    assert found.relative_error < 1e-6 and found.steps < 60
    assert np.sum((f - w) ** 2) < 1e-11
    assert w.std() > 0.02


def test_a_network_that_does_not_come_to_rest_says_so():
    q, params = small()
    found = exact(q, params, max_steps=3)
    assert found.steps == 3 and found.relative_error > 1e-3


def test_the_radial_multiplier_is_the_number_of_layers():
    """Why plain regeneration dies: an error along the weights themselves grows threefold each time."""
    q, params = born(0, activation=quine.leaky_relu, encoding=quine.random_projection(std=0.03))
    found = exact(q, params).params
    assert 2.8 < quine.radial_multiplier(q.regenerate, found) < 3.2
    step = quine.homeostatic_regeneration(q, damping=1.0)
    held = quine.radial_multiplier(lambda w: step(jax.random.key(0), w)[0], found)
    assert abs(held) < 0.1


def test_plain_regeneration_goes_to_zero():
    q, params = born(0)
    last, infos = jax.jit(lambda q, w: rollout(quine.plain_regeneration(q), jax.random.key(0), w, 10))(q, params)
    assert np.abs(last).max() < 1e-6
    assert infos.loss[0] > 80


def test_in_place_replaces_one_weight_after_the_other():
    q, params = born(1, hidden=(4,), encoding=quine.random_projection(3))
    expected = params
    for c in range(q.num_params):
        expected = expected.at[c].set(q.predict(expected)[c])
    got, _ = jax.jit(lambda q, w: quine.in_place_regeneration(q)(jax.random.key(0), w))(q, params)
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert np.abs(np.asarray(got) - q.regenerate(params)).max() > 1e-3


def test_newton_finds_the_quine_that_regeneration_finds():
    q, params = small()
    attractor = exact(q, params).params
    near = quine.noisy(jax.random.key(1), attractor, 0.05)
    found = jax.jit(quine.newton)(q, near)
    assert found.relative_error < 1e-6 and found.steps <= 8
    np.testing.assert_allclose(found.params, attractor, atol=1e-5)


@pytest.mark.slow
def test_continuation_finds_a_selu_quine_where_regeneration_wanders():
    q, params = born(8)
    assert exact(q, params).relative_error > 1e-2
    found = jax.jit(quine.exact_by_continuation)(q, -jnp.abs(params))
    error = np.linalg.norm(np.asarray(q.predict(found.params) - found.params, np.float64))
    assert error / np.linalg.norm(found.params) < 1e-6
    assert np.std(found.params) > 0.03


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda q: quine.homeostatic_regeneration(q, damping=0.0), r"damping must lie in \(0, 1\], got 0.0"),
        (lambda q: quine.homeostatic_regeneration(quine.from_network(q.network, q.addresses, degree=1)), "degree 1"),
        (lambda q: quine.exact_by_continuation(q, q.init(jax.random.key(0)), scales=(0.1, 0.5)), "end with 1"),
    ],
)
def test_bad_input_gets_one_line(make, message):
    with pytest.raises(ValueError, match=message):
        make(small()[0])
