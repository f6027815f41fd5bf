"""Training reaction networks by gradients, and taking out the reactions that they can do without.

What is learnt are positive numbers f32[P]: the rate constants f32[R], then whatever else a loss wants, such as the
concentrations that a network starts from. Parameters are their logarithms. Rates differ by powers of ten, so a step of
an optimiser is a change in percent; a change of units is a sum; and a genome of such parameters mutates alike at every
scale. A logarithm never reaches 0, so a reaction is taken out by a mask.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from neuralmutator.core import Step, check, rollout
from neuralmutator.core.descent import finite_only

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""``(key, numbers f32[P]) -> f32[]``, the lower the better. The numbers are at least 0, the first R are rates."""


class TrainState(NamedTuple):
    """The state between two training steps."""

    params: jax.Array  # f32[P] logarithms
    kept: jax.Array  # bool[P] false: this number is 0 and stays it
    optimizer: Any

    @property
    def numbers(self) -> jax.Array:
        """What is learnt, f32[P]."""
        return positive(self.params, self.kept)


class TrainInfo(NamedTuple):
    """One training step."""

    loss: jax.Array  # f32[] before it, without the price of rates
    skipped: jax.Array  # bool[] whether nothing was changed since the gradient was not finite: a network has exploded


class Trainer(NamedTuple):
    """A training as two pure functions; see `core.rollout` for many steps in one program."""

    init: Callable[[jax.Array], TrainState]  # (numbers f32[P]) -> state; a number that is 0 stays 0
    step: Step  # (key, state) -> (state, TrainInfo)


def positive(params: jax.Array, kept: jax.Array | bool = True) -> jax.Array:
    """Numbers from their logarithms; 0 where they are not kept."""
    return jnp.where(kept, jnp.exp(params), 0.0)


def descent(learning_rate: float = 5e-3, steps: int | None = None) -> optax.GradientTransformation:
    """Adam, after the norm of the gradient is cut to 1: near a bifurcation gradients are huge.

    Args:
        learning_rate: about the change in a step, 0.01 being a percent.
        steps: over which the rate falls to 0 as a cosine; None: it stays.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.number(0, open_low=True, learning_rate=learning_rate)
    if steps is None:
        return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(learning_rate))
    check.whole(1, steps=steps)
    return optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(learning_rate, steps)))


def trainer(
    loss: Loss, reactions: int, optimizer: optax.GradientTransformation | None = None, price: float = 0.0
) -> Trainer:
    """Lowers a loss.

    Args:
        loss: of one's own, or one of `rhythm_loss` and `answer_loss`.
        reactions: R, how many of the numbers are rates.
        optimizer: of the logarithms; by default ``descent()``.
        price: of rates, times their sum (L1), in the loss: needless reactions become slow, and can then be pruned.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, reactions=reactions)
    check.number(0, price=price)
    optimizer = finite_only(descent() if optimizer is None else optimizer)

    def init(numbers: jax.Array) -> TrainState:
        check_numbers(numbers, reactions)
        kept = jnp.asarray(numbers) > 0
        params = jnp.log(jnp.where(kept, numbers, 1.0)).astype(jnp.float32)
        return TrainState(params, kept, optimizer.init(params))

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, TrainInfo]:
        def priced(params: jax.Array) -> tuple[jax.Array, jax.Array]:
            numbers = positive(params, state.kept)
            value = loss(key, numbers)
            return value + price * jnp.sum(numbers[:reactions]), value

        (_, value), gradient = jax.value_and_grad(priced, has_aux=True)(state.params)
        updates, memory = optimizer.update(gradient, state.optimizer, state.params)
        after = TrainState(optax.apply_updates(state.params, updates), state.kept, memory)
        return after, TrainInfo(value, ~memory.last_finite)

    return Trainer(init, step)


