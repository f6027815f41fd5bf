"""Populations side by side, which send each other their best now and then."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from neuralmutator.core import Fitness, Info, check, check_fitness, each, evaluate, fitness_at, resolve_block_size
from neuralmutator.core.genome import Genome, take
from neuralmutator.core.spreading import by_device, everywhere
from neuralmutator.population import metrics
from neuralmutator.population.types import Evolution, Generation, with_population


class Islands(NamedTuple):
    """State of I islands of n members each; members of all islands stand one island after another, [I · n]."""

    islands: Any  # states of the evolutions, with a leading axis [I]

    @property
    def population(self) -> Genome:
        """All members [I · n], not evaluated yet."""
        return jax.tree.map(_flat, self.islands.population)

    @property
    def births(self) -> jax.Array:
        """Birth numbers i32[I · n], which no two members of any islands share."""
        births = self.islands.births
        number = births.shape[0]
        return _flat(births * number + jnp.arange(number, dtype=births.dtype)[:, None])

    @property
    def generation(self) -> jax.Array:
        """Generations so far, i32[]."""
        return self.islands.generation[0]

    def with_population(self, population: Genome) -> "Islands":
        """The state with another population [I · n]; see `types.with_population`."""
        shape = self.islands.births.shape
        apart = jax.tree.map(lambda x: x.reshape(*shape, *x.shape[1:]), population)
        return Islands(jax.vmap(with_population)(self.islands, apart))


def islands(
    evolution: Evolution | Callable[[Any], Evolution],
    fitness: Fitness | None = None,
    number: int | None = None,
    *,
    settings: Any = None,
    migrate_every: int = 20,
    migrants: int = 1,
    topology: Literal["ring", "random"] = "ring",
    common_random_numbers: bool = True,
    block_size: int | str | None = "auto",
) -> Evolution:
    """Several evolutions side by side as one; every few generations the best of each go on to another as well.

    A migrant is the copy of a member with the highest fitness of its island, and takes the place of a child of another
    island: of the next one (a ring), or of one as far away as is drawn for all. It counts as a birth of one parent,
    which changed nothing.

    All members of all islands are evaluated together. Metrics ``fitness_…`` and ``non_finite`` are over all members;
    those of the evolution are means over the islands, counts are sums. Two are added: ``island_fitness_best`` and
    ``island_fitness_mean``, f32[I]. `best` is the best of the islands'.

    Wrap islands by `hall_of_fame`, `track_founders` or `normalise_observations`, not the evolution of an island. On
    several devices (`distribute`) each has its own islands, and migrants go from device to device.

    Args:
        evolution: that of one island, or with `settings` a function that makes it; no hall of fame.
        fitness: as that of `evolution`; None if fitness is computed elsewhere, by ask and tell.
        number: of islands I, at least 2; with `settings` their length.
        settings: a pytree of arrays [I, ...]; each island gets its row, traced: ``settings=jnp.geomspace(0.1, 1, 8)``
            and ``lambda std: nm.evolution(policy, nm.mutators.gaussian(std))``.
        migrate_every: generations from one migration to the next; 0: never. The default was as good as any of 2 to 20
            in champions, and best in the generation's best (`benchmarks/islands.toml`).
        migrants: that leave an island in a migration; fewer than its members.
        topology: where they go to.
        common_random_numbers: whether all members of a generation are evaluated with the same key.
        block_size: members that are evaluated together, see `evolution`.

    Raises:
        ValueError: naming the argument, the value and what is allowed.
    """
    number, rows = _rows(evolution, number, settings)
    check.whole(0, migrate_every=migrate_every)
    check.whole(1, migrants=migrants)
    if topology not in ("ring", "random"):
        raise ValueError(f"topology must be 'ring' or 'random', got {topology!r}")

    def of(row: Any) -> Evolution:
        return evolution if isinstance(evolution, Evolution) else evolution(row)

    first = jax.eval_shape(lambda: of(jax.tree.map(lambda x: x[0], rows)).init(jax.random.key(0)))
    if "population" not in first._fields:
        raise ValueError("evolution must not be wrapped: wrap the islands")
    members = first.births.shape[0]
    if migrants >= members:
        raise ValueError(f"migrants must be fewer than the {members} members of an island, got {migrants}")
    if fitness is not None:
        check_fitness(fitness, jax.eval_shape(lambda x: take(x, jnp.int32(0)), first.population))
    size = resolve_block_size(block_size)

    def init(key: jax.Array) -> Islands:
        return Islands(_each(lambda key, row: of(row).init(key), jax.random.split(key, number), rows))

    def tell(key: jax.Array, state: Islands, values: jax.Array, info: Info | None = None) -> tuple[Islands, Generation]:
        if jnp.shape(values) != (number * members,):
            raise ValueError(f"fitness must have shape ({number * members},), got {jnp.shape(values)}")
        key_tell, key_migrate = jax.random.split(key)
        apart = everywhere(jnp.asarray(values, jnp.float32).reshape(number, members))
        states, seen = _each(
            lambda key, state, values, row: of(row).tell(key, state, values),
            jax.random.split(key_tell, number),
            state.islands,
            apart,
            rows,
        )
        starts = members * jnp.arange(number, dtype=seen.parents.dtype)[:, None, None]
        parents = jnp.where(seen.parents < 0, seen.parents, seen.parents + starts)
        if migrate_every:
            shift = 1 if topology == "ring" else jax.random.randint(key_migrate, (), 1, number)
            due = states.generation[0] % migrate_every == 0
            states, parents = _migrate(state.islands, states, apart, parents, shift, due, migrants)
        generation = Generation(_flat(apart), _flat(parents), _measure(state, apart, seen.metrics))
        return Islands(states), metrics.add(generation, info or {})

    def step(key: jax.Array, state: Islands) -> tuple[Islands, Generation]:
        if fitness is None:
            raise ValueError("fitness is None: use ask and tell, or give islands a fitness")
        key_evaluate, key_tell = jax.random.split(key)
        keys = key_evaluate if common_random_numbers else jax.random.split(key_evaluate, number * members)
        values, info = evaluate(fitness_at(fitness, state.generation), keys, state.population, size)
        return tell(key_tell, state, values, info)

    def best(state: Islands) -> tuple[Genome, jax.Array]:
        champions, values = everywhere(_each(lambda state, row: of(row).best(state), state.islands, rows))
        best = jnp.argmax(jnp.where(jnp.isnan(values), -jnp.inf, values))
        return take(champions, best), values[best]

    return Evolution(init, step, ask=lambda key, state: state.population, tell=tell, best=best)


def _rows(evolution: Evolution | Callable[[Any], Evolution], number: int | None, settings: Any) -> tuple[int, Any]:
    """The number of islands I, and the settings of each [I, ...]; without any, the islands' numbers."""
    if settings is None:
        if not isinstance(evolution, Evolution):
            raise ValueError(f"evolution must be an Evolution, or settings be given to make it of, got {evolution!r}")
        if number is None:
            raise ValueError("number must be given, or settings")
        check.whole(2, number=number)
        return number, jnp.arange(number)
    if isinstance(evolution, Evolution) or not callable(evolution):
        raise ValueError("evolution must be a function of a setting where settings are given")
    rows = jax.tree.map(jnp.asarray, settings)
    lengths = {x.shape[:1] for x in jax.tree.leaves(rows)}
    if len(lengths) != 1 or () in lengths or min(lengths) < (2,):
        raise ValueError(f"settings must be arrays with a leading axis of one length of at least 2, got {settings!r}")
    (found,) = min(lengths)
    if number not in (None, found):
        raise ValueError(f"number must be the length of the settings, {found}, got {number}")
    return found, rows


