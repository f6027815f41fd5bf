"""A sweep in one program: 16 settings of a mutator times 8 seeds, on a regression task; numbers are vmapped like keys.

python examples/sweep.py
"""

import jax
import jax.numpy as jnp
import numpy as np

import neuralmutator as nm

STDS, RATES, SEEDS = (0.01, 0.03, 0.1, 0.3), (0.0, 0.1, 0.3, 1.0), 8
policy = nm.networks.mlp(obs=1, act=1, hidden=(8,))
x = jnp.linspace(-3, 3, 24)[:, None]


def sine(key, genome):
    """Minus the squared error of a sine."""
    return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, x) - jnp.sin(x)) ** 2)


def best(std, learning_rate, key):
    """What the best of the last generation is worth; the numbers are traced."""
    mutator = nm.mutators.self_adaptive(std, learning_rate)
    evolution = nm.evolution(policy, mutator, sine, population_size=32, elites=2)
    return nm.run(evolution, key, generations=100)[1].metrics["fitness_best"][-1]


over_seeds = jax.vmap(best, (None, None, 0))
over_settings = jax.jit(jax.vmap(jax.vmap(over_seeds, (None, 0, None)), (0, None, None)))
keys = jax.random.split(jax.random.key(0), SEEDS)
errors = -np.asarray(over_settings(jnp.array(STDS), jnp.array(RATES), keys))  # f32[4, 4, 8]

print(f"median squared error of {SEEDS} seeds; rows: first step size, columns: how fast the step size mutates")
print("       " + "".join(f"{rate:8.1f}" for rate in RATES))
for std, row in zip(STDS, np.median(errors, axis=2), strict=True):
    print(f"{std:7.2f}" + "".join(f"{error:8.4f}" for error in row))
