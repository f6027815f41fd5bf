"""What a head does: least squares, a step of gradient descent, or a softmax."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from neuralmutator.core import check


class Attention(NamedTuple):
    """What a head does at every position, given what it has seen so far.

    `attend` is ``(keys f32[T, d], values f32[T, v], queries f32[T, d], regularisation f32[]) -> f32[T, v]``.
    """

    attend: Callable[[jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
    regularised: bool  # whether the regularisation matters; a head then learns its logarithm


def _check_heads(keys: jax.Array, values: jax.Array, queries: jax.Array, regularisation: Any) -> None:
    shapes = [jnp.shape(x) for x in (keys, values, queries)]
    if [len(shape) for shape in shapes] != [2, 2, 2] or len({shape[0] for shape in shapes}) != 1 or not shapes[0][0]:
        raise ValueError(f"keys, values and queries must be of one length of at least 1, got shapes {shapes}")
    if shapes[0][1] != shapes[2][1]:
        raise ValueError(f"keys and queries must be of one size, got {shapes[0][1]} and {shapes[2][1]}")
    check.number(0, open_low=True, regularisation=regularisation)


def least_squares(
    keys: jax.Array, values: jax.Array, queries: jax.Array, regularisation: jax.Array | float
) -> jax.Array:
    """The mesa-layer: at every t the solution of least squares on the pairs so far, applied to the query.

        W_t = argmin_W ½ Σ_{i ≤ t} |W k_i - v_i|² + ½ λ |W|²,    gives W_t q_t

    One scan of T steps, each of O(d²). With R = (λ + Σ k kᵀ)⁻¹ a pair changes

        W <- W + (v - W k) (R k)ᵀ / (1 + kᵀ R k),    R <- R - (R k) (R k)ᵀ / (1 + kᵀ R k)

    by Sherman and Morrison's formula. W as (Σ v kᵀ) R would be 200 times less exact in float32: large numbers cancel.

    Args:
        keys: f32[T, d].
        values: f32[T, v].
        queries: f32[T, d].
        regularisation: λ, above 0. For keys of length about 2, errors in float32 are some 1e-8 / λ.

    Raises:
        ValueError: if shapes do not fit, or λ is known and not above 0.

    Returns:
        f32[T, v].
    """
    _check_heads(keys, values, queries, regularisation)
    size = keys.shape[1]

    def step(carry: tuple[jax.Array, jax.Array], pair: tuple) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        inverse, solution = carry
        key, value, query = pair
        seen = inverse @ key
        gain = seen / (1 + key @ seen)
        solution = solution + jnp.outer(value - solution @ key, gain)
        return (inverse - jnp.outer(seen, gain), solution), solution @ query

    start = jnp.eye(size, dtype=keys.dtype) / regularisation, jnp.zeros((values.shape[1], size), keys.dtype)
    return jax.lax.scan(step, start, (keys, values, queries))[1]


def chunked_least_squares(
    keys: jax.Array,
    values: jax.Array,
    queries: jax.Array,
    regularisation: jax.Array | float,
    chunk: int = 8,
) -> jax.Array:
    """`least_squares` in chunks of positions: products of matrices instead of a step for each, for accelerators.

    With R and W of the pairs before a chunk, and its first t keys K and values V as rows, Woodbury's formula gives

        W_t q = W q + (V - K Wᵀ)ᵀ S_t⁻¹ K R q,    S_t = 1 + K R Kᵀ.

    The S_t of all t are the leading parts of one matrix, and so are their Cholesky factors: with the factor of the
    whole chunk, and entries behind t set to 0 between the two, two triangular solves answer all its queries at once.
    The longer a chunk, the larger the rounding errors: of 50 they are four times those of 8.

    Args:
        keys: f32[T, d].
        values: f32[T, v].
        queries: f32[T, d].
        regularisation: λ, above 0.
        chunk: C, positions in a chunk.

    Raises:
        ValueError: if shapes do not fit, λ is known and not above 0, or `chunk` is not a whole number of at least 1.

    Returns:
        f32[T, v].
    """
    _check_heads(keys, values, queries, regularisation)
    check.whole(1, chunk=chunk)
    length, size = keys.shape
    chunks = -(-length // chunk)
    filled = ((0, chunks * chunk - length), (0, 0))  # pairs of zeros change nothing
    parts = [jnp.pad(x, filled).reshape(chunks, chunk, -1) for x in (keys, values, queries)]
    seen = jnp.tril(jnp.ones((chunk, chunk), keys.dtype))  # [t, i] whether position t has seen pair i

    def step(carry: tuple[jax.Array, jax.Array], part: list) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        inverse, solution = carry
        keys, values, queries = part
        known = keys @ inverse
        factor = jnp.linalg.cholesky(jnp.eye(chunk, dtype=keys.dtype) + known @ keys.T)
        halves = solve_triangular(factor, jnp.concatenate([known @ queries.T, known], axis=1), lower=True)
        half, known_half = halves[:, :chunk], halves[:, chunk:]
        shares = jnp.concatenate([seen.T * half, known_half], axis=1)
        shares = solve_triangular(factor, shares, lower=True, trans="T")  # [i, t] of pair i in answer t; 0 for i > t
        residuals = values - keys @ solution.T
        given = queries @ solution.T + shares[:, :chunk].T @ residuals
        return (inverse - known_half.T @ known_half, solution + residuals.T @ shares[:, chunk:]), given

    start = jnp.eye(size, dtype=keys.dtype) / regularisation, jnp.zeros((values.shape[1], size), keys.dtype)
    given = jax.lax.scan(step, start, parts)[1]
    return given.reshape(chunks * chunk, -1)[:length]


def _linear(length: int, keys: jax.Array, values: jax.Array, queries: jax.Array, _: jax.Array) -> jax.Array:
    return jnp.tril(queries @ keys.T) @ values / length


def _softmax(keys: jax.Array, values: jax.Array, queries: jax.Array, _: jax.Array) -> jax.Array:
    scores = queries @ keys.T * keys.shape[1] ** -0.5
    seen = jnp.tril(jnp.ones(scores.shape, bool))
    return jax.nn.softmax(jnp.where(seen, scores, -jnp.inf), axis=-1) @ values


def mesa(chunk: int | None = None) -> Attention:
    """`least_squares`, by a scan; or in chunks of so many positions, as accelerators like it.

    Raises:
        ValueError: if `chunk` is neither None nor a whole number of at least 1.
    """
    if chunk is None:
        return Attention(least_squares, True)
    check.whole(1, chunk=chunk)
    return Attention(partial(chunked_least_squares, chunk=chunk), True)


def linear(length: int = 50) -> Attention:
    """Linear attention, ``Σ_{i ≤ t} v_i (k_i · q_t) / length``: a step of gradient descent.

    Args:
        length: what sums are divided by, T of the training; without it deep stacks explode.

    Raises:
        ValueError: if `length` is not a whole number of at least 1.
    """
    check.whole(1, length=length)
    return Attention(partial(_linear, length), False)


def softmax() -> Attention:
    """Softmax attention, with scores divided by √d."""
    return Attention(_softmax, False)
