"""Films of automata: how they begin, are damaged and recover, or grow turned."""

import math
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator import nca
from neuralmutator.core import check, rollout
from neuralmutator.runs.automata import Model

MESH_PIXELS = 216
"""Height and width of a mesh's picture where none is given."""


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
    """Centre of the disc, cells from the left (pixels, for a mesh); the middle if not given."""
    y: int | None = None
    """… and from the top."""
    radius: float = 8.0
    """Of the disc, cells (pixels, for a mesh)."""
    angle: float = 0.0
    """By which cells of a growing automaton perceive the grid turned, degrees: what grows is turned by it,
    anticlockwise."""
    size: int | None = None
    """Height and width of the grid, cells (as large as the target if not given), or of a mesh's picture, pixels."""
    every: int = 1
    """Updates between two frames."""
    seed: int = 0


def film(model: Model, options: FilmConfig) -> np.ndarray:
    """Lets an automaton run, and damages it where wanted.

    Args:
        model: the automaton.
        options: what is filmed.

    Returns:
        u8[frames, H, W, 3]: the start, and the cells after every `options.every` updates; a mesh is seen from a side,
        and damage goes through it.

    Raises:
        ValueError: naming the field, its value and what is allowed.
    """
    check.whole(1, steps=options.steps, every=options.every, damage_at=options.damage_at)
    if options.angle and model.kind != "growing":
        raise ValueError(f"angle must be 0 for automata that do not grow, got {options.angle}")
    if options.size is not None:
        check.whole(8, size=options.size)
    if options.every > options.steps:
        raise ValueError(f"every must be at most {options.steps}, the steps, got {options.every}")
    if options.damage and options.damage_at >= options.steps:
        raise ValueError(f"damage_at must be less than {options.steps}, the steps, got {options.damage_at}")
    automaton = model.automaton(**({"angle": math.radians(options.angle)} if options.angle else {}))
    damage_at = options.damage_at if options.damage else options.steps
    if model.surface is None:
        height, width = model.target.shape[:2] if options.size is None else (options.size, options.size)
        shape: tuple[int, ...] = (height, width)
        mask, view = _mask(options, (height, width)), None
    else:
        side, shape = options.size or MESH_PIXELS, (model.surface.num_vertices,)
        view = nca.surface_view(model.surface, side)
        mask = _mask(options, (side, side))[view.places[:, 0], view.places[:, 1]]

    def shoot(key: jax.Array, params: jax.Array, mask: jax.Array, view: nca.View | None) -> jax.Array:
        def picture(cells: jax.Array) -> jax.Array:
            colours = automaton.look(cells)
            seen = colours if view is None else nca.view_image(view, colours)
            return jnp.round(255 * jnp.clip(seen, 0, 1)).astype(jnp.uint8)

        def look(key: jax.Array, cells: jax.Array) -> tuple[jax.Array, jax.Array]:
            cells = automaton.update(key, params, cells)
            return cells, picture(cells)

        start = automaton.start(jax.random.fold_in(key, options.steps), shape)
        cells, growth = rollout(look, key, start, damage_at)
        _, after = rollout(look, key, cells * mask, options.steps - damage_at, start=damage_at)
        return jnp.concatenate([picture(start)[None], growth, after])[:: options.every]

    return np.asarray(jax.jit(shoot)(jax.random.key(options.seed), model.params, mask, view))


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
