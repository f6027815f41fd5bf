"""Automata that paint a texture (Niklasson et al. 2021, "Self-Organising Textures")."""

from functools import partial

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton, automaton, random_cells
from neuralmutator.nca.rules import dense_rule
from neuralmutator.nca.torus import laplacian, sobel_x, sobel_y, to_grid, to_planes


def perceive_texture(grid: jax.Array) -> jax.Array:
    """Every cell's own state, its two Sobel gradients and its Laplacian, each over 8, f32[H, W, 4 C]; joined borders.

    Args:
        grid: f32[H, W, C].
    """
    planes = to_planes(grid)
    return to_grid(jnp.concatenate([planes, sobel_x(planes) / 8, sobel_y(planes) / 8, laplacian(planes) / 8]))


def texture(channels: int = 12, hidden: int = 96, fire_rate: float = 0.5) -> Automaton:
    """The article's automaton; 5,868 parameters by default.

    Opposite borders are joined, no cell is ever dead, all begin as 0, and the first three channels are colours.

    Args:
        channels: numbers in a cell.
        hidden: units of the rule's hidden layer.
        fire_rate: probability that a cell changes in an update.

    Raises:
        ValueError: if a size or the rate is out of range.
    """
    check.whole(3, channels=channels)
    check.number(0, 1, open_low=True, fire_rate=fire_rate)
    made = automaton(
        dense_rule(4 * channels, channels, hidden, planes=True),
        channels,
        perceive=perceive_texture,
        fire=partial(random_cells, rate=fire_rate),
    )
    return made._replace(move=jax.checkpoint(made.move))  # cheaper to compute again than to remember
