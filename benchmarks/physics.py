"""Asks how close the evaluation of a population comes to a bare rollout of brax.

``fitness.episodes`` on tasks of brax beside ``vmap`` + ``scan`` of brax's own step, which goes on to the last step
whether an episode has ended or not. Both compute the steps that count, those before an end, and must agree on the
returns. Policies act weakly, so that episodes last. Memory is that of the compiled program, an episode, beyond its
arguments.

    python benchmarks/physics.py
"""

from dataclasses import dataclass
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from evaluation import genomes
from timing import Program, compile_ahead, finish, interleave, speed, table

import neuralmutator as nm
from neuralmutator.core import evaluate
from neuralmutator.runs.devices import SIMULATION, compile_options

FLOOR = 0.95
WEAK = 0.1  # of the weights that evolution starts with
SAME = 0.9  # least share of the policies whose returns both must agree on: rounding grows in contacts


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    tasks: tuple[str, ...] = ("ant", "hopper", "halfcheetah", "inverted_pendulum")
    backend: str = "spring"
    population: int = 64
    steps: int = 100
    rounds: int = 9


def compare(name: str, options: Options) -> dict[str, Program]:
    """Programs ``(key, params f32[N, P]) -> returns f32[N]``, ours and a bare one."""
    task = nm.envs.task(name)
    policy = nm.networks.mlp(task.observation.size, task.num_outputs, (32,))
    fitness = nm.fitness.episodes(task, policy, episodes=1, max_steps=options.steps)
    simulator = task.environment.simulator

    def ours(key: jax.Array, params: jax.Array) -> jax.Array:
        return evaluate(fitness, key, genomes(params), None)[0]

    def bare(key: jax.Array, params: jax.Array) -> jax.Array:
        def episode(weights: jax.Array) -> jax.Array:
            # The key that our episodes are reset with.
            state = simulator.reset(jax.random.key_data(jax.random.split(jax.random.split(key, 1)[0])[0]))

            def step(carry: tuple, _: None) -> tuple[tuple, None]:
                state, total, alive = carry
                state = simulator.step(state, jnp.clip(policy.apply(weights, state.obs), -1, 1))
                return (state, total + alive * state.reward, alive * (1 - state.done)), None

            return jax.lax.scan(step, (state, 0.0, 1.0), None, options.steps)[0][1]

        return jax.vmap(episode)(params)

    params = WEAK * jax.vmap(policy.init)(jax.random.split(jax.random.key(0), options.population))
    quick = compile_options(SIMULATION)
    return {f.__name__: compile_ahead(f, jax.random.key(1), params, options=quick) for f in (ours, bare)}


def main(options: Options) -> None:
    rows, numbers = [], {}
    for short in options.tasks:
        programs = compare(f"brax/{short}?backend={options.backend}", options)
        ours, bare = (np.asarray(program.run()) for program in programs.values())
        if np.mean(np.isclose(ours, bare, rtol=0.02, atol=0.1)) < SAME:
            raise AssertionError(f"returns of {short} differ by up to {np.max(np.abs(ours - bare))}")
        seconds = interleave(programs, options.rounds)
        numbers[short] = speed(seconds, "ours", "bare")
        for name, program in programs.items():
            bytes_each = program.compiled.memory_analysis().temp_size_in_bytes / options.population
            rate = options.population * options.steps / median(seconds[name])
            rows.append((short, name, program.compile_seconds, rate, bytes_each / 1024))
        rows.append([""] * 5)
    table(
        f"{options.population} episodes of {options.steps} steps in brax, {options.backend}",
        ("task", "program", "compile s", "nominal steps/s", "KiB an episode"),
        rows[:-1],
    )
    finish(numbers, at_least=dict.fromkeys(numbers, FLOOR))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