@partial(jax.jit, static_argnums=(0, 3))
def fit(trainer: Trainer, key: jax.Array, numbers: jax.Array, steps: int) -> tuple[jax.Array, TrainInfo]:
    """Trains for some steps, in one program that is compiled once for a trainer.

    Args:
        trainer: of `trainer`, or a pair of one's own.
        key: of the training.
        numbers: f32[P] to start from.
        steps: of the training.

    Returns:
        What was learnt, f32[P], and the info of every step.
    """
    state, info = rollout(trainer.step, key, trainer.init(numbers), steps)
    return state.numbers, info


class Pruned(NamedTuple):
    """A network without the reactions that it can do without."""

    numbers: jax.Array  # f32[P] 0 where taken out
    loss: float  # of what is left, after it was trained again
    unpruned: float  # of what it was made from
    path: tuple[tuple[int, float], ...]  # reactions left and loss after every attempt


def prune(
    trainer: Trainer,
    judge: Callable[[jax.Array], jax.Array],
    key: jax.Array,
    numbers: jax.Array,
    reactions: int,
    steps: int,
    tolerance: float = 0.1,
) -> Pruned:
    """Takes out reactions, trains what is left, and goes on as long as the loss stays near that of the whole network.

    Reactions go in the order of what the loss rises without each of them. First a third of them goes at a time; where
    what is left cannot be trained to the tolerated loss, a half as many, down to one.

    Args:
        trainer: trains what is left.
        judge: ``(numbers f32[P]) -> f32[]``, a loss without chance.
        key: of the training.
        numbers: f32[P] a trained network.
        reactions: R, how many of the numbers are rates.
        steps: of training after an attempt.
        tolerance: share by which the loss may exceed that of the whole network.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.random_key(key=key)
    check.whole(1, reactions=reactions, steps=steps)
    check.number(0, tolerance=tolerance)
    check_numbers(numbers, reactions)
    numbers = jnp.asarray(numbers, jnp.float32)
    unpruned = float(_judged(judge, numbers))
    best, loss = numbers, unpruned
    path: list[tuple[int, float]] = []
    share = 1 / 3
    while (left := np.flatnonzero(best[:reactions] > 0)).size > 1:
        count = max(int(share * left.size), 1)
        rise = np.nan_to_num(np.asarray(_without_each(judge, best, reactions))[left], nan=np.inf)
        gone = left[np.argsort(rise, kind="stable")[:count]]
        attempt, _ = fit(trainer, jax.random.fold_in(key, len(path)), best.at[gone].set(0.0), steps)
        found = float(_judged(judge, attempt))
        path.append((left.size - count, found))
        if found <= (1 + tolerance) * unpruned:
            best, loss = attempt, found
        elif count == 1:
            break
        else:
            share = count / 2 / left.size
    return Pruned(best, loss, unpruned, tuple(path))


@partial(jax.jit, static_argnums=0)
def _judged(judge: Callable[[jax.Array], jax.Array], numbers: jax.Array) -> jax.Array:
    return judge(numbers)


@partial(jax.jit, static_argnums=(0, 2))
def _without_each(judge: Callable[[jax.Array], jax.Array], numbers: jax.Array, reactions: int) -> jax.Array:
    """The loss without each of the reactions, f32[R]."""
    return jax.lax.map(lambda r: judge(numbers.at[r].set(0.0)), jnp.arange(reactions), batch_size=16)


def check_numbers(numbers: jax.Array, reactions: int) -> None:
    """Raises ValueError unless numbers have the shape (P,) of at least R and, if known, are finite and at least 0."""
    if len(jnp.shape(numbers)) != 1 or jnp.shape(numbers)[0] < reactions:
        raise ValueError(f"numbers must have shape (P,), P at least {reactions}, got {jnp.shape(numbers)}")
    if not check.is_traced(numbers):
        known = np.asarray(numbers, np.float64)
        if bad := [x for x in known if not 0 <= x < np.inf]:
            raise ValueError(f"numbers must be finite and at least 0, got {bad[0]:g}")
