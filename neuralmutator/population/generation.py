"""Evaluate, select, speciate, replicate: one generation as a pure step."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from neuralmutator import mutators, networks
from neuralmutator.core import Fitness, Genome, default_block_size, evaluate, in_blocks, rollout, take
from neuralmutator.networks.structure import Topology
from neuralmutator.population import selection, speciation

LIMIT = 5.0  # parameters are clipped to [-LIMIT, LIMIT] (the original program)
STRUCTURAL_RATE = (0.001, 0.5)  # bounds of the heritable structural rate (the original program)


class State(NamedTuple):
    """All that the next generation needs; a checkpoint is this and the moment."""

    population: Genome  # [N] not evaluated yet
    generation: jax.Array  # i32[]
    founders: jax.Array  # f32[N, M] mutators of generation 0
    founder: jax.Array  # i32[N] the founder that each member descends from in the line of first parents
    speciation: Any  # state of the speciation
    champion: Genome  # the member with the highest single evaluation so far
    champion_fitness: jax.Array  # f32[] that evaluation; the luckiest of many, not what the champion is worth


class Generation(NamedTuple):
    """What one may look at after a generation; never genomes."""

    fitness: jax.Array  # f32[N] as evaluated; not finite where the evaluation was not
    parents: jax.Array  # i32[N, 2] of each member of the *next* population; twice the same where there was one
    metrics: dict[str, jax.Array]  # f32[] or i32[] each


class Evolution(NamedTuple):
    """A population that evolves; four pure functions."""

    init: Callable[[jax.Array], Any]  # (key) -> state
    step: Callable[[jax.Array, Any], tuple[Any, Generation]]  # (key, state) -> (state, generation)
    ask: Callable[[jax.Array, Any], Genome]  # (key, state) -> population [N], to be evaluated elsewhere
    tell: Callable[..., tuple[Any, Generation]]  # (key, state, fitness [N], info=None) -> (state, generation)
    best: Callable[[Any], tuple[Genome, jax.Array]]  # (state) -> (champion, its estimated fitness f32[])


def evolution(
    policy: networks.Network,
    mutator: mutators.Mutator,
    fitness: Fitness | None = None,
    *,
    population_size: int = 80,
    elites: int = 5,
    select: selection.Select | None = None,
    crossover_rate: float = 0.3,
    species: speciation.Speciation | None = None,
    complexity_cost: float = 0.0,
    structural_rate: float = 0.05,
    decay: optax.Schedule | None = None,
    common_random_numbers: bool = True,
    block_size: int | str | None = "auto",
) -> Evolution:
    """Self-replicating neuroevolution of one population.

    Args:
        policy: network that a genome's policy parameters belong to.
        mutator: operator that rewrites a genome.
        fitness: ``(key, genome) -> scalar`` or ``(scalar, {name: scalar})``, higher is better; a value that is not
            finite ranks last. None if the fitness is computed elsewhere (`ask`, `tell`).
        population_size: N.
        elites: best members that go on unchanged.
        select: who becomes a parent; `selection.tournament(3)` by default.
        crossover_rate: probability that a child has two parents, where they are compatible.
        species: speciation; `speciation.learned()` by default.
        complexity_cost: fitness that an active policy parameter costs.
        structural_rate: the first genomes' probability of a structural mutation; heritable from then on.
        decay: share of a rewriting that a child takes, as a function of the generation; constant 1 by default.
        common_random_numbers: whether all members of a generation meet the same evaluation key.
        block_size: members evaluated and rewritten together. "auto": `default_block_size()`; None: all.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    if not isinstance(population_size, int) or population_size < 2:
        raise ValueError(f"population_size must be a whole number of at least 2, got {population_size!r}")
    if not isinstance(elites, int) or not 0 <= elites < population_size:
        raise ValueError(f"elites must lie between 0 and population_size - 1 = {population_size - 1}, got {elites!r}")
    for name, rate in (("crossover_rate", crossover_rate), ("structural_rate", structural_rate)):
        if not 0 <= rate <= 1:
            raise ValueError(f"{name} must lie between 0 and 1, got {rate!r}")
    if not 0 <= complexity_cost < float("inf"):
        raise ValueError(f"complexity_cost must be a finite number of at least 0, got {complexity_cost!r}")
    if block_size == "auto":
        block_size = default_block_size()
    if block_size is not None and (not isinstance(block_size, int) or block_size < 1):
        raise ValueError(f"block_size must be 'auto', None or a whole number of at least 1, got {block_size!r}")
    # On a CPU a rewriting is fastest when few genomes are in cache, a structural mutation when it is a real branch.
    rewriting_block = None if block_size is None else max(1, block_size // 4)
    branching_block = None if block_size is None else 1
    select = selection.tournament() if select is None else select
    kinds = speciation.learned() if species is None else species
    decay = optax.constant_schedule(1.0) if decay is None else decay
    flexible = policy.topology

    def num_params(topology: jax.Array) -> jax.Array:
        if flexible is None:
            return jnp.float32(policy.num_params)
        return jnp.sum(flexible.mask(topology)).astype(jnp.float32)

    def masked(params: jax.Array, topology: jax.Array) -> jax.Array:
        return params if flexible is None else jnp.where(flexible.mask(topology), params, 0.0)

    def birth(key: jax.Array) -> Genome:
        key_policy, key_mutator, key_topology = jax.random.split(key, 3)
        topology = jnp.zeros(0, jnp.int32) if flexible is None else flexible.init(key_topology)
        return Genome(
            policy=masked(policy.init(key_policy), topology),
            mutator=mutator.init(key_mutator),
            compat=jnp.zeros(kinds.num_params),
            topology=topology,
            structural_rate=jnp.float32(structural_rate),
        )

    def init(key: jax.Array) -> State:
        key_birth, key_species = jax.random.split(key)
        population = jax.vmap(birth)(jax.random.split(key_birth, population_size))
        population, species_state = kinds.init(key_species, population)
        return State(
            population=population,
            generation=jnp.int32(0),
            founders=population.mutator,
            founder=jnp.arange(population_size, dtype=jnp.int32),
            speciation=species_state,
            champion=take(population, jnp.int32(0)),
            champion_fitness=jnp.float32(-jnp.inf),
        )

    def restructure(
        key: jax.Array,
        params: jax.Array,
        topology: jax.Array,
        rates: jax.Array,
        crossing: jax.Array,
        shape: Topology,
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Structural part of a birth: (policy f32[P], topology i32[L], structural rate, whether it changed).

        `rates` f32[2] are those of both parents.
        """
        rate = rates[0]
        key_whether, key_change, key_rate = jax.random.split(key, 3)
        structural = ~crossing & jax.random.bernoulli(key_whether, rate)
        params, topology = jax.lax.cond(
            structural, lambda: shape.mutate(key_change, params, topology), lambda: (params, topology)
        )
        drifted = jnp.clip(rate * jnp.exp(0.01 * jax.random.normal(key_rate)), *STRUCTURAL_RATE)
        drifted = jnp.where(rate > 0, drifted, 0.0)  # a rate of zero is a choice, and stays
        return params, topology, jnp.where(crossing, jnp.mean(rates), drifted), structural

    def reproduce(
        key: jax.Array, a: Genome, b: Genome, crossing: jax.Array, share: jax.Array
    ) -> tuple[Genome, jax.Array]:
        """One child of `a`, or where they cross of `a` and `b`, and its replication error."""
        rewritten = mutator.mutate(key, a, b, crossing) if crossover_rate > 0 else mutator.mutate(key, a)
        base = mutators.base_of(a, b, crossing)

        def toward(start: jax.Array, end: jax.Array) -> jax.Array:
            return jnp.clip(start + share * (end - start), -LIMIT, LIMIT)

        child = a._replace(
            policy=masked(toward(a.policy, rewritten.policy), a.topology),
            mutator=toward(base.mutator, rewritten.mutator),
            compat=toward(base.compat, rewritten.compat),
        )
        return child, jnp.linalg.norm(rewritten.mutator - a.mutator)

    def tell(
        key: jax.Array, state: State, fitness: jax.Array, info: dict[str, jax.Array] | None = None
    ) -> tuple[State, Generation]:
        key_select, key_cross, key_children = jax.random.split(key, 3)
        population = state.population
        if jnp.shape(fitness) != (population_size,):
            raise ValueError(f"fitness must have shape ({population_size},), got {jnp.shape(fitness)}")
        fitness = jnp.asarray(fitness, jnp.float32)
        whole = [jnp.all(jnp.isfinite(part), axis=1) for part in population[:3]]
        sound = jnp.isfinite(fitness) & whole[0] & whole[1] & whole[2]
        clean = jnp.where(sound, fitness, -jnp.inf)
        sizes = jax.vmap(num_params)(population.topology)
        penalised = clean - complexity_cost * sizes
        groups, species_state = kinds.classify(state.speciation, population, penalised)
        score = kinds.share(penalised, groups)
        order = jnp.argsort(-score)

        # Elites are the first rows of the next population: their own and only parents, and never changed.
        rows = jnp.arange(population_size)
        is_child = rows >= elites
        parents = select(key_select, population, score)
        # Where chance offered nobody else, the best member stands in for one that must not reproduce.
        parents = jnp.where(jnp.isneginf(score[parents]), order[0], parents)
        parents = jnp.where(is_child[:, None], parents, order[:, None])
        fits = crossing = jnp.zeros(population_size, bool)
        if crossover_rate > 0:
            fits = kinds.compatible(state.speciation, population, groups, parents)
            wanted = jax.random.bernoulli(key_cross, crossover_rate, (population_size,))
            crossing = is_child & fits & wanted & (parents[:, 0] != parents[:, 1])
        parents = jnp.where(crossing[:, None], parents, parents[:, :1])
        share = decay(state.generation)
        key_structure, key_rewrite = jax.random.split(key_children)

        # Parents are gathered block by block: at once, they would be one more copy of the population.
        structural = jnp.zeros(population_size, bool)
        if flexible is not None:

            def bud(key: jax.Array, row: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
                a = parents[row, 0]
                rates = population.structural_rate[parents[row]]
                return restructure(key, population.policy[a], population.topology[a], rates, crossing[row], flexible)

            keys = jax.random.split(key_structure, population_size)
            policies, topologies, rates, structural = in_blocks(bud, branching_block, keys, rows)
            structural &= is_child

        def replicate(key: jax.Array, row: jax.Array) -> tuple[Genome, jax.Array]:
            a, b = (take(population, parents[row, i]) for i in range(2))
            first = a
            if flexible is not None:
                first = a._replace(policy=policies[row], topology=topologies[row], structural_rate=rates[row])
            child, error = reproduce(key, first, b, crossing[row], share)
            return jax.tree.map(lambda new, old: jnp.where(is_child[row], new, old), child, a), error

        keys = jax.random.split(key_rewrite, population_size)
        children, errors = in_blocks(replicate, rewriting_block, keys, rows)

        best = jnp.argmax(clean)
        better = clean[best] > state.champion_fitness
        new = State(
            population=children,
            generation=state.generation + 1,
            founders=state.founders,
            founder=state.founder[parents[:, 0]],
            speciation=species_state,
            champion=jax.tree.map(lambda new, old: jnp.where(better, new[best], old), population, state.champion),
            champion_fitness=jnp.where(better, clean[best], state.champion_fitness),
        )

        def mean(values: jax.Array) -> jax.Array:
            return jnp.sum(jnp.where(sound, values, 0.0)) / jnp.maximum(jnp.sum(sound), 1)

        drift = in_blocks(
            lambda row: jnp.linalg.norm(population.mutator[row] - state.founders[state.founder[row]]), block_size, rows
        )
        error = jnp.where(is_child & ~crossing, errors, jnp.nan)
        shares = jnp.zeros(population_size).at[groups.member_of].add(1.0) / population_size
        metrics = {
            "fitness_best": clean[best],
            "fitness_mean": mean(fitness),
            "fitness_worst": jnp.min(jnp.where(sound, fitness, jnp.inf)),
            "fitness_std": jnp.sqrt(mean((fitness - mean(fitness)) ** 2)),
            "non_finite": jnp.sum(~sound),
            "replication_error_mean": jnp.nanmean(error),
            "replication_error_best": jnp.nanmin(error),
            "mutator_drift_mean": mean(drift),
            "mutator_drift_max": jnp.max(jnp.where(sound, drift, 0.0)),
            "species": groups.number,
            "species_entropy": -jnp.sum(jax.scipy.special.xlogy(shares, shares)),
            "tag_distance": groups.tag_distance,
            "compatible_share": jnp.mean(fits[elites:], dtype=jnp.float32),
            "crossovers": jnp.sum(crossing),
            "structural_mutations": jnp.sum(structural),
            "policy_params_mean": mean(sizes),
            **{name: mean(values) for name, values in jax.vmap(mutator.genes)(population.mutator).items()},
        }
        if clash := sorted(metrics.keys() & (info or {}).keys()):
            raise ValueError(f"info of the fitness must not be named like a metric, got {', '.join(clash)}")
        metrics |= info or {}
        if flexible is not None:
            metrics["layers_mean"] = jnp.mean(jnp.sum(population.topology > 0, axis=1), dtype=jnp.float32)
            metrics["neurons_mean"] = jnp.mean(jnp.sum(population.topology, axis=1), dtype=jnp.float32)
        if isinstance(species_state, speciation.SpeciationState):
            metrics["species_threshold"] = state.speciation.threshold
        return new, Generation(fitness, parents, metrics)

    def step(key: jax.Array, state: State) -> tuple[State, Generation]:
        key_evaluate, key_tell = jax.random.split(key)
        if fitness is None:
            raise ValueError("fitness is None: use ask and tell, or give evolution a fitness")
        keys = key_evaluate if common_random_numbers else jax.random.split(key_evaluate, population_size)
        values, info = evaluate(fitness, keys, state.population, block_size)
        return tell(key_tell, state, values, info)

    return Evolution(
        init,
        step,
        ask=lambda key, state: state.population,
        tell=tell,
        best=lambda state: (state.champion, state.champion_fitness),
    )


@partial(jax.jit, static_argnames=("evolution", "generations"))
def run(evolution: Evolution, key: jax.Array, generations: int) -> tuple[Any, Generation]:
    """Initialises a population and evolves it in one ``lax.scan``; pure, so ``vmap`` it over keys for several seeds.

    Returns:
        The last state, and the history: a `Generation` with a leading axis ``[generations]`` on every field.
    """
    key_init, key_run = jax.random.split(key)
    return rollout(evolution.step, key_run, evolution.init(key_init), generations)
