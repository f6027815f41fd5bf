"""Regeneration: a network replaces its weights by its predictions of them; and searches for exact quines.

Plain regeneration does not converge. Without biases, the predictions F(w) of a network of p weight layers scale
(nearly) as |w|^p. So the derivative of F at a fixed point has the eigenvalue p along the weights themselves, 3 for the
paper's network: every fixed point is repelling in that direction. Weights that are a little too small get smaller with
each regeneration (the *zero quine*); weights that are a little too large explode.

*Homeostatic* regeneration keeps the norm. It multiplies F(w) by (|w| / |F(w)|)^γ. The eigenvalue along the weights is
then p - γ (p - 1), which is 0 at γ = p / (p - 1): an error of scale is gone after one step. In all other directions the
step is that of F. This is Petviashvili's method (1976) for solitary waves. It converges to a fixed point of F itself:
|F(w)| = |w| there, so the factor is 1.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Step
from neuralmutator.quine.measures import Replication, replication
from neuralmutator.quine.network import Quine


def plain_regeneration(quine: Quine) -> Step:
    """All weights at once: ``w ← F(w)``. The step's state is the weights f32[N], its info a `Replication`."""

    def step(key: jax.Array, params: jax.Array) -> tuple[jax.Array, Replication]:
        predictions = quine.regenerate(params)
        return predictions, replication(params, predictions)

    return step


def in_place_regeneration(quine: Quine) -> Step:
    """One weight after the other, each predicted by the network as it is by then (the paper's pseudo-code)."""

    def step(key: jax.Array, params: jax.Array) -> tuple[jax.Array, Replication]:
        def replace(coordinate: jax.Array, params: jax.Array) -> jax.Array:
            return params.at[coordinate].set(quine.predict(params, coordinate[None])[0])

        info = replication(params, quine.predict(params))
        return jax.lax.fori_loop(0, quine.num_params, replace, params), info

    return step


def homeostatic_regeneration(quine: Quine, damping: float = 0.5, gamma: float | None = None) -> Step:
    """Regeneration that keeps the norm: ``w ← (1 - d) w + d (|w| / |F(w)|)^γ F(w)``.

    Args:
        quine: the network.
        damping: share d of a full step; smaller is slower, and converges in more cases.
        gamma: exponent; p / (p - 1) by default, where p is the quine's degree.

    Returns:
        A step; its state is the weights f32[N], its info the `Replication` before the step.

    Raises:
        ValueError: if `damping` does not lie in (0, 1], or the degree is 1 and `gamma` is not given.
    """
    if not 0 < damping <= 1:
        raise ValueError(f"damping must lie in (0, 1], got {damping!r}")
    if gamma is None:
        if quine.degree < 2:
            raise ValueError(f"gamma must be given for a network of degree {quine.degree}")
        gamma = quine.degree / (quine.degree - 1)

    def step(key: jax.Array, params: jax.Array) -> tuple[jax.Array, Replication]:
        predictions = quine.regenerate(params)
        scale = (jnp.linalg.norm(params) / jnp.linalg.norm(predictions)) ** gamma
        return params + damping * (scale * predictions - params), replication(params, predictions)

    return step


class Exact(NamedTuple):
    """The result of a search for an exact quine."""

    params: jax.Array  # f32[N]
    relative_error: jax.Array  # f32[] |F(w) - w| / |w|; above the tolerance, or NaN, if the search did not converge
    steps: jax.Array  # i32[]


def exact(
    quine: Quine, params: jax.Array, tolerance: float = 3e-7, max_steps: int = 600, damping: float = 0.5
) -> Exact:
    """Finds an exact quine: repeats `homeostatic_regeneration` until the relative error is small.

    Pure; jit it, and vmap it over quines and weights.

    Args:
        quine: the network.
        params: f32[N] first weights.
        tolerance: relative error at which the search ends.
        max_steps: number of regenerations after which the search gives up.
        damping: see `homeostatic_regeneration`.
    """
    step = homeostatic_regeneration(quine, damping)
    key = jax.random.key(0)  # regeneration draws nothing

    def go_on(carry: Exact) -> jax.Array:
        return (carry.relative_error > tolerance) & (carry.steps < max_steps)

    def move(carry: Exact) -> Exact:
        params, before = step(key, carry.params)
        # The weights that were measured are those before the step: they are kept where they are good enough.
        done = before.relative_error <= tolerance
        return Exact(jnp.where(done, carry.params, params), before.relative_error, carry.steps + 1)

    return jax.lax.while_loop(go_on, move, Exact(params, jnp.array(jnp.inf, params.dtype), jnp.int32(0)))


