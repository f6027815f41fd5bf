"""Asks how the seconds of a generation grow with the population and with the genome: a line is what is hoped for.

Selection and rewriting by the dual mutator; the fitness is free. The first line is of genomes of 8,824 numbers, the
second of 64 members. Each point is the median of some generations that follow one another, as in a run; the largest
population needs 6 GiB. The exponent is the slope in the figure, 1 where twice as much takes twice as long.

    python benchmarks/scaling.py --figure scaling.png
"""

import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import jax
import numpy as np
import tyro
from timing import finish, table

import neuralmutator as nm
from neuralmutator.plots.style import BLUE, ORANGE, dress, new_figure

MUTATOR = 8374  # numbers


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    populations: tuple[int, ...] = (256, 1024, 4096, 16384, 65536)
    sizes: tuple[int, ...] = (10_000, 100_000, 1_000_000, 3_000_000)
    """Numbers of a genome."""
    members: int = 64
    """Of the populations of large genomes."""
    generations: int = 3
    figure: Path | None = None
    """Where the figure is written."""


def seconds(population: int, size: int, generations: int) -> float:
    """Of a generation."""
    policy = nm.networks.mlp(1, 1, (1,))._replace(
        num_params=size - MUTATOR, init=lambda key: jax.random.normal(key, (size - MUTATOR,))
    )
    evolution = nm.evolution(
        policy, nm.mutators.dual_mixture(), lambda key, genome: genome.policy[0], population_size=population
    )
    step = jax.jit(evolution.step)
    state = jax.jit(evolution.init)(jax.random.key(0))
    taken = []
    for generation in range(generations + 1):
        clock = time.perf_counter()
        state, _ = jax.block_until_ready(step(jax.random.key(generation), state))
        taken.append(time.perf_counter() - clock)
    return median(taken[1:])  # the first one is compiled


def main(options: Options) -> None:
    lines = {
        f"genomes of {450 + MUTATOR:,}": [
            (n, n * (450 + MUTATOR), seconds(n, 450 + MUTATOR, options.generations)) for n in options.populations
        ],
        f"{options.members} members": [
            (options.members, options.members * s, seconds(options.members, s, options.generations))
            for s in options.sizes
        ],
    }
    numbers, rows = {}, []
    figure = new_figure((6.4, 4.2), "Seconds of a generation without its evaluation")
    axes = figure.add_subplot()
    for (name, points), colour in zip(lines.items(), (BLUE, ORANGE), strict=True):
        population, total, taken = np.array(points).T
        exponent = np.polyfit(np.log(total), np.log(taken), 1)[0]
        numbers[f"exponent of {name}"] = exponent
        axes.loglog(total, taken, "o-", color=colour, lw=1.6, label=f"{name}: exponent {exponent:.2f}")
        rows += [
            (name, int(n), int(t / n), s, 1e6 * s / n, 1e9 * s / t)
            for n, t, s in zip(population, total, taken, strict=True)
        ]
    axes.set_xlabel("numbers in all genomes together")
    axes.set_ylabel("seconds")
    axes.legend(frameon=False, fontsize=9)
    dress(axes)
    table("A generation", ("", "members", "numbers each", "seconds", "µs a member", "ns a number"), rows)
    if options.figure is not None:
        figure.savefig(options.figure)
    finish(numbers, at_most=dict.fromkeys(numbers, 1.1))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
