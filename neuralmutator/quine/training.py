"""Training a network to predict its own weights: by gradients, by hill-climbing, and between regenerations.

Every function here gives a step: one epoch. Its state is a `Learning`, its info the `Replication` after the epoch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import Step
from neuralmutator.quine.measures import Replication, replication
from neuralmutator.quine.network import Quine
from neuralmutator.quine.search import in_place as one_by_one

OPTIMIZERS: dict[str, optax.GradientTransformation] = {
    "sgd": optax.sgd(1e-2),
    "momentum": optax.sgd(1e-2, momentum=0.9),
    "adam": optax.adam(1e-3),
    "adagrad": optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-10),
    "adamax": optax.adamax(2e-3),
    "rmsprop": optax.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False),
}
"""The paper's optimisers "with default hyperparameter settings": PyTorch's."""


class Learning(NamedTuple):
    """Weights, and what an optimiser remembers."""

    params: jax.Array  # f32[N]
    optimizer: Any = ()


def start(params: jax.Array, optimizer: optax.GradientTransformation | None = None) -> Learning:
    """The state before the first epoch."""
    return Learning(params, () if optimizer is None else optimizer.init(params))


def learning(step: Step) -> Step:
    """A step whose state is the bare weights, such as `homeostatic`, as one whose state is a `Learning`."""

    def lifted(key: jax.Array, state: Learning) -> tuple[Learning, Replication]:
        params, info = step(key, state.params)
        return Learning(params), info

    return lifted


def descend(
    loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation, state: Learning, *batch: jax.Array
) -> tuple[Learning, jax.Array]:
    """One update of the weights down the gradient of ``loss(params, *batch)``, and the loss f32[] before it."""
    value, slope = jax.value_and_grad(loss)(state.params, *batch)
    updates, memory = optimizer.update(slope, state.optimizer, state.params)
    return Learning(optax.apply_updates(state.params, updates), memory), value


def mini_batches(key: jax.Array, size: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """All of 0 … size - 1 once in random order, i32[batches, batch_size], and which of them count, f32, 1 or 0.

    The last batch is filled up with zeros that do not count. One batch of all stays in order.
    """
    batches = -(-size // batch_size)
    order = jnp.arange(size) if batches == 1 else jax.random.permutation(key, size)
    order = jnp.pad(order, (0, batches * batch_size - size))
    counts = (jnp.arange(batches * batch_size) < size).astype(jnp.float32)
    return order.reshape(batches, batch_size), counts.reshape(batches, batch_size)


def check_batch_size(batch_size: int, size: int) -> None:
    """Raises ValueError unless `batch_size` is a whole number from 1 to `size`."""
    if not isinstance(batch_size, int) or not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must be a whole number from 1 to {size}, got {batch_size!r}")


def _after(quine: Quine, params: jax.Array) -> Replication:
    return replication(params, quine.predict(params))


def gradient(quine: Quine, optimizer: optax.GradientTransformation, batch_size: int = 10) -> Step:
    """One epoch of gradient descent: all coordinates once, in random mini-batches.

    The weights to be predicted (and read) are those of the epoch's beginning; the loss of a mini-batch is the mean over
    its coordinates.

    Raises:
        ValueError: unless `batch_size` is a whole number from 1 to the number of weights.
    """
    check_batch_size(batch_size, quine.num_params)

    def step(key: jax.Array, state: Learning) -> tuple[Learning, Replication]:
        targets = state.params

        def loss(params: jax.Array, coordinates: jax.Array, count: jax.Array) -> jax.Array:
            error = quine.predict(params, coordinates, targets) - targets[coordinates]
            return jnp.sum(count * error**2) / jnp.sum(count)

        batches = mini_batches(key, quine.num_params, batch_size)
        state, _ = jax.lax.scan(lambda state, batch: descend(loss, optimizer, state, *batch), state, batches)
        return state, _after(quine, state.params)

    return step


def hill_climb(quine: Quine, std: float = 1e-3, candidates: int = 4, tries: int = 25) -> Step:
    """One epoch of hill-climbing: of several perturbed copies the best replaces the weights, if it is better.

    A copy is judged by its whole self-replicating loss: judged by mini-batches of 10, the weights random-walk away.

    Args:
        quine: the network.
        std: of the Gaussian perturbation of every weight.
        candidates: perturbed copies that are evaluated together.
        tries: number of times per epoch.

    Raises:
        ValueError: if `std` is negative, or a number is not a whole number of at least 1.
    """
    if not 0 <= std < float("inf"):
        raise ValueError(f"std must be a finite number of at least 0, got {std!r}")
    for name, value in (("candidates", candidates), ("tries", tries)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")

    def step(key: jax.Array, state: Learning) -> tuple[Learning, Replication]:
        def attempt(best: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            params, loss = best
            others = params + std * jax.random.normal(key, (candidates, params.size))
            losses = jax.vmap(quine.loss)(others)
            winner = jnp.nanargmin(losses)
            better = losses[winner] < loss
            return (jnp.where(better, others[winner], params), jnp.where(better, losses[winner], loss)), None

        first = state.params, quine.loss(state.params)
        (params, _), _ = jax.lax.scan(attempt, first, jax.random.split(key, tries))
        return Learning(params), _after(quine, params)

    return step


def regeneration(
    quine: Quine,
    optimizer: optax.GradientTransformation,
    epochs: int = 1,
    batch_size: int = 10,
    in_place: bool = False,
) -> Step:
    """One generation of the paper's best method: T epochs of gradient descent, then a regeneration.

    Its info is measured between the two, after the optimisation. The optimiser's memory goes on across a regeneration.

    Args:
        quine: the network.
        optimizer: of the epochs.
        epochs: T; with 0 the weights go to the zero quine.
        batch_size: coordinates in a mini-batch.
        in_place: replaces one weight after the other, as the pseudo-code has it, instead of all at once. The paper's
            figures are only reached with all at once.

    Raises:
        ValueError: if `epochs` is negative, or `batch_size` out of range.
    """
    if not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs must be a whole number of at least 0, got {epochs!r}")
    epoch = gradient(quine, optimizer, batch_size)
    replace = one_by_one(quine)

    def step(key: jax.Array, state: Learning) -> tuple[Learning, Replication]:
        state, _ = jax.lax.scan(lambda state, key: epoch(key, state), state, jax.random.split(key, epochs))
        info = _after(quine, state.params)
        params = replace(key, state.params)[0] if in_place else quine.regenerate(state.params)
        return Learning(params, state.optimizer), info

    return step
