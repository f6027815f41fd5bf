"""Algorithms of evosax as evolutions, and evolutions behind evosax's interface.

evosax minimises and keeps its population in a state of its own; an `Evolution` maximises and shows the population that
is to be evaluated next. Nothing else differs: the same keys give the same numbers as evosax's own loop.
"""

import difflib
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple

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
    resolve_block_size,
    take,
)
from neuralmutator.networks import Network
from neuralmutator.population import metrics
from neuralmutator.population.types import Evolution, Generation

UNKNOWN = -1
"""A parent that nobody has recorded: members of a distribution have none."""


class Baseline(NamedTuple):
    """State of an algorithm of evosax."""

    algorithm: Any  # evosax's own state
    population: Genome  # [N] not evaluated yet
    births: jax.Array  # i32[N] birth numbers, generation · N + row
    generation: jax.Array  # i32[]
    luckiest: Genome  # the member with the highest single evaluation so far
    luckiest_fitness: jax.Array  # f32[] that evaluation; -inf before the first
    luckiest_birth: jax.Array  # i32[]


def names() -> tuple[str, ...]:
    """The algorithms of evosax, as `evosax` takes them."""
    return tuple(sorted(_algorithms()))


def evosax(
    algorithm: str,
    policy: Network,
    fitness: Fitness | None = None,
    population_size: int = 80,
    *,
    common_random_numbers: bool = True,
    block_size: int | str | None = "auto",
    **settings: Any,
) -> Evolution:
    """An algorithm of evosax as an evolution like any other: run it, wrap it, resume it.

    A genome is the policy alone: f32[P], without a mutator and a compatibility net. Algorithms that search with a
    distribution begin at one draw of the policy's initialiser, those with a population at N of them. A fitness that is
    not finite counts as the worst finite one of its generation. ``Generation.parents`` is -1 throughout.

    Args:
        algorithm: name in evosax, one of `names`: ``"SNES"``, ``"CMA_ES"``, ``"SAMR_GA"``, say.
        policy: network of fixed topology.
        fitness: see `evolution`.
        population_size: N; some algorithms want an even one. Of Stein variational ones it is that of all
            ``num_populations`` together.
        common_random_numbers: whether all members of a generation meet the same evaluation key.
        block_size: members evaluated together, see `evolution`.
        settings: of the algorithm, by evosax's own names: arguments of its class (``optimizer``, ``std_schedule``,
            ``num_groups``), fields of its parameters (``std_init``, ``crossover_rate``; these may be traced), and
            ``elite_ratio``. A number as ``optimizer`` is the learning rate of Adam, as ``std_schedule`` a constant.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    check.whole(2, population_size=population_size)
    if policy.topology is not None:
        raise ValueError("policy must have a fixed topology for an algorithm of evosax")
    search = _Search.of(algorithm, policy, int(population_size), settings)
    if fitness is not None:
        check_fitness(fitness, jax.eval_shape(partial(_birth, policy), jax.eval_shape(lambda: jax.random.key(0))))
    block = resolve_block_size(block_size)

    def step(key: jax.Array, state: Baseline) -> tuple[Baseline, Generation]:
        if fitness is None:
            raise ValueError("fitness is None: use ask and tell, or give evosax a fitness")
        key_evaluate, key_tell = jax.random.split(key)
        keys = key_evaluate if common_random_numbers else jax.random.split(key_evaluate, search.size)
        values, info = evaluate(fitness_at(fitness, state.generation), keys, state.population, block)
        return search.tell(key_tell, state, values, info)

    return Evolution(search.init, step, ask=lambda key, state: state.population, tell=search.tell, best=_best)


class _Search(NamedTuple):
    """An algorithm with its parameters."""

    algorithm: Any  # an object of evosax
    params: Any  # its parameters
    policy: Network
    size: int
    groups: int  # populations of a Stein variational algorithm; of others 0
    has_population: bool  # whether evosax begins with an evaluated population

    @classmethod
    def of(cls, name: str, policy: Network, size: int, settings: Mapping[str, Any]) -> "_Search":
        found = _algorithms().get(name)
        if found is None:
            raise ValueError(f"algorithm must be one of {', '.join(names())}, got {name!r}{_meant(name, names())}")
        arguments = inspect.signature(found.__init__).parameters.keys() - {"self", "population_size", "solution"}
        given = {key: _argument(key, value) for key, value in settings.items() if key in arguments}
        if "sampling_fn" in arguments:
            given.setdefault("sampling_fn", policy.init)
        groups = 0
        if "num_populations" in arguments:
            groups = given.setdefault("num_populations", 2)
            if size % groups:
                raise ValueError(f"population_size must be a multiple of num_populations = {groups}, got {size}")
        solution = jnp.zeros(policy.num_params, jnp.float32)
        try:
            made = found(population_size=size // max(1, groups), solution=solution, **given)
        except AssertionError as error:
            raise ValueError(f"{name} of evosax refuses its settings (population_size {size}): {error}") from error
        params = made.default_params
        left = {key: value for key, value in settings.items() if key not in given}
        if "elite_ratio" in left and hasattr(made, "elite_ratio"):
            check.number(0, 1, open_low=True, elite_ratio=left["elite_ratio"])
            made.elite_ratio = left.pop("elite_ratio")
            params = made.default_params  # weights depend on it
        fields = set(getattr(params, "__dataclass_fields__", ()))
        if unknown := sorted(left.keys() - fields):
            allowed = sorted((arguments - {"metrics_fn"}) | fields | {"elite_ratio"})
            raise ValueError(
                f"{name} of evosax has no setting {unknown[0]!r}: it has {', '.join(allowed)}"
                f"{_meant(unknown[0], allowed)}"
            )
        from evosax.algorithms import population_based_algorithms

        return cls(made, params.replace(**left), policy, size, groups, name in population_based_algorithms)

    def init(self, key: jax.Array) -> Baseline:
        check.random_key(key=key)
        key_birth, key_init, key_ask = jax.random.split(key, 3)
        size, algorithm = self.size, self.algorithm
        if self.has_population:
            policies = jax.vmap(self.policy.init)(jax.random.split(key_birth, size)).astype(jnp.float32)
            inner = algorithm.init(key_init, policies, jnp.full(size, jnp.inf, jnp.float32), self.params)
        else:
            keys = jax.random.split(key_birth, self.groups) if self.groups else key_birth
            start = (jax.vmap(self.policy.init) if self.groups else self.policy.init)(keys)
            inner = algorithm.init(key_init, start.astype(jnp.float32), self.params)
            policies, inner = algorithm.ask(key_ask, inner, self.params)
        population = self.genomes(policies)
        births = jnp.arange(size, dtype=jnp.int32)
        first = take(population, jnp.int32(0))
        return Baseline(inner, population, births, jnp.int32(0), first, jnp.float32(-jnp.inf), jnp.int32(UNKNOWN))

    def genomes(self, policies: jax.Array) -> Genome:
        """Genomes [N] of policies f32[N, P]."""
        nothing = jnp.zeros((self.size, 0), jnp.float32)
        policies = policies.astype(jax.eval_shape(self.policy.init, jax.random.key(0)).dtype)
        return Genome(policies, nothing, nothing, nothing.astype(jnp.int32), jnp.zeros(self.size, jnp.float32))

    def tell(
        self, key: jax.Array, state: Baseline, fitness: jax.Array, info: Info | None = None
    ) -> tuple[Baseline, Generation]:
        size = self.size
        if jnp.shape(fitness) != (size,):
            raise ValueError(f"fitness must have shape ({size},), got {jnp.shape(fitness)}")
        fitness = jnp.asarray(fitness, jnp.float32)
        finite = metrics.are_finite(state.population, fitness)
        worst = jnp.min(jnp.where(finite, fitness, jnp.inf))
        costs = -jnp.where(finite, fitness, jnp.where(jnp.any(finite), worst, 0.0))
        policies, inner = self.improve(key, state, costs)
        new = self._next(state, jnp.where(finite, fitness, -jnp.inf), policies, inner)
        generation = Generation(fitness, jnp.full((size, 2), UNKNOWN, jnp.int32), metrics.of_fitness(fitness, finite))
        return new, metrics.add(generation, info or {})

    def improve(self, key: jax.Array, state: Baseline, costs: jax.Array) -> tuple[jax.Array, Any]:
        """The next population f32[N, P] and evosax's next state, by its own two calls."""
        algorithm, params, policies = self.algorithm, self.params, state.population.policy.astype(jnp.float32)
        key_tell, key_ask = jax.random.split(key)
        if self.groups:
            policies = policies.reshape(self.groups, -1, policies.shape[1])

        def tell() -> Any:
            return algorithm.tell(key_tell, policies, costs, state.algorithm, params)[0]

        def begin() -> Any:
            return algorithm.init(key_tell, policies, costs, params)

        if self.has_population:
            like = state.algorithm
            inner = jax.lax.cond(state.generation == 0, lambda: _as(like, begin()), lambda: _as(like, tell()))
        else:
            inner = _as(state.algorithm, tell())
        policies, inner = algorithm.ask(key_ask, inner, params)
        return policies, _as(state.algorithm, inner)

    def _next(self, state: Baseline, clean: jax.Array, policies: jax.Array, inner: Any) -> Baseline:
        best = jnp.argmax(clean)
        better = clean[best] > state.luckiest_fitness
        luckiest = jax.tree.map(lambda new, old: jnp.where(better, new[best], old), state.population, state.luckiest)
        birth = jnp.where(better, state.births[best], state.luckiest_birth)
        population = self.genomes(policies)
        born = (state.generation + 1) * self.size + jnp.arange(self.size, dtype=jnp.int32)
        # An elite that goes on unchanged keeps its number; the first row alone, so that numbers stay different.
        stays = (jnp.arange(self.size) == 0) & jnp.all(population.policy[0] == luckiest.policy)
        return Baseline(
            algorithm=inner,
            population=population,
            births=jnp.where(stays, birth, born),
            generation=state.generation + 1,
            luckiest=luckiest,
            luckiest_fitness=jnp.where(better, clean[best], state.luckiest_fitness),
            luckiest_birth=birth,
        )


