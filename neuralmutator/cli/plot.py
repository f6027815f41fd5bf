"""``neuralmutator plot RUN…``: the course of one run, or median and interquartile band of several."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from neuralmutator.plots.training import training_figure
from neuralmutator.runs.folder import RunFolder


@dataclass(frozen=True)
class Plot:
    """Draw fitness, self-replication error, mutator drift, species, topology and strategy genes of runs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders; several give the median and the interquartile band."""
    output: Path | None = None
    """The picture; training.png in the first run's folder if not given."""
    title: str | None = None


def plot(options: Plot) -> int:
    """Runs the command; exit status 0."""
    if not options.runs:
        raise ValueError("name at least one run folder")
    folders = [RunFolder(run) for run in options.runs]
    envs = sorted({folder.config.env for folder in folders})
    several = f", {len(folders)} runs" if len(folders) > 1 else f", seed {folders[0].config.seed}"
    figure = training_figure(
        [folder.metrics() for folder in folders], title=options.title or " + ".join(envs) + several
    )
    output = options.output or folders[0].path / "training.png"
    figure.savefig(output, dpi=150)
    print(output)
    return 0
