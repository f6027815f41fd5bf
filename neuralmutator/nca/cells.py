"""Cellular automata as pure functions over flat parameters, put together from parts.

A grid is f32[H, W, C]. One update is four small functions, each of which may be another: cells *perceive* their
neighbours, a *rule* turns what they perceive into a change, the change *fires* in some of them, and cells that are not
*alive* are emptied.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Step, check
from neuralmutator.nca.sparse import apply_where

Perceive = Callable[[jax.Array], jax.Array]
"""``grid f32[H, W, C] -> f32[H, W, F]``, what every cell knows."""

Fire = Callable[[jax.Array, tuple[int, int]], jax.Array]
"""``(key, (H, W)) -> bool[H, W]``, the cells that change."""

Alive = Callable[[jax.Array], jax.Array]
"""``grid f32[H, W, C] -> bool[H, W]``, the cells that may hold anything."""

Variables = Callable[[jax.Array], dict[str, jax.Array]]
"""``f32[P] -> `` its matrices and vectors by name, in the order in which they are stored."""


class Rule(NamedTuple):
    """A function of flat parameters from what cells perceive to how they change."""

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[P]
    apply: Callable[[jax.Array, jax.Array], jax.Array]  # (f32[P], f32[..., F]) -> f32[..., C]
    unflatten: Variables


class Automaton(NamedTuple):
    """A cellular automaton as pure functions over flat parameters; ``vmap`` over them is a population."""

    num_params: int
    channels: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> params f32[P]
    fire: Fire
    move: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (params, grid, fires bool[H, W]) -> grid
    alive: Alive | None  # None: every cell may hold anything
    unflatten: Variables
    # As `move`, with reverse-mode derivatives only; computes no cells but those that change. None: there is none.
    move_few: Callable[[jax.Array, jax.Array, jax.Array], jax.Array] | None = None

    def update(self, key: jax.Array, params: jax.Array, grid: jax.Array) -> jax.Array:
        """The grid f32[H, W, C] after one update."""
        return self.move(params, grid, self.fire(key, (grid.shape[0], grid.shape[1])))

    def step(self, params: jax.Array) -> Step:
        """Updates of grids, whose infos are nothing."""
        return lambda key, grid: (self.update(key, params, grid), None)


def automaton(rule: Rule, channels: int, perceive: Perceive, fire: Fire, alive: Alive | None = None) -> Automaton:
    """Puts an automaton together.

    Args:
        rule: takes what `perceive` gives, and gives `channels` numbers.
        channels: numbers in a cell, C.
        perceive: see `Perceive`, for example `nca.perceive`.
        fire: see `Fire`, for example `nca.random_cells`.
        alive: see `Alive`, for example `nca.living_cells`; asked before and after the change, and both must agree.
            None: no cell is emptied.

    Raises:
        ValueError: if channels, perception and rule do not fit together.
    """
    check.whole(1, channels=channels)
    try:
        change = jax.eval_shape(
            lambda params, grid: rule.apply(params, perceive(grid)),
            jax.ShapeDtypeStruct((rule.num_params,), jnp.float32),
            jax.ShapeDtypeStruct((3, 3, channels), jnp.float32),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"rule cannot take what a cell of {channels} channels perceives") from error
    if change.shape != (3, 3, channels):
        raise ValueError(f"rule must give {channels} numbers per cell, got {change.shape[2:]}")

    def move(params: jax.Array, grid: jax.Array, fires: jax.Array) -> jax.Array:
        changed = grid + rule.apply(params, perceive(grid)) * fires[..., None]
        if alive is None:
            return changed
        return changed * (alive(grid) & alive(changed))[..., None]

    if alive is None:
        return Automaton(rule.num_params, channels, rule.init, fire, move, alive, rule.unflatten)

    def move_few(params: jax.Array, grid: jax.Array, fires: jax.Array) -> jax.Array:
        living, perceived = alive(grid), perceive(grid)
        rows = perceived.reshape(-1, perceived.shape[-1])
        change = apply_where(rule.apply, params, rows, (fires & living).reshape(-1))
        changed = grid + change.reshape(grid.shape)
        return changed * (living & alive(changed))[..., None]

    return Automaton(rule.num_params, channels, rule.init, fire, move, alive, rule.unflatten, move_few)


def per_variable(automaton: Automaton, function: Callable[[str, jax.Array], jax.Array], values: jax.Array) -> jax.Array:
    """``function(name, value)`` of every matrix and vector in flat values f32[P], put together again as f32[P]."""
    variables, together = jax.vjp(automaton.unflatten, values)  # which only cuts: its transpose is its inverse
    return together({name: function(name, value) for name, value in variables.items()})[0]
