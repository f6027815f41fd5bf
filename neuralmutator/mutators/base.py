"""What a mutator is."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp

from neuralmutator.core.genome import Genome, cast


class Rewriting(NamedTuple):
    """What a mutator makes of one genome, or of two."""

    base: Genome  # where the rewriting started: the first parent, or the mean of both
    child: Genome  # where it ended; shapes and dtypes are those of the base


class Mutate(Protocol):
    """Rewrites a genome."""

    def __call__(
        self, key: jax.Array, genome: Genome, partner: Genome | None = None, crossing: jax.Array | bool = True
    ) -> Rewriting:
        """Rewrites the policy, the mutator itself and the compatibility net.

        Args:
            key: random key.
            genome: the first parent. Its own mutator does the work; the topology and the structural rate are its own.
            partner: the second parent. With one, the base of the rewriting is the mean of both parents' parameters.
            crossing: bool[], may be traced. Where it is False the partner is ignored, so that one program serves
                births of one and of two parents.
        """


class Mutator(NamedTuple):
    """A variation operator whose parameters are part of the genome that it rewrites."""

    num_params: int
    init: Callable[[jax.Array], jax.Array]  # (key) -> f32[M]
    mutate: Mutate  # (key, genome, partner=None, crossing=True) -> rewriting
    genes: Callable[[jax.Array], dict[str, jax.Array]]  # (f32[M]) -> strategy parameters by name, f32[] each
    decays_itself: bool = True  # whether the decay of an evolution also shrinks what it does to its own parameters


def base_of(a: Genome, b: Genome | None, crossing: jax.Array | bool = True) -> Genome:
    """Where a rewriting starts: `a`, or where two parents cross, `a` with the mean of their parameters.

    Args:
        a: the first parent.
        b: the second parent, or None.
        crossing: whether both have a part in it, bool[].
    """
    if b is None:
        return a

    def mean(x: jax.Array, y: jax.Array) -> jax.Array:
        return jnp.where(crossing, (x + y) / 2, x)

    mixed = a._replace(
        policy=mean(a.policy, b.policy), mutator=mean(a.mutator, b.mutator), compat=mean(a.compat, b.compat)
    )
    return cast(mixed, a)
