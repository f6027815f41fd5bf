"""Asks what our harness costs around an algorithm of evosax: its loop as evosax's users write it, beside `nm.evosax`.

Both evaluate by the same fitness, CartPole-v1 in the blocks that evolution uses, with the same keys; so they compute
the same, which is checked. What is timed is whole generations.

    python benchmarks/baselines.py
"""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from evosax.algorithms import algorithms, population_based_algorithms
from timing import compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.core import default_block_size, evaluate

FLOOR = 0.95


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    names: tuple[str, ...] = ("SNES", "CMA_ES", "SimpleGA", "SAMR_GA", "LGA")
    population: int = 80
    generations: int = 20
    rounds: int = 7


def own_loop(name: str, policy: nm.networks.Network, fitness: Any, options: Options) -> Callable:
    """``(key, key of the run) -> fitness f32[G, N]`` as evosax's examples have it."""
    size = options.population
    algorithm = algorithms[name](population_size=size, solution=jnp.zeros(policy.num_params))
    params, has_population = algorithm.default_params, name in population_based_algorithms
    nothing = jnp.zeros((size, 0))

    def values(key: jax.Array, population: jax.Array) -> jax.Array:
        genomes = nm.Genome(population, nothing, nothing, nothing.astype(jnp.int32), jnp.zeros(size))
        return evaluate(fitness, key, genomes, default_block_size())[0]

    def generation(carry: tuple, key: jax.Array) -> tuple[tuple, jax.Array]:
        state, population = carry
        key_evaluate, key_tell = jax.random.split(key)
        key_tell, key_ask = jax.random.split(key_tell)
        found = values(key_evaluate, population)
        state, _ = algorithm.tell(key_tell, population, -found, state, params)
        population, state = algorithm.ask(key_ask, state, params)
        return (state, population), found

    def run(key_init: jax.Array, key_run: jax.Array) -> jax.Array:
        key_birth, key_start, key_ask = jax.random.split(key_init, 3)
        keys = jax.vmap(lambda t: jax.random.fold_in(key_run, t))(jnp.arange(options.generations))
        if not has_population:
            state = algorithm.init(key_start, policy.init(key_birth), params)
            population, state = algorithm.ask(key_ask, state, params)
            return jax.lax.scan(generation, (state, population), keys)[1]
        population = jax.vmap(policy.init)(jax.random.split(key_birth, size))
        key_evaluate, key_tell = jax.random.split(keys[0])
        key_tell, key_ask = jax.random.split(key_tell)
        first = values(key_evaluate, population)
        state = algorithm.init(key_tell, population, -first, params)
        population, state = algorithm.ask(key_ask, state, params)
        rest = jax.lax.scan(generation, (state, population), keys[1:])[1]
        return jnp.concatenate([first[None], rest])

    return run


def main(options: Options) -> None:
    policy = nm.networks.mlp(4, 2, (32,))
    fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=5)
    keys = jax.random.split(jax.random.key(0))
    rows, numbers = [], {}
    for name in options.names:
        evolution = nm.evosax(name, policy, fitness, options.population)

        def ours(key_init: jax.Array, key_run: jax.Array, evolution: nm.Evolution = evolution) -> jax.Array:
            return nm.rollout(evolution.step, key_run, evolution.init(key_init), options.generations)[1].fitness

        programs = {
            "evosax": compile_ahead(own_loop(name, policy, fitness, options), *keys),
            "neuralmutator": compile_ahead(ours, *keys),
        }
        seconds = interleave(programs, options.rounds)
        same = float(np.mean(np.isclose(*(np.asarray(program.run()) for program in programs.values()), rtol=1e-3)))
        numbers[name] = speed(seconds, "neuralmutator", "evosax")
        numbers[f"{name}_same"] = same
        for kind, program in programs.items():
            t = 1e3 * median(seconds[kind]) / options.generations
            rows.append((f"{name}, {kind}", program.compile_seconds, t, speed(seconds, kind, "evosax"), same))
    table(
        f"{options.population} policies 4-32-2 on CartPole-v1, {options.generations} generations of 5 episodes",
        ("program", "compile s", "ms a generation", "speed to evosax", "equal fitness"),
        rows,
    )
    finish(numbers, at_least=dict.fromkeys(options.names, FLOOR))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
