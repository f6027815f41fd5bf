"""Evolution finds rules of learning: every weight of a small network is an agent, and no gradient is computed anywhere.

Agents of one kind share a rule. A genome holds all four rules, 1,158 numbers. Its fitness is how well they teach fresh
networks sinusoids, with five batches of ten points each.

python examples/evolve_learning_rules.py
"""

import jax
import jax.numpy as jnp
import optax

import neuralmutator as nm
from neuralmutator.metalearning import message_passing as mp

GENERATIONS = 400
sizes = (1, 10, 1)
agents = mp.agents(sizes, "tanh", shared=True, message=2, hidden=2, widths=(8, 4), start=mp.spread_start(sizes))
lessons = mp.sinusoids()
evolution = nm.evolution(
    mp.as_network(agents, lessons, jax.random.key(0)),
    nm.mutators.gaussian(0.05),
    mp.learning_fitness(agents, lessons, lessons=16),
    population_size=64,
    decay=optax.linear_schedule(1.0, 0.2, GENERATIONS),
)
state, history = jax.jit(lambda key: nm.run(evolution, key, GENERATIONS))(jax.random.key(0))

judge = mp.learning_fitness(agents, lessons, lessons=128)  # the luckiest of the last generation is not the best
again = jax.jit(lambda state: jax.lax.map(lambda genome: judge(jax.random.key(1), genome), state.population))(state)
rules = state.population.policy[jnp.argmax(again)]

keys = jax.random.split(jax.random.key(2), 100)
new = mp.sinusoids(unseen=100)
curve = jax.jit(lambda p: jax.lax.map(lambda key: mp.learning_curve(agents, new, p, key), keys).mean(0))
descent = jax.jit(lambda rate: jax.vmap(lambda key: mp.descent_curve(agents, new, optax.sgd(rate), key))(keys).mean(0))
best = min((descent(rate) for rate in (0.03, 0.05, 0.1, 0.2)), key=lambda losses: losses[-1])
print("mean loss on 100 sinusoids that were never given, after 0 to 5 batches:")
for name, losses in (
    ("fresh rules", curve(mp.calibrated(agents, lessons, keys[0]))),
    ("evolved rules", curve(rules)),
    ("SGD, best rate", best),
):
    print(f"{name:15s}", "  ".join(f"{loss:.4f}" for loss in losses))
