"""Cellular automata as pure functions over flat parameters, put together from parts.

Cells are f32[..., C]: a grid f32[H, W, C], or the vertices of a mesh f32[V, C]; what is before C is the *shape* of the
lattice. One update is four small functions, each of which may be another: cells *perceive* their neighbours, a *rule*
turns what they perceive into a change, the change *fires* in some of them, and cells that are not *alive* are emptied.
Two more say what cells begin as (*start*) and what they look like (*look*).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Step, check
from neuralmutator.nca.sparse import apply_where

Perceive = Callable[[jax.Array], jax.Array]
"""``cells f32[..., C] -> f32[..., F]``, what every cell knows."""

Fire = Callable[[jax.Array, tuple[int, ...]], jax.Array]
"""``(key, shape) -> bool[*shape]``, the cells that change."""

Alive = Callable[[jax.Array], jax.Array]
"""``cells f32[..., C] -> bool[...]``, the cells that may hold anything."""

Start = Callable[[jax.Array, Sequence[int]], jax.Array]
"""``(key, shape) -> cells f32[*shape, C]``, what cells begin as."""

Look = Callable[[jax.Array], jax.Array]
"""``cells f32[..., C] -> f32[..., 3]``, red, green and blue; what lies beyond 0 to 1 cannot be shown."""

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
    fire: Fire | None  # None: all cells change
    move: Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array]  # (params, cells, fires bool[...]) -> cells
    alive: Alive | None  # None: every cell may hold anything
    unflatten: Variables
    start: Start
    look: Look
    # As `move`, with reverse-mode derivatives only; computes no cells but those that change. None: there is none.
    move_few: Callable[[jax.Array, jax.Array, jax.Array | None], jax.Array] | None = None

    def update(self, key: jax.Array, params: jax.Array, cells: jax.Array) -> jax.Array:
        """The cells f32[..., C] after one update."""
        return self.move(params, cells, None if self.fire is None else self.fire(key, cells.shape[:-1]))

    def step(self, params: jax.Array) -> Step:
        """Updates of cells, whose infos are nothing."""
        return lambda key, cells: (self.update(key, params, cells), None)


def random_cells(key: jax.Array, shape: Sequence[int], rate: float = 0.5) -> jax.Array:
    """Which cells change, ``bool[*shape]``: each with probability `rate`, for there is no clock that all hear."""
    return jax.random.uniform(key, shape, jnp.float32) <= rate


def first_colours(cells: jax.Array) -> jax.Array:
    """The first three channels as colours around grey, f32[..., 3]: 0 is shown as 1/2."""
    return cells[..., :3] + 0.5


def automaton(
    rule: Rule,
    channels: int,
    perceive: Perceive,
    fire: Fire | None = None,
    alive: Alive | None = None,
    start: Start | None = None,
    look: Look = first_colours,
    shape: Sequence[int] = (3, 3),
) -> Automaton:
    """Puts an automaton together.

    Args:
        rule: takes what `perceive` gives, and gives `channels` numbers.
        channels: numbers in a cell, C.
        perceive: see `Perceive`, for example `nca.perceive`.
        fire: see `Fire`, for example `nca.random_cells`. None: all cells change.
        alive: see `Alive`, for example `nca.living_cells`; asked before and after the change, and both must agree.
            None: no cell is emptied.
        start: see `Start`. None: all cells are 0.
        look: see `Look`.
        shape: of a lattice that `perceive` takes, to check that the parts fit together.

    Raises:
        ValueError: if channels, perception and rule do not fit together.
    """
    check.whole(1, channels=channels)
    try:
        change = jax.eval_shape(
            lambda params, cells: rule.apply(params, perceive(cells)),
            jax.ShapeDtypeStruct((rule.num_params,), jnp.float32),
            jax.ShapeDtypeStruct((*shape, channels), jnp.float32),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"rule cannot take what a cell of {channels} channels perceives") from error
    if change.shape != (*shape, channels):
        raise ValueError(f"rule must give {channels} numbers per cell, got {change.shape[len(shape) :]}")

    def move(params: jax.Array, cells: jax.Array, fires: jax.Array | None) -> jax.Array:
        changes = rule.apply(params, perceive(cells))
        changed = cells + (changes if fires is None else changes * fires[..., None])
        if alive is None:
            return changed
        return changed * (alive(cells) & alive(changed))[..., None]

    def move_few(params: jax.Array, cells: jax.Array, fires: jax.Array | None) -> jax.Array:
        assert alive is not None
        living, perceived = alive(cells), perceive(cells)
        wanted = living if fires is None else fires & living
        rows = perceived.reshape(-1, perceived.shape[-1])
        changed = cells + apply_where(rule.apply, params, rows, wanted.reshape(-1)).reshape(cells.shape)
        return changed * (living & alive(changed))[..., None]

    def empty(key: jax.Array, shape: Sequence[int]) -> jax.Array:
        return jnp.zeros((*shape, channels), jnp.float32)

    few = None if alive is None else move_few
    return Automaton(rule.num_params, channels, rule.init, fire, move, alive, rule.unflatten, start or empty, look, few)


def per_variable(automaton: Automaton, function: Callable[[str, jax.Array], jax.Array], values: jax.Array) -> jax.Array:
    """``function(name, value)`` of every matrix and vector in flat values f32[P], put together again as f32[P]."""
    variables, together = jax.vjp(automaton.unflatten, values)  # which only cuts: its transpose is its inverse
    return together({name: function(name, value) for name, value in variables.items()})[0]
