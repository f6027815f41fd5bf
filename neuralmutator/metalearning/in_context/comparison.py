"""How alike two networks of tokens are."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.metalearning.in_context.tasks import Tasks, mean_loss
from neuralmutator.networks import Network


class Comparison(NamedTuple):
    """Two networks on the same tasks. The sensitivity of a prediction is its derivative by the query, f32[D]."""

    loss: jax.Array  # f32[] of the first
    other_loss: jax.Array  # f32[] of the second
    difference: jax.Array  # f32[] mean |ŷ - ŷ'| of the predictions
    cosine: jax.Array  # f32[] mean cosine between sensitivities
    distance: jax.Array  # f32[] mean length of the difference of sensitivities


@partial(jax.jit, static_argnums=(0, 2))
def compare(network: Network, params: jax.Array, other: Network, other_params: jax.Array, tasks: Tasks) -> Comparison:
    """The paper's measures of how alike two networks of tokens are.

    Where a sensitivity is 0, the cosine is 0.
    """
    one, slopes = _sensitivities(network, params, tasks.tokens)
    two, other_slopes = _sensitivities(other, other_params, tasks.tokens)
    lengths = jnp.linalg.norm(slopes, axis=-1) * jnp.linalg.norm(other_slopes, axis=-1)
    return Comparison(
        0.5 * jnp.mean((one - tasks.answers) ** 2),
        0.5 * jnp.mean((two - tasks.answers) ** 2),
        jnp.mean(jnp.abs(one - two)),
        jnp.mean(jnp.sum(slopes * other_slopes, axis=-1) / jnp.maximum(lengths, 1e-12)),
        jnp.mean(jnp.linalg.norm(slopes - other_slopes, axis=-1)),
    )


def _sensitivities(network: Network, params: jax.Array, tokens: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Predictions f32[B] and their derivatives by the query f32[B, D]."""

    def predict(query: jax.Array, tokens: jax.Array) -> jax.Array:
        return network.apply(params, tokens.at[-1, :-1].set(query))

    return jax.vmap(jax.value_and_grad(predict))(tokens[:, -1, :-1], tokens)


@partial(jax.jit, static_argnums=(0, 2))
def loss_ratios(
    network: Network, params: jax.Array, other: Network, other_params: jax.Array, tasks: tuple[Tasks, ...]
) -> jax.Array:
    """How the losses of two networks compare on each of several sets of tasks, f32[len(tasks)].

    Sets of another `span` or `spread` than those of the training show what a network has learnt beyond them.
    """
    return jnp.stack([mean_loss(network, params, t) / mean_loss(other, other_params, t) for t in tasks])
