"""What the mutators of finished runs have learnt, read from their folders, as a report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from neuralmutator.core import Genome
from neuralmutator.mutators import Mutator
from neuralmutator.networks import Network
from neuralmutator.runs.builders import build_mutator, build_policy
from neuralmutator.runs.champion import read_champion
from neuralmutator.runs.config import Config
from neuralmutator.runs.errors import UserError, construction
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.report import table
from neuralmutator.runs.study import build_fitness
from neuralmutator.study.analysis import FACTORS, Analysis, analyse


class Analysed(NamedTuple):
    """A run and what was found of its champion."""

    name: str  # of the run's folder
    config: Config
    metrics: Mapping[str, np.ndarray]  # of the run
    found: Analysis


def analyse_runs(
    paths: Sequence[str | Path], children: int = 64, evaluations: int = 4, seed: int = 0
) -> list[Analysed]:
    """Analyses the champions of runs of ``neuralmutator evolve``; see `study.analysis.analyse`.

    Args:
        paths: run folders.
        children: changes that are drawn of each mutator.
        evaluations: of each child, of as many episodes as in the run.
        seed: of all of it.

    Raises:
        RunError: if a run cannot be read.
        UserError: if one has no mutator or is played in Gymnasium, or a number is out of range.
    """
    runs = [_read(RunFolder(path)) for path in paths]
    analysed = []
    for i, run in enumerate(runs):
        others = [runs[(i + k) % len(runs)].champion.mutator for k in range(1, len(runs))]
        with construction():
            found = analyse(
                jax.random.fold_in(jax.random.key(seed), i),
                run.champion,
                run.policy,
                run.mutator,
                build_fitness(run.config, run.policy, None),
                run.folder.history()["parents"],
                another=next((x for x in others if x.shape == run.champion.mutator.shape), None),
                children=children,
                evaluations=evaluations,
            )
        analysed.append(Analysed(run.folder.path.name, run.config, run.folder.metrics(), found))
    return analysed


class _Run(NamedTuple):
    """What is read of a run."""

    folder: RunFolder
    config: Config
    policy: Network
    mutator: Mutator
    champion: Genome


def _read(folder: RunFolder) -> _Run:
    config = folder.config(Config, "evolution")
    if config.algorithm is not None:
        raise UserError(f"{folder.path} has no mutator to analyse: its algorithm is {config.algorithm}")
    if config.host:
        raise UserError(f"{folder.path} was played in Gymnasium: only runs in JAX can be analysed")
    with construction():
        policy = build_policy(config)
        mutator = build_mutator(config, policy)
    return _Run(folder, config, policy, mutator, jax.tree.map(jnp.asarray, read_champion(folder, policy)))


def report(runs: Sequence[Analysed]) -> str:
    """Tables in Markdown, one set for each environment and mutator among the runs."""
    groups: dict[tuple[str, str], list[Analysed]] = {}
    for run in runs:
        groups.setdefault((run.config.env, run.config.mutator), []).append(run)
    about = (
        "Changes of the champion's policy, as its own mutator makes them, beside those of an untrained mutator, of "
        "another run's, of Gaussian noise of the same size weight by weight and child by child (null), and of white "
        "noise. Median over runs [least, most]. 90 %: least share of weights that carry 90 % of the change; "
        "selectivity: largest mean size over smallest; untouched: share of weights that change less than a tenth as "
        "much as the mean."
    )
    return "\n\n".join([about, *(_of_group(*names, group) for names, group in groups.items())]) + "\n"


SHAPE = {
    "correlation": "correlation",
    "drift share": "drift_share",
    "90 %": "concentration",
    "selectivity": "selectivity",
    "untouched": "untouched",
    "excess kurtosis": "excess_kurtosis",
    "effective rank": "effective_rank",
}


def _of_group(env: str, mutator: str, runs: Sequence[Analysed]) -> str:
    found = [run.found for run in runs]
    sources = [source for source in found[0].shapes if all(source in each.shapes for each in found)]
    shapes = [
        [source, *(_spread([float(getattr(x.shapes[source], field)) for x in found]) for field in SHAPE.values())]
        for source in sources
    ]
    worth = [
        [
            source,
            _spread([x.sizes[source][0] for x in found]),
            *(_spread([100 * x.better[source][i] for x in found]) for i in range(len(FACTORS))),
            *(_spread([x.gain[source][i] for x in found]) for i in range(len(FACTORS))),
        ]
        for source in sources
    ]
    scales = ["size", *(f"{factor:g} size" for factor in FACTORS[1:])]
    lines = [
        f"## {env}, {mutator}, {'1 run' if len(found) == 1 else f'{len(found)} runs'}",
        table(["changes by", *SHAPE], shapes),
        "Children that are better than the champion, in %, and the mean gain (a loss counted as nothing):",
        table(["changes by", "size", *(f"% at {s}" for s in scales), *(f"gain at {s}" for s in scales)], worth),
        _lineage(runs),
    ]
    return "\n\n".join(lines)


def _lineage(runs: Sequence[Analysed]) -> str:
    """Whose descendants are left, and how a mutator's rewriting of itself has changed."""
    taken = [run.found.takeover for run in runs if run.found.takeover is not None]
    text = f"One founder's line is alone in {len(taken)} of {len(runs)}"
    text += f", from generation {_spread(taken)} on." if taken else "."
    errors = [run.metrics["replication_error_mean"] for run in runs if "replication_error_mean" in run.metrics]
    ends = [(e[np.isfinite(e)][0], e[np.isfinite(e)][-1]) for e in errors if np.isfinite(e).any()]
    if ends:
        first, last = zip(*ends, strict=True)
        text += f" Self-replication error: {_spread(first)} in the first generation, {_spread(last)} in the last."
    return text


def _spread(values: Sequence[float]) -> str:
    low, middle, high = (f"{x:.3g}" for x in (min(values), float(np.median(values)), max(values)))
    return middle if low == high else f"{middle} [{low}, {high}]"