def _each(function: Callable[..., Any], *args: Any) -> Any:
    """`function` of every island, along the leading axis of `args`; each device has its own."""
    return by_device(lambda args: each(function, *args), args)


def _flat(x: jax.Array) -> jax.Array:
    """[I, n, ...] as [I · n, ...]."""
    return x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])


def _migrate(
    old: Any, new: Any, fitness: jax.Array, parents: jax.Array, shift: Any, due: jax.Array, migrants: int
) -> tuple[Any, jax.Array]:
    """The islands and the parents [I, n, 2] of their members after a migration, if it is due.

    Args:
        old: states of the islands whose members were evaluated.
        new: states with the next populations, whose last rows are children.
        fitness: f32[I, n] of the old members.
        parents: i32[I, n, 2] of the new ones, rows of [I · n].
        shift: how many islands further migrants go.
        due: bool[].
        migrants: how many leave each island.
    """
    number, members = fitness.shape
    finite = jax.vmap(metrics.are_finite)(old.population, fitness)
    clean = jnp.where(finite, fitness, -jnp.inf)
    value, chosen = jax.lax.top_k(clean, migrants)  # [I, migrants]
    send = partial(jnp.roll, shift=shift, axis=0)
    arriving = jax.tree.map(send, jax.vmap(take)(old.population, chosen))
    origin = send(chosen + members * jnp.arange(number, dtype=chosen.dtype)[:, None])
    last = slice(members - migrants, members)
    # Who goes on unchanged keeps its place.
    children = jax.vmap(lambda born, before: ~jnp.isin(born, before))(new.births[:, last], old.births)
    come = due & children & (send(value) > -jnp.inf)

    def settle(place: jax.Array, newcomers: jax.Array) -> jax.Array:
        there = place[:, last]
        mask = come.reshape(*come.shape, *[1] * (place.ndim - 2))
        return place.at[:, last].set(jnp.where(mask, newcomers.astype(place.dtype), there))

    population = jax.tree.map(settle, new.population, arriving)
    return new._replace(population=population), settle(parents, jnp.stack([origin, origin], axis=-1))


def _measure(state: Islands, fitness: jax.Array, of_islands: Info) -> Info:
    """Metrics over all islands; `fitness` is f32[I, n], metrics have a leading axis [I]."""
    finite = metrics.are_finite(state.population, _flat(fitness)).reshape(fitness.shape)
    whole = metrics.of_fitness(_flat(fitness), _flat(finite))
    apart = jax.vmap(metrics.of_fitness)(fitness, finite)

    def together(x: jax.Array) -> jax.Array:
        return jnp.nanmean(x, axis=0) if jnp.issubdtype(x.dtype, jnp.floating) else jnp.sum(x, axis=0)

    return (
        {name: together(x) for name, x in of_islands.items()}
        | whole
        | {f"island_{name}": apart[name] for name in ("fitness_best", "fitness_mean")}
    )
