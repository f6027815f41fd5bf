"""Concentrations over time: a fourth-order scheme of fixed step that keeps concentrations at or above 0.

A step is one of Runge and Kutta's. Every stage adds a combination of reactions to the concentrations, so all sums that
no reaction changes are kept, but a species may become negative where the step is too long for it. Clipping it would
create matter. Instead the step is then mixed with another, which is of first order but never negative, for no species
can lose more than it has:

1. *Turnover* d_s: how often a species would be used up in a step at the speed that it has now.
2. The fallback slows each reaction to the least ``1 / (1 + 1.01 d_s)`` of the species that meet in it. This is an
   explicit relative of the schemes of Patankar, and one factor per reaction keeps all conservation laws.
3. ``x + low + mixing (high - low)`` with the largest mixing of 0 to 1 that leaves every species at least a thousandth
   of itself, at every stage (Zhang and Shu's limiter, over species instead of cells); 0 from a turnover of 2 on.

Where the mixing is 1, which is everywhere if the step suits the network, this *is* Runge and Kutta's scheme. `Course`
says how many steps were mixed. Sums are compensated (Kahan), so rounding does not add up in long runs.
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.chemistry.kinetics import Kinetics, concentration_products, product
from neuralmutator.core import check

LEAST = 1e-3
"""Share of a species that a step leaves at least; far above rounding, so that a concentration cannot round below 0."""

MARGIN = 1.01
"""The fallback leaves a hundredth at least, so that a mixing that leaves `LEAST` always exists."""


class Course(NamedTuple):
    """Concentrations over time."""

    times: jax.Array  # f32[T] from the start, which is not among them
    concentrations: jax.Array  # f32[T, S], at least 0; all inf from when on the network has exploded
    limited: jax.Array  # f32[] share of steps that were not Runge and Kutta's alone: 0 if `dt` is short enough


class Speeds(NamedTuple):
    """Kinetics with their rates, computed once for all steps."""

    kinetics: Kinetics
    drift: jax.Array  # f32[S, Q] what a complex changes per its product of concentrations
    losses: jax.Array  # f32[M, Q, S] what it takes of a species, at the place of that species' first molecule
    events: jax.Array  # f32[R, Q] events of a reaction


def speeds(kinetics: Kinetics, rates: jax.Array) -> Speeds:
    """What a step needs of kinetics and rates f32[R]."""
    events = rates[:, None] * kinetics.complexes
    losses = kinetics.first * (jnp.maximum(-kinetics.stoichiometry, 0.0) @ events).T
    return Speeds(kinetics, kinetics.stoichiometry @ events, losses, events)


def increment(speeds: Speeds, x: jax.Array, dt: float) -> tuple[jax.Array, jax.Array]:
    """What one step adds to concentrations f32[S], and whether it was limited, bool[]."""
    kinetics, drift, losses, events = speeds
    found = product(kinetics.meets, x) + kinetics.absent  # [M, Q] concentration of each molecule that meets
    c_1 = reduce(jnp.multiply, found)
    turnover = dt * jnp.sum(losses * _product_of_others(found)[:, :, None], axis=(0, 1))
    fastest = jnp.max(turnover)

    kept = 1 / (1 + MARGIN * turnover)
    low = dt * c_1 * reduce(jnp.minimum, product(kinetics.meets, kept) + kinetics.absent)

    h = jnp.where(fastest < 2, dt, 0.0)  # a longer one would be thrown away, and may overflow first
    x_2 = x + h / 2 * product(drift, c_1)
    c_2 = concentration_products(kinetics, x_2)
    x_3 = x + h / 2 * product(drift, c_2)
    c_3 = concentration_products(kinetics, x_3)
    x_4 = x + h * product(drift, c_3)
    high = h / 6 * (c_1 + 2 * (c_2 + c_3) + concentration_products(kinetics, x_4))

    worst = jnp.minimum(jnp.minimum(x_2, x_3), jnp.minimum(x_4, x + product(drift, high)))
    below = worst < LEAST * x
    after_low = x + product(drift, low)
    room = jnp.where(below, (after_low - LEAST * x) / jnp.where(below, after_low - worst, 1.0), 1.0)
    mixing = jax.lax.stop_gradient(jnp.clip(jnp.minimum(jnp.min(room), 2 - fastest), 0.0, 1.0))
    limited = ~(mixing >= 1)
    extents = events @ jnp.where(limited, low + mixing * (high - low), high)
    return kinetics.stoichiometry @ extents, limited


def integrate(kinetics: Kinetics, rates: jax.Array, start: jax.Array, dt: float, steps: int, every: int = 1) -> Course:
    """Concentrations over time, in one `lax.scan` that gradients go through.

    Gradients are those of the scheme, except that the mixing of a limited step counts as a constant.

    Args:
        kinetics: of the reactions.
        rates: f32[R], at least 0.
        start: f32[S] concentrations at time 0, at least 0.
        dt: length of a step. It suits the network if a reaction uses up a species in no less than about two steps.
        steps: how many steps are made; a multiple of `every`.
        every: steps between two concentrations that are kept.

    Raises:
        ValueError: if an argument is out of range, or of the wrong shape. Traced values are taken as they come.
    """
    check.number(0, open_low=True, dt=dt)
    check.whole(1, steps=steps, every=every)
    if steps % every:
        raise ValueError(f"steps must be a multiple of every = {every}, got {steps}")
    species, reactions = kinetics.stoichiometry.shape
    for name, value, length in (("rates", rates, reactions), ("start", start, species)):
        check_amounts(name, value, length)
    known = speeds(kinetics, jnp.asarray(rates, jnp.float32))

    def step(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        x, missing = carry
        change, limited = increment(known, x, dt)
        change = change + missing
        after = x + change
        missing = jax.lax.stop_gradient(change - (after - x))
        exploded = ~jnp.all(jnp.isfinite(after))
        return (jnp.where(exploded, jnp.inf, after), jnp.where(exploded, 0.0, missing)), limited

    def kept(carry: tuple[jax.Array, jax.Array], _: None) -> tuple[tuple[jax.Array, jax.Array], tuple]:
        carry, limited = jax.lax.scan(step, carry, None, length=every)
        return carry, (carry[0], jnp.mean(limited))

    start = jnp.asarray(start, jnp.float32)
    first = start, jnp.zeros_like(start)
    _, (courses, limited) = jax.lax.scan(kept, first, None, length=steps // every)
    return Course(dt * every * (1 + jnp.arange(steps // every)), courses, jnp.mean(limited))


def check_amounts(name: str, value: jax.Array, length: int) -> None:
    """Raises ValueError unless a value has the shape ``(length,)`` and, if it is known, is finite and at least 0."""
    if jnp.shape(value) != (length,):
        raise ValueError(f"{name} must have shape ({length},), got {jnp.shape(value)}")
    if not check.is_traced(value):
        known = np.asarray(value, np.float64)
        if not (np.isfinite(known) & (known >= 0)).all():
            raise ValueError(f"{name} must be finite and at least 0, got {known[~(known >= 0) | np.isinf(known)][0]:g}")


def _product_of_others(found: jax.Array) -> jax.Array:
    """For every row of [M, R] the product of all other rows."""
    rows = list(found)
    ones = jnp.ones_like(rows[0])
    before, after = [ones], [ones]
    for row in rows[:-1]:
        before.append(before[-1] * row)
    for row in rows[:0:-1]:
        after.append(after[-1] * row)
    return jnp.stack([a * b for a, b in zip(before, after[::-1], strict=True)])
