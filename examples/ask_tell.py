"""A fitness that is computed outside JAX: ask for a population, evaluate it as you like, tell the result.

python examples/ask_tell.py
"""

import jax
import numpy as np

import neuralmutator as nm

policy = nm.networks.mlp(obs=2, act=1, hidden=(8,))
evolution = nm.evolution(policy, nm.mutators.dual_mixture(), population_size=64)
x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
y = np.array([[0], [1], [1], [0]], np.float32)
answer = jax.jit(jax.vmap(jax.vmap(policy.apply, (None, 0)), (0, None)))
tell = jax.jit(evolution.tell)

key = jax.random.key(0)
state = jax.jit(evolution.init)(key)
for generation in range(201):
    population = evolution.ask(key, state)
    error = np.mean((np.asarray(answer(population.policy, x)) - y) ** 2, axis=(1, 2))  # NumPy: any host code
    state, info = tell(jax.random.fold_in(key, generation), state, -error)
    if generation % 40 == 0:
        print(f"generation {generation:3d}  XOR error of the best {error.min():.4f}")
