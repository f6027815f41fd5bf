"""µNCA: texture automata of a few dozen parameters (Mordvintsev and Niklasson 2021, arXiv 2111.13545)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.nca.cells import Automaton, automaton
from neuralmutator.nca.rules import linear_rule
from neuralmutator.nca.torus import laplacian, sobel_x, sobel_y, to_grid, to_planes

FILTERS = {4: (2, 1, 1), 6: (2, 2, 2), 8: (4, 2, 2), 12: (4, 4, 4)}
"""Channels that are perceived by the Laplacian, by Sobel's filter in x, and in y, by the number of all."""


def perceive_micro(grid: jax.Array) -> jax.Array:
    """Every cell's own state, each channel's one filter, and the absolute values of both, f32[H, W, 4 C].

    Args:
        grid: f32[H, W, C], with C one of `FILTERS`; opposite borders are joined.
    """
    planes = to_planes(grid)
    first, second, _ = FILTERS[grid.shape[-1]]
    seen = jnp.concatenate(
        [
            planes,
            laplacian(planes[:first]),
            sobel_x(planes[first : first + second]),
            sobel_y(planes[first + second :]),
        ]
    )
    return to_grid(jnp.concatenate([seen, jnp.abs(seen)]))


def micro(channels: int = 4) -> Automaton:
    """A µNCA of 68, 150, 264 or 588 parameters: one matrix, no hidden layer, no chance.

    All cells change in every update. They begin as noise in ±1/2, and the first three channels are colours.

    Args:
        channels: numbers in a cell: 4, 6, 8 or 12.

    Raises:
        ValueError: if the number of channels is none of these.
    """
    check.one_of(FILTERS, channels=channels)

    def start(key: jax.Array, shape: Sequence[int]) -> jax.Array:
        return jax.random.uniform(key, (*shape, channels), jnp.float32, -0.5, 0.5)

    made = automaton(linear_rule(4 * channels, channels), channels, perceive=perceive_micro, start=start)
    return made._replace(move=jax.checkpoint(made.move))  # cheaper to compute again than to remember
