"""Asks what normalising observations is worth, at equal numbers of evaluations.

Populations of perceptrons evolve by Gaussian noise of several step sizes, with and without `normalise_observations`,
from the same seeds. The champion, as `hall_of_fame` names it, plays fresh episodes. The best step size is another one
with normalised observations, so each way is judged by its own best.

    python benchmarks/normalisation.py                                              # Pendulum-v1
    python benchmarks/normalisation.py --env LunarLander-v3 --generations 100 --stds 0.05 0.2
"""

from dataclasses import dataclass

import jax
import numpy as np
import tyro
from timing import finish, table

import neuralmutator as nm


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    env: str = "Pendulum-v1"
    generations: int = 200
    population: int = 64
    episodes: int = 4
    seeds: int = 4
    stds: tuple[float, ...] = (0.02, 0.05, 0.1, 0.2, 0.4)
    hidden: tuple[int, ...] = (32, 32)
    max_steps: int | None = None
    fresh_episodes: int = 100


def champions(options: Options, std: float, normalise: bool) -> np.ndarray:
    """Mean return of each seed's champion over fresh episodes, f32[seeds]."""
    task = nm.envs.task(options.env)
    policy = nm.networks.mlp(task.observation.size, task.num_outputs, options.hidden)
    if normalise:
        policy = nm.networks.normalised(policy, task.observation.size)

    def fitness(episodes: int) -> nm.core.Fitness:
        return nm.fitness.episodes(task, policy, episodes=episodes, max_steps=options.max_steps)

    evolution = nm.evolution(
        policy,
        nm.mutators.gaussian(std),
        fitness(options.episodes),
        population_size=options.population,
        species=nm.speciation.none(),
        crossover_rate=0.0,
    )
    if normalise:
        evolution = nm.normalise_observations(evolution, policy)
    evolution = nm.hall_of_fame(evolution, fitness(options.episodes))
    score, best = jax.jit(fitness(options.fresh_episodes)), jax.jit(evolution.best)
    returns = []
    for seed in range(options.seeds):
        state, _ = nm.run(evolution, jax.random.key(seed), options.generations)
        returns.append(float(score(jax.random.key(10_000 + seed), best(state)[0])[0]))
    return np.array(returns)


def main(options: Options) -> None:
    rows, means = [], {}
    for name, normalise in (("as they are", False), ("normalised", True)):
        for std in options.stds:
            returns = champions(options, std, normalise)
            means[name, std] = returns.mean()
            rows.append((f"{name}, std {std:g}", returns.mean(), returns.min(), returns.max()))
            print(f"{rows[-1][0]}: {np.round(returns, 1).tolist()}", flush=True)
    table(
        f"{options.env}: champions after {options.generations} generations of {options.population}, "
        f"{options.seeds} seeds, {options.fresh_episodes} fresh episodes each",
        ("observations", "mean return", "worst seed", "best seed"),
        rows,
    )
    names = {"as they are": "raw", "normalised": "normalised"}
    finish({short: max(means[name, std] for std in options.stds) for name, short in names.items()})


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
