"""Compose one's own fitness: three lines of a regression task, a price on large weights, and a gymnax task.

python examples/custom_fitness.py
"""

import jax
import jax.numpy as jnp

import neuralmutator as nm

policy = nm.networks.mlp(obs=1, act=1, hidden=(16,))


def sine(key, genome):
    """Minus the squared error of a sine, at points drawn anew each generation."""
    x = jax.random.uniform(key, (32, 1), minval=-3.0, maxval=3.0)
    return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, x) - jnp.sin(x)) ** 2)


def small(key, genome):
    """Minus the mean squared weight."""
    return -jnp.mean(genome.policy**2)


evolution = nm.evolution(
    policy,
    nm.mutators.self_adaptive(),
    nm.fitness.combine([sine, small], weights=[1.0, 1e-3]),
    population_size=128,
)
state, history = nm.run(evolution, jax.random.key(0), generations=300)
print("mean squared error of the best, first and last generation:")
print(f"{-history.metrics['fitness_best'][0]:.3f}  {-history.metrics['fitness_best'][-1]:.4f}")
