"""One generation as a pure step: evaluate, select, pair, reproduce, measure."""

import operator
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from neuralmutator.core import (
    Fitness,
    Genome,
    Info,
    check,
    check_fitness,
    evaluate,
    fitness_at,
    in_blocks,
    resolve_block_size,
    rollout,
    take,
)
from neuralmutator.core.spreading import everywhere, members
from neuralmutator.mutators import Mutator, Rewriting
from neuralmutator.networks import Network
from neuralmutator.population import metrics, selection, speciation
from neuralmutator.population.pairing import Pairs, crosses, pair
from neuralmutator.population.reproduction import Births, active_params, bounded, masked, reproduce, weighted_mean
from neuralmutator.population.types import Evolution, Generation, State


@dataclass(frozen=True, eq=False)
class Settings:
    """The arguments of `evolution`, checked; see there."""

    policy: Network
    mutator: Mutator
    fitness: Fitness | None
    population_size: int
    elites: int
    select: selection.Select
    crossover_rate: float | jax.Array
    species: speciation.Speciation
    complexity_cost: float | jax.Array
    structural_rate: float | jax.Array
    limit: float | jax.Array | None
    decay: optax.Schedule
    recombine: int | None
    common_random_numbers: bool
    block_size: int | None


def evolution(
    policy: Network,
    mutator: Mutator,
    fitness: Fitness | None = None,
    *,
    population_size: int = 80,
    elites: int = 5,
    select: selection.Select | None = None,
    crossover_rate: float | jax.Array = 0.0,
    species: speciation.Speciation | None = None,
    complexity_cost: float | jax.Array = 0.0,
    structural_rate: float | jax.Array = 0.05,
    limit: float | jax.Array | None = None,
    decay: optax.Schedule | None = None,
    recombine: int | None = None,
    common_random_numbers: bool = True,
    block_size: int | str | None = "auto",
) -> Evolution:
    """Self-replicating neuroevolution of one population.

    The numbers `crossover_rate`, `complexity_cost`, `structural_rate` and `limit` may be traced, like those of the
    mutators, so that a whole run can be vmapped over them: ``jax.vmap(lambda rate: run(evolution(…), key, 50))``.

    Args:
        policy: network that a genome's policy parameters belong to. Children keep their dtype.
        mutator: operator that rewrites a genome.
        fitness: ``(key, genome) -> scalar`` or ``(scalar, info)``, higher is better; a value that is not finite ranks
            last. The info, a dict of numbers or arrays, becomes metrics, each summed over the members (along the
            leading axis; an array keeps its shape). None if the fitness is computed elsewhere (`ask`, `tell`).
        population_size: N.
        elites: best members that go on unchanged.
        select: who becomes a parent; `selection.tournament(3)` by default.
        crossover_rate: probability that a child has two parents, where they are compatible.
        species: speciation, such as `speciation.learned()`; by default there is none.
        complexity_cost: fitness that an active policy parameter costs.
        structural_rate: the first genomes' probability of a structural mutation; heritable from then on.
        limit: bound of all parameters of policies, mutators and compatibility nets: those of the first genomes and of
            all children are clipped to [-limit, limit] (the original program: 5). None: no bound.
        decay: share of a rewriting that a child takes, as a function of the generation; constant 1 by default.
        recombine: children rewrite one genome, the mean of the best so many members weighted by rank, as in evolution
            strategies: policy, mutator and compatibility net. Nobody is selected or crossed then, and the best member
            stands as their parent in the history. None: every child has parents of its own. For policies of fixed
            topology.
        common_random_numbers: whether all members of a generation meet the same evaluation key.
        block_size: members evaluated and rewritten together. "auto": `default_block_size()`; None: all.

    Raises:
        ValueError: naming the field, the value and what is allowed.
    """
    check.whole(2, population_size=population_size)
    size = operator.index(population_size)
    check.whole(0, elites=elites)
    if operator.index(elites) >= size:
        raise ValueError(f"elites must lie between 0 and population_size - 1 = {size - 1}, got {elites!r}")
    check.number(0, 1, crossover_rate=crossover_rate, structural_rate=structural_rate)
    check.number(0, complexity_cost=complexity_cost)
    if limit is not None:
        check.number(0, open_low=True, limit=limit)
    if recombine is not None:
        _check_recombination(recombine, size, policy, crossover_rate, select)
        select = selection.best
    settings = Settings(
        policy,
        mutator,
        fitness,
        size,
        operator.index(elites),
        selection.tournament() if select is None else select,
        crossover_rate,
        speciation.none() if species is None else species,
        complexity_cost,
        structural_rate,
        limit,
        optax.constant_schedule(1.0) if decay is None else decay,
        recombine,
        common_random_numbers,
        resolve_block_size(block_size),
    )
    _check_functions(settings)
    return Evolution(
        partial(_init, settings),
        partial(_step, settings),
        ask=_ask,
        tell=partial(_tell, settings),
        best=_best,
    )


