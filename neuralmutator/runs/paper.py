"""The comparison of Chang & Lipson 2018 over several seeds: three figures, and a table of their numbers and ours."""

import json
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from neuralmutator import quine as quines
from neuralmutator.core import rollout
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.quine import QuineConfig, build_quine, build_step, first_state
from neuralmutator.runs.sinks import Progress

# Name in the table: changes of the default configuration.
METHODS: dict[str, dict[str, Any]] = {
    "sgd": {"method": "sgd", "epochs": 30},
    "momentum": {"method": "momentum", "epochs": 30},
    "adam": {"method": "adam", "epochs": 30},
    "adagrad": {"method": "adagrad", "epochs": 30},
    "rmsprop": {"method": "rmsprop", "epochs": 30},
    "adamax": {"method": "adamax", "epochs": 100},
    "hill-climb": {"method": "hill-climb", "epochs": 40},
    "regeneration, T = 1": {"method": "regeneration", "epochs": 12},
    "regeneration, T = 0": {"method": "regeneration", "epochs": 12, "optimization_epochs": 0},
}
FIGURES = {
    "optimizers": (
        "Gradient-based methods (the paper's Figure 4)",
        ("sgd", "momentum", "adam", "adagrad", "adamax"),
        30,
    ),
    "hill_climbing": ("Hill-climbing (Figure 5); 100 candidates an epoch", ("hill-climb",), 40),
    "regeneration": ("Regeneration (Figure 6)", ("regeneration, T = 1", "regeneration, T = 0"), 12),
}
PAPER = {
    "initial loss": "90.16",
    "adamax": "32.10",
    "adagrad": "increases",
    "rmsprop": "explodes",
    "regeneration, T = 1": "0.86",
    "regeneration, T = 0": "the zero quine",
}
ALIVE = 0.1  # least norm of weights that count as a network


def compare(output: str | Path, seeds: int = 3, first_seed: int = 0, show: bool = False) -> str:
    """Runs every method of the paper on the paper's network.

    Args:
        output: the folder; must not exist yet.
        seeds: networks per method.
        first_seed: seed of the first.
        show: whether a live display goes to the terminal.

    Returns:
        The table, in Markdown; also in ``table.md`` of the folder, beside ``paper.json`` and three figures.

    Raises:
        RunError: if the folder cannot be used.
    """
    from neuralmutator.plots.quine import training_figure

    folder = RunFolder.create(output, "quine-paper", {"seeds": seeds, "first_seed": first_seed})
    curves: dict[str, dict[str, np.ndarray]] = {}
    display = Progress("the paper", len(METHODS), lambda metrics: metrics["text"]) if show else nullcontext()
    with display as shown:
        for i, (name, changes) in enumerate(METHODS.items()):
            runs = [_run(QuineConfig(**changes, seed=first_seed + seed)) for seed in range(seeds)]
            curves[name] = {key: np.stack([run[key] for run in runs]) for key in runs[0]}
            if shown:
                shown(i, {"text": f"{name}: loss {np.median(curves[name]['loss'][:, -1]):.3g}"})
    for file, (title, names, length) in FIGURES.items():
        chosen = {name: {key: values[:, : length + 1] for key, values in curves[name].items()} for name in names}
        training_figure(chosen, f"{title}, {seeds} seeds").savefig(folder.path / f"{file}.png")
    table = _table(curves)
    (folder.path / "table.md").write_text(table + "\n")
    numbers = {name: {key: values.tolist() for key, values in curve.items()} for name, curve in curves.items()}
    (folder.path / "paper.json").write_text(json.dumps(numbers) + "\n")
    folder.close()
    return table


def _run(config: QuineConfig) -> dict[str, np.ndarray]:
    """Every measure before the first and after each epoch, [epochs + 1]."""
    quine, params = build_quine(config)
    first = quines.replication(params, quine.predict(params))
    # The seed is not part of the program: one serves all seeds.
    infos = _train(quine, params, jax.random.key(config.seed), replace(config, seed=0))
    return {
        name: np.concatenate([[float(before)], np.asarray(after)])
        for name, before, after in zip(first._fields, first, infos, strict=True)
    }


@partial(jax.jit, static_argnames="config")
def _train(quine: quines.Quine, params: jax.Array, key: jax.Array, config: QuineConfig) -> quines.Replication:
    return rollout(build_step(config, quine), key, first_state(config, params), config.epochs)[1]


def _table(curves: dict[str, dict[str, np.ndarray]]) -> str:
    columns = ["method", "paper", "best loss: median [min, max]", "last loss"]
    columns += ["unexplained", "correlation", "margin", "quotient", "ends"]
    rows = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    starts = curves["adamax"]["loss"][:, 0]
    rows.append(f"| initial loss | {PAPER['initial loss']} | {_spread(starts)} | | | | | | |")
    for name, curve in curves.items():
        # Of a network that has died the loss says nothing: its best is sought while it was alive.
        alive = (curve["norm"] > ALIVE) & np.isfinite(curve["loss"])
        loss = np.where(alive, curve["loss"], np.inf)[:, 1:]
        best = 1 + np.argmin(loss, axis=1)
        at = {key: values[np.arange(len(best)), best] for key, values in curve.items()}
        last = curve["loss"][alive[:, -1], -1]
        cells = [
            _spread(at["loss"]) if np.isfinite(loss).any() else "-",
            f"{np.median(last):.3g}" if last.size else "-",
        ]
        cells += [f"{np.median(at[key]):.3g}" for key in ("unexplained", "correlation", "margin", "quotient")]
        norm = curve["norm"][:, -1]
        ends = {"alive": alive[:, -1], "zero": norm <= ALIVE, "divergent": ~np.isfinite(norm)}
        cells.append(", ".join(f"{count.sum()} {end}" for end, count in ends.items() if count.any()))
        rows.append(f"| {name} | {PAPER.get(name, '')} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def _spread(values: np.ndarray) -> str:
    return f"{np.median(values):.3g} [{values.min():.3g}, {values.max():.3g}]"
