"""``neuralmutator analyse RUN…``: what the mutators of runs have learnt."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import OUTPUT, prepare_jax
from neuralmutator.runs.errors import UserError


@dataclass(frozen=True)
class Analyse:
    """Say what the mutators of runs have learnt.

    The changes that a champion's mutator makes, beside those of an untrained mutator, of another run's, and of Gaussian
    noise of the same size in every weight; what they are worth; and whose line took over. Give several runs of one
    setting: a single mutator says little.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders of `neuralmutator evolve`."""
    output: Annotated[Path | None, OUTPUT] = None
    """Folder of analysis.md and analysis.png; the first run's if not given."""
    children: int = 64
    """Changes that are drawn of each mutator."""
    evaluations: int = 4
    """Evaluations of each child, of as many episodes as in the run."""
    seed: int = 0
    """Seed of the changes and the episodes."""


def analyse(options: Analyse) -> int:
    """Runs the command; exit status 0."""
    if not options.runs:
        raise UserError("name at least one run folder")
    prepare_jax()
    from neuralmutator.plots.analysis import analysis_figure
    from neuralmutator.runs import analysis
    from neuralmutator.runs.folder import write_text

    runs = analysis.analyse_runs(options.runs, options.children, options.evaluations, options.seed)
    output = options.output or options.runs[0]
    output.mkdir(parents=True, exist_ok=True)
    text = analysis.report(runs)
    write_text(output / "analysis.md", text)
    first = {run.config.env: run for run in reversed(runs)}  # of each environment
    maps = {f"{env}, {run.name}": run.found for env, run in reversed(first.items())}
    analysis_figure(maps, [run.found for run in runs]).savefig(output / "analysis.png", dpi=150)
    print(text)
    print(output / "analysis.png")
    return 0