def newton(quine: Quine, params: jax.Array, tolerance: float = 1e-6, max_steps: int = 12, subspace: int = 60) -> Exact:
    """Newton's method on F(w) - w, matrix-free (GMRES), each step halved until the error falls.

    It finds a fixed point that is near, even one that does not attract. A step costs over `subspace` regenerations.

    Args:
        quine: the network.
        params: f32[N] first weights.
        tolerance: relative error at which the search ends.
        max_steps: number of steps after which the search gives up.
        subspace: number of directions in which GMRES searches.
    """

    def error(params: jax.Array) -> jax.Array:
        return jnp.linalg.norm(quine.regenerate(params) - params)

    def go_on(carry: Exact) -> jax.Array:
        return (carry.relative_error > tolerance) & (carry.steps < max_steps)

    def move(carry: Exact) -> Exact:
        predictions, derivative = jax.linearize(quine.regenerate, carry.params)
        rest = predictions - carry.params
        way, _ = jax.scipy.sparse.linalg.gmres(
            lambda x: x - derivative(x), rest, tol=1e-2, restart=subspace, maxiter=1, solve_method="incremental"
        )
        share = jax.lax.while_loop(
            lambda share: (
                (error(carry.params + share * way) > (1 - share / 10) * jnp.linalg.norm(rest)) & (share > 0.01)
            ),
            lambda share: share / 2,
            jnp.ones_like(carry.relative_error),
        )
        params = carry.params + share * way
        return Exact(params, error(params) / jnp.linalg.norm(params), carry.steps + 1)

    first = Exact(params, error(params) / jnp.linalg.norm(params), jnp.int32(0))
    return jax.lax.while_loop(go_on, move, first)


SCALES: tuple[float, ...] = (0.003, 0.1, 0.2, 0.3, 0.5, 0.7, 0.85, 1.0)
"""Factors of the addresses in `exact_by_continuation`. Between neighbours Newton's method still converges."""


def exact_by_continuation(
    quine: Quine, params: jax.Array, tolerance: float = 1e-6, scales: Sequence[float] = SCALES
) -> Exact:
    """Finds an exact quine where `exact` does not converge: for small addresses first, then for growing ones.

    With small addresses all sums are small. An activation like SELU then is nearly a leaky ReLU, for which `exact`
    converges more often. Then the addresses grow in several steps to their true size, and Newton's method follows the
    fixed point, also where it no longer attracts. This fails if the fixed point vanishes on the way.

    Args:
        quine: the network.
        params: f32[N] first weights; weights of one sign work best.
        tolerance: relative error at which the search ends.
        scales: factors of the addresses, in order; the last one is 1.

    Raises:
        ValueError: unless the last of the scales is 1.
    """
    if not scales or scales[-1] != 1:
        raise ValueError(f"scales must end with 1, got {tuple(scales)}")
    small = quine.with_addresses(scales[0] * quine.addresses)
    found = exact(small, params, tolerance, max_steps=120)
    factors = jnp.array(scales, params.dtype)

    def follow(found: Exact, i: jax.Array) -> tuple[Exact, None]:
        # The norm of a quine is proportional to the size of the addresses to the power of -1/2.
        params = found.params * (factors[jnp.maximum(i - 1, 0)] / factors[i]) ** 0.5
        there = newton(quine.with_addresses(factors[i] * quine.addresses), params, tolerance)
        return there._replace(steps=found.steps + there.steps), None

    return jax.lax.scan(follow, found, jnp.arange(len(scales)))[0]
