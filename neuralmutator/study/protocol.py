"""How one run of a method is judged: what it came to, by evaluations that chose nothing.

A champion is named from equally many re-evaluations, whatever the method, and is worth what still others say. So is
the member that a generation's own evaluations call its best, at moments along the way.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec

from neuralmutator.core import Fitness, Genome, check, default_block_size, each, evaluate, fitness_at, on_cpu, take
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


class Trail(NamedTuple):
    """What a run leaves behind to be judged."""

    named: Genome  # [checks] the best by their generation's own evaluations
    population: Genome  # [N] of the last generation
    means: Numbers  # f32[G], as `Outcome.population`
    bests: Numbers  # f32[G], as `Outcome.best`


def judge(
    evolution: Evolution, fitness: Fitness, key: jax.Array, generations: int, protocol: Protocol = STANDARD
) -> Outcome:
    """Runs an evolution and judges it; pure.

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
    return _appraise(fitness, key, _live(evolution, key, generations, protocol.checks), generations, protocol)


def judge_seeds(
    evolution: Evolution,
    fitness: Fitness,
    keys: jax.Array,
    generations: int,
    protocol: Protocol = STANDARD,
    phenotype: Callable[[Genome], Genome] = lambda genome: genome,
    options: Mapping[str, str | bool] | None = None,
) -> Outcome:
    """`judge` for several keys [S], spread over all devices; an `Outcome` of NumPy arrays with a leading axis [S].

    Two programs are compiled, and kept: that of the runs for a method, and that of the evaluations for a fitness and
    the shapes of what it sees. On a CPU a device runs one seed after another, so that a fitness that switches computes
    only the one whose turn it is; on an accelerator all at once.

    Args:
        evolution: see `judge`.
        fitness: see `judge`.
        keys: [S], from ``jax.random.key``.
        generations: see `judge`.
        protocol: see `judge`.
        phenotype: what of genomes, with any leading axes, the fitness depends on. Methods whose genomes differ only in
            the rest share the program of the evaluations.
        options: of compilation, XLA's.

    Raises:
        ValueError: if a number is below 1.
    """
    check.whole(1, generations=generations, **protocol._asdict())
    live_all, appraise_all = _compiled(tuple(sorted((options or {}).items())))
    count, devices = keys.shape[0], len(jax.devices())
    batch = devices if on_cpu() else -(-count // devices) * devices
    found = []
    for start in range(0, count, batch):
        some = keys[np.arange(start, start + batch) % count]  # as many for each device; some may be done twice
        trails = live_all(evolution, some, generations, protocol.checks)
        seen = trails._replace(named=phenotype(trails.named), population=phenotype(trails.population))
        found.append(jax.tree.map(np.asarray, appraise_all(fitness, some, seen, generations, protocol)))
    return Outcome(*(np.concatenate(parts)[:count] for parts in zip(*found, strict=True)))


@cache
def _compiled(options: tuple[tuple[str, str | bool], ...]) -> tuple[Callable, Callable]:
    """`_live_all` and `_appraise_all`, compiled."""
    jit = partial(jax.jit, compiler_options=dict(options) or None)
    return jit(_live_all, static_argnums=(0, 2, 3)), jit(_appraise_all, static_argnums=(0, 3, 4))


def _live_all(evolution: Evolution, keys: jax.Array, generations: int, checks: int) -> Trail:
    return _on_devices(lambda key: _live(evolution, key, generations, checks), keys)


def _appraise_all(fitness: Fitness, keys: jax.Array, trails: Trail, generations: int, protocol: Protocol) -> Outcome:
    return _on_devices(lambda key, trail: _appraise(fitness, key, trail, generations, protocol), keys, trails)


def _on_devices(function: Callable, *args: Any) -> Any:
    """`function` of every member along the leading axis of all `args`, a multiple of the number of devices."""

    def many(args: tuple) -> Any:
        return each(function, *args)

    devices = jax.devices()
    if len(devices) == 1:
        return many(args)
    mesh, seeds = Mesh(np.array(devices), ("seeds",)), PartitionSpec("seeds")
    return jax.shard_map(many, mesh=mesh, in_specs=(seeds,), out_specs=seeds, check_vma=False)(args)


def _live(evolution: Evolution, key: jax.Array, generations: int, checks: int) -> Trail:
    moments = jnp.asarray(check_moments(generations, checks))
    key_init, key_run = jax.random.split(key)

    def generation(t: jax.Array, carry: tuple) -> tuple:
        state, _, means, bests = carry
        population = state.population
        state, seen = evolution.step(jax.random.fold_in(key_run, t), state)
        named = take(population, jnp.argmax(jnp.where(jnp.isfinite(seen.fitness), seen.fitness, -jnp.inf)))
        means = means.at[t].set(seen.metrics["fitness_mean"])
        return state, (named, population), means, bests.at[t].set(seen.metrics["fitness_best"])

    def until(carry: tuple, moment: jax.Array) -> tuple[tuple, Genome]:
        start, carry = carry
        carry = jax.lax.fori_loop(start, moment + 1, generation, carry)
        return (moment + 1, carry), carry[1][0]

    state = evolution.init(key_init)
    empty = jnp.full(generations, jnp.nan, jnp.float32)
    beginning = (state, (take(state.population, jnp.int32(0)), state.population), empty, empty)
    (_, carry), named = jax.lax.scan(until, (jnp.zeros((), moments.dtype), beginning), moments)
    (_, population), means, bests = carry[1:]
    return Trail(named, population, means, bests)


def _appraise(fitness: Fitness, key: jax.Array, trail: Trail, generations: int, protocol: Protocol) -> Outcome:
    key_named, *keys = jax.random.split(jax.random.fold_in(key, 1), 4)
    moments = jnp.asarray(check_moments(generations, protocol.checks))

    def worth(row: tuple[jax.Array, Genome]) -> jax.Array:
        moment, named = row
        keys = jax.random.split(jax.random.fold_in(key_named, moment), protocol.of_named)
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (protocol.of_named, *x.shape)), named)
        return jnp.mean(evaluate(fitness_at(fitness, moment), keys, rows, default_block_size())[0])

    named = jax.lax.map(worth, (moments, trail.named))
    last = fitness_at(fitness, jnp.int32(generations - 1))
    return Outcome(trail.means, trail.bests, named, *_finals(last, keys, trail.population, protocol))


