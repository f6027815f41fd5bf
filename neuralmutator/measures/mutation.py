"""What a mutator does to one genome: how its changes are shaped, and what they are worth.

`changes` draws what a mutator would do to a genome. The other functions take such changes [m, n], one in a row, and so
take those of a null just as well: a network's changes differ from white noise whatever it has learnt, so compare them
with `gaussian_null`, with an untrained mutator, or with another genome's.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Genome, check, evaluate
from neuralmutator.core.genome import flatten, unflatten
from neuralmutator.mutators import Mutator


class Effects(NamedTuple):
    """What changes of one genome are worth, all f32[]; a gain is a child's fitness less the parent's."""

    better: jax.Array  # share of children that are better than the parent by more than the tolerance
    not_worse: jax.Array  # share that are not worse by more than it: robustness
    expected_gain: jax.Array  # mean of max(gain, 0)
    best_gain: jax.Array  # largest gain: what truncation selection sees
    mean_gain: jax.Array


def changes(mutator: Mutator, key: jax.Array, genome: Genome, count: int = 64) -> jax.Array:
    """Changes f32[count, P + M + C] that a mutator would make to a genome, in the order of `core.genome.flatten`.

    Args:
        mutator: the operator; the genome's own mutator parameters do the rewriting.
        key: random key.
        genome: the parent.
        count: number of children.

    Raises:
        ValueError: if `count` is not a whole number of at least 1.
    """
    check.whole(1, count=count)
    children = jax.vmap(lambda key: flatten(mutator.mutate(key, genome).child))(jax.random.split(key, count))
    return children - flatten(genome)


def gaussian_null(key: jax.Array, changed: jax.Array) -> jax.Array:
    """Gaussian changes [m, n] of mean 0, of the same size weight by weight, and then child by child.

    A weight's noise has the root mean square of that weight's changes; each row then gets the length of its own change.
    So all has been learnt but directions.
    """
    noise = jnp.sqrt(jnp.mean(changed**2, axis=0)) * jax.random.normal(key, changed.shape, changed.dtype)
    lengths, found = (jnp.linalg.norm(x, axis=1, keepdims=True) for x in (changed, noise))
    return noise * lengths / jnp.where(found > 0, found, 1.0)


class Shape(NamedTuple):
    """How changes of one genome are shaped, whatever their size, all f32[]; see the functions of the same names."""

    correlation: jax.Array
    drift_share: jax.Array
    concentration: jax.Array
    selectivity: jax.Array
    untouched: jax.Array
    excess_kurtosis: jax.Array
    effective_rank: jax.Array


def shape(changed: jax.Array) -> Shape:
    """All numbers of the shape of changes [m, n]."""
    return Shape(
        correlation(changed),
        drift_share(changed),
        concentration(changed),
        selectivity(changed),
        untouched(changed),
        excess_kurtosis(changed),
        effective_rank(changed),
    )


def gains(fitness: Fitness, key: jax.Array, genome: Genome, changed: jax.Array, evaluations: int = 8) -> jax.Array:
    """Fitness of the changed genomes less that of the genome, f32[m], by evaluations with common random numbers.

    Args:
        fitness: the fitness function.
        key: of the evaluations; the parent and all children meet the same ones.
        genome: the parent.
        changed: f32[m, P + M + C].
        evaluations: of the parent and of each child, whose mean counts.

    Raises:
        ValueError: if `evaluations` is not a whole number of at least 1.
    """
    check.whole(1, evaluations=evaluations)
    rows = jnp.concatenate([jnp.zeros_like(changed[:1]), changed]) + flatten(genome)
    family = jax.vmap(lambda row: unflatten(row, genome))(rows)

    def once(key: jax.Array) -> jax.Array:
        return evaluate(fitness, key, family, 64)[0]

    values = jnp.mean(jax.lax.map(once, jax.random.split(key, evaluations)), axis=0)
    return values[1:] - values[0]


def effects(gained: jax.Array, tolerance: float = 0.0) -> Effects:
    """What changes of a genome are worth, from the `gains` f32[m] that they bring.

    Args:
        gained: f32[m].
        tolerance: gain that counts as none, at least 0.

    Raises:
        ValueError: if the tolerance is negative.
    """
    check.number(0, tolerance=tolerance)
    return Effects(
        better=jnp.mean(gained > tolerance, dtype=jnp.float32),
        not_worse=jnp.mean(gained >= -tolerance, dtype=jnp.float32),
        expected_gain=jnp.mean(jnp.maximum(gained, 0.0)),
        best_gain=jnp.max(gained),
        mean_gain=jnp.mean(gained),
    )


def correlation(changed: jax.Array) -> jax.Array:
    """Mean cosine between two different changes, f32[]; 0 for noise, 1 where all point the same way."""
    unit = changed / jnp.linalg.norm(changed, axis=1, keepdims=True)
    count = changed.shape[0]
    return (jnp.sum(jnp.sum(unit, axis=0) ** 2) - count) / (count * (count - 1))


def drift_share(changed: jax.Array) -> jax.Array:
    """Share of the mean square of changes that is their mean, f32[]: 0 for pure noise, 1 for one fixed rewriting.

    Of m changes of pure noise it is 1 / m on average.
    """
    return jnp.sum(jnp.mean(changed, axis=0) ** 2) / jnp.mean(jnp.sum(changed**2, axis=1))


def concentration(changed: jax.Array, share: float = 0.9) -> jax.Array:
    """Least share of the weights that carry `share` of the mean square of all changes, f32[]; `share` if all alike.

    Raises:
        ValueError: unless 0 < share ≤ 1.
    """
    check.number(0, 1, open_low=True, share=share)
    power = jnp.sort(jnp.mean(changed**2, axis=0))[::-1]
    carried = jnp.cumsum(power) / jnp.sum(power)
    return (jnp.sum(carried < share * (1 - 1e-6)) + 1) / power.size


def selectivity(changed: jax.Array) -> jax.Array:
    """Largest mean size of a weight's changes over the smallest, f32[]; infinite where a weight never changes.

    Of m changes of white noise of n weights it is above 1 too, the more the fewer changes there are.
    """
    sizes = jnp.mean(jnp.abs(changed), axis=0)
    return jnp.max(sizes) / jnp.min(sizes)


def untouched(changed: jax.Array, share: float = 0.1) -> jax.Array:
    """Share of the weights whose changes have less than `share` of the mean size, f32[].

    Raises:
        ValueError: unless 0 < share ≤ 1.
    """
    check.number(0, 1, open_low=True, share=share)
    sizes = jnp.mean(jnp.abs(changed), axis=0)
    return jnp.mean(sizes < share * jnp.mean(sizes), dtype=jnp.float32)


def excess_kurtosis(changed: jax.Array) -> jax.Array:
    """Kurtosis of all numbers together beyond that of a Gaussian, f32[]: above 0, tails are heavy."""
    centred = changed - jnp.mean(changed)
    return jnp.mean(centred**4) / jnp.mean(centred**2) ** 2 - 3


def effective_rank(changed: jax.Array) -> jax.Array:
    """Number of directions in which changes vary, f32[] (Roy & Vetterli 2007): exp of the entropy of the spectrum.

    Of m changes of pure noise in many more dimensions it is nearly m - 1, the most it can be.
    """
    centred = changed - jnp.mean(changed, axis=0)
    spectrum = jnp.maximum(jnp.linalg.eigvalsh(centred @ centred.T), 0.0)
    shares = spectrum / jnp.sum(spectrum)
    return jnp.exp(-jnp.sum(jax.scipy.special.xlogy(shares, shares)))
