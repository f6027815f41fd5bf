"""Automata that grow an image from one cell (Mordvintsev et al. 2020).

The channels of their cells are red, green, blue (premultiplied by alpha), alpha, and hidden ones.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton, automaton, random_cells
from neuralmutator.nca.perception import perceive
from neuralmutator.nca.rules import dense_rule

ALPHA = 3
"""The channel that tells how alive a cell is."""


def growing(channels: int = 16, hidden: int = 128, fire_rate: float = 0.5, angle: float | jax.Array = 0.0) -> Automaton:
    """The article's automaton; 8,336 parameters by default.

    Args:
        channels: numbers in a cell.
        hidden: units of the rule's hidden layer.
        fire_rate: probability that a cell changes in an update.
        angle: by which cells perceive the grid turned, radians.

    Raises:
        ValueError: if a size or the rate is out of range.
    """
    check.whole(ALPHA + 1, channels=channels)
    check.number(0, 1, open_low=True, fire_rate=fire_rate)
    return automaton(
        dense_rule(3 * channels, channels, hidden),
        channels,
        perceive=partial(perceive, angle=angle),
        fire=partial(random_cells, rate=fire_rate),
        alive=living_cells,
        start=lambda key, shape: seed_grid(shape, channels),
        look=to_rgb,
    )


def living_cells(grid: jax.Array, threshold: float = 0.1) -> jax.Array:
    """Which cells have alpha above the threshold, or a neighbour that has, bool[H, W]."""
    alpha = jnp.pad(grid[..., ALPHA], 1)
    rows = jnp.maximum(jnp.maximum(alpha[:-2], alpha[1:-1]), alpha[2:])
    return jnp.maximum(jnp.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]) > threshold


def seed_grid(shape: Sequence[int], channels: int = 16) -> jax.Array:
    """An empty grid f32[H, W, C] of `shape` (H, W) with one living cell in its middle: all 1 but for the colours."""
    height, width = shape
    return jnp.zeros((height, width, channels), jnp.float32).at[height // 2, width // 2, ALPHA:].set(1.0)


def growth_loss(grid: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error f32[] of colours and alpha; grid f32[H, W, C], target f32[H, W, 4]."""
    return jnp.mean((grid[..., : ALPHA + 1] - target) ** 2)


def to_rgb(grid: ArrayLike) -> jax.Array:
    """What a grid f32[..., C] looks like on white, f32[..., 3] of 0 to 1."""
    grid = jnp.asarray(grid)
    colours, alpha = grid[..., :ALPHA], jnp.clip(grid[..., ALPHA : ALPHA + 1], 0, 1)
    return jnp.clip(1 - alpha + colours, 0, 1)
