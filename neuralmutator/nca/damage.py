"""What is done to a grown pattern: masks f32[H, W, 1] of 0 (erased) and 1, which grids are multiplied by."""

from collections.abc import Callable
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check

Damage = Literal["left", "right", "top", "bottom", "centre"]
"""The article's five: halves that are erased, and a square of 16 × 16 cells."""


RandomDamage = Callable[[jax.Array, int, int], jax.Array]
"""``(key, height, width) -> mask f32[height, width, 1]``, such as `random_disc`."""


def random_disc(
    key: jax.Array, height: int, width: int, largest: float = 0.4, furthest: float = 0.5, smallest: float = 0.1
) -> jax.Array:
    """A random disc is erased: its centre within the middle half of the grid, its radius a tenth to four tenths.

    Lengths are in units of half the grid, as in the article's code.

    Args:
        key: of the disc.
        height: of the grid.
        width: of the grid.
        largest: radius.
        furthest: distance of the centre from the middle of the grid, in each direction.
        smallest: radius.
    """
    key_centre, key_radius = jax.random.split(key)
    x, y = jax.random.uniform(key_centre, (2,), jnp.float32, minval=-furthest, maxval=furthest)
    radius = jax.random.uniform(key_radius, dtype=jnp.float32, minval=smallest, maxval=largest)
    return disc(height, width, x, y, radius)


def random_half(key: jax.Array, height: int, width: int, furthest: float = 0.2) -> jax.Array:
    """All on one side of a random line is erased: its direction any, its distance from the middle up to a fifth.

    Args:
        key: of the line.
        height: of the grid.
        width: of the grid.
        furthest: distance of the line from the middle, in units of half the grid. The middle is erased as often as not.
    """
    key_angle, key_distance = jax.random.split(key)
    angle = jax.random.uniform(key_angle, dtype=jnp.float32, maxval=2 * jnp.pi)
    distance = jax.random.uniform(key_distance, dtype=jnp.float32, minval=-furthest, maxval=furthest)
    across, down = (
        jnp.linspace(-1, 1, width, dtype=jnp.float32)[None, :],
        jnp.linspace(-1, 1, height, dtype=jnp.float32)[:, None],
    )
    return (across * jnp.cos(angle) + down * jnp.sin(angle) < distance).astype(jnp.float32)[..., None]


def random_damage(key: jax.Array, height: int, width: int) -> jax.Array:
    """A half is erased, or as often a disc, which is larger and nearer to the middle than the article's.

    Its radius is up to 0.45, and its centre up to 0.3 from the middle of the grid in each direction.
    """
    key_kind, key_mask = jax.random.split(key)
    half, whole = random_half(key_mask, height, width), random_disc(key_mask, height, width, 0.45, 0.3)
    return jnp.where(jax.random.bernoulli(key_kind), half, whole)


def random_severe_damage(key: jax.Array, height: int, width: int) -> jax.Array:
    """As `random_damage`, but in one case of three a disc of radius 0.3 to 0.45 that takes the middle.

    Its centre is up to 0.1 from the middle of the grid in each direction; few of the other discs are as bad.
    """
    key_kind, key_mask = jax.random.split(key)
    usual, middle = random_damage(key_mask, height, width), random_disc(key_mask, height, width, 0.45, 0.1, 0.3)
    return jnp.where(jax.random.bernoulli(key_kind, 1 / 3), middle, usual)


def disc(
    height: int, width: int, x: float | jax.Array = 0.0, y: float | jax.Array = 0.0, radius: float | jax.Array = 0.4
) -> jax.Array:
    """A disc is erased; its centre and radius in units of half the grid, the middle is (0, 0)."""
    across, down = (
        jnp.linspace(-1, 1, width, dtype=jnp.float32)[None, :] - x,
        jnp.linspace(-1, 1, height, dtype=jnp.float32)[:, None] - y,
    )
    return (across**2 + down**2 >= radius**2).astype(jnp.float32)[..., None]


def cut(damage: Damage, height: int, width: int, square: int = 16) -> jax.Array:
    """One of the article's five damages.

    Args:
        damage: which part is erased.
        height: of the grid.
        width: of the grid.
        square: side of the central square.

    Raises:
        ValueError: if there is no such damage, or the square is larger than the grid.
    """
    check.one_of(get_args(Damage), damage=damage)
    if damage == "centre" and square > min(height, width):
        raise ValueError(f"square must be at most {min(height, width)}, the side of the grid, got {square}")
    mask = np.ones((height, width, 1), np.float32)
    top, left = (height - square) // 2, (width - square) // 2
    erased: dict[str, tuple[slice, slice]] = {
        "left": np.s_[:, : width // 2],
        "right": np.s_[:, width // 2 :],
        "top": np.s_[: height // 2, :],
        "bottom": np.s_[height // 2 :, :],
        "centre": np.s_[top : top + square, left : left + square],
    }
    mask[erased[damage]] = 0
    return jnp.asarray(mask)