@partial(jax.jit, static_argnames=("evolution", "generations"))
def run(evolution: Evolution, key: jax.Array, generations: int) -> tuple[Any, Generation]:
    """Initialises a population and evolves it in one ``lax.scan``; pure, so ``vmap`` it over keys for several seeds.

    An evolution is compiled once for each number of generations; one that is built anew is compiled again, even if
    its settings are equal, because functions are only equal to themselves.

    Args:
        evolution: what to run.
        key: from ``jax.random.key``.
        generations: how many, at least 0.

    Raises:
        ValueError: if the key is not one, or `generations` is not a whole number of at least 0.

    Returns:
        The last state, and the history: a `Generation` with a leading axis ``[generations]`` on every field.
    """
    check.random_key(key=key)
    check.whole(0, generations=generations)
    key_init, key_run = jax.random.split(key)
    return rollout(evolution.step, key_run, evolution.init(key_init), generations)


def _check_recombination(recombine: int, size: int, policy: Network, crossover_rate: Any, select: Any) -> None:
    check.whole(1, recombine=recombine)
    if recombine > size:
        raise ValueError(f"recombine must be at most population_size = {size}, got {recombine}")
    if policy.topology is not None:
        raise ValueError("recombine must be None for policies whose topology evolves: they have no mean")
    if crosses(crossover_rate) or select is not None:
        raise ValueError("recombine leaves nothing to select or to cross: crossover_rate must be 0 and select None")


