"""Asks what a million genomes on 64 devices would need: memory, bytes moved in a generation, time, where it breaks.

Nothing of that size is run. What grows with the population and with the devices is measured on cores of this CPU:
memory from the compiled programs of `nm.distribute`, bytes from the collectives that stand in them, seconds of one core
for one member. The rest is multiplication; the network's speed is an assumption that can be changed.

    python benchmarks/plan.py
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import tyro
from jax.extend.core import jaxprs_in_params
from jax.sharding import Mesh
from timing import finish, table

import neuralmutator as nm
from neuralmutator.population.types import with_population
from neuralmutator.runs.devices import compile_options

GIB = 2**30
HIDDEN = 64


@dataclass(frozen=True)
class Options:
    """What is planned, and what is measured for it."""

    population: int = 2**20
    devices: int = 64
    """Planned."""
    populations: tuple[int, int] = (512, 1024)
    """Measured, on 2 and on 4 devices."""
    gigabytes_per_second: float = 10.0
    """Of each device's connection, assumed."""
    steps: int = 500
    """Of an episode, one for each member."""


def evolution_of(options: Options, population: int, islands: int) -> nm.Evolution:
    """A policy of 450 numbers and a mutator of 8,374, in one population or on islands."""
    policy = nm.networks.mlp(4, 2, (HIDDEN,))
    fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=1, max_steps=options.steps)
    make = lambda size, score: nm.evolution(  # noqa: E731
        policy, nm.mutators.dual_mixture(), score, population_size=size, crossover_rate=0.3
    )
    if islands == 1:
        return make(population, fitness)
    return nm.islands(make(population // islands, None), fitness, islands)


def moved(jaxpr: Any, times: int = 1) -> Iterator[int]:
    """Bytes that each device receives in the collectives of a program, those in loops as often as they run."""
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        if name in ("all_gather", "all_to_all", "sharding_constraint"):
            arrays = [variable.aval for variable in equation.outvars]
            if name != "sharding_constraint" or equation.params["sharding"].is_fully_replicated:
                yield times * sum(x.size * x.dtype.itemsize for x in arrays if x.dtype.kind in "fiub")
        inner = times * (equation.params["length"] if name == "scan" else 1)
        for other in jaxprs_in_params(equation.params):
            yield from moved(other, inner)


def measure(options: Options, population: int, devices: int, islands: int) -> tuple[float, float, float, float]:
    """Bytes of one genome; bytes that a device holds, of genomes and beside them; bytes that it receives."""
    mesh = Mesh(np.array(jax.devices()[:devices]), ("members",))
    evolution = nm.distribute(evolution_of(options, population, islands), mesh)
    key = jax.random.key(0)
    state = jax.jit(evolution.init)(key)
    genome = sum(x.nbytes for x in jax.tree.leaves(state.population)) / population
    used = jax.jit(evolution.step).lower(key, state).compile(compile_options()).memory_analysis()
    held = used.argument_size_in_bytes + used.output_size_in_bytes
    traffic = sum(moved(jax.make_jaxpr(evolution.step)(key, state).jaxpr))
    return genome, held, used.temp_size_in_bytes, traffic


def seconds_per_member(options: Options) -> float:
    """Of one core, for a generation whose members live for all steps."""
    from evaluation import balancing_policies  # not before there are several devices

    evolution = evolution_of(options, options.populations[0], 1)
    step = jax.jit(evolution.step)
    key, size = jax.random.key(0), options.populations[0]
    state = jax.jit(evolution.init)(key)
    state = with_population(state, state.population._replace(policy=balancing_policies(key, size, hidden=HIDDEN)))
    jax.block_until_ready(step(key, state))
    began, generations = time.process_time(), 0
    while time.process_time() - began < 3:
        jax.block_until_ready(step(key, state))
        generations += 1
    return (time.process_time() - began) / (generations * size)


def main(options: Options) -> None:
    jax.config.update("jax_num_cpu_devices", 4)
    rows, numbers = [], {}
    for name, share in (("one population", 0), ("an island on each device", 1)):
        found = {(n, d): measure(options, n, d, d if share else 1) for n in options.populations for d in (2, 4)}
        genome = next(iter(found.values()))[0]
        (few, many), n, d = options.populations, options.population, options.devices
        # Each is a constant and a part that grows with the members of a device; what is received may grow with all.
        held = (found[many, 4][1] - found[few, 4][1]) / ((many - few) / 4)
        beside = max(0.0, found[many, 4][2] - found[few, 4][2]) / ((many - few) / 4)
        received = [found[many, devices][3] / (many / devices) for devices in (2, 4)]
        slope = (received[1] - received[0]) / 2  # for each member, by each further device
        each = received[1] + slope * (d - 4)
        memory, traffic = n / d * (held + beside), n / d * each
        sizes = (genome / 1024, (held + beside) / genome, received[1] / genome, each / genome)
        rows.append((name, *sizes, memory / GIB, traffic / GIB, traffic / 1e9 / options.gigabytes_per_second))
        numbers |= {f"memory_{share}": memory, f"received_{share}": traffic}
    core = seconds_per_member(options)
    table(
        f"{options.population:,} genomes, {options.devices} devices that receive {options.gigabytes_per_second:g} GB/s",
        ("", "KiB", "copies", "received: of 4", f"of {options.devices}", "GiB held", "GiB received", "seconds"),
        rows,
    )
    print("KiB of a genome; copies that a device holds of its own; genomes received for each of its own, by devices.")
    compute = core * options.population / options.devices
    share = options.population // options.devices
    print(f"A core takes {1e3 * core:.2f} ms for a member that lives all its steps: {compute:.0f} s for {share:,}.")
    finish(numbers | {"seconds_of_a_core": compute})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
