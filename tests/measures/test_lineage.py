"""Pedigrees, against a walk by hand."""

import jax
import jax.numpy as jnp
import numpy as np

import neuralmutator as nm
from neuralmutator import measures


def pedigree(generations=12, size=7, seed=0):
    return np.random.default_rng(seed).integers(0, size, (generations, size, 2)).astype(np.int32)


def test_founders_are_those_of_a_walk_back():
    parents = pedigree()
    found = measures.founders(jnp.asarray(parents))
    assert found.shape == (13, 7)
    for generation in range(13):
        for member in range(7):
            ancestor = member
            for t in reversed(range(generation)):
                ancestor = parents[t, ancestor, 0]
            assert found[generation, member] == ancestor


def test_shares_and_the_takeover():
    founder = jnp.array([[0, 1, 2, 3], [0, 0, 2, 2], [2, 2, 2, 2], [2, 2, 2, 2]])
    expected = [[0.25] * 4, [0.5, 0, 0.5, 0], [0, 0, 1, 0], [0, 0, 1, 0]]
    np.testing.assert_array_equal(measures.shares(founder), expected)
    assert measures.takeover(founder) == 2
    assert measures.takeover(founder[:2]) == 2  # it has not happened in so many


def test_the_pedigree_of_an_evolution_is_one():
    """An evolution that knows its founders agrees with what its recorded parents say."""
    policy = nm.networks.mlp(2, 1, (3,))
    evolution = nm.population.track_founders(
        nm.evolution(policy, nm.mutators.gaussian(), lambda key, g: -jnp.sum(g.policy**2), population_size=10)
    )
    state, seen = jax.jit(lambda key: nm.rollout(evolution.step, key, evolution.init(key), 9))(jax.random.key(0))
    np.testing.assert_array_equal(measures.founders(seen.parents)[-1], state.founder)
