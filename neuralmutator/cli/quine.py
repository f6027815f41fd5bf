"""``neuralmutator quine train`` and ``neuralmutator quine auxiliary``."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import tyro

from neuralmutator.cli.options import RunOptions
from neuralmutator.plots.quine import training_figure, weights_figure
from neuralmutator.runs import quine as runs
from neuralmutator.runs.folder import RunFolder
from neuralmutator.runs.paper import compare
from neuralmutator.runs.quine import AuxiliaryConfig, QuineConfig


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
    result = runs.train(config, output, resume=options.resume, show=not options.quiet, save_every=options.save_every)
    folder = RunFolder(output)
    unit = "regeneration" if config.method in ("regeneration", "homeostatic") else "epoch"
    training_figure({config.method: folder.metrics()}, f"Quine, {config.method}", unit).savefig(output / "training.png")
    with np.load(output / "weights.npz") as data:
        width = 1 if config.encoding == "raw" else config.width
        title = f"{config.method}: loss {result['loss']:.3g}, unexplained {result['unexplained']:.3g}"
        figure = weights_figure(data["params"], data["predictions"], (width, *config.hidden, 1), title)
    figure.savefig(output / "weights.png")
    if result["diverged_in_epoch"] is not None:
        print(f"Diverged in epoch {result['diverged_in_epoch']}.")
    print(f"{output}: {result['num_params']:,} weights, {result['seconds']:.1f} s")
    print(
        f"Loss {result['initial_loss']:.4g} -> {result['loss']:.4g}; unexplained {result['unexplained']:.3g}, "
        f"correlation {result['correlation']:.3f}, margin {result['margin']:.2g}, quotient {result['quotient']:.2f}, "
        f"std of the weights {result['weight_std']:.2g}"
    )
    kinds = result["fixed_point_after_regenerations"]
    print("Fixed point after regenerations: " + ", ".join(f"{n}: {kind}" for n, kind in kinds.items()))
    return 0


def _paper(options: Train) -> int:
    if options.seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {options.seeds}")
    if options.resume or options.config != QuineConfig(seed=options.config.seed):
        raise ValueError(
            "--paper runs the paper's own networks and methods: of the other options it takes --seed alone"
        )
    output = options.folder("quine-paper")
    print(compare(output, options.seeds, options.config.seed, show=not options.quiet))
    print(output)
    return 0


def _auxiliary(options: Auxiliary) -> int:
    output = options.folder("auxiliary")
    result = runs.auxiliary(
        options.config, output, resume=options.resume, show=not options.quiet, save_every=options.save_every
    )
    training_figure({result["recipe"]: RunFolder(output).metrics()}, "Auxiliary quine").savefig(output / "training.png")
    print(f"{output}: {result['num_params']:,} weights, {result['seconds']:.1f} s, {result['recipe']}")
    parts = ", ".join(f"{name} {share:.3g}" for name, share in result["unexplained_by_part"].items())
    print(f"Accuracy {100 * result['accuracy']:.2f} %; unexplained {result['unexplained']:.3g} ({parts})")
    return 0