def _check_functions(settings: Settings) -> None:
    """Checks the functions among the settings by their shapes, without computing anything."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    genome = jax.eval_shape(partial(_birth, settings), key)
    params = genome.policy
    if params.shape != (settings.policy.num_params,) or not jnp.issubdtype(params.dtype, jnp.floating):
        wanted = f"f32[{settings.policy.num_params}] or another floating dtype"
        raise ValueError(f"policy must draw parameters {wanted}, got {params.dtype} {params.shape}")
    made = jax.eval_shape(settings.mutator.mutate, key, genome)
    if not isinstance(made, Rewriting):
        raise ValueError(f"mutator must return a Rewriting (base, child), got {type(made).__name__}")
    if settings.fitness is not None:
        check_fitness(settings.fitness, genome)
    n = settings.population_size
    population = jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), genome)
    parents = jax.eval_shape(settings.select, key, population, jax.ShapeDtypeStruct((n,), jnp.float32))
    if not (hasattr(parents, "shape") and parents.shape == (n, 2) and jnp.issubdtype(parents.dtype, jnp.integer)):
        raise ValueError(f"select must return parents i32[{n}, 2], got {parents}")


def _birth(settings: Settings, key: jax.Array) -> Genome:
    """A genome of generation 0."""
    policy, mutator = settings.policy, settings.mutator
    key_policy, key_mutator, key_topology = jax.random.split(key, 3)
    flexible = policy.topology
    topology = jnp.zeros(0, jnp.int32) if flexible is None else flexible.init(key_topology)
    return Genome(
        policy=bounded(masked(policy, policy.init(key_policy), topology), settings.limit),
        mutator=bounded(mutator.init(key_mutator), settings.limit),
        compat=jnp.zeros(settings.species.num_params, jnp.float32),
        topology=topology,
        structural_rate=jnp.asarray(settings.structural_rate, jnp.float32),
    )


def _init(settings: Settings, key: jax.Array) -> State:
    check.random_key(key=key)
    size = settings.population_size
    key_birth, key_species = jax.random.split(key)
    # In blocks: the random numbers of all at once would take more memory than anything after them.
    population = in_blocks(partial(_birth, settings), settings.block_size, jax.random.split(key_birth, size))
    population, species_state = settings.species.init(key_species, population)
    population = population._replace(compat=bounded(population.compat, settings.limit))
    return State(
        population=population,
        births=jnp.arange(size, dtype=jnp.int32),
        generation=jnp.int32(0),
        speciation=species_state,
        luckiest=take(population, jnp.int32(0)),
        luckiest_fitness=jnp.float32(-jnp.inf),
    )


def _ask(key: jax.Array, state: State) -> Genome:
    return state.population


def _step(settings: Settings, key: jax.Array, state: State) -> tuple[State, Generation]:
    if settings.fitness is None:
        raise ValueError("fitness is None: use ask and tell, or give evolution a fitness")
    key_evaluate, key_tell = jax.random.split(key)
    size = settings.population_size
    keys = key_evaluate if settings.common_random_numbers else jax.random.split(key_evaluate, size)
    fitness = fitness_at(settings.fitness, state.generation)
    values, info = evaluate(fitness, keys, state.population, settings.block_size)
    return _tell(settings, key_tell, state, values, info)


def _tell(
    settings: Settings, key: jax.Array, state: State, fitness: jax.Array, info: Info | None = None
) -> tuple[State, Generation]:
    size = settings.population_size
    if jnp.shape(fitness) != (size,):
        raise ValueError(f"fitness must have shape ({size},), got {jnp.shape(fitness)}")
    key_select, key_cross, key_children = jax.random.split(key, 3)
    population, fitness = state.population, jnp.asarray(fitness, jnp.float32)
    finite = metrics.are_finite(population, fitness)
    clean = jnp.where(finite, fitness, -jnp.inf)
    sizes = jax.vmap(partial(active_params, settings.policy))(everywhere(population.topology))
    penalised = clean - settings.complexity_cost * sizes
    species, species_state, species_metrics = settings.species.classify(state.speciation, population, penalised)
    pairs = pair(
        key_select,
        key_cross,
        population,
        settings.species.share(penalised, species),
        partial(settings.species.compatible, state.speciation, population, species),
        select=settings.select,
        elites=settings.elites,
        crossover_rate=settings.crossover_rate,
    )
    births = reproduce(
        key_children,
        population,
        pairs,
        jnp.asarray(settings.decay(state.generation), jnp.float32),
        policy=settings.policy,
        mutator=settings.mutator,
        crossover=crosses(settings.crossover_rate),
        centre=None if settings.recombine is None else weighted_mean(population, clean, settings.recombine),
        limit=settings.limit,
        block_size=settings.block_size,
    )
    measured = (
        metrics.of_fitness(fitness, finite)
        | metrics.of_species(species)
        | species_metrics
        | _measure(settings, population, finite, sizes, pairs, births)
    )
    state = _next_state(state, clean, pairs, births, species_state)
    return state, metrics.add(Generation(fitness, pairs.parents, measured), info or {})


def _next_state(state: State, clean: jax.Array, pairs: Pairs, births: Births, species_state: Any) -> State:
    size = clean.shape[0]
    best = jnp.argmax(clean)
    better = clean[best] > state.luckiest_fitness
    newest = members(state.population, best)
    born = (state.generation + 1) * size + jnp.arange(size, dtype=jnp.int32)
    return State(
        population=births.population,
        births=jnp.where(pairs.is_child, born, state.births[pairs.parents[:, 0]]),
        generation=state.generation + 1,
        speciation=species_state,
        luckiest=jax.tree.map(lambda new, old: jnp.where(better, new, old), newest, state.luckiest),
        luckiest_fitness=jnp.where(better, clean[best], state.luckiest_fitness),
    )


def _measure(
    settings: Settings, population: Genome, finite: jax.Array, sizes: jax.Array, pairs: Pairs, births: Births
) -> Info:
    genes = everywhere(jax.vmap(settings.mutator.genes)(population.mutator))
    return (
        {
            "compatible_share": jnp.mean(pairs.compatible[settings.elites :], dtype=jnp.float32),
            "crossovers": jnp.sum(pairs.crossing),
            "structural_mutations": jnp.sum(births.structural),
            "policy_params_mean": metrics.mean(sizes, finite),
        }
        | metrics.of_births(births.errors, pairs.is_child & ~pairs.crossing)
        | metrics.of_topology(everywhere(population.topology))
        | {name: metrics.mean(values, finite) for name, values in genes.items()}
    )


def _best(state: State) -> tuple[Genome, jax.Array]:
    known = state.luckiest_fitness > -jnp.inf
    return state.luckiest, jnp.where(known, state.luckiest_fitness, jnp.nan)
