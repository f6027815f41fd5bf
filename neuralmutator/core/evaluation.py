"""What a fitness is, and how a population is evaluated by one."""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from neuralmutator.core.batching import in_blocks
from neuralmutator.core.genome import Genome

# A fitness takes a key and one genome; it gives a scalar, higher is better, or (scalar, info) with a dict of arrays
# of which a generation reports the sums over the population.
Fitness = Callable[[jax.Array, Genome], Any]


@runtime_checkable
class PopulationFitness(Protocol):
    """A fitness that knows better than ``vmap`` how to evaluate a whole population; `fitness.episodes`, say."""

    def __call__(self, key: jax.Array, genome: Genome) -> Any:
        """What any fitness gives: the value f32[] of one genome, and perhaps an info."""

    def many(
        self, keys: jax.Array, population: Genome, block_size: int | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[N] of every member, and what is reported of each, [N, ...].

        Args:
            keys: one per member [N], or a single one that all members meet.
            population: genomes [N].
            block_size: members evaluated together; None: all.
        """


def evaluate(
    fitness: Fitness, keys: jax.Array, population: Genome, block_size: int | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Fitness f32[N] of every member, and the sums of what the fitness function reports; see `evaluate_members`."""
    values, info = evaluate_members(fitness, keys, population, block_size)
    return values, jax.tree.map(lambda x: jnp.sum(x, axis=0), info)


def evaluate_members(
    fitness: Fitness, keys: jax.Array, population: Genome, block_size: int | None = None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Fitness f32[N] of every member, and what the fitness function reports of each, [N, ...].

    Args:
        fitness: the fitness function.
        keys: one key per member [N], or a single one that all members meet.
        population: genomes [N].
        block_size: members evaluated together; None: all.

    Raises:
        ValueError: if the fitness is not a scalar.
    """

    def one(key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        result = fitness(key, genome)
        value, info = result if isinstance(result, tuple) else (result, {})
        if jnp.shape(value) != ():
            raise ValueError(f"fitness must return a scalar, got an array of shape {jnp.shape(value)}")
        return jnp.asarray(value, jnp.float32), info

    if isinstance(fitness, PopulationFitness):
        return fitness.many(keys, population, block_size)
    if keys.ndim == 0:
        return in_blocks(partial(one, keys), block_size, population)
    return in_blocks(one, block_size, keys, population)
