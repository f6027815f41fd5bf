"""Evolves µNCA of 68 numbers without gradients, by mutators of ours and evosax's CMA-ES, at equal evaluations.

All search for the same fitness (`nca.texture_fitness`) from the same beginning. What a method names is judged as
`benchmarks/textures.py` does: the distance after 1,000 updates as a share of what shuffled pixels give, by a statistic
that nothing was selected on.

    python benchmarks/evolved_textures.py
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tyro
from rich.console import Console
from rich.table import Table

import neuralmutator as nm
from neuralmutator import nca
from neuralmutator.core import each
from neuralmutator.nca import textures
from neuralmutator.runs.painting import judged
from neuralmutator.runs.targets import load_texture

Make = Callable[[nm.networks.Network, nm.core.Fitness, "Options"], nm.Evolution]


def _ours(mutator: nm.mutators.Mutator, **settings: int) -> Make:
    """An evolution whose rewriting shrinks to a twentieth over the run."""

    def make(policy: nm.networks.Network, fitness: nm.core.Fitness, options: "Options") -> nm.Evolution:
        decay = optax.linear_schedule(1.0, 0.05, options.generations)
        size = options.population
        return nm.evolution(policy, mutator, fitness, population_size=size, decay=decay, elites=2, **settings)

    return make


def methods(std: float, size: int) -> Mapping[str, Make]:
    """All methods by name; `size` is the number of parameters."""
    return {
        "gaussian": _ours(nm.mutators.gaussian(std)),
        "momentum": _ours(nm.mutators.momentum(size, std)),
        "gaussian, centre of 8": _ours(nm.mutators.gaussian(std), recombine=8),
        "momentum, centre of 8": _ours(nm.mutators.momentum(size, std), recombine=8),
        "derandomised, centre of 8": _ours(nm.mutators.derandomised(size, std), recombine=8),
        "self-adaptive": _ours(nm.mutators.self_adaptive(std)),
        "CMA-ES (evosax)": lambda policy, fitness, options: nm.evosax(
            "CMA_ES", policy, fitness, options.population, std_init=options.std
        ),
    }


@dataclass(frozen=True)
class Options:
    """What is evolved, and for how long."""

    image: str = "dots"
    """The texture."""
    generations: int = 200
    """Of each run; times the population it is the number of evaluations."""
    population: int = 32
    """Genomes in a generation."""
    std: float = 0.02
    """Standard deviation of the first changes."""
    seeds: tuple[int, ...] = (0, 1, 2)
    """Runs of each method."""
    only: tuple[str, ...] = ()
    """Some of the methods."""


def judge(automaton: nca.Automaton, target: jax.Array) -> Callable[[jax.Array], float]:
    """``(params) -> `` share of shuffled pixels' distance after 1,000 updates, the median of four starts."""
    texture = textures.held_out(target)
    worst = textures.exact_distance(texture, textures.shuffled(jax.random.key(1), target))

    @jax.jit
    def shares(params: jax.Array) -> jax.Array:
        def one(key: jax.Array) -> jax.Array:
            return judged(automaton, (64, 64), key, params, texture) / worst

        return each(one, jax.random.split(jax.random.key(0), 4))

    return lambda params: float(jnp.nan_to_num(jnp.median(shares(params)), nan=jnp.inf))


def main(options: Options) -> None:
    target, automaton = jnp.asarray(load_texture(options.image)), nca.micro(4)
    policy, fitness = nca.automaton_network(automaton), nca.texture_fitness(automaton, target)
    share_of = judge(automaton, target)
    chosen = {n: m for n, m in methods(options.std, policy.num_params).items() if not options.only or n in options.only}
    table = Table(f"{options.image}: share of shuffled pixels", "median", "all", "fitness", "s a run")
    found = {}
    for name, make in chosen.items():
        evolution, shares, last, seconds = make(policy, fitness, options), [], [], []
        run = jax.jit(lambda key, evolution=evolution: nm.run(evolution, key, options.generations))
        for seed in options.seeds:
            began = time.perf_counter()
            state, history = jax.block_until_ready(run(jax.random.key(seed)))
            seconds.append(time.perf_counter() - began)
            shares.append(share_of(evolution.best(state)[0].policy))
            last.append(float(history.metrics["fitness_best"][-1]))
        found[name] = shares
        cells = (f"{np.median(shares):.3f}", " ".join(f"{share:.3f}" for share in shares))
        table.add_row(name, *cells, f"{np.median(last):.3f}", f"{np.median(seconds):.0f}")
        Console(width=120).print(table)
    print(json.dumps({name: [round(share, 4) for share in shares] for name, shares in found.items()}))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
