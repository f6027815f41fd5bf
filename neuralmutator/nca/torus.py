"""Filters of 3 × 3 cells on a grid whose opposite borders are joined, and their gradients.

Grids are *planes* here, f32[C, H, W]: with few channels a CPU is faster when cells lie side by side in memory. Each
filter is its own transpose up to the sign, so a gradient is one more filter; XLA's own takes half as long again.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

Filter = Callable[[jax.Array], jax.Array]
"""``planes f32[C, H, W] -> f32[C, H, W]``."""


def _filter(apply: Filter, sign: int) -> Filter:
    """The filter, whose transpose is `sign` times itself."""
    filtered = jax.custom_vjp(apply)
    filtered.defvjp(lambda planes: (apply(planes), None), lambda _, change: (sign * apply(change),))
    return filtered


def _padded(planes: jax.Array) -> jax.Array:
    return jnp.pad(planes, ((0, 0), (1, 1), (1, 1)), "wrap")


def _down(planes: jax.Array) -> jax.Array:
    """1, 2, 1 over rows, f32[C, H, W + 2]."""
    padded = _padded(planes)
    return padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]


def _across(planes: jax.Array) -> jax.Array:
    """1, 2, 1 over columns, f32[C, H + 2, W]."""
    padded = _padded(planes)
    return padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]


def _laplacian(planes: jax.Array) -> jax.Array:
    down = _down(planes)
    return down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:] - 16 * planes


def _sobel_x(planes: jax.Array) -> jax.Array:
    down = _down(planes)
    return down[:, :, 2:] - down[:, :, :-2]


def _sobel_y(planes: jax.Array) -> jax.Array:
    across = _across(planes)
    return across[:, 2:] - across[:, :-2]


laplacian = _filter(_laplacian, 1)
"""[[1, 2, 1], [2, -12, 2], [1, 2, 1]]."""

sobel_x = _filter(_sobel_x, -1)
"""[[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]], as a correlation: how much more there is on the right."""

sobel_y = _filter(_sobel_y, -1)
"""The transpose of `sobel_x`: how much more there is below."""


def to_planes(grid: jax.Array) -> jax.Array:
    """A grid f32[H, W, C] as planes f32[C, H, W]."""
    return jnp.moveaxis(grid, -1, 0)


def to_grid(planes: jax.Array) -> jax.Array:
    """Planes f32[C, H, W] as a grid f32[H, W, C]."""
    return jnp.moveaxis(planes, 0, -1)
