"""Asks how fast our environments are, whole populations with their policies on all cores, beside Gymnasium on one.

LunarLander: steps of 1,600 landers, 10 for each of 160 genomes, with an MLP of each genome's own, beside Gymnasium's
environment under random actions. CarRacing: frames of 50 genomes on 3 tracks, each a step of the physics, the picture
and a convolutional policy of each genome's own, resets included, beside Gymnasium's environment and the same network in
PyTorch. Where that is missing, Gymnasium's car stands still, which costs less.

    python benchmarks/env_speed.py
"""

import os
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from timing import Program, compile_ahead, finish, table

import neuralmutator as nm
from neuralmutator.core import evaluate
from neuralmutator.envs.lander.environment import EnvState
from neuralmutator.runs.devices import use_all_cores

FLEET = 58_000
"""Steps of LunarLander per second of the original program's 24 workers."""


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    landers: int = 160
    lander_episodes: int = 10
    drivers: int = 50
    tracks: int = 3
    steps: int = 100
    rounds: int = 5


@contextmanager
def one_core():
    """Keeps this thread, which is all of Gymnasium, on one core."""
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    yield
    os.sched_setaffinity(0, cores)


def played(env: gymnasium.Env, act: Callable, steps: int) -> float:
    """Steps per second of one environment on one core."""
    observation, _ = env.reset(seed=0)
    with one_core():
        clock = time.perf_counter()
        for _ in range(steps):
            observation, _, terminated, truncated, _ = env.step(act(observation))
            if terminated or truncated:
                observation, _ = env.reset()
        return steps / (time.perf_counter() - clock)


def first_population(policy: nm.networks.Network, size: int) -> nm.Genome:
    """The population that evolution would start with."""
    evolution = nm.evolution(policy, nm.mutators.gaussian(), population_size=size)
    return jax.jit(evolution.init)(jax.random.key(0)).population


def torch_driver() -> Callable[[np.ndarray], np.ndarray]:
    """The network of `networks.cnn` in PyTorch, on one core; without PyTorch, a driver that does nothing."""
    try:
        import torch
        from torch import nn
    except ImportError:
        return lambda image: np.zeros(3, np.float32)

    torch.set_num_threads(1)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise((3, 8, 16, 16, 8)):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, 32), nn.Tanh(), nn.Linear(32, 3), nn.Tanh())

    def act(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float()
            std, mean = torch.std_mean(x, dim=(2, 3), keepdim=True, correction=0)
            x = (x - mean) / (std + 1)
            return np.clip(network(x)[0].numpy(), (-1, 0, 0), 1)

    act(np.zeros((96, 96, 3), np.uint8))
    return act


def landing(genomes: int, episodes: int, steps: int) -> Program:
    """Some steps of all landers; where one has crashed, it goes on as well."""
    policy = nm.networks.mlp(8, 4)
    env = nm.envs.LunarLander()
    params = env.default_params
    each = jax.vmap(jax.vmap(lambda key: env.reset_env(key, params)))
    observations, states = jax.jit(each)(jax.random.split(jax.random.key(0), (episodes, genomes)))
    states = states.replace(time=jnp.zeros((episodes, genomes), jnp.int32))
    act = jax.vmap(jax.vmap(policy.apply, (None, 0)), (0, 1), 1)
    mesh = jax.make_mesh((jax.device_count(),), ("members",), (AxisType.Auto,))
    observations, states = jax.device_put((observations, states), NamedSharding(mesh, PartitionSpec(None, "members")))
    population = jax.device_put(first_population(policy, genomes), NamedSharding(mesh, PartitionSpec("members")))

    def run(key: jax.Array, population: nm.Genome, observations: jax.Array, states: EnvState):
        def step(carry: tuple, key: jax.Array) -> tuple[tuple, None]:
            observations, states = carry
            actions = jnp.argmax(act(population.policy, observations), axis=-1)
            draws = jax.random.uniform(key, (episodes, genomes, 2), minval=-1.0)
            one = jax.vmap(jax.vmap(lambda draw, state, action: env.step_from(draw, state, action, params)[:2]))
            return one(draws, states, actions), None

        return jax.lax.scan(step, (observations, states), jax.random.split(key, steps))[0][0]

    return compile_ahead(run, jax.random.key(1), population, observations, states)


def driving(genomes: int, tracks: int, steps: int) -> Program:
    """An evaluation of all drivers, cut short."""
    policy = nm.networks.cnn()
    fitness = nm.fitness.episodes("CarRacing-v3", policy, episodes=tracks, max_steps=steps)
    population = first_population(policy, genomes)
    return compile_ahead(lambda key, genomes: evaluate(fitness, key, genomes)[0], jax.random.key(1), population)


def rate(program: Program, steps: int) -> float:
    """Steps per second."""
    clock = time.perf_counter()
    jax.block_until_ready(program.run())
    return steps / (time.perf_counter() - clock)


def main(options: Options) -> None:
    o = options
    use_all_cores()
    choices = np.random.default_rng(0).integers(4, size=10**6).tolist()
    cases = {
        "LunarLander-v3": (
            landing(o.landers, o.lander_episodes, o.steps),
            o.landers * o.lander_episodes * o.steps,
            lambda observation: choices.pop(),
            20 * o.steps,
        ),
        "CarRacing-v3": (
            driving(o.drivers, o.tracks, o.steps),
            o.drivers * o.tracks * o.steps,
            torch_driver(),
            o.steps,
        ),
    }
    numbers, rows = {}, []
    for name, (program, steps, act, steps_there) in cases.items():
        env = gymnasium.make(name)
        rate(program, steps)
        pairs = [(rate(program, steps), played(env, act, steps_there)) for _ in range(o.rounds)]
        ours, theirs = (median(x) for x in zip(*pairs, strict=True))
        ratio = median(a / b for a, b in pairs)
        rows.append([name, ours, theirs, ratio, program.compile_seconds])
        numbers |= {f"{name}_steps_per_second": ours, f"{name}_ratio": ratio}
    columns = ("", "steps/s", "Gymnasium's, one core", "ratio", "compilation, s")
    table("Populations with their policies", columns, rows)
    finish(
        numbers,
        {"LunarLander-v3_ratio": 10.0, "LunarLander-v3_steps_per_second": 3.0 * FLEET, "CarRacing-v3_ratio": 25.0},
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
