"""An oscillator to order: where to start, the loss, and how its period is measured.

The start is the smallest network with a Hopf bifurcation (Wilhelm and Heinrich 1995, Smallest chemical reaction system
with Hopf bifurcation, J. Math. Chem. 17), just beyond it: a small and nearly harmonic cycle. Time and concentrations
are then measured in other units so that the period and the mean are as wanted. This is exact: the dynamics stay the
same. What is left to learn is the amplitude, the form, and to be in time over many periods.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.chemistry.integration import integrate
from neuralmutator.chemistry.kinetics import Kinetics, mass_action
from neuralmutator.chemistry.reactions import Reactions, find, network
from neuralmutator.chemistry.training import Loss
from neuralmutator.core import check

HOPF = {"A -> 2 A": 3.05, "A + B -> B": 1.0, "B ->": 1.0, "A -> C": 1.0, "C -> B": 1.0}
"""The smallest Hopf network. It oscillates where the first rate exceeds the sum of the last three, here 3."""


class Rhythm(NamedTuple):
    """What a species does over time, as measured."""

    period: float  # mean time between upward crossings of the middle; nan with fewer than three of them
    mean: float
    amplitude: float  # half of what lies between the least and the most
    cycles: int  # periods that were seen


def rhythm(times: np.ndarray, values: np.ndarray) -> Rhythm:
    """Measures a rhythm: crossings of the middle between the least and the most, interpolated.

    Args:
        times: f32[T].
        values: f32[T] of one species.
    """
    times, values = np.asarray(times, np.float64), np.asarray(values, np.float64)
    low, high = values.min(), values.max()
    middle = (low + high) / 2
    up = np.flatnonzero((values[:-1] < middle) & (values[1:] >= middle))
    if not np.isfinite(high):
        return Rhythm(float("nan"), float("inf"), float("inf"), 0)
    if up.size < 3 or high - low < 1e-3 * high:
        return Rhythm(float("nan"), float(values.mean()), float(high - low) / 2, 0)
    at = times[up] + (middle - values[up]) / (values[up + 1] - values[up]) * (times[up + 1] - times[up])
    whole = (times >= at[0]) & (times < at[-1])
    return Rhythm(
        float((at[-1] - at[0]) / (up.size - 1)), float(values[whole].mean()), float(high - low) / 2, up.size - 1
    )


def hopf_start(reactions: Reactions, period: float, others: float = 1e-3) -> np.ndarray:
    """Rates and starting concentrations, f32[R + S], of a small cycle of a period around a mean of 1.

    Args:
        reactions: must hold the reactions of `HOPF`; others are candidates.
        period: wanted.
        others: rate of the candidates.

    Raises:
        ValueError: if a reaction of the Hopf network is missing, or a number is out of range.
    """
    check.number(0, open_low=True, period=period)
    check.number(0, others=others)
    places = find(reactions, *HOPF)
    small = network(*HOPF, species=reactions.species)
    rates = np.array(list(HOPF.values()))
    first = jnp.ones(len(reactions.species), jnp.float32) * np.where(np.abs(small.stoichiometry).any(axis=1), 1.2, 1.0)
    run = jax.jit(lambda start: integrate(mass_action(small), jnp.asarray(rates), start, 0.05, 12_000, 2))
    times, courses, _ = (np.asarray(x) for x in run(first))
    species = reactions.species.index("A")
    late = slice(len(times) * 2 // 3, None)
    seen = rhythm(times[late], courses[late, species])
    values = courses[late, species]
    at = int(np.flatnonzero((values[:-1] < seen.mean) & (values[1:] >= seen.mean))[0])
    found = np.full(len(reactions.reactants) + len(reactions.species), others)
    orders = small.reactants.sum(axis=1)
    found[places] = rates * seen.mean ** (orders - 1.0) * seen.period / period
    found[len(reactions.reactants) :] = courses[late][at] / seen.mean
    return found.astype(np.float32)


def follow(
    kinetics: Kinetics, numbers: jax.Array, period: float, periods: int, points: int = 50
) -> tuple[jax.Array, jax.Array]:
    """Times f32[T] and concentrations f32[T, S] over some periods, from numbers f32[R + S], `points` a period."""
    size = kinetics.stoichiometry.shape[1]
    course = integrate(kinetics, numbers[:size], numbers[size:], period / points, points * periods)
    return course.times, course.concentrations


def rhythm_loss(
    kinetics: Kinetics,
    period: float,
    periods: int,
    amplitude: float = 0.5,
    species: int = 0,
    points: int = 50,
) -> Loss:
    """The mean squared distance of a species from ``1 + amplitude sin(2 pi t / period)``.

    The numbers that it takes are f32[R + S]: rates, then starting concentrations. Over more periods it asks for a more
    exact period, and is harder to start with: train over few periods first.

    Args:
        kinetics: of the reactions.
        period: wanted.
        periods: how long it is followed.
        amplitude: of the sine, below its mean of 1.
        species: which one is to oscillate.
        points: steps in a period.

    Raises:
        ValueError: if an argument is out of range.
    """
    check.number(0, open_low=True, period=period)
    check.number(0, 1, amplitude=amplitude)
    check.whole(1, periods=periods, points=points)
    check.one_of(range(kinetics.stoichiometry.shape[0]), species=species)

    def loss(key: jax.Array, numbers: jax.Array) -> jax.Array:
        times, courses = follow(kinetics, numbers, period, periods, points)
        wanted = 1 + amplitude * jnp.sin(2 * jnp.pi / period * times)
        return jnp.mean((courses[:, species] - wanted) ** 2)

    return loss
