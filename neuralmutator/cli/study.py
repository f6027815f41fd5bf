"""``neuralmutator study FILE``: compares methods on tasks at equal evaluations."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from neuralmutator.cli.options import OUTPUT, free_folder, note, prepare_jax
from neuralmutator.runs.errors import UserError


@dataclass(frozen=True)
class Study:
    """Compare methods: tasks × methods × seeds at equal evaluations.

    The file (TOML) names tasks, methods and their sweeps. Best settings are chosen on tuning seeds and reported on
    fresh ones; champions of all methods are named from equally many re-evaluations. The folder holds every run's
    numbers, a report and figures. A study that was stopped goes on by --resume.
    """

    file: tyro.conf.Positional[Path]
    """The study, see the guide."""
    output: Annotated[Path | None, OUTPUT] = None
    """The folder; the first of runs/NAME-1, -2 … that is free if not given."""
    resume: bool = False
    """Go on with the study in --output."""
    quiet: bool = False
    """Do not say what is being computed."""


def study(options: Study) -> int:
    """Runs the command; exit status 0."""
    if options.resume and options.output is None:
        raise UserError("--resume needs --output, the folder of the study to go on with")
    prepare_jax()
    from neuralmutator.runs.folder import write_text
    from neuralmutator.runs.report import figures, report
    from neuralmutator.runs.study import read_study, run_study

    output = options.output or free_folder(options.file.stem)
    results = run_study(
        read_study(options.file),
        output,
        options.resume,
        (lambda text: None) if options.quiet else note,
    )
    text = report(results)
    write_text(output / "report.md", text)
    for name, figure in figures(results).items():
        figure.savefig(output / f"{name}.png", dpi=150)
    print(text)
    return 0
