"""Attention without softmax, norm or bias; and with a softmax, for comparison."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.metalearning.in_context.features import behind
from neuralmutator.networks import Network

SHORT = 3  # most layers whose query is answered without the pairs' tokens, see `_answer`

NAMES = ("query", "key", "value", "projection")
"""The matrices f32[D + 1, D + 1] of a layer, in the order of the flat parameters."""


def linear_attention(
    dim: int = 10,
    layers: int = 1,
    looped: bool = True,
    features: Network | None = None,
    clip: float | None = None,
    variance: float = 2e-3,
) -> Network:
    """Linear self-attention; its `apply` takes tokens f32[N + 1, D + 1] and gives the prediction f32[].

    ``activations`` gives the tokens after every layer and the prediction.

    Args:
        dim: D, of x; with `features`, their number.
        layers: L.
        looped: whether all layers are one, applied L times.
        features: a network before it that makes f32[D] of every x; its parameters come first. By default there is none.
        clip: bound of all tokens' entries after a layer; the paper's is 10 where L > 3. None: no bound.
        variance: of fresh weights, times D + 1; they are normal, cut at two standard deviations.

    Raises:
        ValueError: if a number is out of range.
    """
    return _attention(_linear, dim, layers, looped, features, clip, variance)


def softmax_attention(
    dim: int = 10,
    layers: int = 1,
    looped: bool = True,
    features: Network | None = None,
    clip: float | None = None,
    variance: float = 2e-3,
) -> Network:
    """`linear_attention`, but with a softmax over the pairs, of scores divided by √(D + 1).

    Raises:
        ValueError: if a number is out of range.
    """
    return _attention(_softmax, dim, layers, looped, features, clip, variance)


def _linear(scores: jax.Array) -> jax.Array:
    return scores


def _softmax(scores: jax.Array) -> jax.Array:
    return jax.nn.softmax(scores, axis=-1)


def _attention(
    weigh: Callable[[jax.Array], jax.Array],
    dim: int,
    layers: int,
    looped: bool,
    features: Network | None,
    clip: float | None,
    variance: float,
) -> Network:
    check.whole(1, dim=dim, layers=layers)
    check.number(0, open_low=True, variance=variance)
    if clip is not None:
        check.number(0, open_low=True, clip=clip)
    size = dim + 1
    stored = 1 if looped else layers
    scale = 1.0 if weigh is _linear else size**-0.5
    # A normal distribution that is cut at two standard deviations has 0.8796 of its standard deviation left.
    std = (variance / size) ** 0.5 / 0.87962566

    def init(key: jax.Array) -> jax.Array:
        return std * jax.random.truncated_normal(key, -2, 2, (stored * len(NAMES) * size**2,), jnp.float32)

    def stack(params: jax.Array) -> jax.Array:
        return params.reshape(stored, len(NAMES), size, size)

    def states(params: jax.Array, tokens: jax.Array, whole: bool) -> list[jax.Array]:
        """The tokens after every layer; without `whole`, after the last one only the query's, f32[1, D + 1]."""
        weights = stack(params)
        h, seen = tokens, []
        for layer in range(layers):
            query, key, value, projection = weights[0 if looped else layer]
            context = h[:-1]
            rows = h[-1:] if layer == layers - 1 and not whole else h
            # In this order a product with weights is one large product for a whole batch, and the others are small.
            scores = weigh(scale * (((rows @ query) @ key.T) @ context.T))
            h = rows + ((scores @ context) @ value) @ projection
            if clip is not None:
                h = jnp.clip(h, -clip, clip)
            seen.append(h)
        return seen

    def apply(params: jax.Array, tokens: jax.Array) -> jax.Array:
        if weigh is _linear and clip is None and layers <= SHORT:
            weights = stack(params)
            return _answer([weights[0 if looped else layer] for layer in range(layers)], tokens)
        return -states(params, tokens, whole=False)[-1][-1, -1]

    def activations(params: jax.Array, tokens: jax.Array) -> tuple[jax.Array, ...]:
        seen = states(params, tokens, whole=True)
        return (*seen, -seen[-1][-1, -1])

    sizes = (size**2,) * (stored * len(NAMES))
    return behind(features, dim, Network(sum(sizes), init, apply, activations, sizes=sizes))


Product = Callable[[jax.Array], jax.Array]


def _answer(layers: list[jax.Array], tokens: jax.Array) -> jax.Array:
    """What linear attention predicts, f32[], by products of matrices and vectors alone.

    Without a softmax the pairs' tokens C are needed only as C x and s C. After a layer they are C (1 + M) with
    M = Q Kᵀ Cᵀ C V P, and a product with M is four with small matrices and two with C. For a batch that is quicker than
    the tokens themselves, products of many small matrices, as long as there are few layers: L of them take (3^L - 1)
    products with C.

    Args:
        layers: f32[4, D + 1, D + 1] each.
        tokens: f32[N + 1, D + 1].
    """
    context, row = tokens[:-1], tokens[-1]
    times: Product = partial(jnp.matmul, context)
    back: Product = partial(jnp.matmul, context.T)
    for weights in layers:
        row = row + _read(weights, times, back, row)
        times, back = _behind_layer(weights, times, back)
    return -row[-1]


def _read(weights: jax.Array, times: Product, back: Product, row: jax.Array) -> jax.Array:
    """``row M``, f32[D + 1]."""
    query, key, value, projection = weights
    return (back(times((row @ query) @ key.T)) @ value) @ projection


def _behind_layer(weights: jax.Array, times: Product, back: Product) -> tuple[Product, Product]:
    """Products with the context after a layer, from those with the one before it."""
    query, key, value, projection = weights

    def later_times(x: jax.Array) -> jax.Array:
        return times(x + query @ (key.T @ back(times(value @ (projection @ x)))))

    def later_back(s: jax.Array) -> jax.Array:
        row = back(s)
        return row + _read(weights, times, back, row)

    return later_times, later_back
