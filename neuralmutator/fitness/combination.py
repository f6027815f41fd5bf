"""Several fitness functions as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Info, check, check_fitness, evaluate_members, fitness_at, value_and_info
from neuralmutator.core.genome import Genome


@dataclass(frozen=True)
class Combined:
    """Fitness: the weighted sum of fitness functions. See `combine`."""

    functions: tuple[Fitness, ...]
    weights: tuple[float, ...]

    def at(self, generation: jax.Array) -> "Combined":
        """The fitness of a generation i32[]."""
        return Combined(tuple(fitness_at(function, generation) for function in self.functions), self.weights)

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, Info]:
        """Fitness f32[] of one genome."""
        total, infos = jnp.float32(0), Info()
        keys = jax.random.split(key, len(self.functions))
        for function, weight, k in zip(self.functions, self.weights, keys, strict=True):
            value, info = value_and_info(function, k, genome)
            total += weight * value
            infos = _added(infos, info)
        return total, infos

    def many(self, keys: jax.Array, population: Genome, block_size: int | None) -> tuple[jax.Array, Info]:
        """Fitness f32[N] of a population, each function by its own batched evaluation; see `PopulationFitness`."""
        total, infos = jnp.zeros(population.policy.shape[0], jnp.float32), Info()
        split = partial(jax.random.split, num=len(self.functions))
        of_each = split(keys) if keys.ndim == 0 else jax.vmap(split, out_axes=1)(keys)
        for function, weight, own in zip(self.functions, self.weights, of_each, strict=True):
            values, info = evaluate_members(function, own, population, block_size)
            total += weight * values
            infos = _added(infos, info)
        return total, infos


def _added(infos: Info, more: Info) -> Info:
    """Both infos; where a name is in both, the sum of its values."""
    for name in infos.keys() & more.keys():
        if jnp.shape(infos[name]) != jnp.shape(more[name]):
            shapes = f"{jnp.shape(infos[name])} and {jnp.shape(more[name])}"
            raise ValueError(f"infos of equal names are added and must have one shape, got {name!r} of {shapes}")
    return infos | {name: infos[name] + value if name in infos else value for name, value in more.items()}


def combine(functions: Sequence[Fitness], weights: Sequence[float] | None = None) -> Combined:
    """The weighted sum of fitness functions, each with a key of its own.

    Their infos are merged. Infos of equal names are added, without the weights, because an info is a sum:
    ``env_steps`` of two tasks are the steps of both.

    Args:
        functions: fitness functions.
        weights: one finite number for each; 1 by default.

    Raises:
        ValueError: if there is no function, not one finite weight for each, or a function runs on the host.
    """
    weights = [1.0] * len(functions) if weights is None else list(weights)
    if not functions or len(weights) != len(functions):
        raise ValueError(
            f"combine needs one weight per function, got {len(functions)} functions, {len(weights)} weights"
        )
    for weight in weights:
        check.number(-float("inf"), weights=weight)
    for function in functions:
        check_fitness(function, None)
    return Combined(tuple(functions), tuple(weights))
