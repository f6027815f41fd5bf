"""A network of tokens behind one that makes features."""

import jax
import jax.numpy as jnp

from neuralmutator.networks import Network


def behind(features: Network | None, dim: int, network: Network) -> Network:
    """A network of tokens behind one that makes features of each x. Tokens are checked here."""
    first = 0 if features is None else features.num_params

    def seen(params: jax.Array, tokens: jax.Array) -> jax.Array:
        if tokens.ndim != 2 or tokens.shape[0] < 2 or (features is None and tokens.shape[1] != dim + 1):
            width = dim + 1 if features is None else "D + 1"
            raise ValueError(f"tokens must have shape (N + 1, {width}) with at least 1 pair, got {tokens.shape}")
        if features is None:
            return tokens
        made = jax.vmap(features.apply, (None, 0))(params[:first], tokens[:, :-1])
        if made.shape != (tokens.shape[0], dim):
            raise ValueError(f"features must give {dim} numbers, got shape {made.shape[1:]}")
        return jnp.concatenate([made, tokens[:, -1:]], axis=1)

    def init(key: jax.Array) -> jax.Array:
        if features is None:
            return network.init(key)
        key_features, key_network = jax.random.split(key)
        return jnp.concatenate([features.init(key_features), network.init(key_network)])

    return Network(
        first + network.num_params,
        init,
        lambda params, tokens: network.apply(params[first:], seen(params, tokens)),
        lambda params, tokens: network.activations(params[first:], seen(params, tokens)),
        sizes=(() if features is None else features.sizes) + network.sizes,
    )
