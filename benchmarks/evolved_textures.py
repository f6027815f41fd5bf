"""Evolves µNCA of 68 numbers without gradients, by mutators of ours and evosax's CMA-ES, at equal evaluations.

All search for the same fitness (`nca.texture_fitness`) from the same beginning: cells that return to grey. Each names
that member of its last generation which is best in some fresh evaluations. It is judged as `benchmarks/textures.py`
does: the distance after 1,000 updates as a share of what shuffled pixels give, by a statistic that nothing was selected
on.

    python benchmarks/evolved_textures.py
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
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


SIZE, CALMS = 40, 160  # of the grid, and updates after the shock: what evaluates fastest
DECAY = 0.25  # share of a rewriting that children take in the end, of our methods
FORGETS = 0.05  # share of itself that a cell loses in an update, at the beginning
FRESH = 8  # evaluations of each member by which one is named


def _ours(make: Callable[[float], nm.mutators.Mutator], recombine: int | None = None) -> Make:
    """An evolution whose rewriting shrinks over the run."""

    def evolution(policy: nm.networks.Network, fitness: nm.core.Fitness, options: "Options") -> nm.Evolution:
        return nm.evolution(
            policy,
            make(options.std),
            fitness,
            population_size=options.population,
            elites=2,
            recombine=recombine,
            decay=lambda generation: DECAY ** (generation / options.generations),
        )

    return evolution


def methods(size: int) -> Mapping[str, Make]:
    """All methods by name; `size` is the number of parameters."""
    return {
        "momentum, centre of 8": _ours(partial(nm.mutators.momentum, size), 8),
        "derandomised, centre of 8": _ours(partial(nm.mutators.derandomised, size), 8),
        "gaussian, centre of 8": _ours(nm.mutators.gaussian, 8),
        "momentum": _ours(partial(nm.mutators.momentum, size)),
        "gaussian": _ours(nm.mutators.gaussian),
        "self-adaptive": _ours(nm.mutators.self_adaptive),
        "CMA-ES (evosax)": lambda policy, fitness, options: nm.evosax(
            "CMA_ES", policy, fitness, options.population, std_init=options.cma_std
        ),
    }


@dataclass(frozen=True)
class Options:
    """What is evolved, and for how long."""

    image: str = "dots"
    """The texture."""
    generations: int = 120
    """Of each run; times the population it is the number of evaluations."""
    population: int = 32
    """Genomes in a generation."""
    std: float = 0.004
    """Standard deviation of our first changes; chosen on seed 101."""
    cma_std: float = 0.01
    """Standard deviation that CMA-ES begins with; chosen on seed 101."""
    seeds: tuple[int, ...] = (0, 1)
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


def forgetful(automaton: nca.Automaton) -> jax.Array:
    """Parameters f32[P] of cells that return to 0 and see nobody."""
    zeros, pack = jax.vjp(automaton.unflatten, jnp.zeros(automaton.num_params))
    return pack(zeros | {"w": zeros["w"].at[: automaton.channels].set(-FORGETS * jnp.eye(automaton.channels))})[0]


def main(options: Options) -> None:
    target, automaton = jnp.asarray(load_texture(options.image)), nca.micro(4)
    start = forgetful(automaton)
    policy = nca.automaton_network(automaton)._replace(init=lambda key: start)
    fitness = nca.texture_fitness(automaton, target, (SIZE, SIZE), calms=CALMS, projections=16, samples=512)
    share_of = judge(automaton, target)

    @jax.jit
    def named(key: jax.Array, population: nm.Genome) -> tuple[jax.Array, jax.Array]:
        """The policy of the best member, and its fitness f32[]."""
        values = each(lambda key: nm.core.evaluate(fitness, key, population)[0], jax.random.split(key, FRESH)).mean(0)
        return population.policy[jnp.argmax(values)], jnp.max(values)

    chosen = {name: make for name, make in methods(policy.num_params).items() if name in (options.only or (name,))}
    table = Table(f"{options.image}: share of shuffled pixels", "median", "all", "fitness", "s a run")
    found = {}
    for name, make in chosen.items():
        evolution, shares, last, seconds = make(policy, fitness, options), [], [], []
        run = jax.jit(lambda key, evolution=evolution: nm.run(evolution, key, options.generations))
        for seed in options.seeds:
            began = time.perf_counter()
            state, _ = jax.block_until_ready(run(jax.random.key(seed)))
            seconds.append(time.perf_counter() - began)
            champion, value = named(jax.random.key(seed + 1000), state.population)
            shares.append(share_of(champion))
            last.append(float(value))
        found[name] = shares
        cells = (f"{np.median(shares):.3f}", " ".join(f"{share:.3f}" for share in shares))
        table.add_row(name, *cells, f"{np.median(last):.3f}", f"{np.median(seconds):.0f}")
        Console(width=120).print(table)
    print(json.dumps({name: [round(share, 4) for share in shares] for name, shares in found.items()}))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
