"""Who descends from whom: founders and their lines in a pedigree, as runs record it."""

from functools import partial

import jax
import jax.numpy as jnp


def founders(parents: jax.Array) -> jax.Array:
    """The founder that every member descends from in the line of first parents, i32[G + 1, N].

    Args:
        parents: i32[G, N, 2], in each row the parents, in generation t, of the members of generation t + 1; an elite's
            parent is itself.
    """
    start = jnp.arange(parents.shape[1], dtype=jnp.int32)

    def step(founder: jax.Array, parent: jax.Array) -> tuple[jax.Array, jax.Array]:
        founder = founder[parent]
        return founder, founder

    return jnp.concatenate([start[None], jax.lax.scan(step, start, parents[:, :, 0])[1]])


def shares(founder: jax.Array) -> jax.Array:
    """Share of the population that descends from each founder, f32[..., N].

    Args:
        founder: i32[..., N].
    """
    size = founder.shape[-1]
    count = partial(jnp.bincount, length=size)
    counts = jax.vmap(count)(founder.reshape(-1, size)).reshape(founder.shape)
    return counts.astype(jnp.float32) / size


def takeover(founder: jax.Array) -> jax.Array:
    """The first generation in which all descend from one founder, i32[]; the number of generations if there is none.

    Args:
        founder: i32[G, N].
    """
    alone = jnp.max(shares(founder), axis=1) >= 1
    return jnp.where(jnp.any(alone), jnp.argmax(alone), founder.shape[0])
