"""Asks how fast CarRacing is: frames per second of whole populations, and of Gymnasium and PyTorch on one core.

A frame is a step of the physics, the picture, and a convolutional policy of each genome's own. All members of a
population meet the same tracks, as they do in evolution. Needs PyTorch for the comparison.

    python benchmarks/car_speed.py
"""

import os
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import gymnasium
import jax
import numpy as np
import tyro
from timing import compile_ahead, finish, table

import neuralmutator as nm
from neuralmutator.evolution import evaluate


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 50
    episodes: int = 3
    steps: int = 100
    rounds: int = 5


def torch_driver() -> object:
    """The same network in PyTorch, on one core."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    sizes, layers = (3, 8, 16, 16, 8), []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.ReLU()]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(288, 32), nn.Tanh(), nn.Linear(32, 3), nn.Tanh())

    def act(image: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            x = torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255
            return np.clip(network(x)[0].numpy(), (-1, 0, 0), 1)

    return act


def main(options: Options) -> None:
    policy = nm.networks.cnn()
    evolution = nm.evolution(policy, nm.mutators.gaussian(), population_size=options.population)
    population = jax.jit(evolution.init)(jax.random.key(0)).population
    fitness = nm.fitness.episodes("CarRacing-v3", policy, episodes=options.episodes, max_steps=options.steps)
    program = compile_ahead(lambda key, genomes: evaluate(fitness, key, genomes), jax.random.key(1), population)
    lived = int(jax.block_until_ready(program.run())[1]["env_steps"])
    env, act = gymnasium.make("CarRacing-v3"), torch_driver()
    image, _ = env.reset(seed=0)
    act(image)
    ours, theirs, cores = [], [], os.sched_getaffinity(0)
    for _ in range(options.rounds):
        clock = time.perf_counter()
        jax.block_until_ready(program.run())
        ours.append(lived / (time.perf_counter() - clock))
        os.sched_setaffinity(0, {min(cores)})  # this thread's
        clock = time.perf_counter()
        for _ in range(options.steps):
            image, _, terminated, truncated, _ = env.step(act(image))
            if terminated or truncated:
                image, _ = env.reset()
        theirs.append(options.steps / (time.perf_counter() - clock))
        os.sched_setaffinity(0, cores)
    ratio = median(a / b for a, b in zip(ours, theirs, strict=True))
    rows = [
        (f"{options.population} genomes, {options.episodes} tracks, {len(cores)} cores", median(ours)),
        ("Gymnasium and PyTorch, one core", median(theirs)),
        ("compilation, s", program.compile_seconds),
    ]
    table("CarRacing-v3 with pictures and drivers", ("", "frames/s"), rows)
    finish(
        {"frames_per_second": median(ours), "beside_gymnasium_and_pytorch": ratio},
        {"beside_gymnasium_and_pytorch": 25.0},
    )


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
