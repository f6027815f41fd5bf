"""Populations on several devices, in a process of their own: that of the tests has a single device."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend.backend import clear_backends

import neuralmutator as nm
from neuralmutator import fitness, networks
from neuralmutator.core import evaluate_members
from neuralmutator.core.genome import Genome, take
from neuralmutator.runs.devices import use_all_cores

POLICY = networks.mlp(4, 2, (4,))
PLAIN = fitness.episodes("CartPole-v1", POLICY, episodes=2)


def population_of(members):
    params = 3 * np.random.default_rng(members).normal(size=(members, POLICY.num_params))
    nothing = jnp.zeros((members, 0))
    return Genome(jnp.float32(params), nothing, nothing, jnp.zeros((members, 0), jnp.int32), jnp.zeros(members))


def total(key, genome):
    return jnp.sum(genome.policy)


def compare_devices():
    use_all_cores()
    assert len(jax.devices()) == len(os.sched_getaffinity(0))
    clear_backends()
    jax.config.update("jax_num_cpu_devices", 3)
    spread = fitness.sharded(PLAIN)
    assert spread.mesh.size == 3 and fitness.sharded(PLAIN, jax.devices()[1:]).mesh.size == 2
    evaluate = jax.jit(evaluate_members, static_argnums=(0, 3))
    seen = set()

    def compare(one, several, own, members, block_size):
        keys = jax.random.split(jax.random.key(1), members) if own else jax.random.key(1)
        want, got = (evaluate(f, keys, population_of(members), block_size) for f in (one, several))
        jax.tree.map(np.testing.assert_array_equal, want, got)
        seen.update(want[0].tolist())

    for own, members, block_size in ((True, 7, None), (False, 7, 2), (True, 2, None), (False, 2, None)):
        compare(PLAIN, spread, own, members, block_size)
    compare(fitness.combine([total, PLAIN]), fitness.combine([total, spread]), False, 6, None)
    assert len(seen) > 10, seen
    genome = take(population_of(2), 0)
    assert jax.jit(spread)(jax.random.key(0), genome)[0] == jax.jit(PLAIN)(jax.random.key(0), genome)[0]
    means = []
    for score in (PLAIN, spread):
        evolution = nm.evolution(POLICY, nm.mutators.gaussian(), score, population_size=7)
        means.append(nm.run(evolution, jax.random.key(0), 3)[1].metrics["fitness_mean"])
    np.testing.assert_allclose(*means, rtol=1e-6)


@pytest.mark.slow
def test_a_population_is_worth_the_same_on_three_devices_as_on_one():
    """Members that no device divides, fewer members than devices; common episodes and own ones; whole generations."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_single_device_needs_no_sharding():
    assert fitness.sharded(PLAIN) is PLAIN and fitness.sharded(PLAIN, jax.devices()[:1]) is PLAIN


def test_no_devices_are_refused():
    with pytest.raises(ValueError, match="devices must be at least one, got none"):
        fitness.sharded(PLAIN, [])


if __name__ == "__main__":
    compare_devices()
