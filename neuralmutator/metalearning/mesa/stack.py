"""Stacks of attention, and weights that are ridge regression."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check
from neuralmutator.metalearning.mesa.attention import Attention
from neuralmutator.networks import Network, from_functions


def transformer(
    layers: Sequence[Attention],
    dim: int = 10,
    width: int | None = None,
    key_size: int = 20,
    heads: int = 1,
    embedding: bool = False,
    regularisation: float = 1.0,
    clip: float = 10.0,
) -> Network:
    """A stack of attention, without norms, biases or perceptrons; its `apply` takes tokens f32[T, W].

    It gives f32[T, dim], the first entries of the stream after the last layer. ``activations`` gives the stream
    f32[T, width] after every layer, and the predictions.

    Args:
        layers: of `mesa`, `linear` and `softmax`.
        dim: D, of what is predicted.
        width: of the stream; by default 4 D. Constructed tokens are of this width.
        key_size: d of keys, queries and values of a head.
        heads: of a layer.
        embedding: whether tokens are f32[T, D], and the stream starts as a learnt linear map of them and of 2 D numbers
            that tell the position, sines and cosines of it.
        regularisation: λ of fresh mesa-layers; its logarithm is learnt.
        clip: bound of the stream after every layer; stacks of linear attention explode without.

    Raises:
        ValueError: if there is no layer, or a number is out of range.
    """
    if not layers:
        raise ValueError("layers must hold at least one attention, got none")
    check.whole(1, dim=dim, key_size=key_size, heads=heads)
    check.number(0, open_low=True, regularisation=regularisation, clip=clip)
    if width is None:
        width = 4 * dim
    check.whole(dim, width=width)
    inputs = dim if embedding else width

    def init(key: jax.Array) -> dict[str, Any]:
        def normal(key: jax.Array, shape: tuple[int, ...], scale: float = 1.0) -> jax.Array:
            return scale * shape[-2] ** -0.5 * jax.random.normal(key, shape, jnp.float32)

        made: dict[str, Any] = {"layers": []}
        key, key_embedding = jax.random.split(key)
        if embedding:
            made["embedding"] = normal(key_embedding, (3 * dim, width))
        for key_layer, layer in zip(jax.random.split(key, len(layers)), layers, strict=True):
            keys = jax.random.split(key_layer, 4)
            weights = {
                "keys": normal(keys[0], (heads, width, key_size)),
                "queries": normal(keys[1], (heads, width, key_size)),
                "values": normal(keys[2], (heads, width, key_size)),
                "outputs": normal(keys[3], (heads, key_size, width), 0.1 / len(layers)),
            }
            if layer.regularised:
                weights["log_regularisation"] = jnp.full(heads, np.log(regularisation), jnp.float32)
            made["layers"].append(weights)
        return made

    def states(params: dict[str, Any], tokens: jax.Array) -> list[jax.Array]:
        if tokens.ndim != 2 or tokens.shape[0] < 1 or tokens.shape[1] != inputs:
            raise ValueError(f"tokens must have shape (T, {inputs}) with T at least 1, got {tokens.shape}")
        stream, seen = tokens, []
        if embedding:
            stream = jnp.concatenate([tokens, positions(tokens.shape[0], 2 * dim)], axis=1) @ params["embedding"]
        for layer, weights in zip(layers, params["layers"], strict=True):

            def head(
                stream: jax.Array, weights: dict[str, jax.Array], attend: Callable[..., jax.Array] = layer.attend
            ) -> jax.Array:
                keys, queries, values = (stream @ weights[name] for name in ("keys", "queries", "values"))
                given = attend(keys, values, queries, jnp.exp(weights.get("log_regularisation", jnp.float32(0))))
                return given @ weights["outputs"]

            stream = jnp.clip(stream + jnp.sum(jax.vmap(head, (None, 0))(stream, weights), axis=0), -clip, clip)
            seen.append(stream)
        return seen

    def activations(params: dict[str, Any], tokens: jax.Array) -> tuple[jax.Array, ...]:
        seen = states(params, tokens)
        return (*seen, seen[-1][:, :dim])

    return from_functions(init, lambda params, tokens: activations(params, tokens)[-1], activations=activations)


def positions(length: int, size: int) -> jax.Array:
    """Sines and cosines of positions, f32[length, size], of wavelengths from 2 π to 2 · length."""
    waves = (size + 1) // 2
    angles = np.arange(length)[:, None] * np.geomspace(1, np.pi / max(length, 4), waves)
    return jnp.asarray(np.concatenate([np.sin(angles), np.cos(angles)], axis=1)[:, :size], jnp.float32)


def construction(network: Network, dim: int = 10, key_size: int = 20, regularisation: float = 1e-3) -> jax.Array:
    """Parameters of ``transformer([mesa()])`` on constructed tokens that make it ridge regression, exactly.

    Keys are s_{t-1}, values and queries s_t, and what the layer gives becomes the first D entries of the stream.

    Args:
        network: of one mesa-layer of one head, for `constructed_tokens`.
        dim: D.
        key_size: d, at least D.
        regularisation: λ of the regression.

    Raises:
        ValueError: if the network is another one, or λ is not above 0.
    """
    check.number(0, open_low=True, regularisation=regularisation)
    check.whole(1, dim=dim)
    check.whole(dim, key_size=key_size)
    if network.num_params != 4 * 4 * dim * key_size + 1:
        raise ValueError(
            f"network must be one mesa-layer of one head of size {key_size} on tokens of {4 * dim}, "
            f"got one of {network.num_params} parameters"
        )
    one = jnp.eye(dim, key_size)
    slot = lambda number: jnp.zeros((4 * dim, key_size)).at[number * dim : (number + 1) * dim].set(one)  # noqa: E731
    # Flat parameters are in the order of names: keys, log_regularisation, outputs, queries, values.
    parts = (slot(3), jnp.log(jnp.float32(regularisation)), slot(0).T, slot(2), slot(2))
    return jnp.concatenate([jnp.ravel(part) for part in parts])
