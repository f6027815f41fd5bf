"""A run folder for an evolution of one's own: sinks for its metrics, an early stop, checkpoints, the champion.

python examples/own_run.py
"""

import csv
import sys
import tempfile
from pathlib import Path

import jax

import neuralmutator as nm


def csv_sink(file):
    """Some metrics of every generation as lines of CSV."""
    writer = csv.writer(file)
    return lambda generation, metrics: writer.writerow(
        [generation, *(f"{metrics[name]:.1f}" for name in ("fitness_best", "fitness_mean"))]
    )


def tensorboard_sink(path):
    """All metrics to TensorBoard; needs tensorboardX. `nm.runs.TensorBoard` does the same."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(str(path))
    return lambda generation, metrics: [writer.add_scalar(name, x, generation) for name, x in metrics.items()]


def wandb_sink(**settings):
    """All metrics to Weights & Biases; needs wandb and an account."""
    import wandb

    run = wandb.init(**settings)
    return lambda generation, metrics: run.log(metrics, step=generation)


policy = nm.networks.mlp(obs=4, act=2)
fitness = nm.fitness.episodes("CartPole-v1", policy, episodes=3)
evolution = nm.hall_of_fame(nm.evolution(policy, nm.mutators.self_adaptive(0.1), fitness, population_size=64), fitness)
run = nm.runs.from_evolution(evolution, jax.random.key(0), generations=100)

with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "run"
    result = nm.runs.execute(
        run,
        path,
        sinks=[csv_sink(sys.stdout)],
        stop=[nm.runs.target_fitness(475), nm.runs.time_limit(60)],
    )
    champion = nm.load_champion(path, policy)
    print(f"stopped after {result['moments']} generations: {result['stopped']}")
    print("files:", *sorted(file.name for file in path.iterdir()))
