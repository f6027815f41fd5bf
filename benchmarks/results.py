"""What are the presets worth? Champions of several seeds, played in the real Gymnasium environments.

    python benchmarks/results.py                      # everything in the README's table
    python benchmarks/results.py --envs CartPole-v1 --presets default

Every run is the one of ``neuralmutator evolve ENV --preset P --seed S --generations G --episodes E``. A champion is
the one that its run names; it plays 100 fresh episodes (seeds 10,000 to 10,099) in Gymnasium.
"""

import dataclasses
import json
import time
from pathlib import Path

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

import neuralmutator as nm
from neuralmutator.runs.builders import build_evolution, build_policy
from neuralmutator.runs.play import gymnasium_returns
from neuralmutator.runs.presets import Name, by_name

# Environment: generations, episodes per evaluation, seeds, and what the original's one champion scores there.
TASKS = {
    "CartPole-v1": (50, 5, 10, 500.0),
    "Acrobot-v1": (300, 10, 5, -76.6),
    "Pendulum-v1": (1000, 10, 5, -215.6),
    "MountainCarContinuous-v0": (100, 10, 5, None),
}


def measure(env: str, preset: str, first_seed: int, final_decay: float | None = None, episodes: int = 100) -> dict:
    """Evolves all seeds of one task with one preset and plays their champions."""
    generations, evaluations, seeds, original = TASKS[env]
    config = dataclasses.replace(by_name[preset], env=env, generations=generations, episodes=evaluations)
    if final_decay is not None:
        config = dataclasses.replace(config, final_decay=final_decay)
    evolution, policy = build_evolution(config), build_policy(config)
    champions, populations, seconds = [], [], []
    for seed in range(first_seed, first_seed + seeds):
        began = time.perf_counter()
        state, history = jax.block_until_ready(nm.run(evolution, jax.random.key(seed), generations))
        seconds.append(time.perf_counter() - began)
        champion, _ = evolution.best(state)
        champions.append(float(gymnasium_returns(env, policy, champion, episodes, 10_000).mean()))
        populations.append(float(history.metrics["fitness_mean"][-1]))
    return {
        "env": env,
        "preset": preset,
        "first_seed": first_seed,
        "generations": generations,
        "champions": champions,
        "population_means": populations,
        "seconds_per_run": float(np.median(seconds)),
        "original": original,
    }


def main(
    envs: tuple[str, ...] = tuple(TASKS),
    presets: tuple[Name, ...] = ("default", "speciated", "original"),
    first_seed: int = 200,
    final_decay: float | None = None,
    output: Path | None = None,
) -> None:
    """Prints one row per task and preset.

    Args:
        envs: environments to measure.
        presets: presets to measure.
        first_seed: of each row; the presets were chosen on 0 to 103.
        final_decay: in place of the presets' own.
        output: a file that gets one JSON line per row, as soon as it is measured.
    """
    table = Table("environment", "preset", "seeds", "champion: median [min, max]", "population", "s a run", "original")
    rows = []
    for env in envs:
        for preset in presets:
            row = measure(env, preset, first_seed, final_decay)
            rows.append(row)
            if output is not None:
                with open(output, "a") as file:
                    file.write(json.dumps(row) + "\n")
            champions = row["champions"]
            table.add_row(
                f"{env}, {row['generations']} generations",
                preset,
                str(len(champions)),
                f"{np.median(champions):.1f} [{min(champions):.1f}, {max(champions):.1f}]",
                f"{np.median(row['population_means']):.1f}",
                f"{row['seconds_per_run']:.0f}",
                "-" if row["original"] is None else f"{row['original']:.1f}",
            )
    Console().print(table)
    print(json.dumps({f"{row['env']} {row['preset']}": float(np.median(row["champions"])) for row in rows}))


if __name__ == "__main__":
    tyro.cli(main)
