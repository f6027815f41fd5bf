"""Asks what a fitness in Gymnasium itself costs beside the bare environments.

Steps per second of ``fitness.gymnasium``, a policy for every genome and all its bookkeeping included, beside
Gymnasium's own vector of as many environments under random actions that were drawn before. The bare vector's steps
include those that do nothing but reset, which are cheap; ours are only those that were lived. With ``--workers``, also
CarRacing-v3 in worker processes, beside Gymnasium's own vector of one process per environment.

    python benchmarks/host.py
    python benchmarks/host.py --workers 2
"""

from dataclasses import dataclass
from statistics import median

import gymnasium
import jax
import tyro
from timing import Program, finish, interleave, speed, table

import neuralmutator as nm

FLOOR = 0.7


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    population: int = 64
    """Genomes, and environments."""
    episodes: int = 10
    hidden: tuple[int, ...] = (64,)
    steps: int = 300
    """Steps of the bare vector in a round."""
    cars: int = 8
    """Environments of CarRacing-v3."""
    car_steps: int = 100
    car_rounds: int = 3
    workers: int = 0
    rounds: int = 9


def genomes(policy: nm.networks.Network, size: int) -> nm.Genome:
    """The population that evolution would start with."""
    evolution = nm.evolution(policy, nm.mutators.gaussian(), population_size=size)
    return evolution.init(jax.random.key(0)).population


def compare(
    name: str, policy: nm.networks.Network, bare: gymnasium.vector.VectorEnv, steps: int, rounds: int, **cut: int
) -> tuple[float, tuple]:
    """Our rate relative to that of the bare environments; a row of the table."""
    size, population = bare.num_envs, genomes(policy, bare.num_envs)
    bare.reset(seed=0)
    bare.action_space.seed(0)
    actions = [bare.action_space.sample() for _ in range(steps)]

    def run() -> None:
        for action in actions:
            bare.step(action)

    with nm.fitness.gymnasium(name, policy, num_envs=size, **cut) as evaluate:
        lived = evaluate(jax.random.key(1), population)[1]["env_steps"]
        ours = Program(lambda: evaluate(jax.random.key(1), population), (), 0.0)
        seconds = interleave({"ours": ours, "bare": Program(run, (), 0.0)}, rounds)
    bare.close()
    ratio = speed(seconds, "ours", "bare") * lived / (steps * size)
    rates = (lived / median(seconds["ours"]), steps * size / median(seconds["bare"]))
    kind = f"{name}, {type(bare).__name__}"
    return ratio, (kind, size, policy.num_params, lived / size / cut["episodes"], *rates, ratio)


def main(options: Options) -> None:
    names = {"CartPole-v1": (4, 2), "LunarLander-v3": (8, 4)}
    ratios, rows = {}, []
    for name, sizes in names.items():
        policy = nm.networks.mlp(*sizes, options.hidden)
        bare = gymnasium.make_vec(name, options.population, vectorization_mode="sync")
        ratios[name], row = compare(name, policy, bare, options.steps, options.rounds, episodes=options.episodes)
        rows.append(row)
    if options.workers:
        name = "CarRacing-v3"
        # Spawned, as a fork would share the locks of JAX's threads.
        bare = gymnasium.make_vec(name, options.cars, "async", vector_kwargs={"context": "spawn"})
        cut = {"episodes": 1, "max_steps": options.car_steps, "workers": options.workers}
        ratios[name], row = compare(name, nm.networks.cnn(), bare, options.car_steps, options.car_rounds, **cut)
        rows.append(row)
    columns = ("environment, bare vector", "envs", "params", "steps/episode", "ours steps/s", "bare steps/s", "ratio")
    table(f"A population of policies in Gymnasium {gymnasium.__version__}", columns, rows)
    finish(ratios, at_least=dict.fromkeys(names, FLOOR))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
