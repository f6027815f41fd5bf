"""Asks how long 80 genomes of some 14,000 parameters take to reproduce; the original program needed 4,900 ms.

``evolution.tell`` with a given fitness (classify, select, rewrite, count) for a fixed policy and for the flexible one,
with speciation and without; beside ``jax.random.normal`` of as many numbers as the children have parameters, which is
what drawing alone would cost without `core.random`. Then a large population of small policies at the defaults, whose
genomes are 8,824 numbers, in microseconds a member on all cores. The bounds are held against the fastest round: other
work on the machine can only add to it.

    python benchmarks/reproduction.py
"""

from dataclasses import dataclass
from statistics import median

import jax
import numpy as np
import tyro
from jax.sharding import Mesh
from timing import compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.runs.devices import WIDE, compile_options, use_all_cores

POLICIES = {"fixed": nm.networks.mlp(4, 2, (64, 32)), "flexible": nm.networks.flexible_mlp(4, 2)}
SPECIES = {"speciation": nm.speciation.learned(), "no speciation": nm.speciation.none()}
MOST_MS, ORIGINAL_MS = 30.0, 4900.0
LARGE, MOST_MICROSECONDS = 1024, 60.0


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 80
    rounds: int = 9
    calls: int = 10
    """Calls per round."""


def main(options: Options) -> None:
    key = jax.random.key(0)
    values = jax.random.normal(jax.random.key(1), (options.population,))
    programs, sizes = {}, {}
    for kind, policy in POLICIES.items():
        for word, species in SPECIES.items():
            evolution = nm.evolution(
                policy,
                nm.mutators.dual_mixture(),
                population_size=options.population,
                species=species,
                crossover_rate=0.3,
                limit=5.0,
            )
            state = jax.jit(evolution.init)(key)
            name = f"{kind} policy, {word}"
            programs[name] = compile_ahead(evolution.tell, key, state, values)
            sizes[name] = sum(x.shape[1] for x in state.population[:3])
        size = sizes[f"{kind} policy, speciation"]
        shape = (options.population, size)
        programs[f"{kind}: normals alone"] = compile_ahead(lambda key, shape=shape: jax.random.normal(key, shape), key)
        sizes[f"{kind}: normals alone"] = size
    seconds = interleave(programs, options.rounds, options.calls)
    rows, numbers = [], {}
    for name, program in programs.items():
        ms, fastest = 1e3 * median(seconds[name]), 1e3 * min(seconds[name])
        ceiling = speed(seconds, name, f"{name.split()[0].rstrip(':')}: normals alone")
        rows.append((name, sizes[name], program.compile_seconds, ms, fastest, ceiling, ORIGINAL_MS / ms))
        short = name.replace(":", "").replace(" policy", "").replace(",", "").replace(" ", "_")
        numbers |= {f"{short}_ms": ms, f"{short}_fastest_ms": fastest, f"{short}_to_normals": ceiling}
    numbers["microseconds_a_member"] = large(options)
    table(
        f"Reproducing {options.population} genomes",
        ("program", "parameters", "compile s", "ms", "fastest ms", "to normals", "to the original"),
        rows,
    )
    finish(numbers, at_most={"fixed_speciation_fastest_ms": MOST_MS, "microseconds_a_member": MOST_MICROSECONDS})


def large(options: Options) -> float:
    """Microseconds that a member of a large population takes to be rewritten on all cores, in the fastest round."""
    use_all_cores()
    mesh = Mesh(np.array(jax.devices()), ("members",))
    evolution = nm.evolution(nm.networks.mlp(4, 2, (64,)), nm.mutators.dual_mixture(), population_size=LARGE)
    evolution, key = nm.distribute(evolution, mesh), jax.random.key(0)
    assert evolution.shardings is not None
    placed = evolution.shardings(jax.eval_shape(evolution.init, key))
    state, values = jax.jit(evolution.init, out_shardings=placed)(key), jax.random.normal(jax.random.key(1), (LARGE,))
    program = compile_ahead(evolution.tell, key, state, values, options=compile_options(WIDE))
    return 1e6 * min(interleave({"large": program}, options.rounds)["large"]) / LARGE


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
