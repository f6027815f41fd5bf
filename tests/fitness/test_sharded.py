"""Populations on several devices, in processes of their own: this one has a single device."""

import subprocess
import sys

import jax
import pytest

from neuralmutator import fitness, networks

SAME = """
import os
import jax, jax.numpy as jnp, numpy as np
import neuralmutator as nm
from neuralmutator.evolution import evaluate_members
from neuralmutator.experiment.devices import use_all_cores

use_all_cores()
assert len(jax.devices()) == len(os.sched_getaffinity(0))
jax.extend.backend.clear_backends()
jax.config.update("jax_num_cpu_devices", 3)

policy = nm.networks.mlp(4, 2, (4,))
plain = nm.fitness.episodes("CartPole-v1", policy, episodes=2)
spread = nm.fitness.sharded(plain)
assert spread.mesh.size == 3 and nm.fitness.sharded(plain, jax.devices()[1:]).mesh.size == 2
several = nm.fitness.combine([lambda key, genome: jnp.sum(genome.policy), spread])
lengths = set()
for members in (7, 3, 2):
    params = 3 * jax.random.normal(jax.random.key(members), (members, policy.num_params))
    none = jnp.zeros((members, 0))
    population = nm.Genome(params, none, none, none.astype(jnp.int32), jnp.zeros(members))
    for keys in (jax.random.key(1), jax.random.split(jax.random.key(1), members)):
        for block_size in (None, 2):
            run = lambda function: jax.jit(
                lambda keys, population: evaluate_members(function, keys, population, block_size)
            )(keys, population)
            (want, steps), (got, shared) = run(plain), run(spread)
            np.testing.assert_array_equal(want, got)
            np.testing.assert_array_equal(steps["env_steps"], shared["env_steps"])
            lengths |= set(np.asarray(want).tolist())
    assert run(several)[0].shape == (members,)
assert len(lengths) > 6
np.testing.assert_allclose(jax.jit(spread)(jax.random.key(0), jax.tree.map(lambda x: x[0], population))[0], 
    jax.jit(plain)(jax.random.key(0), jax.tree.map(lambda x: x[0], population))[0])

evolve = lambda function: nm.run(
    nm.evolution(policy, nm.mutators.gaussian(), function, population_size=7), jax.random.key(0), 3
)[1].metrics["fitness_mean"]
np.testing.assert_allclose(evolve(plain), evolve(spread), rtol=1e-6)
print("as one")
"""


def test_a_population_is_worth_the_same_on_three_devices_as_on_one():
    """Members that no device divides, fewer members than devices; common episodes and own ones; whole generations."""
    done = subprocess.run([sys.executable, "-c", SAME], capture_output=True, text=True)
    assert done.stdout == "as one\n", done.stderr


def test_a_single_device_needs_no_sharding():
    score = fitness.episodes("CartPole-v1", networks.mlp(4, 2, (4,)))
    assert fitness.sharded(score) is score and fitness.sharded(score, jax.devices()[:1]) is score


def test_no_devices_are_refused():
    with pytest.raises(ValueError, match="devices must be at least one, got none"):
        fitness.sharded(lambda key, genome: 0.0, [])
