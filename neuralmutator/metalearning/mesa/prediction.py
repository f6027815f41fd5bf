"""How well states are predicted, and how well ridge regression predicts them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.metalearning.mesa.attention import least_squares
from neuralmutator.metalearning.mesa.dynamics import Draw, Tokens, check_states, constructed_tokens
from neuralmutator.metalearning.training import Loss
from neuralmutator.networks import Network


def ridge(states: jax.Array, regularisation: float = 1e-3) -> jax.Array:
    """What ridge regression on the pairs so far predicts, f32[T, D] of states f32[T + 1, D]: the reference.

    Raises:
        ValueError: if states hold no pair, or `regularisation` is not above 0.
    """
    check_states(states)
    now = states[:-1]
    before = jnp.concatenate([jnp.zeros_like(now[:1]), now[:-1]])
    return least_squares(before, now, now, regularisation)


def errors(predict: Callable[[jax.Array], jax.Array], states: jax.Array) -> jax.Array:
    """Half the squared error of each prediction, summed over the D entries, mean over sequences, f32[T].

    Args:
        predict: ``states f32[T + 1, D] -> predictions f32[T, D]`` of s_2 … s_{T+1}.
        states: f32[B, T + 1, D].
    """
    return 0.5 * jnp.mean(jnp.sum((jax.vmap(predict)(states) - states[:, 1:]) ** 2, axis=-1), axis=0)


def predictor(network: Network, params: jax.Array, tokens: Tokens = constructed_tokens) -> Callable:
    """A network as what `errors` takes."""
    return lambda states: network.apply(params, tokens(states))


def sequence_loss(network: Network, draw: Draw, batch: int = 32, tokens: Tokens = constructed_tokens) -> Loss:
    """The mean of `errors` on fresh sequences, for `training`, or with a minus sign for an evolution.

    Raises:
        ValueError: if `batch` is not a whole number of at least 1.
    """
    check.whole(1, batch=batch)
    return lambda key, params: jnp.mean(errors(predictor(network, params, tokens), draw(key, batch)))
