"""Which members become parents: ``select(key, population, fitness [N]) -> parents i32[N, 2]``; higher is better.

The first column is the parent whose mutator does the rewriting, the second a candidate for crossover; every row is
one child. A fitness of -inf (a member that must not reproduce) loses against any other.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from neuralmutator.core import check
from neuralmutator.core.genome import Genome

__all__ = [
    "Select",
    "best",
    "tournament",
    "truncation",
]

Select = Callable[[jax.Array, Genome, jax.Array], jax.Array]


def tournament(size: int = 3) -> Select:
    """Each parent is the best of `size` members drawn with replacement.

    Raises:
        ValueError: if `size` is not a whole number of at least 1.
    """
    check.whole(1, size=size)

    def select(key: jax.Array, population: Genome, fitness: jax.Array) -> jax.Array:
        n = fitness.shape[0]
        entrants = jax.random.randint(key, (n, 2, size), 0, n)
        winner = jnp.argmax(fitness[entrants], axis=-1, keepdims=True)
        parents = jnp.take_along_axis(entrants, winner, axis=-1)[..., 0]
        # The better of the two leads: its mutator rewrites, its topology is inherited.
        swap = fitness[parents[:, 1]] > fitness[parents[:, 0]]
        return jnp.where(swap[:, None], parents[:, ::-1], parents)

    return select


def best(key: jax.Array, population: Genome, fitness: jax.Array) -> jax.Array:
    """The best member is the parent of all."""
    return jnp.full((fitness.shape[0], 2), jnp.argmax(fitness))


def truncation(share: float = 0.2) -> Select:
    """Parents are drawn uniformly from the best `share` of the population (at least one member).

    Raises:
        ValueError: unless 0 < share ≤ 1.
    """
    check.number(0, 1, open_low=True, share=share)

    def select(key: jax.Array, population: Genome, fitness: jax.Array) -> jax.Array:
        n = fitness.shape[0]
        best = jnp.argsort(-fitness)
        fit = jnp.sum(fitness > -jnp.inf)
        most = (
            jnp.maximum(1, jnp.round(share * n).astype(jnp.int32))
            if check.is_traced(share)
            else max(1, round(share * n))
        )
        drawn = jax.random.randint(key, (n, 2), 0, jnp.clip(fit, 1, most))
        return best[jnp.sort(drawn, axis=1)]

    return select
