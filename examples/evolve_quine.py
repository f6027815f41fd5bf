"""Evolution instead of gradients: the Neural Mutator breeds small networks that say what their weights are.

python examples/evolve_quine.py
"""

import jax

import neuralmutator as nm

key_quine, key_run = jax.random.split(jax.random.key(0))
q = nm.quine.vanilla(
    key_quine, hidden=(8,), activation=nm.quine.leaky_relu, encoding=nm.quine.random_projection(8, 1.0)
)
evolution = nm.evolution(q.network, nm.mutators.dual_mixture(gauss_scale=0.1), nm.quine.fitness(q), population_size=256)
state, history = nm.run(evolution, key_run, generations=400)

for generation in (0, 25, 100, 399):
    print(f"generation {generation:3d}  relative error of the best {-history.metrics['fitness_best'][generation]:.3f}")
champion, _ = evolution.best(state)
measured = nm.quine.replication(champion.policy, q.predict(champion.policy))
print(f"the best of {q.num_params} weights: unexplained {measured.unexplained:.3f}, norm {measured.norm:.2f}")
