"""Rules: from what a cell perceives to how it changes."""

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.nca.cells import Rule


def dense_rule(inputs: int, channels: int, hidden: int = 128, planes: bool = False) -> Rule:
    """Two dense layers with a ReLU between them; the second begins at zero, so that a new automaton stands still.

    Args:
        inputs: numbers that a cell perceives.
        channels: numbers in a cell.
        hidden: units between them.
        planes: compute with the cells side by side in memory, f32[F, ...]. It is the same function; faster on a CPU
            where cells are perceived by planes (`nca.torus`).

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
        if planes:
            units = jax.nn.relu(_by_planes(w["w1"], w["b1"], jnp.moveaxis(perceived, -1, 0)))
            return jnp.moveaxis(_by_planes(w["w2"], w["b2"], units), 0, -1)
        return jax.nn.relu(perceived @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    return Rule(first + hidden + second + channels, init, apply, unflatten)


def linear_rule(inputs: int, channels: int, std: float = 1e-3) -> Rule:
    """One matrix and a bias.

    Args:
        inputs: numbers that a cell perceives.
        channels: numbers in a cell.
        std: standard deviation that all parameters begin with.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    check.whole(1, inputs=inputs, channels=channels)
    check.number(0, std=std)

    def init(key: jax.Array) -> jax.Array:
        return std * jax.random.normal(key, ((inputs + 1) * channels,), jnp.float32)

    def unflatten(params: jax.Array) -> dict[str, jax.Array]:
        return {"w": params[: inputs * channels].reshape(inputs, channels), "b": params[inputs * channels :]}

    def apply(params: jax.Array, perceived: jax.Array) -> jax.Array:
        w = unflatten(params)
        return jnp.moveaxis(_by_planes(w["w"], w["b"], jnp.moveaxis(perceived, -1, 0)), 0, -1)

    return Rule((inputs + 1) * channels, init, apply, unflatten)


def _by_planes(matrix: jax.Array, bias: jax.Array, planes: jax.Array) -> jax.Array:
    """A dense layer f32[F, G] of planes f32[F, ...], f32[G, ...]."""
    columns = matrix.T @ planes.reshape(len(matrix), -1) + bias[:, None]
    return columns.reshape(-1, *planes.shape[1:])
