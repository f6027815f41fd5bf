"""Films of automata: how they grow, are damaged and recover, or grow turned."""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import check, rollout
from neuralmutator.runs.automata import Model


@dataclass(frozen=True)
class FilmConfig:
    """What is filmed."""

    steps: int = 400
    """Updates."""
    damage: nca.Damage | Literal["disc"] | None = None
    """What is erased: a half, a square in the middle, or a disc."""
    damage_at: int = 200
    """Updates before the damage."""
    x: int | None = None
    """Centre of the disc, cells from the left; the middle of the grid if not given."""
    y: int | None = None
    """… and from the top."""
    radius: float = 8.0
    """Of the disc, cells."""
    angle: float = 0.0
    """By which cells perceive the grid turned, degrees: what grows is turned by it, anticlockwise."""
    every: int = 1
    """Updates between two frames."""
    seed: int = 0


def film(model: Model, options: FilmConfig) -> np.ndarray:
    """Grows a pattern, and damages it where wanted.

    Args:
        model: what grows, on a grid of the size of its target.
        options: what is filmed.

    Returns:
        u8[frames, H, W, 3]: the seed, and the grid after every `options.every` updates.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    check.whole(1, steps=options.steps, every=options.every, damage_at=options.damage_at)
    shape = (model.target.shape[0], model.target.shape[1])
    if options.every > options.steps:
        raise ValueError(f"every must be at most {options.steps}, the steps, got {options.every}")
    mask = _mask(options, shape)
    if options.damage and options.damage_at >= options.steps:
        raise ValueError(f"damage_at must be less than {options.steps}, the steps, got {options.damage_at}")
    automaton = model.automaton(math.radians(options.angle))
    damage_at = options.damage_at if options.damage else options.steps

    def shoot(key: jax.Array, params: jax.Array, mask: jax.Array) -> jax.Array:
        def look(key: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
            grid = automaton.update(key, params, grid)
            return grid, jnp.round(255 * nca.to_rgb(grid)).astype(jnp.uint8)

        start = nca.seed_grid(shape, model.channels)
        first = jnp.round(255 * nca.to_rgb(start)).astype(jnp.uint8)[None]
        grid, growth = rollout(look, key, start, damage_at)
        _, after = rollout(look, key, grid * mask, options.steps - damage_at, start=damage_at)
        return jnp.concatenate([first, growth, after])[:: options.every]

    return np.asarray(jax.jit(shoot)(jax.random.key(options.seed), model.params, mask))


def _mask(options: FilmConfig, shape: tuple[int, int]) -> jax.Array:
    height, width = shape
    if options.damage is None:
        return jnp.ones((height, width, 1))
    if options.damage != "disc":
        return nca.cut(options.damage, height, width)
    x = width // 2 if options.x is None else options.x
    y = height // 2 if options.y is None else options.y
    for name, value, most in (("x", x, width), ("y", y, height)):
        if not 0 <= value < most:
            raise ValueError(f"{name} must lie between 0 and {most - 1}, within the grid, got {value}")
    check.number(0, open_low=True, radius=options.radius)
    across, down = 2 / (width - 1), 2 / (height - 1)  # of a cell, in units of half the grid
    return nca.disc(height, width, x * across - 1, y * down - 1, options.radius * across)
