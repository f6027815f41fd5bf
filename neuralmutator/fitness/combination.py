"""Several fitness functions as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, evaluate_members
from neuralmutator.core.genome import Genome


@dataclass(frozen=True)
class Combined:
    """Fitness: the weighed sum of fitness functions. See `combine`."""

    functions: tuple[Fitness, ...]
    weights: tuple[float, ...]

    def __call__(self, key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness f32[] of one genome."""
        total, infos = jnp.float32(0), dict[str, jax.Array]()
        keys = jax.random.split(key, len(self.functions))
        for function, weight, k in zip(self.functions, self.weights, keys, strict=True):
            result = function(k, genome)
            value, info = result if isinstance(result, tuple) else (result, {})
            total += weight * value
            infos |= info
        return total, infos

    def many(
        self, keys: jax.Array, population: Genome, block_size: int | None
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Fitness of a population [N], each function in the way that it knows best; see `PopulationFitness`."""
        total, infos = jnp.zeros(population.policy.shape[0]), dict[str, jax.Array]()
        split = partial(jax.random.split, num=len(self.functions))
        of_each = split(keys) if keys.ndim == 0 else jax.vmap(split, out_axes=1)(keys)
        for function, weight, own in zip(self.functions, self.weights, of_each, strict=True):
            values, info = evaluate_members(function, own, population, block_size)
            total += weight * values
            infos |= info
        return total, infos


def combine(functions: Sequence[Fitness], weights: Sequence[float] | None = None) -> Combined:
    """The weighed sum of fitness functions, each with a key of its own; their infos are merged.

    Args:
        functions: fitness functions.
        weights: one finite number for each; 1 by default.

    Raises:
        ValueError: if there is no function, or not one finite weight for each.
    """
    weights = [1.0] * len(functions) if weights is None else list(weights)
    if not functions or len(weights) != len(functions):
        raise ValueError(
            f"combine needs one weight per function, got {len(functions)} functions, {len(weights)} weights"
        )
    if not all(abs(weight) < float("inf") for weight in weights):
        raise ValueError(f"weights must be finite, got {weights}")
    return Combined(tuple(functions), tuple(weights))
