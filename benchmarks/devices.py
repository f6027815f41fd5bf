"""Asks what several devices bring: a whole generation that is spread over them beside one on a single device.

The devices are cores of the CPU, or those of an accelerator. Policies balance, so that all members live as long. Memory
is that of the compiled program on each device, arguments included. XLA lets a single device use several cores for its
larger operations; so the seconds that one core would need for its work are given as well, and are what is compared.

    python benchmarks/devices.py
"""

import os
import time
from dataclasses import dataclass
from statistics import median

import jax
import numpy as np
import tyro
from evaluation import ENV, HIDDEN, balancing_policies, policy
from jax import lax
from jax.sharding import Mesh
from timing import Program, compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.core import evaluate, resolve_block_size
from neuralmutator.core.spreading import shardings, spread_over
from neuralmutator.population.types import with_population
from neuralmutator.runs.devices import compile_options, use_all_cores


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 4096
    episodes: int = 1
    steps: int = 500
    rounds: int = 5


def programs_of(options: Options, mesh: Mesh) -> dict[str, Program]:
    """A generation ``(key, state) -> (state, generation)``, and the evaluation alone, over a mesh."""
    fitness = nm.fitness.episodes(ENV, policy(), episodes=options.episodes, max_steps=options.steps)
    mutator = nm.mutators.dual_mixture(gauss_scale=0.0, scale_rate=0.0)
    whole = nm.evolution(policy(), mutator, fitness, population_size=options.population)
    evolution = nm.distribute(whole, mesh)

    def start(key: jax.Array) -> nm.population.State:
        state = whole.init(key)
        balancing = state.population._replace(policy=balancing_policies(key, options.population))
        state = with_population(state, balancing)
        return lax.with_sharding_constraint(state, shardings(state, options.population, mesh))

    def alone(key: jax.Array, state: nm.population.State) -> jax.Array:
        with spread_over(mesh):
            return evaluate(fitness, key, state.population, resolve_block_size("auto"))[0]

    key = jax.random.key(0)
    state = jax.jit(start)(key)
    patient = compile_options()
    return {
        "generation": compile_ahead(evolution.step, key, state, options=patient),
        "evaluation": compile_ahead(alone, key, state, options=patient),
    }


def core_seconds(program: Program) -> float:
    """Seconds that all cores together spend on a call."""
    clock = time.process_time()
    jax.block_until_ready(program.run())
    return time.process_time() - clock


def main(options: Options) -> None:
    use_all_cores()
    devices = np.array(jax.devices())
    counts = [n for n in (1, 2, 4, 8) if n <= len(devices)]
    made = {n: programs_of(options, Mesh(devices[:n], ("members",))) for n in counts}
    rows, numbers = [], {}
    for what in ("generation", "evaluation"):
        programs = {str(n): made[n][what] for n in counts}
        seconds = interleave(programs, options.rounds)
        alone = median(core_seconds(programs["1"]) for _ in range(options.rounds))
        for n in counts:
            memory = programs[str(n)].compiled.memory_analysis()
            mib = (memory.argument_size_in_bytes + memory.temp_size_in_bytes) / 2**20
            ratio = speed(seconds, str(n), "1")
            to_core = alone / median(seconds[str(n)])
            rows.append((what, n, programs[str(n)].compile_seconds, median(seconds[str(n)]), mib, ratio, to_core))
            numbers |= {f"{what}_{n}": ratio, f"{what}_{n}_to_core": to_core, f"{what}_{n}_mib": mib}
    title = f"{options.population} policies 4-{HIDDEN}-2, {options.episodes} × {options.steps} steps of {ENV}"
    table(title, ("program", "devices", "compile s", "s", "MiB a device", "speed to 1", "to one core"), rows)
    most = counts[-1]
    wanted = {2: (1.7, 1.7), 4: (2.8, 3.2)}.get(most)
    if wanted and os.cpu_count() == most:
        bounds = zip(("generation", "evaluation"), wanted, strict=True)
        finish(numbers, at_least={f"{what}_{most}_to_core": bound for what, bound in bounds})
    else:
        finish(numbers)


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
