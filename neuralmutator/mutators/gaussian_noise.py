"""Fixed Gaussian noise: the baseline without a heritable strategy."""

from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core.genome import Genome, flatten, unflatten
from neuralmutator.mutators.base import Mutator, base_of, check_rates


def gaussian(std: float = 0.05) -> Mutator:
    """Adds ``std · N(0, I)`` to the policy and the compatibility net; it has no parameters of its own.

    Raises:
        ValueError: if `std` is negative or not finite.
    """
    check_rates(std=std)

    def mutate(key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: Any = True) -> Genome:
        base = flatten(base_of(genome, partner, crossing))
        return unflatten(base + std * jax.random.normal(key, base.shape), genome)

    return Mutator(0, lambda key: jnp.zeros(0), mutate, lambda params: {})
