"""Training of a network of flat parameters by gradients, as a step: what all of metalearning shares."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import optax

from neuralmutator.core import Step, check
from neuralmutator.core.descent import finite_only
from neuralmutator.networks import Network

Loss = Callable[[jax.Array, jax.Array], jax.Array]
"""``(key, params f32[P]) -> f32[]``, the lower the better; the key draws the batch."""


class TrainState(NamedTuple):
    """The state between two training steps."""

    params: jax.Array  # f32[P]
    optimizer: Any


class TrainInfo(NamedTuple):
    """One training step."""

    loss: jax.Array  # f32[] of its batch, before it
    skipped: jax.Array  # bool[] whether nothing was changed, since its gradient was not finite


class Trainer(NamedTuple):
    """A training as two pure functions; `core.rollout` makes many steps of it in one program."""

    init: Callable[[jax.Array], TrainState]  # (key) -> state
    step: Step  # (key, state) -> (state, TrainInfo)


def clipped_adam(
    learning_rate: float = 1e-3, clip: float = 1e-3, steps: int | None = None, warm_up: int = 0
) -> optax.GradientTransformation:
    """Adam, after the norm of the gradient is cut to `clip`.

    Adam does not mind the size of gradients. A clip below their usual norm gives all batches the same weight.

    Args:
        learning_rate: of Adam, at its highest.
        clip: largest norm of a gradient.
        steps: at which the rate has fallen to 0 as a cosine; None: it stays.
        warm_up: first steps, in which the rate rises from 0; only with `steps`.

    Raises:
        ValueError: if a number is out of range.
    """
    check.number(0, open_low=True, learning_rate=learning_rate, clip=clip)
    rate: Any = learning_rate
    if steps is not None:
        check.whole(1, steps=steps)
        check.whole(0, warm_up=warm_up)
        rate = optax.warmup_cosine_decay_schedule(0.0 if warm_up else learning_rate, learning_rate, warm_up, steps)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adam(rate))


def training(network: Network, loss: Loss, optimizer: optax.GradientTransformation | None = None) -> Trainer:
    """Lowers a loss by gradients.

    Seeds are a ``vmap`` or a ``lax.map`` over keys::

        trainer = training(network, loss)
        run = lambda key: rollout(trainer.step, key, trainer.init(key), 1500)
        states, infos = jax.jit(lambda keys: jax.lax.map(run, keys))(jax.random.split(jax.random.key(0), 5))

    Args:
        network: gives the first parameters.
        loss: of its parameters, on a batch drawn by the key.
        optimizer: by default ``clipped_adam()``.
    """
    optimizer = finite_only(clipped_adam() if optimizer is None else optimizer)

    def init(key: jax.Array) -> TrainState:
        params = network.init(key)
        return TrainState(params, optimizer.init(params))

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, TrainInfo]:
        value, slope = jax.value_and_grad(loss, 1)(key, state.params)
        updates, memory = optimizer.update(slope, state.optimizer, state.params)
        return TrainState(optax.apply_updates(state.params, updates), memory), TrainInfo(value, ~memory.last_finite)

    return Trainer(init, step)
