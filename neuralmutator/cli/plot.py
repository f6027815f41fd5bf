"""``neuralmutator plot RUN…``: the course of one run, or of several of one kind."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import OUTPUT
from neuralmutator.runs.errors import UserError


@dataclass(frozen=True)
class Plot:
    """Draw the course of runs.

    Of an evolution: fitness, self-replication error, mutators, species and topology; of a quine: loss and unexplained
    share; of an automaton: loss; of a soup of programs: entropy, operations and the most frequent program.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders of one kind; several evolutions give the median and the interquartile band."""
    output: Annotated[Path | None, OUTPUT] = None
    """The picture; training.png in the first run's folder if not given."""
    title: str | None = None
    """Heading of the picture."""


def plot(options: Plot) -> int:
    """Runs the command; exit status 0."""
    if not options.runs:
        raise UserError("name at least one run folder")
    from neuralmutator.runs.folder import RunFolder
    from neuralmutator.runs.stories import story_of

    folders = [RunFolder(run) for run in options.runs]
    kinds = {folder.kind: folder for folder in folders}
    if len(kinds) > 1:
        raise UserError(f"runs must be of one kind, got {' and '.join(sorted(kinds))}")
    figure = story_of(folders[0]).figure(folders, options.title)
    output = options.output or folders[0].path / "training.png"
    figure.savefig(output, dpi=150)
    print(output)
    return 0
