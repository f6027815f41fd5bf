"""What becomes of a network that replicates again and again, and of one that was damaged."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.sparse import linalg

from neuralmutator.core import Step, rollout


class Kind(IntEnum):
    """Classes of fixed points (Gabor et al. 2019)."""

    DIVERGENT = 0
    ZERO = 1
    EXACT = 2
    CYCLE = 3
    OTHER = 4


class FixedPoint(NamedTuple):
    """What repeated self-application leads to."""

    kind: jax.Array  # i32[] a `Kind`
    period: jax.Array  # i32[] 1 for ZERO and EXACT, 2 or more for a CYCLE, else 0


def fixed_point(
    regenerate: Callable[[jax.Array], jax.Array],
    params: jax.Array,
    applications: int = 100,
    tolerance: float = 1e-4,
    longest_cycle: int = 8,
    limit: float = 1e8,
) -> FixedPoint:
    """The class of fixed point after a number of regenerations; pure, so vmap it over networks.

    Args:
        regenerate: weights f32[N] to weights; `Quine.regenerate`, or any other map.
        params: f32[N].
        applications: plain regenerations before the class is told. An exact quine repels its own neighbours threefold
            at each, so that one of float32 precision is lost after some fifteen.
        tolerance: largest absolute difference of a weight that counts as none.
        longest_cycle: longest period that is recognised.
        limit: largest absolute weight that is not divergent.
    """
    final = jax.lax.fori_loop(0, applications, lambda _, params: regenerate(params), params)

    def next_one(params: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        params = regenerate(params)
        return params, jnp.all(jnp.abs(params - final) < tolerance)

    _, returns = jax.lax.scan(next_one, final, None, longest_cycle)
    # Not by the maximum: XLA's may pass over a NaN.
    divergent = ~jnp.all(jnp.abs(final) < limit)
    zero = jnp.all(jnp.abs(final) < tolerance)
    period = jnp.where(zero, 1, jnp.where(jnp.any(returns) & ~divergent, jnp.argmax(returns) + 1, 0))
    kind = jnp.select(
        [divergent, zero, period == 1, period > 1], [Kind.DIVERGENT, Kind.ZERO, Kind.EXACT, Kind.CYCLE], Kind.OTHER
    )
    return FixedPoint(kind.astype(jnp.int32), period.astype(jnp.int32))


def radial_multiplier(regenerate: Callable[[jax.Array], jax.Array], params: jax.Array) -> jax.Array:
    """How much an error along the weights themselves grows in one regeneration, f32[]: w · F'(w) w / |w|²."""
    _, moved = jax.jvp(regenerate, (params,), (params,))
    return jnp.vdot(params, moved) / jnp.vdot(params, params)


def spectrum(regenerate: Callable[[jax.Array], jax.Array], params: jax.Array, number: int = 6) -> np.ndarray:
    """The largest eigenvalues of a regeneration's derivative, by absolute value, c64[number]; on the host (ARPACK).

    Below 1 in absolute value everywhere, a fixed point attracts what is near.
    """
    derivative = jax.jit(lambda x: jax.jvp(regenerate, (params,), (x,))[1])
    n = params.size
    matrix = linalg.LinearOperator((n, n), matvec=lambda x: np.asarray(derivative(x.ravel().astype(np.float32))))
    start = np.random.default_rng(0).normal(size=n).astype(np.float32)
    values = linalg.eigs(matrix, k=number, v0=start, tol=1e-3, return_eigenvectors=False)
    return values[np.argsort(-np.abs(values))]


def zeroed(key: jax.Array, params: jax.Array, share: float) -> jax.Array:
    """Weights f32[N] of which a random share is 0."""
    return jnp.where(jax.random.uniform(key, params.shape) < share, 0.0, params)


def shuffled(key: jax.Array, params: jax.Array) -> jax.Array:
    """The same weights f32[N] in random places."""
    return jax.random.permutation(key, params)


def noisy(key: jax.Array, params: jax.Array, size: float) -> jax.Array:
    """Weights f32[N] with Gaussian noise of the norm ``size * |w|``."""
    noise = jax.random.normal(key, params.shape)
    return params + size * jnp.linalg.norm(params) / jnp.linalg.norm(noise) * noise


def distance_after(step: Step, original: jax.Array, damaged: jax.Array, steps: int) -> jax.Array:
    """How far from the original weights a damaged network is after 0, 1 … `steps` steps, f32[steps + 1], |·| / |w|."""

    def move(key: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, _ = step(key, params)
        return params, params

    _, path = rollout(move, jax.random.key(0), damaged, steps)
    path = jnp.concatenate([damaged[None], path])
    return jnp.linalg.norm(path - original, axis=1) / jnp.linalg.norm(original)
