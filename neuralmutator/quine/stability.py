"""Stability of quines: classes of fixed points, eigenvalues, and recovery from damage."""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Step, rollout


class Kind(IntEnum):
    """Classes of fixed points (Gabor et al. 2019)."""

    DIVERGENT = 0
    ZERO = 1
    EXACT = 2
    CYCLE = 3
    OTHER = 4


class FixedPoint(NamedTuple):
    """Where repeated regeneration leads."""

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
    """Classifies where a number of regenerations leads; pure, so vmap it over networks.

    Args:
        regenerate: weights f32[N] to weights; `Quine.regenerate`, or any other map.
        params: f32[N].
        applications: number of plain regenerations before the classification. Each one triples the error of an exact
            quine, so one that is exact to float32 precision is lost after about fifteen.
        tolerance: weights that differ by less than this count as equal.
        longest_cycle: longest period that is recognised.
        limit: a network with an absolute weight above this counts as divergent.
    """
    final = jax.lax.fori_loop(0, applications, lambda _, params: regenerate(params), params)

    def next_one(params: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        params = regenerate(params)
        return params, jnp.all(jnp.abs(params - final) < tolerance)

    _, returns = jax.lax.scan(next_one, final, None, longest_cycle)
    # Not by the maximum: XLA's may ignore a NaN.
    divergent = ~jnp.all(jnp.abs(final) < limit)
    zero = jnp.all(jnp.abs(final) < tolerance)
    period = jnp.where(zero, 1, jnp.where(jnp.any(returns) & ~divergent, jnp.argmax(returns) + 1, 0))
    kind = jnp.select(
        [divergent, zero, period == 1, period > 1], [Kind.DIVERGENT, Kind.ZERO, Kind.EXACT, Kind.CYCLE], Kind.OTHER
    )
    return FixedPoint(kind.astype(jnp.int32), period.astype(jnp.int32))


def radial_multiplier(regenerate: Callable[[jax.Array], jax.Array], params: jax.Array) -> jax.Array:
    """Factor by which one regeneration multiplies an error along the weights, f32[]: w · F'(w) w / |w|²."""
    _, moved = jax.jvp(regenerate, (params,), (params,))
    return jnp.vdot(params, moved) / jnp.vdot(params, params)


def spectrum(regenerate: Callable[[jax.Array], jax.Array], params: jax.Array, number: int = 6) -> np.ndarray:
    """The eigenvalues of a regeneration's derivative that are largest in absolute value; on the host, by ARPACK.

    A fixed point is attracting if all eigenvalues are below 1 in absolute value.

    Args:
        regenerate: weights f32[N] to weights.
        params: f32[N] where the derivative is taken.
        number: of eigenvalues, at most N - 2.

    Returns:
        c64[number], the largest first; c128 for weights of float64.
    """
    from scipy.sparse import linalg  # slow to import, and only needed here

    derivative = jax.jit(lambda x: jax.jvp(regenerate, (params,), (x,))[1])
    n = params.size
    matrix = linalg.LinearOperator(
        (n, n), matvec=lambda x: np.asarray(derivative(x.ravel().astype(params.dtype))), dtype=params.dtype
    )
    start = np.random.default_rng(0).normal(size=n).astype(params.dtype)
    values = linalg.eigs(matrix, k=number, v0=start, tol=1e-3, return_eigenvectors=False)
    return values[np.argsort(-np.abs(values))]


def zeroed(key: jax.Array, params: jax.Array, share: float) -> jax.Array:
    """Damage: sets a random share of the weights f32[N] to 0."""
    return jnp.where(jax.random.uniform(key, params.shape) < share, 0.0, params)


def shuffled(key: jax.Array, params: jax.Array) -> jax.Array:
    """Damage: the weights f32[N] in random order."""
    return jax.random.permutation(key, params)


def noisy(key: jax.Array, params: jax.Array, size: float) -> jax.Array:
    """Damage: adds Gaussian noise of the norm ``size * |w|`` to the weights f32[N]."""
    noise = jax.random.normal(key, params.shape, params.dtype)
    return params + size * jnp.linalg.norm(params) / jnp.linalg.norm(noise) * noise


def distance_after(step: Step, original: jax.Array, damaged: jax.Array, steps: int) -> jax.Array:
    """Distance of a damaged network from the original one while it recovers.

    Args:
        step: of regeneration; its keys follow from a fixed one.
        original: f32[N].
        damaged: f32[N].
        steps: number of steps.

    Returns:
        f32[steps + 1]: |weights - original| / |original| after 0, 1 … `steps` steps.
    """

    def move(key: jax.Array, params: jax.Array) -> tuple[jax.Array, jax.Array]:
        params, _ = step(key, params)
        return params, params

    _, path = rollout(move, jax.random.key(0), damaged, steps)
    path = jnp.concatenate([damaged[None], path])
    return jnp.linalg.norm(path - original, axis=1) / jnp.linalg.norm(original)
