"""What the rollouts of a training start from: always the same grid, or a pool of what they grew before."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check


class Starts(NamedTuple):
    """Where the rollouts of a batch start, as pure functions over a pool f32[N, H, W, C], which may be empty."""

    batch_size: int
    init: Callable[[], jax.Array]  # () -> pool
    draw: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]  # (key, pool) -> grids [B, H, W, C], places
    keep: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (pool, places, what grids became) -> pool


def same_start(start: jax.Array, batch_size: int = 8) -> Starts:
    """Every rollout starts from one grid f32[H, W, C], and nothing is kept.

    Raises:
        ValueError: if the size is not a whole number of at least 1.
    """
    check.whole(1, batch_size=batch_size)

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.broadcast_to(start, (batch_size, *start.shape)), jnp.zeros(0, jnp.int32)

    return Starts(batch_size, lambda: jnp.zeros((0, *start.shape), start.dtype), draw, lambda pool, *_: pool)


def pool_starts(
    start: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
    damage: Callable[[jax.Array], jax.Array] | None = None,
    damaged: int = 0,
    batch_size: int = 8,
    pool_size: int = 1024,
) -> Starts:
    """Rollouts start from what earlier ones became.

    Of the grids that are drawn from the pool, that of the highest loss is replaced by `start`, and those of the lowest
    are damaged.

    Args:
        start: f32[H, W, C], what the pool is full of at first.
        loss: ``(grid) -> f32[]``.
        damage: ``(key) -> f32[H, W, 1]``, what a grid is multiplied by.
        damaged: grids of a batch that are damaged.
        batch_size: grids that are drawn, all of them different.
        pool_size: grids in the pool.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(2, batch_size=batch_size)
    check.whole(0, damaged=damaged)
    if damaged >= batch_size:
        raise ValueError(f"damaged must lie between 0 and {batch_size - 1}, got {damaged!r}")
    check.whole(batch_size, pool_size=pool_size)
    if damaged and damage is None:
        raise ValueError(f"damage must be given where grids are damaged, got None for {damaged}")

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_places, key_damage = jax.random.split(key)
        places = jax.random.choice(key_places, pool_size, (batch_size,), replace=False).astype(jnp.int32)
        places = places[jnp.argsort(-jax.vmap(loss)(pool[places]))]  # the worst first
        grids = pool[places].at[0].set(start)
        if damage is not None:
            masks = jax.vmap(damage)(jax.random.split(key_damage, damaged))
            grids = grids.at[batch_size - damaged :].multiply(masks)
        return grids, places

    return Starts(
        batch_size,
        lambda: jnp.broadcast_to(start, (pool_size, *start.shape)),
        draw,
        lambda pool, places, grids: pool.at[places].set(grids),
    )
