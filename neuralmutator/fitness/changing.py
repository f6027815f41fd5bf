"""Fitness functions that change in the course of a run, so that adaptation can be studied.

Whatever evolves asks a fitness for that of its generation by `core.fitness_at`. The change itself is part of the
program: no generation compiles anew.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Info, check, check_fitness, evaluate_members, value_and_info
from neuralmutator.core.genome import Genome


@dataclass(frozen=True, eq=False)
class Switching:
    """Fitness: one of several, by the generation. See `switching`."""

    functions: tuple[Fitness, ...]
    starts: tuple[int, ...]
    phase: jax.Array | int = 0  # i32[] which start was the last

    def at(self, generation: jax.Array) -> "Switching":
        """The fitness of a generation i32[]."""
        phase = jnp.sum(generation >= jnp.asarray(self.starts, jnp.int32), dtype=jnp.int32)
        return Switching(self.functions, self.starts, phase)

    def _one_of(self, evaluate: Callable[[Fitness], Any]) -> Any:
        number = self.phase % len(self.functions)
        if isinstance(number, int):
            return evaluate(self.functions[number])
        branches = [lambda f=f: evaluate(f) for f in self.functions]
        found = [jax.tree.structure(jax.eval_shape(branch)) for branch in branches]
        if len(set(found)) > 1:
            raise ValueError(f"functions must report infos of the same names, got {found[0]} and {found[1]}")
        return jax.lax.switch(number, branches)

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, Info]:
        """Fitness f32[] of one genome."""
        return self._one_of(lambda function: value_and_info(function, key, genome))

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness f32[N] of a population; see `PopulationFitness`."""
        return self._one_of(lambda function: evaluate_members(function, keys, population, block_size))


def switching(functions: Sequence[Fitness], at: Sequence[int]) -> Switching:
    """One fitness after another: the next one of `functions` begins at each generation in `at`, and round again.

    ``switching([a, b], at=[600, 1000])`` is a for 600 generations, b for 400, then a. Only the fitness whose turn it is
    is computed; under ``vmap`` over seeds all of them are, where `changing` costs no more than one.

    Args:
        functions: at least two, whose infos are alike.
        at: generations at which the fitness changes, rising.

    Raises:
        ValueError: if there are fewer than two functions, one cannot be evaluated here, or `at` does not rise from 1.
    """
    if len(functions) < 2:
        raise ValueError(f"functions must be at least two, got {len(functions)}")
    for function in functions:
        check_fitness(function, None)
    _check_rising(at)
    return Switching(tuple(functions), tuple(int(start) for start in at))


@dataclass(frozen=True, eq=False)
class Changing:
    """Fitness: made anew of a number that depends on the generation. See `changing`."""

    make: Callable[[Any], Fitness]
    schedule: Callable[[Any], Any]

    def at(self, generation: jax.Array) -> Fitness:
        """The fitness of a generation i32[]."""
        return self.make(self.schedule(generation))

    def __call__(self, key: jax.Array, genome: Genome) -> Any:
        """Fitness f32[] of one genome, in generation 0."""
        return self.at(jnp.int32(0))(key, genome)

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness f32[N] of a population in generation 0; see `PopulationFitness`."""
        return evaluate_members(self.at(jnp.int32(0)), keys, population, block_size)


def changing(make: Callable[[Any], Fitness], schedule: Callable[[Any], Any]) -> Changing:
    """A fitness that is made of a value, traced, which depends on the generation.

    Gravity that is switched, a moved optimum, the order of the actions::

        def task(g):
            return nm.fitness.episodes("Pendulum-v1", policy, env_params=params.replace(g=g))

        fitness = nm.fitness.changing(task, nm.fitness.steps([10.0, 3.0, 10.0], at=[500, 1000]))

    Args:
        make: ``value -> fitness``; the value is traced.
        schedule: ``generation i32[] -> value``, such as `steps` or any schedule of optax.

    Raises:
        ValueError: if `make` or `schedule` is no function.
    """
    for name, function in (("make", make), ("schedule", schedule)):
        if not callable(function):
            raise ValueError(f"{name} must be a function, got {function!r}")
    return Changing(make, schedule)


def steps(values: Sequence[Any], at: Sequence[int]) -> Callable[[Any], jax.Array]:
    """A schedule that is constant between changes: ``generation -> value``.

    Args:
        values: numbers, or arrays of one shape; one more than there are changes.
        at: generations at which the next value begins, rising.

    Raises:
        ValueError: if the numbers of values and changes do not fit, or `at` does not rise from 1.
    """
    _check_rising(at)
    if len(values) != len(at) + 1:
        raise ValueError(f"values must be one more than changes, got {len(values)} values and {len(at)} changes")
    table, starts = jnp.stack([jnp.asarray(value) for value in values]), jnp.asarray(at, jnp.int32)
    return lambda generation: table[jnp.sum(generation >= starts)]


def _check_rising(at: Sequence[int]) -> None:
    if len(at) == 0:
        raise ValueError("at must name at least one generation, got none")
    check.whole(1, at=at[0])
    for before, after in pairwise(at):
        check.whole(int(before) + 1, at=after)
