"""The library in ten lines: evolve a population of self-rewriting genomes on CartPole.

python examples/evolve_cartpole.py
"""

import jax

import neuralmutator as nm

key = jax.random.key(0)
policy = nm.networks.flexible_mlp(obs=4, act=2)
fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=5)
evolution = nm.evolution(policy, nm.mutators.dual_mixture(), fitness, population_size=80)
state, history = nm.run(evolution, key, generations=20)  # one lax.scan; vmap it over keys for seeds

for generation in range(0, 20, 4):
    best, mean = (history.metrics[name][generation] for name in ("fitness_best", "fitness_mean"))
    print(f"generation {generation:2d}  best {best:5.1f}  mean {mean:5.1f}")
