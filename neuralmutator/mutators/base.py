"""What a mutator is."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core.genome import Genome


class Mutator(NamedTuple):
    """A variation operator whose parameters are part of the genome that it rewrites.

    `mutate` is called as ``mutate(key, genome, partner=None, crossing=True)`` and rewrites the policy, itself and the
    compatibility net; the topology and the structural rate come from `genome`, whose own mutator does the work. With
    a partner, the base of the rewriting is the mean of both parents. `crossing` bool[] may be traced: where it is
    False the partner is ignored, so that one program serves births of one and of two parents.
    """

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[M]
    mutate: Callable[..., Genome]  # (key, genome, partner=None, crossing=True) -> genome
    genes: Callable[[jax.Array], dict[str, jax.Array]]  # (f32[M]) -> strategy parameters by name, f32[] each


def base_of(a: Genome, b: Genome | None, crossing: jax.Array | bool = True) -> Genome:
    """What a rewriting starts from: `a`, or where two parents cross, `a` with the mean of their parameters."""
    if b is None:
        return a
    mean = [jnp.where(crossing, (x + y) / 2, x) for x, y in zip(a[:3], b[:3], strict=True)]
    return a._replace(policy=mean[0], mutator=mean[1], compat=mean[2])


def check_rates(**rates: float) -> None:
    """Raises ValueError, naming the field, unless every rate is a finite number of at least 0."""
    for name, value in rates.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
