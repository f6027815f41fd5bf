"""What a mutator is."""

from collections.abc import Callable
from typing import NamedTuple

import jax

from neuralmutator.genome import Genome


class Mutator(NamedTuple):
    """A variation operator whose parameters are part of the genome that it rewrites.

    `mutate` is called as ``mutate(key, genome, partner=None)`` and rewrites the policy, itself and the compatibility
    net; the topology and the structural rate come from `genome`, whose own mutator does the work. With a partner, the
    base of the rewriting is the mean of both parents. ``mutate(key, g, g)`` equals ``mutate(key, g)``.
    """

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[M]
    mutate: Callable[..., Genome]  # (key, genome, partner=None) -> genome
    genes: Callable[[jax.Array], dict[str, jax.Array]]  # (f32[M]) -> strategy parameters by name, f32[] each


def mean(a: Genome, b: Genome | None) -> Genome:
    """`a` with the parameters of the mean of both parents, or `a` itself without a partner."""
    if b is None:
        return a
    return a._replace(
        policy=(a.policy + b.policy) / 2, mutator=(a.mutator + b.mutator) / 2, compat=(a.compat + b.compat) / 2
    )


def check_rates(**rates: float) -> None:
    """Raises ValueError, naming the field, unless every rate is a finite number of at least 0."""
    for name, value in rates.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"{name} must be a finite number of at least 0, got {value!r}")
