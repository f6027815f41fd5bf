"""An automaton without gradients: the Neural Mutator breeds cells that grow a small flower from one of them.

python examples/evolve_automaton.py
"""

import jax
import jax.numpy as jnp
import numpy as np

import neuralmutator as nm

PICTURE = """
. . . . . . . . .
. . r r . r r . .
. . r r . r r . .
. . . . y . . . .
. . r r . r r . .
. . r r . r r . .
. . . . . . . . .
"""
COLOURS = {".": (0, 0, 0, 0), "r": (0.8, 0.15, 0.25, 1), "y": (0.95, 0.8, 0.2, 1)}
target = jnp.array([[COLOURS[cell] for cell in row.split()] for row in PICTURE.strip().splitlines()], jnp.float32)

automaton = nm.nca.growing(channels=6, hidden=16)
fitness = nm.nca.growth_fitness(automaton, target, steps=12, trials=4)
evolution = nm.evolution(
    nm.nca.network(automaton),
    nm.mutators.dual_mixture(gauss_scale=0.05),
    fitness,
    population_size=512,
    species=nm.speciation.none(),  # one target, one kind: the best go on as they are
)
state, history = nm.run(evolution, jax.random.key(0), generations=1000)

empty = float(jnp.mean(target**2))
print(f"an empty grid           loss {empty:.4f}")
for generation in (0, 25, 100, 300, 999):
    print(f"generation {generation:3d}          loss {-history.metrics['fitness_best'][generation]:.4f}")
keys = jax.random.split(jax.random.key(1), 100)
fresh = -np.asarray(jax.jit(jax.vmap(fitness, (0, None)))(keys, state.champion))
print(f"the champion, 100 fresh growths: loss {fresh.mean():.4f} ± {fresh.std():.4f} (mean ± std)")
