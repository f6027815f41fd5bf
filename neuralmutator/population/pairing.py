"""Which members have which children: elites, selection, stand-ins, crossings."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Genome, check
from neuralmutator.population.selection import Select


class Pairs(NamedTuple):
    """The parents of every member of the next population; elites are its first rows."""

    parents: jax.Array  # i32[N, 2], twice the same where there is one
    is_child: jax.Array  # bool[N], False for elites
    compatible: jax.Array  # bool[N], whether both selected parents may cross; False without crossover
    crossing: jax.Array  # bool[N], whether a child has two parents


def crosses(crossover_rate: float | jax.Array) -> bool:
    """Whether a child can have two parents; a traced rate may be anything."""
    return check.is_traced(crossover_rate) or bool(crossover_rate > 0)


def pair(
    key_select: jax.Array,
    key_cross: jax.Array,
    population: Genome,
    score: jax.Array,
    compatible: Callable[[jax.Array], jax.Array],
    *,
    select: Select,
    elites: int,
    crossover_rate: float | jax.Array,
) -> Pairs:
    """Selects the parents of the next population.

    Args:
        key_select: key of the selection.
        key_cross: key of the crossings.
        population: genomes [N].
        score: f32[N] what selection sees; -inf for a member that must not reproduce.
        compatible: whether pairs i32[N, 2] may cross, bool[N].
        select: the selection.
        elites: number of best members that go on; each is its own and only parent.
        crossover_rate: probability that compatible parents cross.
    """
    size = score.shape[0]
    order = jnp.argsort(-score).astype(jnp.int32)
    is_child = jnp.arange(size) >= elites
    parents = select(key_select, population, score).astype(jnp.int32)
    # Where selection offers nobody else, the best member stands in for one that must not reproduce.
    parents = jnp.where(jnp.isneginf(score[parents]), order[0], parents)
    parents = jnp.where(is_child[:, None], parents, order[:, None])
    may_cross = crossing = jnp.zeros(size, bool)
    if crosses(crossover_rate):
        may_cross = compatible(parents)
        wanted = jax.random.bernoulli(key_cross, crossover_rate, (size,))
        crossing = is_child & may_cross & wanted & (parents[:, 0] != parents[:, 1])
    parents = jnp.where(crossing[:, None], parents, parents[:, :1])
    return Pairs(parents, is_child, may_cross, crossing)
