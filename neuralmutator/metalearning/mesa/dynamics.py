"""Sequences of linear systems, and what a network sees of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import check

Draw = Callable[[jax.Array, int], jax.Array]
"""``(key, count) -> states f32[count, T + 1, D]``."""

Tokens = Callable[[jax.Array], jax.Array]
"""What a network sees of a sequence: ``states f32[T + 1, D] -> tokens f32[T, W]``, nothing of the last state."""


def uniform_start(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """First states of the published program, uniform in [-1, 1]."""
    return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)


def rotations(normals: jax.Array) -> jax.Array:
    """Random orthogonal matrices f32[B, D, D], all equally likely, as products of reflections (Stewart 1980).

    ``jax.random.orthogonal`` asks LAPACK, matrix by matrix, which is slow on accelerators.

    Args:
        normals: f32[D, B, D] drawn from a normal distribution.
    """
    dim = normals.shape[-1]
    mirrors, signs = normals[:-1], jnp.sign(normals[-1])

    def reflect(matrices: jax.Array, step: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        first, mirror = step  # number i leaves the entries before i as they are
        mirror = jnp.where(jnp.arange(dim) >= first, mirror, 0.0)
        length = jnp.linalg.norm(mirror, axis=-1, keepdims=True)
        mirror = mirror + jnp.where(jnp.arange(dim) == first, jnp.sign(mirror) * length, 0.0)
        along = jnp.einsum("bi,bij->bj", mirror, matrices)
        factor = 2 / jnp.sum(mirror**2, axis=-1)
        return matrices - factor[:, None, None] * mirror[:, :, None] * along[:, None, :], None

    start = signs[:, :, None] * jnp.eye(dim)
    return jax.lax.scan(reflect, start, (jnp.arange(dim - 1), mirrors), reverse=True)[0]


def normals_of(key: jax.Array, *shapes: tuple[int, ...]) -> list[jax.Array]:
    """Normal numbers, f32 of each of these shapes, in one draw, since XLA takes a second to compile each."""
    ends = np.cumsum([int(np.prod(shape)) for shape in shapes])
    parts = jnp.split(jax.random.normal(key, (ends[-1],)), ends[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def linear_dynamics(
    dim: int = 10,
    length: int = 50,
    noise: float = 0.01,
    start: Callable[[jax.Array, tuple[int, ...]], jax.Array] = uniform_start,
    radius: float = 1.0,
) -> Draw:
    """Sequences s_{t+1} = W s_t + noise, every sequence with a random orthogonal W of its own.

    Args:
        dim: D.
        length: T, the pairs of a state and the next one.
        noise: standard deviation of the noise.
        start: ``(key, shape) -> first states``, such as ``jax.random.normal``.
        radius: what W is multiplied by; below 1 the states decay.

    Raises:
        ValueError: if a number is out of range.
    """
    check.whole(1, dim=dim, length=length)
    check.number(0, noise=noise)
    check.number(0, open_low=True, radius=radius)

    def draw(key: jax.Array, count: int) -> jax.Array:
        key_start, key_normals = jax.random.split(key)
        first = start(key_start, (count, dim))
        normals, noises = normals_of(key_normals, (dim, count, dim), (length, count, dim))
        w, noises = radius * rotations(normals), noise * noises

        def move(state: jax.Array, noise: jax.Array) -> tuple[jax.Array, jax.Array]:
            state = jnp.einsum("bij,bj->bi", w, state) + noise
            return state, state

        _, later = jax.lax.scan(move, first, noises)
        return jnp.concatenate([first[:, None], jnp.swapaxes(later, 0, 1)], axis=1)

    return draw


def constructed_tokens(states: jax.Array) -> jax.Array:
    """``(0, s_t, s_t, s_{t-1})`` of states f32[T + 1, D], f32[T, 4 D]; s_0 is 0."""
    check_states(states)
    now = states[:-1]
    before = jnp.concatenate([jnp.zeros_like(now[:1]), now[:-1]])
    return jnp.concatenate([jnp.zeros_like(now), now, now, before], axis=1)


def states_alone(states: jax.Array) -> jax.Array:
    """s_t alone, f32[T, D], for a network with an embedding."""
    check_states(states)
    return states[:-1]


def check_states(states: jax.Array) -> None:
    """Raises ValueError unless states have the shape (T + 1, D) with T at least 1: one pair."""
    if jnp.ndim(states) != 2 or jnp.shape(states)[0] < 2:
        raise ValueError(f"states must have shape (T + 1, D) with at least 1 pair, got {jnp.shape(states)}")
