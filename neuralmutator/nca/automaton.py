"""Neural cellular automata that grow (Mordvintsev et al. 2020): one small network, run by every cell of a grid.

A grid is f32[H, W, C]: red, green, blue (premultiplied by alpha), alpha, and hidden channels. One update is four small
functions, each of which may be another: cells *perceive* their 3 × 3 neighbours, a *rule* turns what they perceive into
a change, the change *fires* in a random half of them, and what is not *alive* is emptied.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from neuralmutator.core import Step

ALPHA = 3
"""The channel that tells how alive a cell is."""

Perceive = Callable[[jax.Array], jax.Array]
"""``grid f32[H, W, C] -> f32[H, W, F]``, what every cell knows."""

Fire = Callable[[jax.Array, tuple[int, int]], jax.Array]
"""``(key, (H, W)) -> bool[H, W]``, the cells that change."""

Alive = Callable[[jax.Array], jax.Array]
"""``grid f32[H, W, C] -> bool[H, W]``, the cells that may hold anything."""


class Rule(NamedTuple):
    """A function of flat parameters from what cells perceive to how they change."""

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[P]
    apply: Callable[[jax.Array, jax.Array], jax.Array]  # (f32[P], f32[..., F]) -> f32[..., C]
    variables: Callable[[jax.Array], dict[str, jax.Array]]  # f32[P] -> its matrices and vectors by name


class Automaton(NamedTuple):
    """A cellular automaton as pure functions over flat parameters; ``vmap`` over them is a population."""

    num_params: int
    channels: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> params f32[P]
    fire: Fire
    move: Callable[[jax.Array, jax.Array, jax.Array], jax.Array]  # (params, grid, fires bool[H, W]) -> grid
    alive: Alive
    variables: Callable[[jax.Array], dict[str, jax.Array]]  # params -> its matrices and vectors by name

    def update(self, key: jax.Array, params: jax.Array, grid: jax.Array) -> jax.Array:
        """The grid f32[H, W, C] after one update."""
        return self.move(params, grid, self.fire(key, (grid.shape[0], grid.shape[1])))

    def step(self, params: jax.Array) -> Step:
        """Updates of grids, whose infos are nothing."""
        return lambda key, grid: (self.update(key, params, grid), None)


def perceive(grid: jax.Array, angle: float | jax.Array = 0.0) -> jax.Array:
    """Every cell's own state and its two Sobel gradients, f32[H, W, 3 C]; beyond the border all is zero.

    Args:
        grid: f32[H, W, C].
        angle: by which every cell's axes are turned, radians. What grows is turned by it.
    """
    padded = jnp.pad(grid, ((1, 1), (1, 1), (0, 0)))
    # Sobel filters are separable. Slices and sums beat XLA's depthwise convolution twofold on a CPU, and their
    # gradients a hundredfold.
    down = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    dx = (down[:, 2:] - down[:, :-2]) / 8
    dy = (across[2:] - across[:-2]) / 8
    if not isinstance(angle, float) or angle != 0:
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        dx, dy = cos * dx - sin * dy, sin * dx + cos * dy
    return jnp.concatenate([grid, dx, dy], axis=-1)


def fire(key: jax.Array, shape: tuple[int, int], rate: float = 0.5) -> jax.Array:
    """Which cells change, bool[H, W]: each with probability `rate`, for there is no clock that all of them hear."""
    return jax.random.uniform(key, shape) <= rate


def alive(grid: jax.Array, threshold: float = 0.1) -> jax.Array:
    """Which cells have alpha above the threshold, or a neighbour that has, bool[H, W]."""
    alpha = jnp.pad(grid[..., ALPHA], 1)
    rows = jnp.maximum(jnp.maximum(alpha[:-2], alpha[1:-1]), alpha[2:])
    return jnp.maximum(jnp.maximum(rows[:, :-2], rows[:, 1:-1]), rows[:, 2:]) > threshold


def dense_rule(inputs: int, channels: int, hidden: int = 128) -> Rule:
    """Two dense layers with a ReLU between them; the second begins at zero, so that a new automaton stands still.

    Raises:
        ValueError: if a size is not a whole number of at least 1.
    """
    for name, value in (("inputs", inputs), ("channels", channels), ("hidden", hidden)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    first, second = inputs * hidden, hidden * channels

    def init(key: jax.Array) -> jax.Array:
        weights = jax.nn.initializers.glorot_uniform()(key, (inputs, hidden)).reshape(-1)
        return jnp.concatenate([weights, jnp.zeros(hidden + second + channels)])

    def variables(params: jax.Array) -> dict[str, jax.Array]:
        w1, b1, w2, b2 = jnp.split(params, (first, first + hidden, first + hidden + second))
        return {"w1": w1.reshape(inputs, hidden), "b1": b1, "w2": w2.reshape(hidden, channels), "b2": b2}

    def apply(params: jax.Array, perceived: jax.Array) -> jax.Array:
        w = variables(params)
        return jax.nn.relu(perceived @ w["w1"] + w["b1"]) @ w["w2"] + w["b2"]

    return Rule(first + hidden + second + channels, init, apply, variables)


def automaton(
    rule: Rule, channels: int, perceive: Perceive = perceive, fire: Fire = fire, alive: Alive = alive
) -> Automaton:
    """Puts an automaton together.

    Args:
        rule: takes what `perceive` gives, and gives `channels` numbers.
        channels: numbers in a cell, C.
        perceive: see `Perceive`.
        fire: see `Fire`.
        alive: see `Alive`; asked before and after the change, and both must agree.

    Raises:
        ValueError: if channels, perception and rule do not fit together.
    """
    if not isinstance(channels, int) or channels <= ALPHA:
        raise ValueError(f"channels must be a whole number of at least {ALPHA + 1}, got {channels!r}")
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
        before = alive(grid)
        grid = grid + rule.apply(params, perceive(grid)) * fires[..., None]
        return grid * (before & alive(grid))[..., None]

    return Automaton(rule.num_params, channels, rule.init, fire, move, alive, rule.variables)


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
    if not 0 < fire_rate <= 1:
        raise ValueError(f"fire_rate must lie in (0, 1], got {fire_rate!r}")
    rule = dense_rule(3 * channels, channels, hidden)
    return automaton(rule, channels, partial(perceive, angle=angle), partial(fire, rate=fire_rate))


def per_variable(automaton: Automaton, function: Callable[[str, jax.Array], jax.Array], values: jax.Array) -> jax.Array:
    """``function(name, value)`` of every matrix and vector in flat values f32[P], put together again as f32[P]."""
    variables, together = jax.vjp(automaton.variables, values)  # which only cuts: its transpose is its inverse
    return together({name: function(name, value) for name, value in variables.items()})[0]


class Developed(NamedTuple):
    """A grid after some updates."""

    grid: jax.Array  # f32[H, W, C]
    room: jax.Array  # i32[] least number of cells that were between life and the border of the grid


def develop(
    automaton: Automaton,
    key: jax.Array,
    params: jax.Array,
    grid: jax.Array,
    length: jax.Array,
    most: int,
    margin: int = 0,
) -> Developed:
    """Updates a grid a number of times that may differ from call to call of one program.

    What is not alive is empty after an update: while all life is within a window, no more than that need be computed,
    and the result is the same. Where it was not (``room <= margin``), updates stop, and the grid is not to be used.

    Args:
        automaton: what grows.
        key: of all the updates; that of update t is ``fold_in(key, t)``.
        params: f32[P].
        grid: f32[H, W, C].
        length: i32[] number of updates.
        most: static bound of `length`.
        margin: cells between the border of the grid and the window; 0 computes all.
    """
    height, width = grid.shape[:2]
    window = (slice(margin, height - margin), slice(margin, width - margin))

    def room(grid: jax.Array) -> jax.Array:
        living = automaton.alive(grid)
        rows, columns = living.any(axis=1), living.any(axis=0)
        ends = jnp.array([jnp.argmax(x) for x in (rows, rows[::-1], columns, columns[::-1])])
        return jnp.where(rows.any(), ends.min(), max(height, width))

    def moment(state: Developed, t: jax.Array) -> tuple[Developed, None]:
        def update() -> Developed:
            fires = automaton.fire(jax.random.fold_in(key, t), (height, width))[window]
            grid = automaton.move(params, state.grid, fires)
            return Developed(grid, jnp.minimum(state.room, room(grid) + margin))

        within = (state.room > margin) | (margin == 0)
        return jax.lax.cond((t < length) & within, update, lambda: state), None

    developed, _ = jax.lax.scan(moment, Developed(grid[window], room(grid)), jnp.arange(most))
    return developed._replace(grid=jnp.pad(developed.grid, ((margin, margin), (margin, margin), (0, 0))))


def seed(shape: Sequence[int], channels: int = 16) -> jax.Array:
    """An empty grid f32[H, W, C] of `shape` (H, W) with one living cell in its middle: all 1 but for the colours."""
    height, width = shape
    return jnp.zeros((height, width, channels)).at[height // 2, width // 2, ALPHA:].set(1.0)


def to_rgb(grid: ArrayLike) -> jax.Array:
    """What a grid f32[..., C] looks like on white, f32[..., 3] of 0 to 1."""
    grid = jnp.asarray(grid)
    colours, alpha = grid[..., :ALPHA], jnp.clip(grid[..., ALPHA : ALPHA + 1], 0, 1)
    return jnp.clip(1 - alpha + colours, 0, 1)
