"""A reaction network as a genome: evolution finds the rates of an AND gate among 36 reactions, without gradients.

python examples/chemistry.py
"""

import jax
import jax.numpy as jnp

import neuralmutator as nm
from neuralmutator import chemistry

reactions = chemistry.all_reactions("ABC", conserve=True)
policy = chemistry.reaction_network(reactions, inputs=("A", "B"), outputs=("C",), steps=60)
inputs = jnp.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
wanted = jnp.array([[0.0], [0.0], [0.0], [1.0]])


def fitness(key, genome):
    """Minus the mean squared error of C at the end."""
    return -jnp.mean((jax.vmap(policy.apply, (None, 0))(genome.policy, inputs) - wanted) ** 2)


evolution = nm.evolution(policy, nm.mutators.self_adaptive(0.3), fitness, population_size=64)
state, history = nm.run(evolution, jax.random.key(0), generations=100)
champion, _ = evolution.best(state)
best = history.metrics["fitness_best"]
print(f"mean squared error of the best, first and last generation: {-best[0]:.3f}  {-best[-1]:.4f}")
for x, y in zip(inputs, jax.vmap(policy.apply, (None, 0))(champion.policy, inputs), strict=True):
    print(f"A = {x[0]:.0f}, B = {x[1]:.0f}: C = {y[0]:.2f}")
print(chemistry.describe(reactions, chemistry.positive(champion.policy), least=0.1))
