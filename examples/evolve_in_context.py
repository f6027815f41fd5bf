"""Evolution instead of gradients: the Neural Mutator breeds an attention layer that learns from the pairs it reads.

A genome is 484 numbers, one layer of linear attention. Its fitness is how well it answers tasks of linear regression
that it has never seen, from ten pairs each. Von Oswald et al. 2022 have shown that gradients make such a layer into one
step of gradient descent. Here nothing computes a gradient, and it becomes nearly the same: its loss is 3 % above that
step's after 1,000 generations. Takes a minute or two.

python examples/evolve_in_context.py
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt

import neuralmutator as nm
from neuralmutator.metalearning import in_context

policy = in_context.linear_attention(variance=0.2)  # ten times the paper's weights: smaller ones hardly change the loss
RUN = jax.random.key(0)
draw = in_context.linear_tasks()
loss = in_context.task_loss(policy, draw, 256)


def fitness(key, genome):
    """Minus the loss on 256 fresh tasks, the same ones for the whole population."""
    return -loss(key, genome.policy)


evolution = nm.evolution(policy, nm.mutators.self_adaptive(0.02), fitness, population_size=256, recombine=32)
evolution = nm.hall_of_fame(evolution, fitness, centre=True)  # fresh tasks flatter the lucky: judge the best ones again
descent = in_context.gradient_descent()
rate, least = in_context.optimal_step()
tasks = jax.jit(lambda key: draw(key, 10_000))(jax.random.key(1))

print(f"one step of gradient descent: rate {rate:.3f}, loss {least:.4f} in closed form")
state, seen, generation = jax.jit(evolution.init)(jax.random.key(0)), [], 0
advance = jax.jit(lambda state, start, count: nm.rollout(evolution.step, RUN, state, count, start)[0], static_argnums=2)
for count in (1, 49, 50, 100, 300, 500, 500, 500, 500, 500):
    state = advance(state, generation, count)
    generation += count
    champion, _ = evolution.best(state)
    same = in_context.compare(policy, champion.policy, descent, jnp.array([rate]), tasks)
    seen.append((generation, float(same.loss / same.other_loss), float(same.cosine)))
    print("generation {:5d}: {:.3f} times its loss, cosine of sensitivities {:.3f}".format(*seen[-1]))

figure, (left, right, *pictures) = plt.subplots(1, 4, figsize=(14, 3.2), layout="constrained")
generations, ratios, cosines = zip(*seen, strict=True)
left.semilogx(generations, ratios, marker="o", markersize=3)
left.axhline(1, color="black", linewidth=0.8)
left.set(title="loss beside gradient descent's", xlabel="generation")
right.semilogx(generations, cosines, marker="o", markersize=3)
right.axhline(1, color="black", linewidth=0.8)
right.set(title="cosine of sensitivities", xlabel="generation")
for axes, title, params in zip(
    pictures, ("evolved", "gradient descent"), (champion.policy, in_context.construction(rate)), strict=True
):
    query, key, value, projection = params.reshape(4, 11, 11)
    # What a pair's x and y weigh for the query's x: the rate on the diagonal, if it is gradient descent.
    image = axes.imshow(-10 * (query @ key.T)[:10] * (value @ projection)[-1, -1], cmap="RdBu_r", vmin=-rate, vmax=rate)
    axes.set(title=f"Q Kᵀ · V P, {title}", xticks=[], yticks=[])
figure.colorbar(image, ax=pictures)
figure.savefig("evolved_attention.png", dpi=120)
print("see evolved_attention.png")
