"""Analyses of genomes whose mutators are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import neuralmutator as nm
from neuralmutator.study import analyse, analysis

PARENTS = np.array([[[0, 1], [0, 0], [2, 2]], [[0, 0], [0, 2], [1, 1]], [[1, 1], [1, 0], [2, 0]]], np.int32)
KEY = jax.random.key(0)
POLICY = nm.networks.mlp(4, 2, (3,))
MOMENTUM = nm.mutators.momentum(POLICY.num_params, std=1.0, inertia=0.5)
FITNESS = nm.fitness.episodes("CartPole-v1", POLICY, episodes=1, max_steps=20)


def genome_of(last_change):
    """A genome whose momentum is the same in every weight."""
    params = jnp.full(POLICY.num_params, last_change)
    nothing = jnp.zeros(0)
    return nm.Genome(POLICY.init(jax.random.key(1)), params, nothing, jnp.zeros(0, jnp.int32), jnp.float32(0))


def test_momentum_shows_in_its_own_changes_and_in_no_null():
    """A last change of 20 in every weight: children of its own all go that way, an untrained mutator's nowhere."""
    another = genome_of(-20.0).mutator
    found = analyse(
        KEY, genome_of(20.0), POLICY, MOMENTUM, FITNESS, PARENTS, another=another, children=32, evaluations=1
    )
    assert found.shapes[analysis.OWN].correlation > 0.95 and found.shapes[analysis.OWN].drift_share > 0.95
    assert found.shapes[analysis.ANOTHERS].correlation > 0.95
    for source in (analysis.UNTRAINED, analysis.NULL, analysis.WHITE):
        assert abs(found.shapes[source].correlation) < 0.1
    sizes = [found.sizes[source][0] for source in (analysis.OWN, analysis.NULL, analysis.WHITE)]
    np.testing.assert_allclose(sizes, sizes[0], rtol=0.1)
    np.testing.assert_allclose(found.sizes[analysis.OWN] / sizes[0], analysis.FACTORS)
    np.testing.assert_allclose(np.mean(found.changed, axis=0), 10.0, atol=1.0)
    assert list(found.starts) == [0, 3, 15, 17]  # biases and weights of both layers
    np.testing.assert_array_equal(found.founders, [3, 2, 1, 1])
    assert found.takeover == 2


def test_what_changes_are_worth_is_what_a_loop_says():
    genome = genome_of(1.0)
    found = analyse(KEY, genome, POLICY, MOMENTUM, FITNESS, PARENTS, children=8, evaluations=2)
    assert analysis.ANOTHERS not in found.shapes  # none was given
    fitness, keys = jax.jit(FITNESS), jax.random.split(jax.random.split(KEY, 5)[4], 2)
    for i, factor in enumerate(analysis.FACTORS):

        def worth(params):
            return np.mean([fitness(key, genome._replace(policy=params))[0] for key in keys])

        gains = [worth(genome.policy + factor * x) - worth(genome.policy) for x in found.changed]
        assert found.better[analysis.OWN][i] == np.mean(np.array(gains) > 0)
        assert found.gain[analysis.OWN][i] == pytest.approx(np.mean(np.maximum(gains, 0)), abs=1e-5)


def test_only_weights_in_use_are_looked_at():
    policy = nm.networks.flexible_mlp(4, 2, max_width=32, initial_widths=(32,))
    fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=1, max_steps=20)
    genome = genome_of(0.0)._replace(policy=policy.init(KEY), mutator=jnp.zeros(0), topology=jnp.array([20, 0]))
    found = analyse(KEY, genome, policy, nm.mutators.gaussian(), fitness, PARENTS, children=8, evaluations=1)
    assert found.changed.shape == (8, 20 * 5 + 21 * 2)
    assert list(found.starts) == [0, 80, 100, 140]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"children": 1}, "children must be a whole number of at least 2, got 1"),
        ({"evaluations": 0}, "evaluations must be a whole number of at least 1, got 0"),
    ],
)
def test_too_little_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        analyse(KEY, genome_of(0.0), POLICY, MOMENTUM, FITNESS, PARENTS, **arguments)
