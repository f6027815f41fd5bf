import jax
import jax.numpy as jnp
import numpy as np
import pytest

from neuralmutator import measures, networks, quine, rollout
from neuralmutator.quine import Kind


@pytest.mark.parametrize(
    ("regenerate", "kind", "period"),
    [
        (lambda w: 0.5 * w, Kind.ZERO, 1),
        (lambda w: 2.0 * w, Kind.DIVERGENT, 0),
        (lambda w: jnp.full_like(w, jnp.nan), Kind.DIVERGENT, 0),
        (lambda w: w, Kind.EXACT, 1),
        (lambda w: -w, Kind.CYCLE, 2),
        (lambda w: jnp.roll(w, 1), Kind.CYCLE, 5),
        (lambda w: jnp.sin(7 * w) + 2, Kind.OTHER, 0),
    ],
)
def test_classes_of_fixed_points(regenerate, kind, period):
    starts = jnp.array([[1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 1.0, 7.0, 3.0, 0.5]])
    found = jax.jit(jax.vmap(lambda w: quine.fixed_point(regenerate, w, 60)))(starts)
    assert found.kind.tolist() == [kind] * 2
    assert found.period.tolist() == [period] * 2


def test_gabors_shares_of_fixed_points():
    """Their 50 weight-reading networks after 100 self-applications: 23 divergent, 27 zero."""
    q = quine.weightwise()
    nets = jax.vmap(q.init)(jax.random.split(jax.random.key(0), 10_000))
    kinds = jax.jit(jax.vmap(lambda w: quine.fixed_point(q.regenerate, w, 100).kind))(nets)
    shares = np.bincount(kinds, minlength=5) / 10_000
    assert shares[Kind.DIVERGENT] == pytest.approx(0.46, abs=0.14)  # two standard errors of 50
    assert shares[Kind.DIVERGENT] + shares[Kind.ZERO] > 0.999


@pytest.mark.slow
def test_self_training_makes_weight_readers_exact_and_they_remember_where_they_came_from():
    """Theirs: 50 of 50."""
    q, optimizer, key = quine.weightwise(), quine.OPTIMIZERS["sgd"], jax.random.key(1)
    nets = jax.vmap(q.init)(jax.random.split(key, 500))

    def train(params):
        step = quine.gradient(q, optimizer, batch_size=1)
        return rollout(step, key, quine.init_train_state(params, optimizer), 1000)[0].params

    trained = jax.jit(jax.vmap(train))(nets)
    kinds = jax.vmap(lambda w: quine.fixed_point(q.regenerate, w, 0).kind)(trained)
    assert np.mean(np.asarray(kinds) == Kind.EXACT) > 0.98
    assert measures.heredity(nets, trained) > 0.5  # by chance 0.002


def test_the_spectrum_is_that_of_the_whole_derivative():
    q = quine.vanilla(jax.random.key(0), hidden=(6,), encoding=quine.random_projection(5))
    params = q.init(jax.random.key(1))
    whole = np.linalg.eigvals(np.asarray(jax.jacobian(q.regenerate)(params), np.float64))
    largest = np.sort(np.abs(whole))[::-1][:3]
    np.testing.assert_allclose(np.abs(quine.spectrum(q.regenerate, params, 3)), largest, rtol=1e-2)


@pytest.fixture(scope="module")
def exact_quine():
    q = quine.vanilla(jax.random.key(0), activation=quine.leaky_relu, encoding=quine.random_projection(std=0.03))
    return q, jax.jit(quine.exact)(q, q.init(jax.random.key(1))).params


DAMAGES = {
    "half zeroed": lambda key, w: quine.zeroed(key, w, 0.5),
    "nine tenths zeroed": lambda key, w: quine.zeroed(key, w, 0.9),
    "shuffled": quine.shuffled,
    "as much noise as signal": lambda key, w: quine.noisy(key, w, 1.0),
}


@pytest.mark.parametrize(
    "name", ["half zeroed", *(pytest.param(name, marks=pytest.mark.slow) for name in list(DAMAGES)[1:])]
)
def test_an_exact_quine_repairs_itself(exact_quine, name):
    q, params = exact_quine
    damaged = DAMAGES[name](jax.random.key(2), params)

    @jax.jit
    def distances(q, damaged, params):
        return quine.distance_after(quine.homeostatic_regeneration(q), params, damaged, 60)

    path = distances(q, damaged, params)
    assert path[0] > 0.3 and path[-1] < 1e-5


def test_damages_are_what_they_say():
    w, key = jax.random.normal(jax.random.key(0), (2000,)), jax.random.key(1)
    assert np.mean(np.asarray(quine.zeroed(key, w, 0.9)) == 0) == pytest.approx(0.9, abs=0.03)
    np.testing.assert_array_equal(np.sort(quine.shuffled(key, w)), np.sort(w))
    assert np.linalg.norm(quine.noisy(key, w, 0.2) - w) == pytest.approx(0.2 * np.linalg.norm(w), rel=1e-4)


def test_stability_of_any_network():
    network = networks.mlp(2, 1, (3,), bias=False)
    q = quine.from_network(network, jax.random.normal(jax.random.key(0), (9, 2)), degree=2)
    params = q.init(jax.random.key(1))
    moved = (q.predict(1.001 * params) - q.predict(params)) / 0.001
    expected = np.vdot(params, moved) / np.vdot(params, params)
    assert float(quine.radial_multiplier(q.regenerate, params)) == pytest.approx(expected, rel=1e-2)
