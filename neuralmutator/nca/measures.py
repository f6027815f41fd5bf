"""What an automaton can do: grow, persist, recover, be turned."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Step, rollout
from neuralmutator.nca.cells import Automaton
from neuralmutator.nca.growth import growth_loss, seed_grid


def step_with_loss(automaton: Automaton, params: jax.Array, target: jax.Array) -> Step:
    """Updates of a grid f32[H, W, C] whose infos are the losses f32[] after them.

    ``rollout(step_with_loss(…), key, nca.seed_grid((72, 72)), 10_000)[1]`` says whether a pattern persists.
    """

    def step(key: jax.Array, grid: jax.Array) -> tuple[jax.Array, jax.Array]:
        grid = automaton.update(key, params, grid)
        return grid, growth_loss(grid, target)

    return step


class Recovery(NamedTuple):
    """Losses f32[] around a damage."""

    before: jax.Array
    at: jax.Array  # just after it
    after: jax.Array  # some updates later
    later: jax.Array  # f32[heal] all the way there


def recovery(
    automaton: Automaton,
    key: jax.Array,
    params: jax.Array,
    target: jax.Array,
    mask: jax.Array,
    grow: int = 200,
    heal: int = 200,
) -> Recovery:
    """Grows a pattern from the seed, damages it, and lets it go on.

    Args:
        automaton: what grows.
        key: of all the updates.
        params: f32[P].
        target: f32[H, W, 4].
        mask: f32[H, W, 1], 0 where the damage erases; see `cut` and `disc`.
        grow: updates before the damage.
        heal: updates after it.
    """
    step = step_with_loss(automaton, params, target)
    grid, growth = rollout(step, key, seed_grid(target.shape[:2], automaton.channels), grow)
    damaged = grid * mask
    _, later = rollout(step, key, damaged, heal, start=grow)
    return Recovery(growth[-1], growth_loss(damaged, target), later[-1], later)


def rotate_image(image: jax.Array, angle: float | jax.Array) -> jax.Array:
    """An image f32[H, W, C] turned anticlockwise about the cell of the seed, bilinear, zero beyond its border.

    Args:
        image: any.
        angle: radians.
    """
    height, width = image.shape[:2]
    down, across = jnp.mgrid[:height, :width]
    v, u = down - height // 2, across - width // 2
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    source = (sin * u + cos * v + height // 2, cos * u - sin * v + width // 2)

    def channel(values: jax.Array) -> jax.Array:
        return jax.scipy.ndimage.map_coordinates(values, source, order=1)

    return jax.vmap(channel, in_axes=2, out_axes=2)(image)


def rotation_loss(
    make: Callable[[jax.Array], Automaton],
    key: jax.Array,
    params: jax.Array,
    target: jax.Array,
    angle: float | jax.Array,
    grow: int = 96,
) -> jax.Array:
    """Loss f32[] against the turned target of what grows where all cells perceive the grid turned.

    Args:
        make: an automaton for an angle, such as ``lambda angle: nca.growing(angle=angle)``.
        key: of all the updates.
        params: f32[P].
        target: f32[H, W, 4] as it was trained for.
        angle: radians.
        grow: updates from the seed.
    """
    automaton = make(jnp.asarray(angle, jnp.float32))
    step = automaton.step(params)
    grid, _ = rollout(step, key, seed_grid(target.shape[:2], automaton.channels), grow)
    return growth_loss(grid, rotate_image(target, angle))
