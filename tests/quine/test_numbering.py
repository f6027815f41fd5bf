import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from neuralmutator import quine


def small(seed, hidden=(6, 5), width=4, activation=jax.nn.selu):
    key_quine, key_weights = jax.random.split(jax.random.key(seed))
    q = quine.vanilla(key_quine, hidden, activation, quine.random_projection(width))
    return q, q.init(key_weights)


@pytest.mark.slow
def test_no_numbering_of_all_is_better():
    q, params = small(0, hidden=(2,), width=2)
    assert q.num_params == 6
    best = q.renumbered(quine.best_numbering(q, params)).loss(params)
    losses = [float(q.renumbered(jnp.array(order)).loss(params)) for order in itertools.permutations(range(6))]
    assert float(best) == pytest.approx(min(losses), rel=1e-6)
    assert max(losses) > 1.1 * min(losses)


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_optimal_assignment(seed):
    q, params = small(seed)
    numbering = np.asarray(quine.best_numbering(q, params))
    assert sorted(numbering) == list(range(q.num_params))
    costs = (np.asarray(params)[:, None] - np.asarray(q.predict(params))[None]) ** 2
    rows, columns = linear_sum_assignment(costs)
    assert float(q.renumbered(numbering).loss(params)) == pytest.approx(costs[rows, columns].sum(), rel=1e-5)


def test_the_best_numbering_of_the_best_changes_nothing():
    q, params = small(1)
    q = q.renumbered(quine.best_numbering(q, params))
    np.testing.assert_array_equal(quine.best_numbering(q, params), np.arange(q.num_params))


def test_a_quine_that_is_found_without_keeps_its_numbering():
    q, params = small(0, (30, 30), 30, quine.leaky_relu)
    found = jax.jit(quine.exact_with_renumbering)(q, params)
    np.testing.assert_array_equal(found.numbering, np.arange(q.num_params))
    np.testing.assert_array_equal(found.exact.params, jax.jit(quine.exact)(q, params).params)


@pytest.mark.slow
def test_the_papers_network_is_exact_where_regeneration_wanders():
    key_quine, key_weights = jax.random.split(jax.random.key(5))
    q = quine.vanilla(key_quine)
    params = -jnp.abs(q.init(key_weights))
    assert float(jax.jit(quine.exact)(q, params).relative_error) > 0.1
    numbering, found = jax.jit(quine.exact_with_renumbering)(q, params)
    renumbered = q.renumbered(numbering)
    assert sorted(np.asarray(numbering)) == list(range(q.num_params))
    missed = np.asarray(renumbered.predict(found.params), np.float64) - np.asarray(found.params, np.float64)
    assert np.linalg.norm(missed) <= 1e-6 * np.linalg.norm(found.params)
    assert float(found.params.std()) > 0.01


def test_a_network_that_reads_its_weights_cannot_be_renumbered():
    q = quine.weightwise()
    with pytest.raises(ValueError, match="read its weights"):
        quine.best_numbering(q, q.init(jax.random.key(0)))
