"""Films of automata: how they grow, are damaged and recover, or grow turned."""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import rollout
from neuralmutator.runs.nca import NcaConfig


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


def film(config: NcaConfig, params: jax.Array, shape: tuple[int, int], options: FilmConfig) -> np.ndarray:
    """Grows a pattern, and damages it where wanted.

    Args:
        config: configuration of the run that the automaton is from.
        params: f32[P].
        shape: height and width of the grid.
        options: what is filmed.

    Returns:
        u8[frames, H, W, 3]: the seed, and the grid after every `options.every` updates.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    for name in ("steps", "every", "damage_at"):
        value = getattr(options, name)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if options.every > options.steps:
        raise ValueError(f"every must be at most {options.steps}, the steps, got {options.every}")
    mask = _mask(options, shape)
    if options.damage and options.damage_at >= options.steps:
        raise ValueError(f"damage_at must be less than {options.steps}, the steps, got {options.damage_at}")
    automaton = nca.growing(config.channels, config.hidden, config.fire_rate, math.radians(options.angle))
    damage_at = options.damage_at if options.damage else options.steps

    def shoot(key: jax.Array, params: jax.Array, mask: jax.Array) -> jax.Array:
        def look(key: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
            grid = automaton.update(key, params, grid)
            return grid, jnp.round(255 * nca.to_rgb(grid)).astype(jnp.uint8)

        start = nca.seed(shape, config.channels)
        first = jnp.round(255 * nca.to_rgb(start)).astype(jnp.uint8)[None]
        grid, growth = rollout(look, key, start, damage_at)
        _, after = rollout(look, key, grid * mask, options.steps - damage_at, start=damage_at)
        return jnp.concatenate([first, growth, after])[:: options.every]

    return np.asarray(jax.jit(shoot)(jax.random.key(options.seed), params, mask))


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
    if not 0 < options.radius < math.inf:
        raise ValueError(f"radius must be a finite number above 0, got {options.radius!r}")
    across, down = 2 / (width - 1), 2 / (height - 1)  # of a cell, in units of half the grid
    return nca.disc(height, width, x * across - 1, y * down - 1, options.radius * across)
