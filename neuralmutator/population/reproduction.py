"""How a child comes from its parents: a structural mutation of the policy, then the rewriting by the mutator."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Genome, cast, each, in_blocks, take
from neuralmutator.core.spreading import everywhere, members
from neuralmutator.mutators import Mutator
from neuralmutator.networks import Network
from neuralmutator.networks.structure import Topology
from neuralmutator.population.pairing import Pairs

STRUCTURAL_RATE = (0.001, 0.5)  # bounds of the heritable structural rate (the original program)
RATE_DRIFT = 0.01  # std of the log-normal drift of the structural rate (the original program)


class Births(NamedTuple):
    """The next population, and how it came about."""

    population: Genome  # [N]
    errors: jax.Array  # f32[N] how far each mutator's rewriting of itself is from the first parent's mutator
    structural: jax.Array  # bool[N] whether there was a structural mutation


class Buds(NamedTuple):
    """The structural part of births, before the rewriting."""

    policy: jax.Array  # [P]
    topology: jax.Array  # i32[L]
    structural_rate: jax.Array  # f32[]
    structural: jax.Array  # bool[]


def active_params(policy: Network, topology: jax.Array) -> jax.Array:
    """Number of policy parameters in use, f32[], for a topology i32[L]."""
    if policy.topology is None:
        return jnp.float32(policy.num_params)
    return jnp.sum(policy.topology.mask(topology)).astype(jnp.float32)


def masked(policy: Network, params: jax.Array, topology: jax.Array) -> jax.Array:
    """Policy parameters [P] with zeros where the topology i32[L] does not use them."""
    if policy.topology is None:
        return params
    return jnp.where(policy.topology.mask(topology), params, jnp.zeros((), params.dtype))


def bounded(x: jax.Array, limit: float | jax.Array | None) -> jax.Array:
    """`x` clipped to [-limit, limit]; as it is where the limit is None."""
    return x if limit is None else jnp.clip(x, -limit, limit)


def toward(start: jax.Array, end: jax.Array, share: jax.Array, limit: float | jax.Array | None) -> jax.Array:
    """``start + share · (end - start)``, at least in f32, bounded by the limit."""
    dtype = jnp.result_type(jnp.float32, start)
    start, end = start.astype(dtype), end.astype(dtype)
    return bounded(start + share * (end - start), limit)


def restructure(
    shape: Topology, key: jax.Array, policy: jax.Array, topology: jax.Array, rates: jax.Array, crossing: jax.Array
) -> Buds:
    """The structural part of one birth. A child of two parents is not mutated and has the mean of their rates.

    Args:
        shape: how topologies of this policy are mutated.
        key: random key.
        policy: of the first parent, [P].
        topology: of the first parent, i32[L].
        rates: structural rates of both parents, f32[2].
        crossing: whether the child has two parents, bool[].
    """
    rate = rates[0]
    key_whether, key_change, key_rate = jax.random.split(key, 3)
    structural = ~crossing & jax.random.bernoulli(key_whether, rate)

    def mutated() -> tuple[jax.Array, jax.Array]:
        params, widths = shape.mutate(key_change, policy, topology)
        return params.astype(policy.dtype), widths.astype(topology.dtype)

    params, widths = jax.lax.cond(structural, mutated, lambda: (policy, topology))
    drifted = rate * jnp.exp(RATE_DRIFT * jax.random.normal(key_rate, (), rate.dtype))
    drifted = jnp.where(rate > 0, jnp.clip(drifted, *STRUCTURAL_RATE), 0.0)  # a rate of zero stays zero
    return Buds(params, widths, jnp.where(crossing, jnp.mean(rates), drifted), structural)


def rewrite(
    policy: Network,
    mutator: Mutator,
    limit: float | jax.Array | None,
    key: jax.Array,
    a: Genome,
    b: Genome | None,
    crossing: jax.Array,
    share: jax.Array,
) -> tuple[Genome, jax.Array]:
    """One child of `a`, or where they cross of `a` and `b`, and its replication error f32[].

    Args:
        policy: the network that the policy's parameters belong to.
        mutator: the operator; `a`'s own mutator parameters do the rewriting.
        limit: bound of every parameter, or None.
        key: random key.
        a: first parent, after the structural part of the birth.
        b: second parent; None where no child has two.
        crossing: whether the child has two parents, bool[].
        share: of the rewriting that the child takes, f32[].
    """
    base, rewritten = mutator.mutate(key, a) if b is None else mutator.mutate(key, a, b, crossing)
    # The original's equations: the policy moves from the first parent towards the rewriting, also in a crossing; the
    # mutator and the compatibility net move from the base. So a small share makes a crossing's policy the first one's.
    own_share = share if mutator.decays_itself else jnp.ones((), share.dtype)
    child = a._replace(
        policy=masked(policy, toward(a.policy, rewritten.policy, share, limit), a.topology),
        mutator=toward(base.mutator, rewritten.mutator, own_share, limit),
        compat=toward(base.compat, rewritten.compat, share, limit),
    )
    return cast(child, a), jnp.linalg.norm(rewritten.mutator - a.mutator)


def weighted_mean(population: Genome, score: jax.Array, count: int) -> Genome:
    """The mean of the best `count` genomes, weighted as in CMA-ES: ``log(count + ½) - log(rank)``, of sum 1.

    Topology and structural rate are those of the best. Members of score -inf have no part in it, unless all have.

    Args:
        population: genomes [N].
        score: f32[N], higher is better.
        count: how many.
    """
    order = jnp.argsort(-score)[:count]
    weights = jnp.log(count + 0.5) - jnp.log(jnp.arange(1.0, count + 1))
    weights = jnp.where((score[order] > -jnp.inf) | jnp.isneginf(score[order[0]]), weights, 0.0)
    weights = weights / jnp.sum(weights)
    chosen = members(population, order)
    best = take(chosen, jnp.int32(0))

    def mean(x: jax.Array) -> jax.Array:
        # What is not finite must not enter by a weight of zero.
        return jnp.sum(jnp.where(weights[:, None] > 0, weights[:, None] * x, 0.0), axis=0)

    mixed = best._replace(policy=mean(chosen.policy), mutator=mean(chosen.mutator), compat=mean(chosen.compat))
    return cast(mixed, best)


def reproduce(
    key: jax.Array,
    population: Genome,
    pairs: Pairs,
    share: jax.Array,
    *,
    policy: Network,
    mutator: Mutator,
    crossover: bool,
    limit: float | jax.Array | None,
    block_size: int | None,
    centre: Genome | None = None,
) -> Births:
    """The next population. Rows that are no children are their first parent, unchanged.

    Args:
        key: random key.
        population: the parents' genomes [N].
        pairs: the parents of each row.
        share: of a rewriting that a child takes, f32[].
        policy: the network that a genome's policy parameters belong to.
        mutator: the operator that rewrites a genome.
        crossover: whether a child can have two parents.
        limit: bound of every parameter, or None.
        block_size: members handled together; None: all.
        centre: a genome that all children rewrite instead of their parents.
    """
    size = pairs.is_child.shape[0]
    first, second = pairs.parents[:, 0], pairs.parents[:, 1]
    key_structure, key_rewrite = jax.random.split(key)
    # On a CPU a rewriting is fastest when few genomes are in cache, a structural mutation when it is a real branch
    # (benchmarks/reproduction.py).
    rewriting_block = None if block_size is None else max(1, block_size // 4)

    def bud(key: jax.Array, crossing: jax.Array, a: Genome, b: Genome) -> tuple[Genome, jax.Array]:
        assert policy.topology is not None
        rates = jnp.stack([a.structural_rate, b.structural_rate])
        made = restructure(policy.topology, key, a.policy, a.topology, rates, crossing)
        start = a._replace(policy=made.policy, topology=made.topology, structural_rate=made.structural_rate)
        return start, made.structural

    def birth(key: jax.Array, row: tuple, a: Genome, b: Genome | None, start: Genome) -> tuple[Genome, jax.Array]:
        is_child, crossing = row
        child, error = rewrite(policy, mutator, limit, key, start if centre is None else centre, b, crossing, share)
        return jax.tree.map(lambda new, old: jnp.where(is_child, new, old), child, a), error

    def births(keys: tuple, rows: tuple, a: Genome, b: Genome | None = None) -> tuple[Genome, jax.Array, jax.Array]:
        """A block of them."""
        is_child, crossing = rows
        start, structural = a, jnp.zeros(is_child.shape, bool)
        if policy.topology is not None:
            start, structural = each(bud, keys[0], crossing, a, a if b is None else b)
        return *jax.vmap(birth)(keys[1], rows, a, b, start), structural & is_child

    children, errors, structural = in_blocks(
        births,
        rewriting_block,
        (jax.random.split(key_structure, size), jax.random.split(key_rewrite, size)),
        (pairs.is_child, pairs.crossing),
        lookups=[(population, parent) for parent in ((first, second) if crossover else (first,))],
        whole=True,
    )
    return Births(children, everywhere(errors), everywhere(structural))
