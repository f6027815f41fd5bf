"""Training automata by gradients through all updates of a rollout.

The article on growing automata has three regimes. *Growing*: every rollout starts from the seed. *Persistent*: from a
pool of earlier results, the worst of a batch replaced by the seed. *Regenerating*: so too, and the best of a batch are
damaged.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import PyTree, Step, check, each
from neuralmutator.nca.cells import Automaton, per_variable
from neuralmutator.nca.damage import RandomDamage, random_disc
from neuralmutator.nca.growth import ALPHA, growth_loss, seed_grid
from neuralmutator.nca.pool import Starts, pool_starts, same_start
from neuralmutator.nca.windows import Developed, default_margins, develop, in_smallest_window

Regime = Literal["growing", "persistent", "regenerating"]


class TrainState(NamedTuple):
    """The state between two training steps."""

    params: jax.Array  # f32[P]
    optimizer: PyTree
    pool: jax.Array  # f32[pool size, ..., C]; none if all rollouts start from the same cells
    room: jax.Array  # i32[] cells between life and the border of the grid in the last step; chooses the next window


class TrainInfo(NamedTuple):
    """One training step."""

    loss: jax.Array  # f32[] mean of the batch after its rollout
    length: jax.Array  # i32[] updates in the rollout


class Trainer(NamedTuple):
    """A training as two pure functions; see `core.rollout` for many steps in one program."""

    init: Callable[[jax.Array], TrainState]  # (key) -> state
    step: Step  # (key, state) -> (state, TrainInfo)


def drop_schedule(learning_rate: float = 2e-3, drop_at: int = 2000) -> optax.Schedule:
    """The article's learning rate: a tenth of it from step `drop_at` on."""
    return optax.piecewise_constant_schedule(learning_rate, {drop_at: 0.1})


def trainer(
    automaton: Automaton,
    target: jax.Array,
    regime: Regime = "growing",
    learning_rate: float | optax.Schedule = 2e-3,
    batch_size: int = 8,
    pool_size: int = 1024,
    lengths: tuple[int, int] = (64, 96),
    damaged: int = 3,
    margins: Sequence[int] | None = None,
    damage: RandomDamage = random_disc,
) -> Trainer:
    """Trains an automaton to grow a target from one cell, as the article does.

    Args:
        automaton: what is trained.
        target: f32[H, W, 4], colours premultiplied by alpha, as large as the grid.
        regime: what rollouts start from.
        learning_rate: of Adam.
        batch_size: rollouts in a training step.
        pool_size: grids in the pool (persistent, regenerating).
        lengths: a rollout has at least the first and less than the second number of updates; all of a batch have the
            same.
        damaged: grids of a batch that are damaged (regenerating), those of the lowest loss.
        margins: as for `rollout_trainer`; by default those that fit the target, on a CPU.
        damage: what is done to them, for example `random_damage`; the article's discs by default.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.one_of(get_args(Regime), regime=regime)
    if target.ndim != 3 or target.shape[2] != ALPHA + 1:
        raise ValueError(f"target must have shape (H, W, {ALPHA + 1}), got {target.shape}")
    if automaton.channels <= ALPHA:
        raise ValueError(f"automaton must have at least {ALPHA + 1} channels, got {automaton.channels}")
    height, width = target.shape[:2]
    start = seed_grid((height, width), automaton.channels)

    def loss(grid: jax.Array) -> jax.Array:
        return growth_loss(grid, target)

    def rollout_loss(key: jax.Array, grid: jax.Array) -> jax.Array:
        return loss(grid)

    if regime == "growing":
        starts = same_start(start, batch_size)
    else:
        damaged = damaged if regime == "regenerating" else 0
        starts = pool_starts(start, loss, lambda key: damage(key, height, width), damaged, batch_size, pool_size)
    if margins is None:
        margins = default_margins(target)
    return rollout_trainer(automaton, rollout_loss, starts, learning_rate, lengths, margins)


def rollout_trainer(
    automaton: Automaton,
    loss: Callable[[jax.Array, jax.Array], jax.Array],
    starts: Starts,
    learning_rate: float | optax.Schedule = 2e-3,
    lengths: tuple[int, int] = (64, 96),
    margins: Sequence[int] = (),
) -> Trainer:
    """Trains an automaton to lower a loss of the cells that its rollouts end with: all of this library, by this loop.

    The gradient of every variable is divided by its norm before Adam, which tames the jumps of late training.

    Args:
        automaton: what is trained.
        loss: ``(key, cells f32[..., C]) -> f32[]``; the key is for what it draws.
        starts: where rollouts start.
        learning_rate: of Adam.
        lengths: a rollout has at least the first and less than the second number of updates; all of a batch have the
            same.
        margins: cells between the border of the grid and windows that need not be left: a rollout is computed in the
            smallest that would have done in the last step, and once more in the whole grid if life has left it. Exact,
            and faster where rollouts run one after another (`core.each` on a CPU).

    Raises:
        ValueError: if an argument is out of range.
    """
    if not 0 < lengths[0] < lengths[1]:
        raise ValueError(f"lengths must be two growing numbers above 0, got {lengths}")
    if margins:
        side = min(jax.eval_shape(starts.init, jax.random.key(0)).shape[1:3])
        if any(not 0 < 2 * margin + 2 < side for margin in margins):
            raise ValueError(f"margins must leave a window of a grid of {side} cells, got {tuple(margins)}")
    margins = sorted(margins, reverse=True)
    optimizer = optax.adam(learning_rate, eps=1e-7)

    def init(key: jax.Array) -> TrainState:
        params = automaton.init(key)
        return TrainState(params, optimizer.init(params), starts.init(jax.random.fold_in(key, 1)), jnp.int32(0))

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, TrainInfo]:
        key_draw, key_length, key_rollouts = jax.random.split(key, 3)
        begun, places = starts.draw(key_draw, state.pool)
        length = jax.random.randint(key_length, (), *lengths, dtype=jnp.int32)

        def learn(key: jax.Array, cells: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
            def attempt(margin: int) -> tuple[jax.Array, tuple[jax.Array, ...]]:
                def rollout_loss(params: jax.Array) -> tuple[jax.Array, Developed]:
                    developed = develop(automaton, key, params, cells, length, lengths[1] - 1, margin)
                    return loss(jax.random.fold_in(key, lengths[1]), developed.cells), developed

                (value, developed), gradient = jax.value_and_grad(rollout_loss, has_aux=True)(state.params)
                return developed.room, (value, developed.cells, gradient)

            return in_smallest_window(attempt, margins, state.room)

        rooms, (losses, ended, gradients) = each(learn, jax.random.split(key_rollouts, starts.batch_size), begun)
        gradient = per_variable(automaton, lambda _, g: g / (jnp.linalg.norm(g) + 1e-8), jnp.mean(gradients, axis=0))
        updates, memory = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        pool = starts.keep(state.pool, places, ended)
        return TrainState(params, memory, pool, jnp.min(rooms)), TrainInfo(jnp.mean(losses), length)

    return Trainer(init, step)
