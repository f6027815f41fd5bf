"""Several fitness functions as one."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from neuralmutator.evolution import Fitness
from neuralmutator.genome import Genome


def combine(functions: Sequence[Fitness], weights: Sequence[float] | None = None) -> Fitness:
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

    def fitness(key: jax.Array, genome: Genome) -> tuple[jax.Array, dict[str, jax.Array]]:
        total, infos = jnp.float32(0), dict[str, jax.Array]()
        for function, weight, k in zip(functions, weights, jax.random.split(key, len(functions)), strict=True):
            result = function(k, genome)
            value, info = result if isinstance(result, tuple) else (result, {})
            total += weight * value
            infos |= info
        return total, infos

    return fitness
