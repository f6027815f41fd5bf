"""``neuralmutator quine train`` and ``neuralmutator quine auxiliary``."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from neuralmutator.cli.options import RunOptions, prepare_jax, run_story
from neuralmutator.runs.auxiliary import AuxiliaryConfig
from neuralmutator.runs.errors import UserError
from neuralmutator.runs.quine import QuineConfig


@dataclass(frozen=True, kw_only=True)
class Train(RunOptions):
    """Train a network to output its own weights; leaves a run folder.

    The folder holds the configuration, metrics (JSON lines), a checkpoint, the weights with what the network says of
    them, a result, and two figures. Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[QuineConfig, tyro.conf.arg(name="")]
    paper: bool = False
    """Instead run the whole comparison of the paper: three figures, and a table of its numbers beside ours."""
    seeds: int = 3
    """With --paper: networks per method."""


@dataclass(frozen=True, kw_only=True)
class Auxiliary(RunOptions):
    """Train a network that classifies images and outputs its own weights; leaves a run folder.

    Ctrl-C saves; --resume goes on, bit for bit.
    """

    config: Annotated[AuxiliaryConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class Quine:
    """Networks that output their own weights."""

    command: Annotated[
        Annotated[Train, tyro.conf.subcommand("train", prefix_name=False)]
        | Annotated[Auxiliary, tyro.conf.subcommand("auxiliary", prefix_name=False)],
        tyro.conf.arg(name=""),
    ]


def quine(options: Quine) -> int:
    """Runs the command; exit status 0."""
    if isinstance(options.command, Auxiliary):
        return _auxiliary(options.command)
    return _paper(options.command) if options.command.paper else _train(options.command)


def _train(options: Train) -> int:
    config = options.config
    output = options.folder(f"quine-{config.method}")
    run_story("quine", config, options, output, f"quine {config.method}", config.epochs)
    return 0


def _paper(options: Train) -> int:
    if options.seeds < 1:
        raise UserError(f"seeds must be at least 1, got {options.seeds}")
    if options.resume or options.config != QuineConfig(seed=options.config.seed):
        raise UserError("--paper runs the paper's own networks and methods: of the other options it takes --seed alone")
    prepare_jax()
    from neuralmutator.runs.paper import compare

    output = options.folder("quine-paper")
    print(compare(output, options.seeds, options.config.seed, show=not options.quiet))
    print(output)
    return 0


def _auxiliary(options: Auxiliary) -> int:
    run_story(
        "auxiliary", options.config, options, options.folder("auxiliary"), "auxiliary quine", options.config.epochs
    )
    return 0
