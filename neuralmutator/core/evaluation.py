"""What a fitness is, and how a population is evaluated by one.

A fitness is a function ``(key, genome) -> value`` or ``(key, genome) -> (value, info)``:

*   the value is a scalar, higher is better; it is used as f32. A value that is not finite ranks last.
*   the info is a dict by name, of numbers or arrays. **Infos are summed over the members of a population**, along the
    leading axis only, so an array keeps its shape. What should be a mean must be divided by its reader.

It is pure, so that it can be traced. A fitness may also have

*   a method ``many(keys, population, block_size)``, its own batched evaluation; see `PopulationFitness`;
*   a method ``at(generation) -> fitness``, where it depends on the generation i32[]; see `fitness.changing`;
*   an attribute ``runs_on_host = True``: it takes a whole population and is not traceable. Such a fitness is used with
    ask and tell; whatever evaluates inside a traced step refuses it.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp

from neuralmutator.core import spreading
from neuralmutator.core.batching import in_blocks
from neuralmutator.core.genome import Genome

Info = dict[str, jax.Array]
Fitness = Callable[[jax.Array, Genome], Any]  # (key, genome) -> scalar, or (scalar, info); see above


@runtime_checkable
class PopulationFitness(Protocol):
    """A fitness with its own batched evaluation, used instead of ``vmap``; `fitness.episodes`, say."""

    def __call__(self, key: jax.Array, genome: Genome) -> Any:
        """What any fitness gives: the value f32[] of one genome, and perhaps an info."""

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness f32[N] of every member, and what is reported of each, [N, ...].

        Args:
            keys: one per member [N], or a single one that all members meet.
            population: genomes [N].
            block_size: members evaluated together; None: all.
        """


def fitness_at(fitness: Fitness, generation: jax.Array) -> Fitness:
    """The fitness of a generation i32[]: itself, unless it has a method ``at``."""
    return fitness.at(generation) if hasattr(fitness, "at") else fitness


def evaluate(
    fitness: Fitness, keys: jax.Array, population: Genome, block_size: int | None = None
) -> tuple[jax.Array, Info]:
    """Fitness f32[N] of every member, and the fitness function's infos, summed over the members.

    Arguments and errors: see `evaluate_members`.
    """
    values, info = evaluate_members(fitness, keys, population, block_size)
    return values, jax.tree.map(partial(jnp.sum, axis=0), info)


def evaluate_members(
    fitness: Fitness, keys: jax.Array, population: Genome, block_size: int | None = None
) -> tuple[jax.Array, Info]:
    """Fitness f32[N] of every member, and what the fitness function reports of each, [N, ...].

    Args:
        fitness: the fitness function.
        keys: one key per member [N], or a single one that all members meet.
        population: genomes [N].
        block_size: members evaluated together; None: all.

    Raises:
        ValueError: if the fitness is not a scalar.
    """

    def one(key: jax.Array, genome: Genome) -> tuple[jax.Array, Info]:
        return value_and_info(fitness, key, genome)

    if isinstance(fitness, PopulationFitness):
        many = fitness.many
        if keys.ndim:
            found = spreading.by_device(lambda rows: many(rows[0], rows[1], block_size), (keys, population))
        else:
            found = spreading.by_device(lambda rows, key: many(key, rows, block_size), population, keys)
        values, info = spreading.everywhere(found)
        return jnp.asarray(values, jnp.float32), info
    if keys.ndim == 0:
        return spreading.everywhere(in_blocks(partial(one, keys), block_size, population))
    return spreading.everywhere(in_blocks(one, block_size, keys, population))


def value_and_info(fitness: Fitness, key: jax.Array, genome: Genome) -> tuple[jax.Array, Info]:
    """Fitness f32[] of one genome, and its info, empty if it gives none.

    Raises:
        ValueError: if the fitness is not a scalar, or the info is not a dict.
    """
    result = fitness(key, genome)
    value, info = result if isinstance(result, tuple) else (result, {})
    if jnp.shape(value) != ():
        raise ValueError(f"fitness must return a scalar, got an array of shape {jnp.shape(value)}")
    if not isinstance(info, dict):
        raise ValueError(f"info of the fitness must be a dict of numbers or arrays, got {type(info).__name__}")
    return jnp.asarray(value, jnp.float32), info


def check_fitness(fitness: Fitness, genome: Genome | None) -> None:
    """Checks a fitness before anything is computed.

    A plain function is traced once with an abstract genome. One with a batched evaluation is checked when it is
    evaluated: tracing an environment takes seconds.

    Args:
        fitness: the fitness function.
        genome: an abstract genome (``jax.eval_shape``); None: the returned value is not checked.

    Raises:
        ValueError: if the fitness cannot be called, runs on the host, or does not return a scalar.
    """
    if not callable(fitness):
        raise ValueError(f"fitness must be a function (key, genome) -> scalar, got {fitness!r}")
    if getattr(fitness, "runs_on_host", False):
        raise ValueError(f"fitness {type(fitness).__name__} is evaluated on the host: use ask and tell")
    if genome is not None and not isinstance(fitness, PopulationFitness):
        key = jax.eval_shape(lambda: jax.random.key(0))
        jax.eval_shape(partial(value_and_info, fitness), key, genome)
