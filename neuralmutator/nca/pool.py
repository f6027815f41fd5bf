"""What the rollouts of a training start from: always the same cells, or a pool of what became of them before."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check

RandomMask = Callable[[jax.Array], jax.Array]
"""``(key) -> f32[..., 1]``, what cells are multiplied by."""


class Starts(NamedTuple):
    """Where the rollouts of a batch start, as pure functions over a pool f32[N, ..., C], which may be empty."""

    batch_size: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> pool
    draw: Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]  # (key, pool) -> cells [B, ..., C], places
    keep: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (pool, places, what the cells became) -> pool


def same_start(start: jax.Array, batch_size: int = 8) -> Starts:
    """Every rollout starts from the same cells f32[..., C], and nothing is kept.

    Raises:
        ValueError: if the size is not a whole number of at least 1.
    """
    check.whole(1, batch_size=batch_size)

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.broadcast_to(start, (batch_size, *start.shape)), jnp.zeros(0, jnp.int32)

    return Starts(batch_size, lambda key: jnp.zeros((0, *start.shape), start.dtype), draw, lambda pool, *_: pool)


def renewed_starts(
    start: Callable[[jax.Array], jax.Array],
    batch_size: int = 4,
    pool_size: int = 128,
    renew: float = 1 / 8,
    damage: RandomMask | None = None,
    damaged: int = 0,
) -> Starts:
    """Rollouts start from what earlier ones became; now and then one of a batch begins anew, and some are damaged.

    Args:
        start: ``(key) -> cells f32[..., C]``, what cells begin as.
        batch_size: of the cells that are drawn from the pool, all of them different.
        pool_size: lattices of cells in the pool.
        renew: probability that the first of a batch begins anew.
        damage: what cells are multiplied by.
        damaged: cells of a batch that are damaged, the last ones.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, batch_size=batch_size)
    _check_damage(damage, damaged, batch_size)
    check.whole(batch_size, pool_size=pool_size)
    check.number(0, 1, renew=renew)

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_places, key_renew, key_start = jax.random.split(key, 3)
        places = _places(key_places, pool_size, batch_size)
        cells = _with_damage(jax.random.fold_in(key, 3), pool[places], damage, damaged)
        first = jnp.where(jax.random.bernoulli(key_renew, renew), start(key_start), cells[0])
        return cells.at[0].set(first), places

    def init(key: jax.Array) -> jax.Array:
        return jax.vmap(start)(jax.random.split(key, pool_size))

    return Starts(batch_size, init, draw, _put)


def pool_starts(
    start: jax.Array,
    loss: Callable[[jax.Array], jax.Array],
    damage: RandomMask | None = None,
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
        damage: what a grid is multiplied by.
        damaged: grids of a batch that are damaged.
        batch_size: grids that are drawn, all of them different.
        pool_size: grids in the pool.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(2, batch_size=batch_size)
    _check_damage(damage, damaged, batch_size)
    check.whole(batch_size, pool_size=pool_size)

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        key_places, key_damage = jax.random.split(key)
        places = _places(key_places, pool_size, batch_size)
        places = places[jnp.argsort(-jax.vmap(loss)(pool[places]))]  # the worst first
        return _with_damage(key_damage, pool[places].at[0].set(start), damage, damaged), places

    return Starts(batch_size, lambda key: jnp.broadcast_to(start, (pool_size, *start.shape)), draw, _put)


def _check_damage(damage: RandomMask | None, damaged: int, batch_size: int) -> None:
    check.whole(0, damaged=damaged)
    if damaged >= batch_size:
        raise ValueError(f"damaged must be less than batch_size, {batch_size}, got {damaged!r}")
    if damaged and damage is None:
        raise ValueError(f"damage must be given where grids are damaged, got None for {damaged}")


def _with_damage(key: jax.Array, cells: jax.Array, damage: RandomMask | None, damaged: int) -> jax.Array:
    """Cells [B, ..., C], the last `damaged` of them damaged."""
    if damage is None or not damaged:
        return cells
    return cells.at[cells.shape[0] - damaged :].multiply(jax.vmap(damage)(jax.random.split(key, damaged)))


def _places(key: jax.Array, pool_size: int, batch_size: int) -> jax.Array:
    return jax.random.choice(key, pool_size, (batch_size,), replace=False).astype(jnp.int32)


def _put(pool: jax.Array, places: jax.Array, cells: jax.Array) -> jax.Array:
    return pool.at[places].set(cells)
