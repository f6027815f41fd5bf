"""Asks what it costs a network that classifies to replicate itself, too.

For every seed: the classification alone, the paper's recipe, the scale-free one from an exact quine, and the same with
the weights renumbered, which ends exact; accuracy on held-out images, and the share of every weight matrix that its
copy misses.

    python benchmarks/auxiliary_quine.py --data digits
    python benchmarks/auxiliary_quine.py --data mnist.npz --figure trade_off.png
"""

import json
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from neuralmutator.plots.quine import trade_off_figure
from neuralmutator.runs import auxiliary, execute
from neuralmutator.runs.auxiliary import AuxiliaryConfig


@dataclass(frozen=True)
class Options:
    """How much to measure."""

    data: str = "digits"
    """See ``neuralmutator quine auxiliary --help``."""
    seeds: int = 5
    weights: tuple[float, ...] = (30.0,)
    """Last weights of replication in the scale-free recipe; several give a front."""
    epochs: int = 30
    figure: Path | None = None
    output: Path | None = None
    """A file that gets one JSON line per run, as soon as it is finished."""


def main(options: Options) -> None:
    base = AuxiliaryConfig(data=options.data, epochs=options.epochs)
    cases = {
        "paper, task only": replace(base, recipe="paper", task_only=True),
        "paper": replace(base, recipe="paper"),
        "scale-free, task only": replace(base, recipe="scale-free", task_only=True),
        **{
            f"scale-free, to {weight:g}": replace(base, recipe="scale-free", last_weight=weight)
            for weight in options.weights
        },
        "renumbered": base,
    }
    results: dict[str, list[dict]] = {name: [] for name in cases}
    for seed in range(options.seeds):
        for name, config in cases.items():
            with tempfile.TemporaryDirectory() as folder:
                result = execute(auxiliary.build(replace(config, seed=seed)), Path(folder) / "run")
            results[name].append(result)
            if options.output is not None:
                with open(options.output, "a") as file:
                    file.write(json.dumps({"case": name, "seed": seed, **result}) + "\n")
    table = Table(
        "recipe", "accuracy %: mean [min, max]", "unexplained: mean [min, max]", "worst matrix", "correlation"
    )
    for name, runs in results.items():
        accuracy, missed = (np.array([run[key] for run in runs]) for key in ("accuracy", "unexplained"))
        worst = np.mean([max(run["unexplained_by_part"].values()) for run in runs])
        table.add_row(
            name,
            f"{100 * accuracy.mean():.2f} [{100 * accuracy.min():.2f}, {100 * accuracy.max():.2f}]",
            f"{missed.mean():.2g} [{missed.min():.2g}, {missed.max():.2g}]",
            f"{worst:.2g}",
            f"{np.mean([run['correlation'] for run in runs]):.3f}",
        )
    Console(width=120).print(table)
    if options.figure is not None:
        points = {
            name: np.array([[run["unexplained"], run["accuracy"]] for run in runs])
            for name, runs in results.items()
            if "task only" not in name
        }
        baseline = float(np.mean([run["accuracy"] for run in results["scale-free, task only"]]))
        title = f"A quine that classifies: {Path(options.data).stem}, {options.seeds} seeds"
        trade_off_figure(points, baseline, title).savefig(options.figure)
    print(json.dumps({name: [[r["accuracy"], r["unexplained"]] for r in runs] for name, runs in results.items()}))


if __name__ == "__main__":
    main(tyro.cli(Options, description=__doc__))
