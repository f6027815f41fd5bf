"""Training a network to predict its own weights: by gradients, by hill-climbing, and with regenerations between epochs.

`gradient`, `hill_climb` and `regeneration` return a step: one epoch, or one generation. Its state is a `TrainState`,
its info the `Replication` after the epoch.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import Step
from neuralmutator.quine.measures import Replication, replication
from neuralmutator.quine.network import Quine
from neuralmutator.quine.search import in_place_regeneration

OPTIMIZERS: dict[str, optax.GradientTransformation] = {
    "sgd": optax.sgd(1e-2),
    "momentum": optax.sgd(1e-2, momentum=0.9),
    "adam": optax.adam(1e-3),
    "adagrad": optax.adagrad(1e-2, initial_accumulator_value=0.0, eps=1e-10),
    "adamax": optax.adamax(2e-3),
    "rmsprop": optax.rmsprop(1e-2, decay=0.99, eps_in_sqrt=False),
}
"""The paper's optimisers "with default hyperparameter settings", which are those of PyTorch."""


class TrainState(NamedTuple):
    """Weights, and the state of an optimiser."""

    params: jax.Array  # f32[N]
    optimizer: Any = ()  # state of the optax optimiser; () without one


def init_train_state(params: jax.Array, optimizer: optax.GradientTransformation | None = None) -> TrainState:
    """The state before the first epoch.

    Args:
        params: f32[N] first weights.
        optimizer: the one that the step is given; None for steps that take none.
    """
    return TrainState(params, () if optimizer is None else optimizer.init(params))


def as_train_step(step: Step) -> Step:
    """Turns a step on weights f32[N], such as `homeostatic_regeneration`, into one on a `TrainState`."""

    def lifted(key: jax.Array, state: TrainState) -> tuple[TrainState, Replication]:
        params, info = step(key, state.params)
        return TrainState(params), info

    return lifted


def descend(
    loss: Callable[..., jax.Array], optimizer: optax.GradientTransformation, state: TrainState, *batch: jax.Array
) -> tuple[TrainState, jax.Array]:
    """One update of the weights by the gradient of ``loss(params, *batch)``, and the loss f32[] before it."""
    value, slope = jax.value_and_grad(loss)(state.params, *batch)
    updates, memory = optimizer.update(slope, state.optimizer, state.params)
    return TrainState(optax.apply_updates(state.params, updates), memory), value


def mini_batches(key: jax.Array, size: int, batch_size: int) -> tuple[jax.Array, jax.Array]:
    """Splits 0 … size - 1, in random order, into batches.

    Args:
        key: draws the order.
        size: of what is split.
        batch_size: of a batch.

    Returns:
        The numbers i32[batches, batch_size], and a mask of the same shape, f32: 0 where the last batch is filled up,
        1 elsewhere. If there is one batch only, its numbers are in order.
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

    The targets (and the weights that a weight-reading network reads) are the weights at the start of the epoch. The
    loss of a mini-batch is the mean over its coordinates.

    Args:
        quine: the network.
        optimizer: of the weights; its state is a part of the `TrainState`.
        batch_size: coordinates in a mini-batch.

    Raises:
        ValueError: unless `batch_size` is a whole number from 1 to the number of weights.
    """
    check_batch_size(batch_size, quine.num_params)

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, Replication]:
        targets = state.params

        def loss(params: jax.Array, coordinates: jax.Array, count: jax.Array) -> jax.Array:
            error = quine.predict(params, coordinates, targets) - targets[coordinates]
            return jnp.sum(count * error**2) / jnp.sum(count)

        batches = mini_batches(key, quine.num_params, batch_size)
        state, _ = jax.lax.scan(lambda state, batch: descend(loss, optimizer, state, *batch), state, batches)
        return state, _after(quine, state.params)

    return step


def hill_climb(quine: Quine, std: float = 1e-3, candidates: int = 4, tries: int = 25) -> Step:
    """One epoch of hill-climbing: the best of several perturbed copies replaces the weights if its loss is smaller.

    The loss of a copy is its whole self-replicating loss. With losses of mini-batches of 10, the weights make a random
    walk.

    Args:
        quine: the network.
        std: of the Gaussian perturbation of every weight.
        candidates: number of perturbed copies that are compared at a time.
        tries: number of comparisons per epoch.

    Raises:
        ValueError: if `std` is negative, or a number is not a whole number of at least 1.
    """
    if not 0 <= std < float("inf"):
        raise ValueError(f"std must be a finite number of at least 0, got {std!r}")
    for name, value in (("candidates", candidates), ("tries", tries)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, Replication]:
        def attempt(best: tuple[jax.Array, jax.Array], key: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
            params, loss = best
            others = params + std * jax.random.normal(key, (candidates, params.size), params.dtype)
            losses = jax.vmap(quine.loss)(others)
            winner = jnp.nanargmin(losses)
            better = losses[winner] < loss
            return (jnp.where(better, others[winner], params), jnp.where(better, losses[winner], loss)), None

        first = state.params, quine.loss(state.params)
        (params, _), _ = jax.lax.scan(attempt, first, jax.random.split(key, tries))
        return TrainState(params), _after(quine, params)

    return step


def regeneration(
    quine: Quine,
    optimizer: optax.GradientTransformation,
    epochs: int = 1,
    batch_size: int = 10,
    in_place: bool = False,
) -> Step:
    """One generation of the paper's best method: T epochs of gradient descent, then a regeneration.

    The info is measured between the two. The regeneration does not reset the state of the optimiser.

    Args:
        quine: the network.
        optimizer: of the epochs.
        epochs: T; with 0 the weights converge to the zero quine.
        batch_size: coordinates in a mini-batch.
        in_place: whether to replace one weight after the other, as in the paper's pseudo-code, instead of all at once.
            Only all at once reproduces the paper's figures.

    Raises:
        ValueError: if `epochs` is negative, or `batch_size` out of range.
    """
    if not isinstance(epochs, int) or epochs < 0:
        raise ValueError(f"epochs must be a whole number of at least 0, got {epochs!r}")
    epoch = gradient(quine, optimizer, batch_size)
    replace = in_place_regeneration(quine)

    def step(key: jax.Array, state: TrainState) -> tuple[TrainState, Replication]:
        state, _ = jax.lax.scan(lambda state, key: epoch(key, state), state, jax.random.split(key, epochs))
        info = _after(quine, state.params)
        params = replace(key, state.params)[0] if in_place else quine.regenerate(state.params)
        return TrainState(params, state.optimizer), info

    return step
