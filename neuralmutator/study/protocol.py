"""How one run of a method is judged: what it came to, by evaluations that chose nothing.

A champion is named from equally many re-evaluations, whatever the method, and is worth what still others say. So is
the member that a generation's own evaluations call its best, at moments along the way.
"""

from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from neuralmutator.core import Fitness, Genome, check, evaluate, fitness_at, take
from neuralmutator.population import Evolution


class Protocol(NamedTuple):
    """Evaluations beside those of the run; each has a key of its own and is, say, the mean of 5 episodes."""

    checks: int = 15  # moments at which the generation's best is evaluated afresh, evenly over the run
    of_named: int = 6  # evaluations of each
    first: int = 2  # evaluations of every member of the last population
    finalists: int = 8  # members that are evaluated further
    second: int = 8  # evaluations of each of them
    test: int = 40  # fresh evaluations of the champion, and of the mean of the last population


STANDARD = Protocol()
"""With 5 episodes in an evaluation: 10 for each member, 40 more for each finalist, 200 for the champion."""


Numbers: TypeAlias = jax.Array | np.ndarray


class Outcome(NamedTuple):
    """What a run came to."""

    population: Numbers  # f32[G] mean fitness of each generation, as evaluated
    best: Numbers  # f32[G] best fitness of each generation, as evaluated: optimistic
    named: Numbers  # f32[checks] what the best member was worth, afresh
    champion: Numbers  # f32[] what the champion of the last population was worth, afresh
    centre: Numbers  # f32[] what the mean of its policies was worth


def check_moments(generations: int, checks: int) -> np.ndarray:
    """Generations, i64[checks], whose best member is evaluated afresh; the first and the last are among them."""
    return np.unique(np.round(np.linspace(0, generations - 1, min(checks, generations))).astype(int))


def judge(
    evolution: Evolution, fitness: Fitness, key: jax.Array, generations: int, protocol: Protocol = STANDARD
) -> Outcome:
    """Runs an evolution and judges it; pure, so that all seeds of a method can be one program.

    The run itself is that of ``nm.run(evolution, key, generations)``.

    Args:
        evolution: the method, without a hall of fame.
        fitness: that it evolves on; a changing one is asked for its generation.
        key: from ``jax.random.key``.
        generations: how many.
        protocol: the evaluations beside those of the run.

    Raises:
        ValueError: if a number is below 1.
    """
    check.whole(1, generations=generations, **protocol._asdict())
    moments = jnp.asarray(check_moments(generations, protocol.checks))
    key_init, key_run = jax.random.split(key)
    key_named, key_first, key_second, key_test = jax.random.split(jax.random.fold_in(key, 1), 4)

    def generation(t: jax.Array, carry: tuple) -> tuple:
        state, _, means, bests = carry
        population = state.population
        state, seen = evolution.step(jax.random.fold_in(key_run, t), state)
        named = take(population, jnp.argmax(jnp.where(jnp.isfinite(seen.fitness), seen.fitness, -jnp.inf)))
        means = means.at[t].set(seen.metrics["fitness_mean"])
        return state, (named, population), means, bests.at[t].set(seen.metrics["fitness_best"])

    def until(carry: tuple, moment: jax.Array) -> tuple[tuple, jax.Array]:
        start, carry = carry
        carry = jax.lax.fori_loop(start, moment + 1, generation, carry)
        key = jax.random.fold_in(key_named, moment)
        worth = _mean_worth(fitness_at(fitness, moment), key, carry[1][0], protocol.of_named)
        return (moment + 1, carry), worth

    state = evolution.init(key_init)
    empty = jnp.full(generations, jnp.nan, jnp.float32)
    beginning = (state, (take(state.population, jnp.int32(0)), state.population), empty, empty)
    (_, carry), named = jax.lax.scan(until, (jnp.zeros((), moments.dtype), beginning), moments)
    (_, population), means, bests = carry[1:]
    last = fitness_at(fitness, jnp.int32(generations - 1))
    champion = _champion(last, key_first, key_second, population, protocol)
    centre = jax.tree.map(lambda x: x[0], population)._replace(policy=jnp.mean(population.policy, axis=0))
    keys = jax.random.split(key_test)
    return Outcome(
        means,
        bests,
        named,
        _mean_worth(last, keys[0], champion, protocol.test),
        _mean_worth(last, keys[1], centre, protocol.test),
    )


def _worth(fitness: Fitness, key: jax.Array, members: Genome, evaluations: int) -> jax.Array:
    """Mean fitness f32[N] of members [N] over evaluations that each have a key of their own."""
    count = members.policy.shape[0]
    rows = jnp.repeat(jnp.arange(count), evaluations)
    values, _ = evaluate(fitness, jax.random.split(key, count * evaluations), take(members, rows), 64)
    return jnp.mean(values.reshape(count, evaluations), axis=1)


def _mean_worth(fitness: Fitness, key: jax.Array, genome: Genome, evaluations: int) -> jax.Array:
    return _worth(fitness, key, jax.tree.map(lambda x: x[None], genome), evaluations)[0]


def _champion(
    fitness: Fitness, key_first: jax.Array, key_second: jax.Array, population: Genome, protocol: Protocol
) -> Genome:
    """The member whose re-evaluations are the best; the finalists' weigh by their number."""
    first = _worth(fitness, key_first, population, protocol.first)
    count = min(protocol.finalists, first.shape[0])
    finalists = jnp.argsort(-jnp.where(jnp.isfinite(first), first, -jnp.inf))[:count]
    second = _worth(fitness, key_second, take(population, finalists), protocol.second)
    both = (protocol.first * first[finalists] + protocol.second * second) / (protocol.first + protocol.second)
    return take(population, finalists[jnp.argmax(jnp.where(jnp.isfinite(both), both, -jnp.inf))])


def judge_seeds(
    evolution: Evolution, fitness: Fitness, keys: jax.Array, generations: int, protocol: Protocol = STANDARD
) -> Any:
    """`judge` for several keys [S] in one program; an `Outcome` with a leading axis [S].

    The seeds are spread over all devices. On a CPU those of a device run one after another, so that a fitness that
    switches computes only the one whose turn it is; on an accelerator all at once.
    """
    one = partial(judge, evolution, fitness, generations=generations, protocol=protocol)
    many = partial(jax.lax.map, one) if jax.default_backend() == "cpu" else jax.vmap(one)
    devices, count = jax.devices(), keys.shape[0]
    if len(devices) == 1:
        return many(keys)
    mesh, seeds = Mesh(np.array(devices), ("seeds",)), PartitionSpec("seeds")
    rows = np.arange(-(-count // len(devices)) * len(devices)) % count  # as many for each; some may be done twice
    outcomes = jax.shard_map(many, mesh=mesh, in_specs=seeds, out_specs=seeds, check_vma=False)(keys[rows])
    return jax.tree.map(lambda x: x[:count], outcomes)
