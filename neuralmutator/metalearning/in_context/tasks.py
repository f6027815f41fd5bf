"""Tasks of regression, as tokens, and how well a network of tokens does on them."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check, random
from neuralmutator.metalearning.training import Loss
from neuralmutator.networks import Network


class Tasks(NamedTuple):
    """Tasks of regression."""

    tokens: jax.Array  # f32[B, N + 1, D + 1] pairs, and at last the query with a 0
    answers: jax.Array  # f32[B] what belongs to the query


Draw = Callable[[jax.Array, int], Tasks]
"""``(key, count) -> tasks``."""


def linear_tasks(dim: int = 10, pairs: int = 10, span: float = 1.0, spread: float = 1.0) -> Draw:
    """Linear regression: y = w · x, every task with a w of its own.

    Args:
        dim: D, of x.
        pairs: N, those given.
        span: x is uniform in [-span / 2, span / 2]^D, the query as well.
        spread: standard deviation of the entries of w, which are normal.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, pairs=pairs)
    check.number(0, open_low=True, span=span, spread=spread)

    def draw(key: jax.Array, count: int) -> Tasks:
        key_w, key_x = jax.random.split(key)
        w = spread * random.normal(key_w, count * dim).reshape(count, dim)
        x = _within(key_x, span, (count, pairs + 1, dim))
        return _tasks(x, jnp.einsum("bnd,bd->bn", x, w))

    return draw


def sine_tasks(
    pairs: int = 10, span: float = 10.0, least: float = 0.1, most: float = 0.5, phase: float = np.pi
) -> Draw:
    """Regression of sines: y = a sin(x + p), for attention on learnt features (the paper's section 4).

    Args:
        pairs: N, those given.
        span: x is uniform in [-span / 2, span / 2].
        least: amplitude a, which is uniform from it to `most`.
        most: amplitude.
        phase: p is uniform in [0, phase].

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, pairs=pairs)
    check.number(0, open_low=True, span=span)
    check.number(0, least=least, phase=phase)
    check.number(least, most=most)

    def draw(key: jax.Array, count: int) -> Tasks:
        key_a, key_p, key_x = jax.random.split(key, 3)
        a = jax.random.uniform(key_a, (count, 1), minval=least, maxval=most)
        p = jax.random.uniform(key_p, (count, 1), maxval=phase)
        x = _within(key_x, span, (count, pairs + 1, 1))
        return _tasks(x, a * jnp.sin(x[..., 0] + p))

    return draw


def _within(key: jax.Array, span: float, shape: tuple[int, ...]) -> jax.Array:
    """Uniform in [-span / 2, span / 2]. JAX draws an array of several axes more slowly than a row."""
    return span * (random.uniform(key, math.prod(shape)).reshape(shape) - 0.5)


def _tasks(x: jax.Array, y: jax.Array) -> Tasks:
    """From x f32[B, N + 1, D] and y f32[B, N + 1]."""
    shown = y.at[:, -1].set(0.0)
    return Tasks(jnp.concatenate([x, shown[..., None]], axis=-1), y[:, -1])


def mean_loss(network: Network, params: jax.Array, tasks: Tasks) -> jax.Array:
    """Half the mean squared error, f32[]."""
    predictions = jax.vmap(network.apply, (None, 0))(params, tasks.tokens)
    return 0.5 * jnp.mean((predictions - tasks.answers) ** 2)


def task_loss(network: Network, draw: Draw, batch: int = 2048) -> Loss:
    """`mean_loss` on a batch of fresh tasks, for `training`, or with a minus sign for an evolution.

    Raises:
        ValueError: if `batch` is not a whole number of at least 1.
    """
    check.whole(1, batch=batch)
    return lambda key, params: mean_loss(network, params, draw(key, batch))
