"""Concentrations over time: a fourth-order scheme of fixed step that keeps concentrations at or above 0.

A step is one of Runge and Kutta's. Every stage adds a combination of reactions to the concentrations, so all sums that
no reaction changes are kept, but a species may become negative where the step is too long for it. Clipping it would
create matter. Instead:

1. *Turnover* is how often a species would be used up in a step at the speed that it has now. A step in which one has
   more than 0.9 is shortened, and the times of a `Course` say so. Then one step of Euler's cannot make any negative.
2. Where Runge and Kutta's still would, it is mixed with Euler's: ``low + mixing (high - low)``, the largest mixing of 0
   to 1 that leaves every species a thousandth of what it had and got (Zhang and Shu's limiter, over species instead of
   cells). One number for all species keeps all sums, and rest stays where the equations have it.

Where the step suits the network, this *is* Runge and Kutta's scheme; `Course` counts the other steps. Sums are
compensated, so that in float32 rounding does not add up over long runs: those over reactions, which is where fast ones
that nearly balance would leak, and those over steps (Kahan).

Beside diffrax (``python benchmarks/chemistry.py --parts integrators``; 80 units of time, 90 reactions): a gradient
takes 25 ms at an error of 5e-5. Adaptive steps of order 5 take 40 ms at 1e-3 or 90 ms at 9e-6, a fixed one 168 ms at
3e-6. Forwards, adaptive steps are faster, 3 ms to our 8, but nothing keeps their concentrations above 0. So there is
no second integrator.
"""

from functools import reduce
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.chemistry.kinetics import Kinetics, concentration_products, product
from neuralmutator.core import check

MOST_TURNOVER = 0.9
"""Share of a species that one step of Euler's may take."""

LEAST = 1e-3
"""Share of a species that a mixed step leaves at least; far above rounding, so that none can round below 0."""


Carry = tuple[jax.Array, jax.Array, jax.Array]
"""Concentrations f32[S], what rounding took from them f32[S], and by how much time is behind plan f32[]."""


class Course(NamedTuple):
    """Concentrations over time."""

    times: jax.Array  # f32[T] from the start, which is not among them; less than asked for if steps were shortened
    concentrations: jax.Array  # f32[T, S], at least 0; all inf from when on the network has exploded
    limited: jax.Array  # f32[] share of steps that were shortened or mixed: 0 if `dt` is short enough


class Speeds(NamedTuple):
    """Kinetics with their rates, computed once for all steps."""

    kinetics: Kinetics
    drift: jax.Array  # f32[S, Q] what a complex changes per its product of concentrations
    gains: jax.Array  # f32[S, Q] its positive part, reaction by reaction
    losses: jax.Array  # f32[M, Q, S] its negative part, at the place of the species' first molecule
    events: jax.Array  # f32[R, Q] events of a reaction


def speeds(kinetics: Kinetics, rates: jax.Array) -> Speeds:
    """What a step needs of kinetics and rates f32[R]."""
    events = rates[:, None] * kinetics.complexes
    gains, losses = (jnp.maximum(sign * kinetics.stoichiometry, 0.0) @ events for sign in (1, -1))
    return Speeds(kinetics, gains - losses, gains, kinetics.first * losses.T, events)


def increment(speeds: Speeds, x: jax.Array, dt: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One step: events f32[R], by how much it is shorter than `dt`, and whether it is limited."""
    kinetics, drift, gains, losses, events = speeds
    found = product(kinetics.meets, x) + kinetics.absent  # [M, Q] concentration of each molecule that meets
    turnover = dt * jnp.max(jnp.sum(losses * _product_of_others(found)[:, :, None], axis=(0, 1)))
    fast = turnover > MOST_TURNOVER
    h = dt * jnp.where(fast, MOST_TURNOVER / jnp.where(fast, turnover, 1.0), 1.0)

    def stage(share: float, c: jax.Array) -> tuple[jax.Array, jax.Array]:
        there = x + share * h * product(drift, c)
        below = there < 0
        return concentration_products(kinetics, jnp.where(below, 0.0, there)), jnp.any(below)

    low = reduce(jnp.multiply, found)
    c_2, below_2 = stage(0.5, low)
    c_3, below_3 = stage(0.5, c_2)
    c_4, below_4 = stage(1.0, c_3)
    high = (low + 2 * (c_2 + c_3) + c_4) / 6

    # What a species has above LEAST times what it had and got is linear in the mixing, and positive for Euler's step.
    spare_low, spare_high = ((1 - LEAST) * x + h * (product(drift, c) - LEAST * product(gains, c)) for c in (low, high))
    short = spare_high < 0
    mixings = jnp.where(short, spare_low / jnp.where(short, spare_low - spare_high, 1.0), 1.0)
    mixing = jax.lax.stop_gradient(jnp.clip(jnp.min(mixings), 0.0, 1.0))
    mixed = ~(mixing >= 1)
    extents = h * (events @ jnp.where(mixed, low + mixing * (high - low), high))
    return extents, dt - h, fast | mixed | below_2 | below_3 | below_4


def add_events(
    stoichiometry: jax.Array, extents: jax.Array, x: jax.Array, missing: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Adds what events f32[R] change to ``x + missing`` f32[S], and gives the same two.

    The events are split into multiples of some number, which sum up without rounding, and what is left of them.
    """
    known = jax.lax.stop_gradient(extents)
    large = 4 * jnp.max(jnp.abs(stoichiometry)) * jnp.sum(known)
    coarse = (known + large) - large
    exact = stoichiometry @ (extents + (coarse - known))
    change, lost = _two_sum(exact, missing + stoichiometry @ (known - coarse))
    after, lost_after = _two_sum(x, change)
    return after, jax.lax.stop_gradient(lost + lost_after)


def _two_sum(a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A sum and what rounding takes from it (Knuth)."""
    total = a + b
    of_b = total - a
    return total, (a - (total - of_b)) + (b - of_b)


def integrate(kinetics: Kinetics, rates: jax.Array, start: jax.Array, dt: float, steps: int, every: int = 1) -> Course:
    """Concentrations over time, in one `lax.scan` that gradients go through.

    Gradients are those of the scheme, except that the mixing of a limited step counts as a constant.

    Args:
        kinetics: of the reactions.
        rates: f32[R], at least 0.
        start: f32[S] concentrations at time 0, at least 0.
        dt: length of a step. It suits the network if no species is used up, at the speed that it has, within a step.
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

    def step(carry: Carry, _: None) -> tuple[Carry, jax.Array]:
        x, missing, late = carry
        extents, shorter, limited = increment(known, x, dt)
        after, missing = add_events(kinetics.stoichiometry, extents, x, missing)
        exploded = ~jnp.all(jnp.isfinite(after))
        return (jnp.where(exploded, jnp.inf, after), jnp.where(exploded, 0.0, missing), late + shorter), limited

    def kept(carry: Carry, _: None) -> tuple[Carry, Carry]:
        carry, limited = jax.lax.scan(step, carry, None, length=every)
        return carry, (carry[0], carry[2], jnp.mean(limited))

    start = jnp.asarray(start, jnp.float32)
    first = start, jnp.zeros_like(start), jnp.zeros((), jnp.float32)
    _, (courses, late, limited) = jax.lax.scan(kept, first, None, length=steps // every)
    planned = dt * every * (1 + jnp.arange(steps // every, dtype=jnp.float32))
    return Course(planned - late, courses, jnp.mean(limited))


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
