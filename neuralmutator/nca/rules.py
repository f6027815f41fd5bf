"""Rules: from what a cell perceives to how it changes."""

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.nca.cells import Rule


def dense_rule(inputs: int, channels: int, hidden: int = 128) -> Rule:
    """Two dense layers with a ReLU between them; the second begins at zero, so that a new automaton stands still.

    Args:
        inputs: numbers that a cell perceives.
        channels: numbers in a cell.
        hidden: units between them.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    check.whole(1, inputs=inputs, channels=channels, hidden=hidden)
    first, second = inputs * hidden, hidden * channels

    def init(key: jax.Array) -> jax.Array:
        weights = jax.nn.initializers.glorot_uniform()(key, (inputs, hidden), jnp.float32).reshape(-1)
        return jnp.concatenate([weights, jnp.zeros(hidden + second + channels, jnp.float32)])

    def unflatten(params: jax.Array) -> dict[str, jax.Array]:
        w1, b1, w2, b2 = jnp.split(params, (first, first + hidden, first + hidden + second))
        return {"w1": w1.reshape(inputs, hidden), "b1": b1, "w2": w2.reshape(hidden, channels), "b2": b2}

    def apply(params: jax.Array, perceived: jax.Array) -> jax.Array:
        w = unflatten(params)
        return jax.nn.relu(perceived @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    return Rule(first + hidden + second + channels, init, apply, unflatten)
