"""Any flax module as the policy, and a whole run vmapped over seeds.

python examples/flax_policy_seeds.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

import neuralmutator as nm


class Gated(nn.Module):
    """A policy of one's own: two streams, one gates the other."""

    @nn.compact
    def __call__(self, x):
        """Three logits for an observation f32[6]."""
        gate = nn.sigmoid(nn.Dense(16)(x))
        return nn.Dense(3)(gate * nn.tanh(nn.Dense(16)(x)))


policy = nm.networks.from_flax(Gated(), jnp.zeros(6))
fitness = nm.fitness.episodes("Acrobot-v1", policy, episodes=3)
evolution = nm.evolution(policy, nm.mutators.self_adaptive(std=0.2), fitness, population_size=40)

keys = jax.random.split(jax.random.key(0), 4)
states, histories = jax.vmap(lambda key: nm.run(evolution, key, 10))(keys)
print("best return per seed, first and last generation")
print(histories.metrics["fitness_best"][:, 0].round(1), histories.metrics["fitness_best"][:, -1].round(1))
