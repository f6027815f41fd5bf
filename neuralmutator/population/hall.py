"""A hall of fame whose members are evaluated again with new keys in every generation, to remove selection bias."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Info, PopulationFitness, check, check_fitness, evaluate, fitness_at
from neuralmutator.core.genome import Genome, cast, take
from neuralmutator.core.spreading import members
from neuralmutator.population import metrics
from neuralmutator.population.types import Evolution, Generation

PRIOR = 4.0  # evaluations' worth of belief that a member is as good as the mean of the hall
CENTRE = -1  # birth number of the mean of a population


class Hall(NamedTuple):
    """State of an evolution with a hall of fame of K members."""

    inner: Any  # state of the evolution within
    members: Genome  # [K]
    member_births: jax.Array  # i32[K] their birth numbers; -1 for the mean of a population
    total: jax.Array  # f32[K] sum of each member's evaluations since it entered
    evaluations: jax.Array  # f32[K] number of them; 0 for those that entered last

    @property
    def population(self) -> Genome:
        """The population, not evaluated yet."""
        return self.inner.population

    @property
    def births(self) -> jax.Array:
        """Birth numbers of the population, i32[N]."""
        return self.inner.births

    @property
    def generation(self) -> jax.Array:
        """Generations so far, i32[]."""
        return self.inner.generation

    @property
    def estimates(self) -> jax.Array:
        """What each member is worth, f32[K]: its mean, shrunk towards the mean of the hall.

        -inf, so that it ranks last, for a member that was not evaluated yet or had an evaluation that was not finite.
        """
        finite = jnp.isfinite(self.total)
        everyone = jnp.sum(jnp.where(finite, self.total, 0.0)) / jnp.maximum(jnp.sum(finite * self.evaluations), 1.0)
        shrunk = (self.total + PRIOR * everyone) / (self.evaluations + PRIOR)
        return jnp.where(finite & (self.evaluations > 0), shrunk, -jnp.inf)


def hall_of_fame(
    evolution: Evolution, fitness: Fitness, size: int = 8, centre: bool = False, forgetting: float | jax.Array = 0.0
) -> Evolution:
    """Wraps an evolution so that its `best` is what re-evaluations say, not one lucky evaluation.

    Each generation all members of the hall are evaluated once more, each with a key of its own. Then the worst makes
    room for the best newcomer of the generation. The newcomer's own evaluation, the luckiest of many, is forgotten.

    `best` is the member with the highest estimate, of equal ones the most evaluated; the estimate is the largest of K
    and still optimistic, so that only fresh episodes are fair. It is NaN if no member has one. Metric:
    ``champion_fitness``, this estimate before the newcomer enters.

    Args:
        evolution: what to wrap.
        fitness: the fitness to re-evaluate with.
        size: number of members K, at least 2; with `centre` at least 3.
        centre: whether the mean of the population's policies enters the hall in each generation, too, in place of the
            second worst member. The mean is over the members whose fitness and parameters are finite; mutator and
            compatibility net are those of the best newcomer. For policies of fixed topology.
        forgetting: share of all earlier evaluations that is forgotten in each generation, for a fitness that changes:
            with 0.2 an estimate is the mean of about 5 evaluations. May be traced.

    Raises:
        ValueError: if `size` is too small, `forgetting` does not lie in [0, 1), `centre` is asked of policies whose
            topology evolves, or the fitness cannot be evaluated here, see `evolution`.
    """
    check.whole(3 if centre else 2, size=size)
    check.number(0, 1, open_high=True, forgetting=forgetting)
    _check_fitness(evolution, fitness)
    if centre and _abstract_genome(evolution).topology.size:
        raise ValueError("centre must be False for policies whose topology evolves: they have no mean")

    def init(key: jax.Array) -> Hall:
        state = evolution.init(key)
        nothing = jnp.zeros(size, jnp.float32)
        first = members(state.population, jnp.zeros(size, jnp.int32))
        return Hall(state, first, jnp.repeat(state.births[:1], size), nothing, nothing)

    update = partial(_update, fitness, centre, 1 - forgetting)

    def step(key: jax.Array, hall: Hall) -> tuple[Hall, Generation]:
        key_step, key_hall = jax.random.split(key)
        return update(key_hall, hall, *evolution.step(key_step, hall.inner))

    def tell(key: jax.Array, hall: Hall, values: jax.Array, info: Info | None = None) -> tuple[Hall, Generation]:
        key_tell, key_hall = jax.random.split(key)
        return update(key_hall, hall, *evolution.tell(key_tell, hall.inner, values, info))

    return Evolution(init, step, ask=lambda key, hall: evolution.ask(key, hall.inner), tell=tell, best=_best)


def _check_fitness(evolution: Evolution, fitness: Fitness) -> None:
    # An abstract population costs a trace of `init`, which a batched fitness does not need.
    needed = callable(fitness) and not isinstance(fitness, PopulationFitness)
    check_fitness(fitness, _abstract_genome(evolution) if needed else None)


def _abstract_genome(evolution: Evolution) -> Genome:
    def first() -> Genome:
        return take(evolution.init(jax.random.key(0)).population, jnp.int32(0))

    return jax.eval_shape(first)


def _best(hall: Hall) -> tuple[Genome, jax.Array]:
    estimates = hall.estimates
    largest = jnp.max(estimates)
    champion = take(hall.members, jnp.lexsort((hall.evaluations, estimates))[-1])
    return champion, jnp.where(jnp.isneginf(largest), jnp.nan, largest)


def _update(
    fitness: Fitness,
    centre: bool,
    kept: float | jax.Array,
    key: jax.Array,
    old: Hall,
    state: Any,
    generation: Generation,
) -> tuple[Hall, Generation]:
    """Evaluates the members once more; then newcomers from the evaluated population take the places of the worst."""
    size = old.total.shape[0]
    values, _ = evaluate(fitness_at(fitness, old.generation), jax.random.split(key, size), old.members)
    hall = old._replace(
        inner=state,
        total=kept * old.total + jnp.where(jnp.isnan(values), -jnp.inf, values),
        evaluations=kept * old.evaluations + 1,
    )
    generation = metrics.add(generation, {"champion_fitness": _best(hall)[1]})
    population = old.population
    known = jnp.any(old.births[:, None] == old.member_births, axis=1)
    chances = jnp.where(jnp.isfinite(generation.fitness) & ~known, generation.fitness, -jnp.inf)
    best = jnp.argmax(chances)
    newcomer = members(population, best)
    order = jnp.lexsort((hall.evaluations, hall.estimates))  # worst first; of equal ones the least evaluated
    hall = _enter(hall, order[0], newcomer, old.births[best], jnp.isfinite(chances[best]))
    if centre:
        finite = metrics.are_finite(population, generation.fitness)
        mean = newcomer._replace(policy=_mean_policy(population.policy, finite))
        hall = _enter(hall, order[1], cast(mean, newcomer), jnp.int32(CENTRE), jnp.any(finite))
    return hall, generation


def _mean_policy(policies: jax.Array, counted: jax.Array) -> jax.Array:
    """Mean [P] of the policies [N, P] that are counted, bool[N]; NaN of none."""
    policies = policies.astype(jnp.result_type(jnp.float32, policies))
    return jnp.sum(jnp.where(counted[:, None], policies, 0.0), axis=0) / jnp.sum(counted)


def _enter(hall: Hall, place: jax.Array, genome: Genome, birth: jax.Array, allowed: jax.Array) -> Hall:
    """The hall with a genome at a place i32[], not evaluated yet; unchanged unless `allowed` bool[]."""
    enters = (jnp.arange(hall.total.shape[0]) == place) & allowed

    def put(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(enters.reshape(-1, *[1] * jnp.ndim(new)), new, old)

    return hall._replace(
        members=jax.tree.map(put, hall.members, genome),
        member_births=put(hall.member_births, birth),
        total=jnp.where(enters, 0.0, hall.total),
        evaluations=jnp.where(enters, 0.0, hall.evaluations),
    )
