from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm

KEY = jax.random.key(1)
POLICY = nm.networks.mlp(1, 1, hidden=())
N = 10


@pytest.fixture(scope="module")
def evolution():
    return nm.evolution(
        POLICY,
        nm.mutators.self_adaptive(),
        lambda key, genome: -jnp.sum(genome.policy**2),
        population_size=N,
        elites=2,
        crossover_rate=0.5,
    )


def test_drift_is_the_distance_from_the_founder_in_the_line_of_first_parents(evolution):
    tracked = nm.track_founders(evolution)
    step, state = jax.jit(tracked.step), jax.jit(tracked.init)(KEY)
    # One mutator parameter each, and founders that differ.
    population = state.population._replace(mutator=jnp.linspace(-1, 1, N)[:, None])
    state = state._replace(inner=state.inner._replace(population=population), mutators=population.mutator)
    founders, founder = np.asarray(population.mutator), np.arange(N)
    for t in range(5):
        drift = np.abs(np.asarray(state.population.mutator) - founders[founder])
        state, generation = step(jax.random.fold_in(KEY, t), state)
        np.testing.assert_allclose(generation.metrics["mutator_drift_mean"], drift.mean(), rtol=1e-5, atol=1e-7)
        np.testing.assert_allclose(generation.metrics["mutator_drift_max"], drift.max(), rtol=1e-5, atol=1e-7)
        founder = founder[np.asarray(generation.parents[:, 0])]
        np.testing.assert_array_equal(state.founder, founder)
    assert drift.max() > 0.1


def test_the_evolution_within_is_the_same(evolution):
    tracked = nm.track_founders(evolution)
    (alone, plain), (state, history) = (nm.run(each, KEY, 3) for each in (evolution, tracked))
    # Two programs, which round alike only where all of XLA's optimisations are on.
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), state.inner, alone)
    np.testing.assert_array_equal(history.parents, plain.parents)
    assert set(history.metrics) - set(plain.metrics) == {"mutator_drift_mean", "mutator_drift_max"}


def test_members_that_are_not_finite_do_not_count(evolution):
    tracked = nm.track_founders(evolution)
    state, tell = jax.jit(tracked.init)(KEY), jax.jit(tracked.tell)
    mutator = state.population.mutator.at[0].set(jnp.inf).at[1].set(3.0).at[2].set(0.5)
    inner = state.inner._replace(population=state.population._replace(mutator=mutator))
    fitness = jnp.arange(10.0).at[1].set(jnp.nan)
    _, generation = tell(KEY, state._replace(inner=inner), fitness)
    np.testing.assert_allclose(generation.metrics["mutator_drift_max"], 0.5)
    np.testing.assert_allclose(generation.metrics["mutator_drift_mean"], 0.5 / 8)
    _, generation = tell(KEY, state, jnp.full(N, jnp.nan))
    assert np.isnan(generation.metrics["mutator_drift_mean"]) and np.isnan(generation.metrics["mutator_drift_max"])