def _birth(policy: Network, key: jax.Array) -> Genome:
    nothing = jnp.zeros(0, jnp.float32)
    return Genome(policy.init(key), nothing, nothing, nothing.astype(jnp.int32), jnp.float32(0))


def _best(state: Baseline) -> tuple[Genome, jax.Array]:
    known = state.luckiest_fitness > -jnp.inf
    return state.luckiest, jnp.where(known, state.luckiest_fitness, jnp.nan)


def _as(like: Any, state: Any) -> Any:
    """A state of evosax with the dtypes that its first one had: Python numbers become arrays on the way."""
    return jax.tree.map(lambda old, new: jnp.asarray(new, jnp.result_type(old)), like, state)


def _argument(name: str, value: Any) -> Any:
    """An argument of a class of evosax; where a function is wanted, a number stands for a plain one."""
    if callable(value) or isinstance(value, tuple):
        return value
    if name == "optimizer":
        check.number(0, optimizer=value)
        return optax.adam(value)
    if name == "std_schedule":
        check.number(0, std_schedule=value)
        return optax.constant_schedule(value)
    return value


def _algorithms() -> dict[str, Any]:
    from evosax.algorithms import algorithms

    return algorithms


def _meant(name: str, allowed: tuple[str, ...] | list[str]) -> str:
    close = difflib.get_close_matches(name, allowed, 1, 0.5)
    return f"; did you mean {close[0]}?" if close else ""


