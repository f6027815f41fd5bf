"""Training automata to grow a target image: from a seed, or from a pool of what they grew before.

The three regimes of the article. *Growing*: every rollout starts from the seed. *Persistent*: from a pool of earlier
results, the worst of a batch replaced by the seed. *Regenerating*: so too, and the best of a batch are damaged.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator.core import PyTree, Step, each
from neuralmutator.nca.automaton import ALPHA, Automaton, Developed, develop, per_variable, seed
from neuralmutator.nca.damage import circle

SLACK = 2
"""Cells by which life may come nearer to the border of the grid in the next training step before it costs time."""

Regime = Literal["growing", "persistent", "regenerating"]


class Training(NamedTuple):
    """The state between two training steps."""

    params: jax.Array  # f32[P]
    optimizer: PyTree
    pool: jax.Array  # f32[pool size, H, W, C]; none in the growing regime
    room: jax.Array  # i32[] cells between life and the border of the grid in the last step, see `develop`


class Trained(NamedTuple):
    """One training step."""

    loss: jax.Array  # f32[] mean of the batch after its rollout
    length: jax.Array  # i32[] updates in the rollout
    room: jax.Array  # i32[] least number of cells between life and the border of the grid


class Trainer(NamedTuple):
    """A training as two pure functions; see `core.rollout` for many steps in one program."""

    init: Callable[[jax.Array], Training]  # (key) -> state
    step: Step  # (key, state) -> (state, Trained)


def loss(grid: jax.Array, target: jax.Array) -> jax.Array:
    """Mean squared error f32[] of colours and alpha; grid f32[H, W, C], target f32[H, W, 4]."""
    return jnp.mean((grid[..., : ALPHA + 1] - target) ** 2)


def schedule(learning_rate: float = 2e-3, drop_at: int = 2000) -> optax.Schedule:
    """The article's: a tenth of the rate from step `drop_at` on."""
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
    margins: Sequence[int] = (),
) -> Trainer:
    """Trains an automaton to grow a target, by gradients through all updates of a rollout.

    The gradient of every variable is divided by its norm before Adam, which tames the jumps of late training.

    Args:
        automaton: what is trained.
        target: f32[H, W, 4], colours premultiplied by alpha, as large as the grid.
        regime: what rollouts start from.
        learning_rate: of Adam.
        batch_size: rollouts in a training step.
        pool_size: grids in the pool (persistent, regenerating).
        lengths: a rollout has at least the first and less than the second number of updates; all of a batch have the
            same.
        damaged: grids of a batch that lose a disc (regenerating), those of the lowest loss.
        margins: windows that need not be left, see `develop`: rollouts are computed in the smallest that would have
            done in the last step, and once more without one if life has left it. Exact, and faster where rollouts run
            one after another (`core.each` on a CPU).

    Raises:
        ValueError: if an argument is out of range.
    """
    if regime not in get_args(Regime):
        raise ValueError(f"regime must be one of {', '.join(get_args(Regime))}, got {regime!r}")
    if target.ndim != 3 or target.shape[2] != ALPHA + 1:
        raise ValueError(f"target must have shape (H, W, {ALPHA + 1}), got {target.shape}")
    pooled = regime != "growing"
    least = 2 if pooled else 1
    if not isinstance(batch_size, int) or batch_size < least:
        raise ValueError(f"batch_size must be a whole number of at least {least}, got {batch_size!r}")
    if pooled and (not isinstance(pool_size, int) or pool_size < batch_size):
        raise ValueError(f"pool_size must be a whole number of at least {batch_size}, the batch, got {pool_size!r}")
    if not 0 < lengths[0] < lengths[1]:
        raise ValueError(f"lengths must be two growing numbers above 0, got {lengths}")
    damaged = damaged if regime == "regenerating" else 0
    if not 0 <= damaged < batch_size:
        raise ValueError(f"damaged must lie between 0 and {batch_size - 1}, got {damaged!r}")
    optimizer = optax.adam(learning_rate, eps=1e-7)
    height, width = target.shape[:2]
    if any(not 0 < 2 * margin + 2 < min(height, width) for margin in margins):
        raise ValueError(f"margins must leave a window of the grid of {height} × {width}, got {tuple(margins)}")
    choices = np.array([*sorted(margins, reverse=True), -1 - SLACK])
    start = seed((height, width), automaton.channels)

    def init(key: jax.Array) -> Training:
        params = automaton.init(key)
        pool = jnp.broadcast_to(start, (pool_size if pooled else 0, *start.shape))
        return Training(params, optimizer.init(params), pool, jnp.int32(0))

    def draw(key: jax.Array, pool: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where the rollouts of a batch start, and their places in the pool."""
        if not pooled:
            return jnp.broadcast_to(start, (batch_size, *start.shape)), jnp.zeros(0, jnp.int32)
        key_places, key_damage = jax.random.split(key)
        places = jax.random.choice(key_places, pool_size, (batch_size,), replace=False)
        worst_first = jnp.argsort(-jax.vmap(loss, (0, None))(pool[places], target))
        places = places[worst_first]
        masks = jax.vmap(lambda key: circle(key, height, width))(jax.random.split(key_damage, damaged))
        grids = pool[places].at[0].set(start)
        return grids.at[batch_size - damaged :].multiply(masks), places

    def step(key: jax.Array, state: Training) -> tuple[Training, Trained]:
        key_draw, key_length, key_rollouts = jax.random.split(key, 3)
        grids, places = draw(key_draw, state.pool)
        length = jax.random.randint(key_length, (), *lengths)
        window = jnp.argmax(choices < state.room - SLACK)  # the first, which is the largest margin

        def learn(key: jax.Array, grid: jax.Array) -> tuple[jax.Array, ...]:
            def within(margin: int) -> tuple[jax.Array, ...]:
                def rollout_loss(params: jax.Array) -> tuple[jax.Array, Developed]:
                    developed = develop(automaton, key, params, grid, length, lengths[1] - 1, margin)
                    return loss(developed.grid, target), developed

                (value, developed), gradient = jax.value_and_grad(rollout_loss, has_aux=True)(state.params)
                return value, developed.grid, gradient, developed.room

            first = jax.lax.switch(window, [partial(within, margin) for margin in (*choices[:-1].tolist(), 0)])
            left = (first[-1] <= jnp.asarray(choices)[window]) & (window < len(choices) - 1)
            return jax.lax.cond(left, lambda: within(0), lambda: first)

        losses, grids, gradients, rooms = each(learn, jax.random.split(key_rollouts, batch_size), grids)
        gradient = per_variable(automaton, lambda _, g: g / (jnp.linalg.norm(g) + 1e-8), jnp.mean(gradients, axis=0))
        updates, memory = optimizer.update(gradient, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        pool = state.pool.at[places].set(grids) if pooled else state.pool
        room = jnp.min(rooms)
        return Training(params, memory, pool, room), Trained(jnp.mean(losses), length, room)

    return Trainer(init, step)
