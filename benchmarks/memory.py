"""Asks how much memory evolution needs at its peak, and what one more genome costs.

Three generations of CartPole-v1 (5 episodes of up to 500 steps) with the default flexible policy, `dual_mixture` and
speciation; one fresh process for each population, whose peak resident memory the system counts: after the imports,
after compiling, after evolving. Then a large population of genomes of 8,824 numbers; step by step, short episodes.

    python benchmarks/memory.py
"""

import resource
import subprocess
import sys
import time
from dataclasses import dataclass

import jax
import tyro
from timing import finish, table

import neuralmutator as nm
from neuralmutator.runs.devices import give_back

MOST_BYTES, MOST_LARGE = 1.3 * 2**30, 5 * 2**30


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    populations: tuple[int, ...] = (256, 4096)
    """From small to large."""
    episodes: int = 5
    steps: int = 500
    generations: int = 3
    large: int = 65_536
    """The large population; 0: none."""
    inside: int | None = None
    """Measure this population in this very process, and print peak bytes and seconds."""


def measure(options: Options, population: int) -> None:
    """Evolves in this process; prints its peak bytes after each part, the bytes of the genomes, and seconds."""
    imported = peak()
    policy = nm.networks.flexible_mlp(4, 2)
    task = nm.fitness.episodes("CartPole-v1", policy, episodes=options.episodes, max_steps=options.steps)
    evolution = nm.evolution(
        policy,
        nm.mutators.dual_mixture(),
        task,
        population_size=population,
        species=nm.speciation.learned(),
        crossover_rate=0.3,
        limit=5.0,
    )
    compiled = nm.run.lower(evolution, jax.random.key(0), options.generations).compile()
    compiling = peak()
    give_back()  # as runs do
    clock = time.perf_counter()
    jax.block_until_ready(compiled(jax.random.key(0)))
    genome = jax.eval_shape(evolution.init, jax.random.key(0)).population
    print(imported, compiling, peak(), 4 * sum(x.size for x in jax.tree.leaves(genome)), time.perf_counter() - clock)


def measure_large(options: Options) -> None:
    """The same for the large population, which stays the argument of a step."""
    imported = peak()
    policy = nm.networks.mlp(4, 2, (64,))
    task = nm.fitness.episodes("CartPole-v1", policy, episodes=1, max_steps=100)
    evolution = nm.evolution(policy, nm.mutators.dual_mixture(), task, population_size=options.large)
    key = jax.random.key(0)
    init = jax.jit(evolution.init).lower(key).compile()
    step = jax.jit(evolution.step).lower(key, jax.eval_shape(evolution.init, key)).compile()
    compiling = peak()
    give_back()
    clock = time.perf_counter()
    state = init(key)
    genomes = sum(x.nbytes for x in jax.tree.leaves(state.population))
    for generation in range(options.generations):
        state, _ = jax.block_until_ready(step(jax.random.fold_in(key, generation), state))
    print(imported, compiling, peak(), genomes, time.perf_counter() - clock)


def peak() -> int:
    """Most bytes that this process has held; Linux counts in KiB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def main(options: Options) -> None:
    if options.inside is not None:
        return measure_large(options) if options.inside == options.large else measure(options, options.inside)
    rows, numbers = [], {}
    for population in (*options.populations, *([options.large] if options.large else [])):
        arguments = [sys.executable, __file__, *sys.argv[1:], "--inside", str(population)]
        output = subprocess.run(arguments, check=True, capture_output=True, text=True).stdout.split()
        imported, compiled, after, genomes, seconds = (float(x) for x in output)
        mib = [x / 2**20 for x in (imported, compiled, after, genomes)]
        rows.append((population, *mib, seconds))
        numbers |= {f"compiled_bytes_{population}": compiled, f"peak_bytes_{population}": after}
    small, large = options.populations[0], options.populations[-1]
    if large > small:
        slope = (numbers[f"peak_bytes_{large}"] - numbers[f"peak_bytes_{small}"]) / (large - small)
        numbers["bytes_per_genome"] = slope
    numbers["share_of_bound"] = numbers[f"peak_bytes_{large}"] / MOST_BYTES
    table(
        f"Peak resident memory of {options.generations} generations",
        ("population", "MiB imported", "MiB compiled", "MiB peak", "MiB of genomes", "seconds"),
        rows,
    )
    bounds = {f"peak_bytes_{large}": MOST_BYTES}
    if options.large:
        bounds[f"peak_bytes_{options.large}"] = MOST_LARGE
    finish(numbers, at_most=bounds)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