class AsEvosax:
    """An evolution behind evosax's interface, so that it can stand where one of evosax's algorithms stands.

    Solutions are policies f32[N, P], fitness is minimised; `tell` takes the population that `ask` gave.

    Args:
        evolution: what to wrap; its `fitness` is not used.
    """

    default_params = None

    def __init__(self, evolution: Evolution):
        self.evolution = evolution
        population = jax.eval_shape(evolution.init, jax.random.key(0)).population
        self.population_size, self.num_dims = population.policy.shape

    def init(self, key: jax.Array, *_: Any) -> Any:
        """The first state; the mean, or the population with its fitness, that evosax's loops give is not used."""
        return self.evolution.init(key)

    def ask(self, key: jax.Array, state: Any, params: None = None) -> tuple[jax.Array, Any]:
        """Policies [N, P], and the state."""
        return self.evolution.ask(key, state).policy, state

    def tell(
        self, key: jax.Array, population: jax.Array, fitness: jax.Array, state: Any, params: None = None
    ) -> tuple[Any, dict[str, jax.Array]]:
        """The next state, and the generation's metrics, which are those of what is maximised.

        Args:
            key: random key.
            population: [N, P] as `ask` gave it.
            fitness: f32[N], lower is better.
            state: the state.
            params: None.
        """
        state, generation = self.evolution.tell(key, state, -fitness)
        return state, generation.metrics
