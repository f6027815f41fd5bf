"""Few-shot tasks for networks that were trained on sequences."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.metalearning.mesa.attention import least_squares
from neuralmutator.metalearning.mesa.dynamics import constructed_tokens, normals_of, rotations, uniform_start
from neuralmutator.networks import Network


class Pairs(NamedTuple):
    """Tasks of regression from vectors to vectors."""

    inputs: jax.Array  # f32[B, N, D]
    outputs: jax.Array  # f32[B, N, D]


def few_shot(
    dim: int = 10,
    pairs: int = 25,
    noise: float = 0.01,
    start: Callable[[jax.Array, tuple[int, ...]], jax.Array] = uniform_start,
) -> Callable[[jax.Array, int], Pairs]:
    """Draws few-shot tasks ``(key, count) -> Pairs``: y = W x + noise, W orthogonal, x independent of one another.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, pairs=pairs)
    check.number(0, noise=noise)

    def draw(key: jax.Array, count: int) -> Pairs:
        key_start, key_normals = jax.random.split(key)
        x = start(key_start, (count, pairs, dim))
        normals, noises = normals_of(key_normals, (dim, count, dim), x.shape)
        return Pairs(x, jnp.einsum("bij,bnj->bni", rotations(normals), x) + noise * noises)

    return draw


def pair_tokens(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """A task as constructed tokens f32[2 N, 4 D], two for each pair: ``(0, x, x, 0)``, then ``(0, y, y, x)``.

    The first asks for y, and as it knows no state before, it teaches nothing; the second teaches that x leads to y. The
    answers are the predictions at 0, 2, 4 ….

    Args:
        inputs: f32[N, D].
        outputs: f32[N, D].

    Raises:
        ValueError: if the shapes differ, or there is no pair.
    """
    _check_pairs(inputs, outputs)
    nothing = jnp.zeros_like(inputs)
    asking = jnp.concatenate([nothing, inputs, inputs, nothing], axis=1)
    telling = jnp.concatenate([nothing, outputs, outputs, inputs], axis=1)
    return jnp.stack([asking, telling], axis=1).reshape(2 * inputs.shape[0], -1)


def pair_states(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
    """A task as one sequence x_1, y_1, x_2, y_2 …, f32[2 N, D], whose steps from y_i to x_{i+1} are wrong examples."""
    _check_pairs(inputs, outputs)
    return jnp.stack([inputs, outputs], axis=1).reshape(2 * inputs.shape[0], -1)


def _check_pairs(inputs: jax.Array, outputs: jax.Array) -> None:
    if jnp.ndim(inputs) != 2 or jnp.shape(inputs) != jnp.shape(outputs) or not jnp.shape(inputs)[0]:
        shapes = f"{jnp.shape(inputs)} and {jnp.shape(outputs)}"
        raise ValueError(f"inputs and outputs must have one shape (N, D) with N at least 1, got {shapes}")


def few_shot_errors(network: Network, params: jax.Array, tasks: Pairs, as_pairs: bool = True) -> jax.Array:
    """Half the squared error of each answer of a network that was trained on sequences, mean over tasks, f32[N].

    Args:
        network: for constructed tokens.
        params: f32[P].
        tasks: of `few_shot`.
        as_pairs: whether tokens are `pair_tokens`; else those of the one sequence `pair_states`.
    """

    def answers(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        if as_pairs:
            return network.apply(params, pair_tokens(inputs, outputs))[::2]
        states = pair_states(inputs, outputs)
        return network.apply(params, constructed_tokens(jnp.concatenate([states, states[:1]])))[::2]

    return 0.5 * jnp.mean(jnp.sum((jax.vmap(answers)(*tasks) - tasks.outputs) ** 2, axis=-1), axis=0)


def few_shot_ridge(tasks: Pairs, regularisation: float = 1e-3) -> jax.Array:
    """The same errors of ridge regression on the pairs before each, f32[N].

    Raises:
        ValueError: if `regularisation` is not above 0.
    """

    def answers(inputs: jax.Array, outputs: jax.Array) -> jax.Array:
        nothing = jnp.zeros_like(inputs[:1])
        before = [jnp.concatenate([nothing, x[:-1]]) for x in (inputs, outputs)]
        return least_squares(before[0], before[1], inputs, regularisation)

    return 0.5 * jnp.mean(jnp.sum((jax.vmap(answers)(*tasks) - tasks.outputs) ** 2, axis=-1), axis=0)
