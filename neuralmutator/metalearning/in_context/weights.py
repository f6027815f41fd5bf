"""Weights of attention that are gradient descent, and weights in a form that can be compared."""

from functools import partial

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.metalearning.in_context.attention import NAMES
from neuralmutator.metalearning.in_context.tasks import Tasks, mean_loss
from neuralmutator.networks import Network


def construction(rates: jax.Array, shrinks: jax.Array | None = None, *, dim: int = 10, pairs: int = 10) -> jax.Array:
    """Parameters of `linear_attention` that make it gradient descent, or GD++, exactly.

    With Q = K = diag(1 … 1, 0) the score of two tokens is x · x'. With V = 1 and P = diag(-γ/N … -γ/N, -η/N), y changes
    by -(η/N) Σ y' (x' · x), which is what the residual of x changes by in a step, and x by -(γ/N) Σ x' (x' · x).

    Args:
        rates: f32[K] η of each layer; K = 1 for one that is looped.
        shrinks: f32[K] γ of each layer; by default 0, which is gradient descent.
        dim: D.
        pairs: N, which the weights depend on.

    Raises:
        ValueError: if a number is out of range, or rates and shrinks are not of one length.

    Returns:
        f32[K · 4 (D + 1)²].
    """
    check.whole(1, dim=dim, pairs=pairs)
    rates = jnp.atleast_1d(jnp.asarray(rates, jnp.float32))
    shrinks = jnp.zeros_like(rates) if shrinks is None else jnp.atleast_1d(jnp.asarray(shrinks, jnp.float32))
    if rates.shape != shrinks.shape or rates.ndim != 1:
        raise ValueError(f"rates and shrinks must have one shape (K,), got {rates.shape} and {shrinks.shape}")
    one = jnp.eye(dim + 1)
    inputs = one.at[-1, -1].set(0.0)

    def layer(rate: jax.Array, shrink: jax.Array) -> jax.Array:
        return jnp.stack([inputs, inputs, one, -(shrink * inputs + rate * (one - inputs)) / pairs]).ravel()

    return jax.vmap(layer)(rates, shrinks).ravel()


def canonical(params: jax.Array, dim: int = 10) -> jax.Array:
    """The same linear attention in weights that can be compared: K = P = 1, and Q scaled to a mean diagonal of 1.

    A layer depends on Q Kᵀ and V P alone, and a factor may move from one to the other.

    Args:
        params: f32[L · 4 (D + 1)²] of `linear_attention` without features.
        dim: D.

    Raises:
        ValueError: if `params` has another shape.
    """
    check.whole(1, dim=dim)
    size = dim + 1
    if params.ndim != 1 or params.size % (len(NAMES) * size**2):
        raise ValueError(f"params must have shape (L * {len(NAMES) * size**2},), got {params.shape}")
    one = jnp.eye(size)

    def layer(weights: jax.Array) -> jax.Array:
        query, key, value, projection = weights
        scores, written = query @ key.T, value @ projection
        factor = jnp.trace(scores[:dim, :dim]) / dim
        return jnp.stack([scores / factor, one, written * factor, one])

    return jax.vmap(layer)(params.reshape(-1, len(NAMES), size, size)).ravel()


def interpolate(network: Network, params: jax.Array, other: jax.Array, tasks: Tasks, points: int = 11) -> jax.Array:
    """Losses f32[points] of the weights on the line from one network to another of the same kind.

    Give both as `canonical`, else what lies between them means nothing.

    Raises:
        ValueError: if the parameters differ in shape, or `points` is not a whole number of at least 2.
    """
    check.whole(2, points=points)
    if params.shape != other.shape:
        raise ValueError(f"params and other must have one shape, got {params.shape} and {other.shape}")
    return _interpolate(network, params, other, tasks, points)


@partial(jax.jit, static_argnums=(0, 4))
def _interpolate(network: Network, params: jax.Array, other: jax.Array, tasks: Tasks, points: int) -> jax.Array:
    shares = jnp.linspace(0, 1, points)
    return jax.lax.map(lambda share: mean_loss(network, (1 - share) * params + share * other, tasks), shares)
