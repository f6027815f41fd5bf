import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator import Genome, quine

KEY = jax.random.key(0)
Q = quine.vanilla(KEY, hidden=(6,), activation=quine.leaky_relu, encoding=quine.random_projection(6, 1.0))


def genome_of(params):
    return Genome(params, jnp.zeros(0), jnp.zeros(0), jnp.zeros(0, jnp.int32), jnp.zeros(()))


def test_fitness_is_the_relative_error_at_any_size():
    params = Q.init(KEY)
    predictions = np.asarray(Q.predict(params))
    expected = -np.linalg.norm(predictions - params) / np.linalg.norm(params)
    np.testing.assert_allclose(quine.fitness(Q)(KEY, genome_of(params)), expected, rtol=1e-5)
    assert not np.isfinite(quine.fitness(Q)(KEY, genome_of(0 * params)))  # the zero quine ranks last
    assert quine.fitness(Q)(KEY, genome_of(1e-3 * params)) < -0.9  # and shrinking earns nothing


@pytest.mark.slow
def test_the_neural_mutator_evolves_quines():
    mutator = nm.mutators.dual_mixture(gauss_scale=0.1)
    evolution = nm.evolution(Q.network, mutator, quine.fitness(Q), population_size=64)
    state, history = nm.run(evolution, KEY, 60)
    best = np.asarray(history.metrics["fitness_best"])
    assert best[-1] > best[0] + 0.25
    assert float(jnp.linalg.norm(evolution.best(state)[0].policy)) > 0.5
