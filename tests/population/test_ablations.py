"""Evolutions whose heredity of mutators is broken, generation by generation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm

KEY = jax.random.key(6)
POLICY = nm.networks.mlp(2, 1, hidden=())
N = 8


def build(kind):
    inner = nm.evolution(
        POLICY,
        nm.mutators.self_adaptive(0.2),
        lambda key, genome: -jnp.sum(genome.policy**2),
        population_size=N,
        elites=2,
    )
    return inner, nm.population.ablated(inner, kind)


@pytest.mark.parametrize("kind", ["shuffled", "frozen", "mean"])
def test_only_the_mutators_of_the_next_population_are_replaced(kind):
    inner, evolution = build(kind)
    state, step, plain = jax.jit(evolution.init)(KEY), jax.jit(evolution.step), jax.jit(inner.step)
    founders, founder = np.array(state.population.mutator), np.arange(N)
    for t in range(4):
        key = jax.random.fold_in(KEY, t)
        whole, seen = plain(key, state.inner)  # what the evolution within makes of the same state
        state, generation = step(key, state)
        np.testing.assert_array_equal(generation.parents, seen.parents)
        np.testing.assert_allclose(state.population.policy, whole.population.policy, rtol=1e-5, atol=1e-6)
        founder = founder[np.asarray(seen.parents)[:, 0]]
        made, found = np.asarray(whole.population.mutator), np.asarray(state.population.mutator)
        wanted = {
            "shuffled": lambda made=made: np.sort(made, axis=0),
            "frozen": lambda founder=founder: founders[founder],
            "mean": lambda made=made: np.broadcast_to(made.mean(0), made.shape),
        }[kind]()
        np.testing.assert_allclose(np.sort(found, axis=0) if kind == "shuffled" else found, wanted, rtol=1e-5)
        if kind == "shuffled":
            assert np.any(found != made)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of shuffled, frozen, mean, got 'random'"):
        nm.population.ablated(build("mean")[0], "random")