def _finals(
    fitness: Fitness, keys: Sequence[jax.Array], population: Genome, protocol: Protocol
) -> tuple[jax.Array, jax.Array]:
    """What the champion of a population [N] and the mean of its policies are worth, f32[] each.

    There are three rounds of evaluations: of all members, of the finalists, of the champion and the mean. They are one
    loop, as XLA would compile an environment once more for each. A round that is shorter evaluates rows in vain.
    """
    size = population.policy.shape[0]
    centre = jax.tree.map(lambda x: x[:1], population)._replace(policy=jnp.mean(population.policy, 0, keepdims=True))
    everyone = jax.tree.map(lambda *x: jnp.concatenate(x), population, centre)
    count = min(protocol.finalists, size)
    lengths = size * protocol.first, count * protocol.second, 2 * protocol.test
    longest = max(lengths)

    def filled(rounds: Sequence[jax.Array]) -> jax.Array:
        return jnp.stack([rows[jnp.arange(longest) % rows.shape[0]] for rows in rounds])

    own = [jax.random.split(key, length) for key, length in zip(keys[:2], lengths[:2], strict=True)]
    tests = [jax.random.split(key, protocol.test) for key in jax.random.split(keys[2])]
    all_keys = filled([*own, jnp.concatenate(tests)])

    def turn(values: jax.Array, i: jax.Array) -> tuple[jax.Array, None]:
        first = jnp.mean(values[0, : lengths[0]].reshape(size, protocol.first), axis=1)
        finalists = jnp.argsort(-jnp.where(jnp.isfinite(first), first, -jnp.inf))[:count]
        second = jnp.mean(values[1, : lengths[1]].reshape(count, protocol.second), axis=1)
        both = (protocol.first * first[finalists] + protocol.second * second) / (protocol.first + protocol.second)
        champion = finalists[jnp.argmax(jnp.where(jnp.isfinite(both), both, -jnp.inf))]
        rounds = [
            jnp.repeat(jnp.arange(size), protocol.first),
            jnp.repeat(finalists, protocol.second),
            jnp.repeat(jnp.stack([champion, jnp.full((), size, champion.dtype)]), protocol.test),
        ]
        rows = filled(rounds)[i]
        return values.at[i].set(evaluate(fitness, all_keys[i], take(everyone, rows), default_block_size())[0]), None

    values = jax.lax.scan(turn, jnp.zeros((3, longest), jnp.float32), jnp.arange(3))[0]
    worth = jnp.mean(values[2, : lengths[2]].reshape(2, protocol.test), axis=1)
    return worth[0], worth[1]
