"""Fixed Gaussian noise: the baseline without a heritable strategy."""

from typing import Any

import jax
import jax.numpy as jnp

from neuralmutator.core import check, random
from neuralmutator.core.genome import Genome, flatten, unflatten
from neuralmutator.mutators.base import Mutator, Rewriting, base_of


def gaussian(std: float = 0.05) -> Mutator:
    """Adds ``std · N(0, I)`` to the policy and the compatibility net; it has no parameters of its own.

    Args:
        std: standard deviation of the noise; may be traced.

    Raises:
        ValueError: if `std` is negative or not finite.
    """
    check.number(0, std=std)

    def mutate(key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: Any = True) -> Rewriting:
        start = base_of(genome, partner, crossing)
        base = flatten(start)
        return Rewriting(start, unflatten(base + std * random.normal(key, base.size, base.dtype), genome))

    return Mutator(0, lambda key: jnp.zeros(0, jnp.float32), mutate, lambda params: {})
